"""Books against venue: every difference as a value with what was expected, what was found, and what will be
done about it.

Pure over its inputs; ``reconcile`` reads both sides and acts. A missing report is never read as zero: the
inputs must be complete answers of this very cycle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from fundarb.core.account import PositionReport, Transaction, Wallet
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Execution, OrderReport, parse_link_id
from fundarb.core.records import Identity, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.explain import NOTHING, Explained


class Choice(StrEnum):
    """What a person may answer to a difference.

    ADOPT: what the venue shows is ours from now on, and what is naked then is reduced. REHEDGE: adopt it, and
    restore the missing leg. UNWIND: adopt it, and reduce the other leg to match. IGNORE: leave it as it is.
    """

    ADOPT = "adopt"
    IGNORE = "ignore"
    REHEDGE = "rehedge"
    UNWIND = "unwind"


_LEAVE = (Choice.IGNORE,)
_MEND = (Choice.REHEDGE, Choice.UNWIND)
_ANY = (Choice.REHEDGE, Choice.UNWIND, Choice.ADOPT, Choice.IGNORE)
_BUT_RESTORE = (Choice.UNWIND, Choice.ADOPT, Choice.IGNORE)
"""Where a hand has gone beyond what was ours: a new short would only reduce its long, new coins only repay
its loan.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One difference. ``found − expected = difference``; ``found`` is None where nobody has seen the venue's
    side. ``base`` is the coin to freeze, empty for none.

    ``halts`` marks the strangers that stop every open: an order with one of our tags and no row, or a second
    instance. ``note_only`` differences are reported but leave the account clean (somebody else's position in
    another symbol). ``subject`` tells incidents of one symbol apart. ``choices`` are what a person may
    answer; ``position_id`` is the position that it concerns, empty for none.
    """

    kind: str
    symbol: str
    expected: Decimal
    found: Decimal | None
    action: str
    tolerance: Decimal = ZERO
    base: str = ""
    halts: bool = False
    note_only: bool = False
    subject: str = ""
    choices: tuple[Choice, ...] = ()
    position_id: str = ""

    @property
    def id(self) -> str:
        """Stable over cycles, so that one incident gives one alert."""
        return f"{self.kind}:{self.subject or self.symbol}"

    @property
    def difference(self) -> Decimal | None:
        """What the venue has more than our books; None where its side is not known."""
        return None if self.found is None else self.found - self.expected

    @property
    def from_books(self) -> bool:
        """Whether our books alone tell it: the coins that we own (``found``) and what is sold short."""
        return self.kind in _LEGS


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueFacts:
    """Complete answers of one cycle. ``recent`` holds the fills with a fundarb link id that are in no book of
    ours.

    ``executions`` is how many were looked at.
    """

    positions: tuple[PositionReport, ...]
    wallet: Wallet
    orders: tuple[OrderReport, ...]
    recent: tuple[Execution, ...]
    executions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Our side of the comparison. ``since`` is when this database was made or restored: fills of other
    databases before that are history. ``left`` are finished positions that hold something all the same;
    ``naked`` as in ``own_differences``. ``explained`` says by position id what others did to it; ``policy``
    is what is done about a leg closed by hand (``None``: a person is asked).
    """

    identity: Identity
    since: datetime
    positions: tuple[PositionRecord, ...]
    intents: tuple[IntentRecord, ...]
    known_links: frozenset[str]
    balances: Mapping[str, Decimal]
    left: tuple[PositionRecord, ...] = ()
    naked: frozenset[str] = frozenset()
    explained: Mapping[str, Explained] = field(default_factory=dict)
    policy: Choice | None = None


