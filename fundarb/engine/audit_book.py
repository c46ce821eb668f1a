"""A position's book replayed from its facts: how much was naked at once, for how long, and whether anything
ever took more than was held.

Executions, coins that others took and dust that came or went are the facts. Naked is counted in quote at the
price of the execution that made it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.ledger import Account, Journal
from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, Leg, parse_link_id
from fundarb.core.records import PositionRecord
from fundarb.core.releases import RELEASE_PREFIX
from fundarb.engine.booking import quantities
from fundarb.store.database import Store

_DUST = Decimal(10)
"""Quote value below which an imbalance counts as one lot: no venue lets less than about this be traded."""
_DUST_PREFIX = "dust:"
_FIRST, _LAST = 0, 1000
"""Places among orders of one moment (which are numbered from 1 to 999) of what no order of ours did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a book is judged by: ratios as fractions, amounts in quote; ``per_posting`` is the rounding that
    one posting may leave, ``lease`` how long a request may be admitted after its signature.
    """

    drift_limit: Decimal
    largest_naked: Decimal
    longest_naked: timedelta
    per_posting: Decimal = Decimal("1e-8")
    lease: timedelta = timedelta(seconds=2)

    def neutral(self, position: PositionRecord) -> bool:
        """Whether a position is within the drift limit or one lot."""
        short = position.contracts * position.multiplier
        delta = abs(position.spot_owned - short)
        if delta <= self.drift_limit * max(position.spot_owned, short):
            return True
        known = position.decision_spot_mid or position.decision_perp_mid / position.multiplier
        return bool(known) and delta * known <= _DUST


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a book: coins owned and contracts short (+ = more of either); ``order`` is the number of
    the order that did it, ``price`` one coin's in quote (zero: no trade), ``name`` the fact.
    """

    at: datetime
    order: int
    coins: Decimal
    contracts: Decimal
    price: Decimal
    name: str


def moves(store: Store, position: PositionRecord, *, executions: Iterable[Execution]) -> tuple[Move, ...]:
    """Everything that moved a position's book, in the order of time, of one moment in the order of the
    orders.
    """
    found = list(trades(position, executions))
    found += [
        _handed(position, journal)
        for journal in store.ledger.read.journals(position_id=position.position_id)
        if journal.key.startswith((RELEASE_PREFIX, _DUST_PREFIX))
    ]
    return tuple(sorted(found, key=_place))


def trades(position: PositionRecord, executions: Iterable[Execution]) -> tuple[Move, ...]:
    """The moves that were trades, in the same order."""
    found = [_traded(position, row) for row in executions if row.kind.trades]
    return tuple(sorted(found, key=_place))


def _place(move: Move) -> tuple[datetime, int, str]:
    return move.at, move.order, move.name


def _traded(position: PositionRecord, row: Execution) -> Move:
    leg = Leg.PERP if row.category is Category.LINEAR else Leg.SPOT
    coins, contracts = quantities(row, position, leg=leg)
    parts = parse_link_id(row.link_id)
    price = row.price if leg is Leg.SPOT else row.price / position.multiplier
    return Move(row.time, parts.seq if parts is not None else _LAST, coins, contracts, price, row.exec_id)


def _handed(position: PositionRecord, journal: Journal) -> Move:
    """Coins that came from the dust, went to it, or were taken: what the journal's cost account says."""
    given = sum(
        (
            entry.amount
            for entry in journal.entries
            if entry.account is Account.POSITION_COST and entry.coin == position.base
        ),
        ZERO,
    )
    return Move(journal.at, _FIRST if given < ZERO else _LAST, -given, ZERO, ZERO, journal.key)


@dataclass(frozen=True, slots=True)
class Walk:
    """The worst moments of a book: quote value naked at once and since when, and the longest time above one
    lot with its beginning; ``taken`` names the first fact that took more than was held.
    """

    naked: Decimal
    naked_at: datetime | None
    longest: timedelta
    longest_from: datetime | None
    taken: str
    coins: Decimal
    contracts: Decimal


def walk(position: PositionRecord, facts: Iterable[Move], *, rules: BookRules) -> Walk:
    """Replay a position's moves, which come in order."""
    owned = short = naked = price = ZERO
    naked_at = longest_from = since = None
    longest, taken = timedelta(), ""
    for move in facts:
        owned, short, price = owned + move.coins, short + move.contracts, move.price or price
        if min(owned, short) < ZERO and not taken:
            taken = move.name
        delta = abs(owned - short * position.multiplier)
        if delta * price > naked:
            naked, naked_at = delta * price, move.at
        size = max(owned, short * position.multiplier)
        open_side = delta > rules.drift_limit * size and delta * price > _DUST
        if open_side:
            since = since or move.at
        elif since is not None:
            if move.at - since > longest:
                longest, longest_from = move.at - since, since
            since = None
    return Walk(naked, naked_at, longest, longest_from, taken, owned, short)
