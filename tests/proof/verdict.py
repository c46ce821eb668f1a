"""What must hold when an episode is over and all trouble has gone."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

from fundarb.core.orders import parse_link_id
from fundarb.core.states import PositionState
from fundarb.engine.audit import AuditCheck, VenueOrder, VenueTruth, audit
from fundarb.engine.audit_book import BookRules
from tests.proof.episode import LIMITS, Episode
from tests.proof.naked import alerted, untold
from tests.proof.persons import asks

D = Decimal
RULES = BookRules(
    drift_limit=D("0.02"),
    largest_naked=LIMITS.max_clip * D("1.1"),
    t_hedge=timedelta(seconds=5),
    t_recover=timedelta(seconds=37),
)


def verdict(episode: Episode) -> list[str]:
    """Everything that is wrong at the end; empty: all is well."""
    found = [*_wire(episode), *_told(episode), *_books(episode), *_twice(episode)]
    return [*found, *episode.balance.at_the_end(episode.life.store)]


def _told(episode: Episode) -> list[str]:
    """Whoever must be told was told, by the venue's truth."""
    return untold(episode.venue, episode.life.store, episode.fates, beside=episode.touched | episode.repaid)


def _wire(episode: Episode) -> list[str]:
    """What the venue got is what was written, once each."""
    found = [*episode.witness.wrong, *episode.balance.wrong]
    orders = [order for order in episode.venue.all_orders() if parse_link_id(order.link_id) is not None]
    for link, count in Counter(order.link_id for order in orders).items():
        if count > 1:
            found.append(f"{count} orders under {link}")
        if link not in episode.witness.sent:
            found.append(f"{link} was never seen on the wire")
    found += [f"{order.link_id} still works" for order in orders if not order.status.final]
    return found


def truth_of(episode: Episode) -> VenueTruth:
    """What the venue holds."""
    exchange = episode.life.exchange
    return VenueTruth(
        wallet=exchange.wallet(),
        positions=exchange.positions(),
        orders=tuple(VenueOrder(report=order.report()) for order in episode.venue.all_orders()),
        complete=True,
    )


def _books(episode: Episode) -> list[str]:
    """The audit is clean and every book neutral; what a stranger did may wait for a person, if it is said."""
    store = episode.life.store
    found = [f"{intent.link_id} is still {intent.state}" for intent in store.intents.open()]
    result = episode.life.writer.reconciler.run()
    found += episode.person.unsettled(result)
    waiting = {item.base for item in result.mismatches if item.base and not item.note_only}
    frozen = {block.scope for block in store.blocks.active(episode.venue.now)}
    loud = [item for item in result.mismatches if not item.note_only]
    found += [f"{item.id} stays and blocks nothing" for item in loud if not {item.base, "*"} & frozen]
    said = alerted(store)
    found += [
        f"{item.id} stays and nobody was told"
        for item in loud
        if not said & {item.base, item.symbol, item.subject}
    ]
    if not episode.strangers:
        found += [f"{item.id} ({item.expected} against {item.found}) stays" for item in loud]
    for position in store.positions.active():
        if position.state is not PositionState.HEDGED and position.base not in waiting:
            found.append(f"{position.position_id} ({position.base}) is {position.state}, and nothing says so")
    open_question = episode.strangers and bool(waiting or any(map(asks, result.ignored)))
    for check in audit(store, RULES, truth=truth_of(episode)):
        if not check.ok and not (open_question and _follows_from_it(check)):
            found.append(f"audit {check.id}: {check.details}")
    return found


def _follows_from_it(check: AuditCheck) -> bool:
    """Whether a finding only repeats that a stranger's act waits for an answer, or that a person left it so:
    sizes, and with them the account's worth, differ from our books until it comes.
    """
    return check.id in {"6", "7"} or (check.id == "12" and "of the equity of" in check.details)


def _twice(episode: Episode) -> list[str]:
    """A second reconcile changes nothing."""
    store, sent = episode.life.store, len(episode.witness.sent)
    before = (store.events.newest_id(), store.ledger.count())
    episode.life.writer.reconciler.run()
    after = (store.events.newest_id(), store.ledger.count())
    wrong = [] if before == after else [f"a second reconcile changed {before} to {after}"]
    if len(episode.witness.sent) != sent:
        wrong.append("a second reconcile sent orders")
    return wrong