def compare(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> tuple[Mismatch, ...]:
    """Every difference, in a fixed order."""
    return (
        *_contracts(books, facts),
        *_coins(books, facts, tolerance=tolerance),
        *_balances(books, facts, tolerance=tolerance),
        *_strangers(books, facts),
        *_left(books),
        *own_differences(books.positions, books.intents, naked=books.naked),
    )


def own_differences(
    positions: Iterable[PositionRecord], intents: Iterable[IntentRecord], *, naked: frozenset[str]
) -> Iterable[Mismatch]:
    """What our books alone tell: orders in doubt, legs that do not match, books that nobody could judge.
    ``naked`` are the ids of positions at rest whose legs do not match, whatever their state says.
    """
    held = tuple(positions)
    yield from _unresolved(held, intents)
    yield from _unfinished(held, naked=naked)


def _contracts(books: Books, facts: VenueFacts) -> Iterable[Mismatch]:
    found = {report.symbol: report.size for report in facts.positions}
    uncertain = {intent.symbol for intent in books.intents if intent.state is IntentState.UNCERTAIN}
    ours = {position.perp_symbol: position for position in books.positions}
    for symbol, position in sorted(ours.items()):
        held = found.get(symbol, ZERO)
        if held != -position.contracts and symbol not in uncertain:
            yield _size(books, position, held=held)
    for report in facts.positions:
        if report.symbol not in ours and report.size:
            yield Mismatch(
                kind="foreign_position",
                symbol=report.symbol,
                expected=ZERO,
                found=report.size,
                action="not ours: left alone, nothing is opened in this symbol",
                note_only=True,
                choices=_LEAVE,
            )


def _size(books: Books, position: PositionRecord, *, held: Decimal) -> Mismatch:
    """Another size than ours in a perp that we hold: a stranger's on top of it, ours closed by hand, or
    nobody knows.
    """
    expected, why = -position.contracts, books.explained.get(position.position_id, NOTHING)
    more = held < expected and bool(why.fills)
    kind = "foreign_position" if more else "perp_size"
    if more:
        action = "coin frozen; somebody else's contracts: left alone"
    elif not why.fills:
        action = "coin frozen; no trade explains it: looked at again next time"
    else:
        ident = f"{kind}:{position.perp_symbol}"
        action = "coin frozen; " + _asked(ident, books.policy, orphan=why.orphaned, beyond=why.long)
    return Mismatch(
        kind=kind,
        symbol=position.perp_symbol,
        expected=expected,
        found=held,
        action=action,
        base=position.base,
        choices=_ways(beyond=why.long) if why.fills else _LEAVE,
        position_id=position.position_id,
    )


def _ways(*, beyond: bool) -> tuple[Choice, ...]:
    """What can be answered about a leg that a hand traded away, perhaps ``beyond`` what was ours."""
    return _BUT_RESTORE if beyond else _ANY


def _asked(ident: str, policy: Choice | None, *, orphan: bool = False, beyond: bool = False) -> str:
    """What becomes of a leg that was closed by hand: the policy's word, or how a person says it."""
    if policy is Choice.REHEDGE and not orphan and not beyond:
        return "closed by hand: the missing leg is restored"
    if policy is Choice.UNWIND and not orphan:
        return "closed by hand: the other leg is reduced to match"
    who = "traded under a link id without a row" if orphan else "closed by hand"
    ways = "--unwind`" if beyond else "--rehedge` or `--unwind`"
    return f"{who}: answer with `fundarb resolve {ident} {ways}"


def _coins(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> Iterable[Mismatch]:
    """Fewer coins in the wallet than our positions own: sold, spent or taken."""
    owned: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    holder = {}
    for position in books.positions:
        owned[position.base] += position.spot_owned
        holder[position.base] = position.position_id
    for base, coins in sorted(owned.items()):
        found = facts.wallet.owned(base)
        if found < coins - tolerance:
            why = books.explained.get(holder[base], NOTHING)
            yield Mismatch(
                kind="spot_short",
                symbol=base,
                expected=coins,
                found=found,
                tolerance=tolerance,
                action="coin frozen; " + _gone(base, why, policy=books.policy),
                base=base,
                choices=_LEAVE if why.outflow is None else _ways(beyond=why.owing),
                position_id=holder[base],
            )


def _gone(base: str, why: Explained, *, policy: Choice | None) -> str:
    """What becomes of missing coins, if the books know where they went."""
    flow = why.outflow
    if flow is None:
        return "nothing explains where the coins went: looked at again next time"
    if not flow.by_hand:
        return "taken by the venue: the perp is reduced to match"
    gone = f"{plain(flow.by_hand)} gone" + ("" if why.orphaned else " by hand")
    asked = _asked(f"spot_short:{base}", policy, orphan=why.orphaned, beyond=why.owing)
    return f"{gone}; {asked}"


def _balances(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> Iterable[Mismatch]:
    uncertain = any(intent.state is IntentState.UNCERTAIN for intent in books.intents)
    coins = sorted({*books.balances, *facts.wallet.coins})
    for coin in coins:
        expected, found = books.balances.get(coin, ZERO), facts.wallet.owned(coin)
        if abs(found - expected) > tolerance and not uncertain:
            yield Mismatch(
                kind="balance",
                symbol=coin,
                expected=expected,
                found=found,
                tolerance=tolerance,
                action="the venue's log does not explain it yet; looked at again next time",
                base=coin,
                choices=_LEAVE,
            )


def _strangers(books: Books, facts: VenueFacts) -> Iterable[Mismatch]:
    """Orders and fills that are not in our books: of other people, of another fundarb, or our own without a
    row.
    """
    for order in sorted(facts.orders, key=lambda item: (item.symbol, item.order_id)):
        if parse_link_id(order.link_id) is None:
            yield _foreign(books, order)
        elif order.link_id not in books.known_links:
            yield _unknown(books, order.link_id, symbol=order.symbol, quantity=order.quantity)
    open_links = {order.link_id for order in facts.orders}
    filled: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    latest = {row.link_id: row for row in facts.recent if parse_link_id(row.link_id) is not None}
    for row in facts.recent:
        filled[row.link_id] += row.quantity
    for link, row in sorted(latest.items()):
        old = row.time < books.since and not _ours(books, link)
        if link not in books.known_links and link not in open_links and not old:
            yield _unknown(books, link, symbol=row.symbol, quantity=filled[link])


def _ours(books: Books, link: str) -> bool:
    """Whether a link id carries one of our tags."""
    parts = parse_link_id(link)
    return parts is not None and parts.tag in {books.identity.tag, *books.identity.old_tags}


def _unknown(books: Books, link: str, *, symbol: str, quantity: Decimal) -> Mismatch:
    """A fundarb link id that no row of ours has: an orphan of ours, or a second instance at work."""
    ours = _ours(books, link)
    why = f"{link} " + ("carries our tag but is in no book" if ours else "was sent by another fundarb")
    return Mismatch(
        kind="orphan_order" if ours else "second_instance",
        symbol=symbol,
        expected=ZERO,
        found=quantity,
        action=f"halted: {why}",
        halts=True,
        subject=link,
        choices=_LEAVE,
    )


def _foreign(books: Books, order: OrderReport) -> Mismatch:
    held = {name: item.base for item in books.positions for name in (item.spot_symbol, item.perp_symbol)}
    base = held.get(order.symbol, "")
    return Mismatch(
        kind="foreign_order",
        symbol=order.symbol,
        expected=ZERO,
        found=order.quantity,
        action="coin frozen; not ours: left alone" if base else "not ours: left alone",
        base=base,
        note_only=not base,
        subject=order.order_id,
        choices=_LEAVE,
    )


def _left(books: Books) -> Iterable[Mismatch]:
    """What a finished position holds: nobody hedges it any more, so it is nobody's until somebody looks."""
    for position in books.left:
        yield Mismatch(
            kind="left_over",
            symbol=position.base,
            expected=position.contracts * position.multiplier,
            found=position.spot_owned,
            action=f"coin frozen; {position.state}, and holds something: close it at the venue",
            base=position.base,
            subject=position.position_id,
            choices=_LEAVE,
            position_id=position.position_id,
        )


def _unresolved(positions: Iterable[PositionRecord], intents: Iterable[IntentRecord]) -> Iterable[Mismatch]:
    bases = {position.position_id: position.base for position in positions}
    for intent in intents:
        if intent.state is IntentState.UNCERTAIN:
            yield Mismatch(
                kind="uncertain_order",
                symbol=intent.link_id,
                expected=intent.filled,
                found=None,
                action="looked up again; nothing new is sent for this coin",
                base=bases.get(intent.position_id, ""),
                choices=_LEAVE,
                position_id=intent.position_id,
            )


def _unfinished(positions: Iterable[PositionRecord], *, naked: frozenset[str]) -> Iterable[Mismatch]:
    """Positions whose legs do not match, or whose book could not be judged (a market that is not listed)."""
    for position in positions:
        exposed = position.state is PositionState.EXPOSED
        unhedged = exposed or position.position_id in naked
        if not unhedged and position.state not in _UNJUDGED:
            continue
        unjudged = f"{position.state}: not judged yet, or no prices to judge it by; tried again"
        yield Mismatch(
            kind="unhedged" if unhedged else "unsettled",
            symbol=position.base,
            expected=position.contracts * position.multiplier,
            found=position.spot_owned,
            action="naked still: tried again until it is hedged or unwound" if exposed else unjudged,
            base=position.base,
            subject=position.position_id,
            choices=_MEND if exposed else (),
            position_id=position.position_id,
        )


def not_booked(executions: Iterable[Execution], rows: Iterable[Transaction]) -> Iterable[Mismatch]:
    """What a walk would book first: executions by symbol, rows of the log by kind and coin (``found`` counts
    them). Notes: nothing is wrong about facts that nobody has read yet.
    """
    fills = Counter(row.symbol for row in executions)
    facts = Counter(f"{row.kind} {row.coin}" for row in rows)
    for kind, counts in (("missing_execution", fills), ("missing_row", facts)):
        for name, count in sorted(counts.items()):
            yield Mismatch(
                kind=kind,
                symbol=name,
                expected=ZERO,
                found=Decimal(count),
                action="not booked yet: the walk books it",
                note_only=True,
            )


_LEGS = frozenset({"unhedged", "unsettled", "left_over"})
_UNJUDGED = frozenset({PositionState.OPENING, PositionState.CHANGING, PositionState.REPAIRING})
"""States in which nobody leaves a position of whose orders all is known."""
