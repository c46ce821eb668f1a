"""Afterwards: how long a leg was naked by the venue's own times, and whether a person was told of it.

While it lasts the walks themselves tell what they wait for; but a wait may be cut into pieces that each look
short: by a death and a restart, by reads that lag, by one doubt after another. So the book is looked at again
when it has come to rest. Sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from fundarb.core.events import AlertRaised
from fundarb.core.money import ZERO
from fundarb.core.records import PositionRecord
from fundarb.engine.audit_book import OUTCOMES, BookRules, Stretch, doubts, moves, too_long, walk
from fundarb.engine.desk import Desk, TradeRules
from fundarb.engine.kept_pairs import KeptPairs
from fundarb.store.database import Store

CODE: Final = "naked_long"
REACHING: Final = ("alert_raised", "position_unwound")
"""The kinds of events that reach a person and name a position (``notify.words``)."""
_ALL: Final = 1_000_000


def tell_if_long(desk: Desk, position: PositionRecord) -> None:
    """Raise an alert for each stretch of a position that was naked for longer than it may be, unless somebody
    was told since it began.
    """
    store, rules = desk.store, _rules(desk.rules)
    facts = moves(store, position, executions=store.executions.of_position(position.position_id))
    found = walk(position, facts, rules=rules, pair=KeptPairs(store).of(position))

    def unknown() -> tuple[Stretch, ...]:
        rows = store.intents.of_position(position.position_id)
        return doubts(rows, _outcomes(store, position), now=desk.clock.now())

    for stretch in too_long(found.stretches, unknown, rules=rules):
        if not _told(store, position, since=stretch.began):
            lasted = f"{stretch.lasted.total_seconds():.0f} s from {stretch.began:%H:%M:%S} UTC"
            text = f"{position.base}: one leg was unhedged for {lasted}"
            store.events.record(AlertRaised(code=CODE, subject=position.position_id, message=text))


def _rules(rules: TradeRules) -> BookRules:
    """What trading obeys, as what a book is judged by."""
    return BookRules(
        drift_limit=rules.drift_limit, largest_naked=ZERO, t_hedge=rules.t_hedge, t_recover=rules.t_recover
    )


def _outcomes(store: Store, position: PositionRecord) -> Iterator[tuple[str, datetime]]:
    """Every word about an order of a position: its link id, and when it came."""
    for kind in OUTCOMES:
        for event in store.events.after(0, _ALL, kind=kind, since=position.created_at):
            yield json.loads(event.payload)["link_id"], event.at


def _told(store: Store, position: PositionRecord, *, since: datetime) -> bool:
    """Whether somebody was told of this position, its coin, symbols or orders: one incident, one alert."""
    return any(
        names(position, json.loads(event.payload))
        for kind in REACHING
        for event in store.events.after(0, _ALL, kind=kind, since=since)
    )


def names(position: PositionRecord, fields: Mapping[str, Any]) -> bool:
    """Whether an event names a position: it, its coin, one of its symbols or orders."""
    known = {position.position_id, position.base, position.spot_symbol, position.perp_symbol}
    return any(
        isinstance(text, str) and (text in known or position.plan_id in text) for text in fields.values()
    )
