"""A position's book replayed from its facts: how much was naked at once, for how long, and whether anything
ever took more than was held.

Executions, coins that others took and dust that came or went are the facts. Naked is counted in quote at the
price of the execution that made it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core import sizing
from fundarb.core.ledger import Account, Journal
from fundarb.core.market import Category, Pair
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, Leg, parse_link_id
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.releases import RELEASE_PREFIX
from fundarb.engine.booking import quantities
from fundarb.store.database import Store

UNKNOWN_LOT: Final = Decimal(10)
"""Quote value that counts as one lot where the pair's steps are not known."""
_MOVED: Final = Decimal("1.05")
"""A lot is judged by the mids of its moment and looked at here by the price of the last fill: they may be so
far apart, and a lot that is a least value changes with the price.
"""
_HANDED = (RELEASE_PREFIX, "dust:")
"""How the keys of journals begin that moved coins without a trade."""
_FIRST, _LAST = 0, 1000
"""Places among orders of one moment (which are numbered from 1 to 999) of what no order of ours did; a fill
that was inherited from another plan is the beginning of a book.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a book is judged by: ratios as fractions, amounts in quote. ``t_hedge`` is how long a known
    shortfall may be naked, ``t_recover`` how long a leg whose order is in doubt;
    ``per_posting`` the rounding that one posting may leave, ``lease`` how long a request may be admitted
    after its signature. ``past`` are the rules of before, oldest first, each with when it came into force.
    """

    drift_limit: Decimal
    largest_naked: Decimal
    t_hedge: timedelta
    t_recover: timedelta
    per_posting: Decimal = Decimal("1e-8")
    lease: timedelta = timedelta(seconds=2)
    past: tuple[tuple[datetime, BookRules], ...] = ()

    def at(self, instant: datetime) -> BookRules:
        """The rules of that time; these where nobody had noted any yet."""
        return next((rules for since, rules in reversed(self.past) if since <= instant), self)

    def neutral(self, position: PositionRecord, pair: Pair | None) -> bool:
        """Whether a position is within the drift limit or one lot of its pair (``one_lot``)."""
        short = position.contracts * position.multiplier
        delta = abs(position.spot_owned - short)
        if delta <= self.drift_limit * max(position.spot_owned, short):
            return True
        known = position.decision_spot_mid or position.decision_perp_mid / position.multiplier
        return bool(known) and delta <= one_lot(pair, known)


def one_lot(pair: Pair | None, price: Decimal) -> Decimal:
    """Coins that even the finer leg of a pair cannot correct at a coin's ``price`` in quote; of a pair that
    is not known (None), what is worth ``UNKNOWN_LOT``.
    """
    if pair is None:
        return UNKNOWN_LOT / price
    return _MOVED * sizing.lot(pair, spot_price=price, perp_price=price * pair.multiplier)


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
    found = [_traded(position, row) for row in executions if row.kind.trades]
    handed = store.ledger.read.journals(position_id=position.position_id, starts=_HANDED)
    found += [_handed(position, journal) for journal in handed]
    return tuple(sorted(found, key=_place))


def _place(move: Move) -> tuple[datetime, int, str]:
    return move.at, move.order, move.name


def _traded(position: PositionRecord, row: Execution) -> Move:
    leg = Leg.PERP if row.category is Category.LINEAR else Leg.SPOT
    coins, contracts = quantities(row, position, leg=leg)
    parts = parse_link_id(row.link_id)
    price = row.price if leg is Leg.SPOT else row.price / position.multiplier
    order = _LAST if parts is None else parts.seq if parts.plan == position.plan_id else _FIRST
    return Move(row.time, order, coins, contracts, price, row.exec_id)


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
class Stretch:
    """A stretch of time: of a book that was not neutral, or of an order that was in doubt."""

    began: datetime
    ended: datetime

    @property
    def lasted(self) -> timedelta:
        """How long it was."""
        return self.ended - self.began


@dataclass(frozen=True, slots=True)
class Walk:
    """The worst moments of a book: quote value naked at once, what was ``allowed`` then, and when; and every
    stretch above one lot that has ended; ``taken`` names the first fact that took more than was held.
    """

    naked: Decimal
    allowed: Decimal
    naked_at: datetime | None
    stretches: tuple[Stretch, ...]
    taken: str
    coins: Decimal
    contracts: Decimal


def walk(position: PositionRecord, facts: Iterable[Move], *, rules: BookRules, pair: Pair | None) -> Walk:
    """Replay a position's moves, which come in order; ``pair`` says what one lot is."""
    owned = short = price = delta = ZERO
    worst: tuple[Decimal, Decimal, datetime] | None = None
    since, stretches, taken = None, [], ""
    for move in facts:
        owned, short, price = owned + move.coins, short + move.contracts, move.price or price
        if min(owned, short) < ZERO and not taken:
            taken = move.name
        then, before, delta = rules.at(move.at), delta, abs(owned - short * position.multiplier)
        naked = delta * price
        over = naked - then.largest_naked
        if delta > before and (worst is None or over > worst[0] - worst[1]):
            worst = (naked, then.largest_naked, move.at)
        size = max(owned, short * position.multiplier)
        if delta > then.drift_limit * size and price and delta > one_lot(pair, price):
            since = since or move.at
        elif since is not None:
            stretches.append(Stretch(since, move.at))
            since = None
    naked, allowed, at = worst or (ZERO, ZERO, None)
    return Walk(naked, allowed, at, tuple(stretches), taken, owned, short)


def too_long(
    stretches: Iterable[Stretch], doubts: Callable[[], Iterable[Stretch]], *, rules: BookRules
) -> Iterator[Stretch]:
    """The stretches that lasted longer than they may: ``t_hedge`` for what was known, and as much longer as
    an order was in doubt meanwhile, ``t_recover`` in all. ``doubts`` are only asked for if it matters.
    """
    for stretch in stretches:
        then = rules.at(stretch.began)
        if stretch.lasted > then.t_hedge:
            allowed = then.t_hedge + _covered(stretch, doubts())
            if stretch.lasted > max(min(allowed, then.t_recover), then.t_hedge):
                yield stretch


def _covered(stretch: Stretch, doubts: Iterable[Stretch]) -> timedelta:
    """How much of a stretch is covered by doubts, where they overlap only once."""
    covered, reached = timedelta(), stretch.began
    for doubt in sorted(doubts, key=lambda one: one.began):
        begin, end = max(doubt.began, reached), min(doubt.ended, stretch.ended)
        if end > begin:
            covered, reached = covered + (end - begin), end
    return covered


OUTCOMES: Final = ("order_answered", "leg_filled", "intent_resolved")
"""The events that tell what became of an order; with the last of them it was known."""


def doubts(
    intents: Iterable[IntentRecord], outcomes: Iterable[tuple[str, datetime]], *, now: datetime
) -> tuple[Stretch, ...]:
    """From the signature of each order to the last word about it (its link id, when), in any order; one
    that is not over is in doubt still.
    """
    known: dict[str, datetime] = {}
    for link, at in outcomes:
        known[link] = max(at, known.get(link, at))
    return tuple(
        Stretch(intent.signed_at, known.get(intent.link_id, now) if intent.state.terminal else now)
        for intent in intents
    )
