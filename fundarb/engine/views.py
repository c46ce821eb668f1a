"""The ``positions`` command: each open position with live marks. Field names are the JSON keys of the
command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import PositionReport
from fundarb.core.instants import floor_hour
from fundarb.core.ledger import Holding
from fundarb.core.market import Instruments, Pair, PerpQuote, SpotQuote
from fundarb.core.money import ZERO, derived, plain
from fundarb.core.orders import Leg
from fundarb.core.pnl import EMPTY, Pnl
from fundarb.core.position import Book, liquidation_distance
from fundarb.core.postings import holding_key
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.sizing import lot
from fundarb.core.states import PositionState
from fundarb.engine.announced import delisting, ending
from fundarb.engine.collect import read_until
from fundarb.engine.entry_basis import entry_basis
from fundarb.engine.equity_points import sum_pnl
from fundarb.engine.held import NextSettlement
from fundarb.engine.opening import SOURCES
from fundarb.engine.outlook import bare_prices
from fundarb.engine.ports import MarketData, Trading
from fundarb.engine.unfinished import unfinished
from fundarb.store.database import Store

_DUST = Decimal("1e-8")
"""The smallest amount that the venue books."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """One open position. Quantities in base units, amounts in quote, ratios as fractions; None: cannot be
    known now. ``delta`` and ``drift`` are not while an order's end is not (``in_flight`` names such orders),
    or while the venue holds something else: ``venue_contracts`` in the symbol, ``venue_coins`` of the base
    coin.

    ``perp_quantity`` is in contracts, negative for a short. ``entry_basis`` is of the fills of both legs that
    came together, None where a leg was restored later; ``mark_basis`` is of the mids. ``unrealised_pnl`` is
    at mid and mark, ``unrealised_executable`` what closing at the best bid and ask would bring, both before
    fees. ``net_pnl`` = realised + unrealised_pnl + funding − fees. ``funding_pending`` counts the settlements
    whose payment the venue's log does not show, None while one may have passed since it was read;
    ``funding_received`` is then what is known, and None with ``net_pnl`` where that is nothing at all.
    ``liquidation_price`` is the venue's word, ``liquidation_price_bare`` ours without any coin as collateral,
    and the other shorts at their marks;
    ``liquidation_distance``: the fraction that the mark may rise before the worse of both is met.
    ``delisted_at``: when the venue ends the perp, None where no end is announced.
    """

    position_id: str
    base: str
    state: PositionState
    spot_quantity: Decimal
    perp_quantity: Decimal
    multiplier: Decimal
    delta: Decimal | None
    drift: Decimal | None
    lot: Decimal | None
    entry_basis: Decimal | None
    mark_basis: Decimal | None
    notional: Decimal
    funding_received: Decimal | None
    fees_paid: Decimal
    unrealised_pnl: Decimal | None
    net_pnl: Decimal | None
    opened_at: datetime | None
    next_funding_time: datetime | None
    liquidation_price: Decimal | None
    liquidation_distance: Decimal | None
    unrealised_executable: Decimal | None
    realised_pnl: Decimal
    funding_pending: int | None
    mark_price: Decimal | None
    spot_symbol: str
    perp_symbol: str
    in_flight: tuple[str, ...] = ()
    venue_contracts: Decimal | None = None
    venue_coins: Decimal | None = None
    liquidation_price_bare: Decimal | None = None
    delisted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Market:
    """What the market says of one position's two legs, None where a symbol is missing or unreadable."""

    spot: SpotQuote | None
    perp: PerpQuote | None
    pair: Pair | None
    report: PositionReport | None
    coins: Decimal
    bare: Decimal | None

    @property
    def mark(self) -> Decimal | None:
        """The perp's mark."""
        return None if self.perp is None else self.perp.mark

    @property
    def next_funding(self) -> datetime | None:
        """When the perp settles next."""
        return None if self.perp is None or self.perp.funding is None else self.perp.funding.next_time

    @property
    def liquidation(self) -> Decimal | None:
        """The price that liquidates the short, as the venue says."""
        return None if self.report is None else self.report.liquidation_price

    @property
    def distance(self) -> Decimal | None:
        """How far the mark may rise before the worse liquidation price, as a fraction."""
        worse = min((price for price in (self.liquidation, self.bare) if price is not None), default=None)
        return None if self.mark is None else _ratio(liquidation_distance(self.mark, worse))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """What a position's legs are worth at the quotes of now; nothing is known where one is missing."""

    marked: Decimal | None = None
    executable: Decimal | None = None
    basis: Decimal | None = None
    lot: Decimal | None = None


def position_views(store: Store, market: MarketData, *, trading: Trading) -> tuple[PositionView, ...]:
    """Every open position, oldest first; ``Unavailable`` if market or account cannot be read."""
    positions = store.positions.active()
    if not positions:
        return ()
    snapshot, listed = market.snapshot(), market.instruments()
    reports = {report.symbol: report for report in trading.positions()}
    wallet = trading.wallet()
    bare = bare_prices(wallet, positions, reports=reports)
    with store.reading():
        results = sum_pnl(store.ledger.read.sums())
        views = tuple(
            _view(
                store,
                position,
                seen=_Market(
                    spot=snapshot.spot.get(position.spot_symbol),
                    perp=snapshot.perp.get(position.perp_symbol),
                    pair=_pair(position, listed),
                    report=reports.get(position.perp_symbol),
                    coins=wallet.owned(position.base),
                    bare=bare.get(position.position_id),
                ),
                pnl=results.get(position.position_id, EMPTY),
            )
            for position in positions
        )
    wrong = {place.name for place in _places(views) if place.differs}
    return tuple(
        replace(view, delta=None, drift=None) if wrong & {view.base, view.perp_symbol} else view
        for view in views
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A symbol (contracts) or a coin of our positions: what our books hold there, and what the venue does."""

    name: str
    leg: Leg
    ours: Decimal
    theirs: Decimal

    def __str__(self) -> str:
        """As a message names it."""
        return self.name if self.leg is Leg.PERP else f"coins of {self.name}"

    @property
    def differs(self) -> bool:
        """Whether the books are not the venue's; coins beyond ours are somebody else's business."""
        return self.theirs != self.ours if self.leg is Leg.PERP else self.theirs < self.ours - _DUST


def _places(views: tuple[PositionView, ...]) -> tuple[_Place, ...]:
    """Every place of these positions of which the venue's side is known, once."""
    ours: dict[tuple[str, Leg], Decimal] = {}
    theirs: dict[tuple[str, Leg], Decimal | None] = {}
    for view in views:
        for key, size, found in (
            ((view.perp_symbol, Leg.PERP), view.perp_quantity, view.venue_contracts),
            ((view.base, Leg.SPOT), view.spot_quantity, view.venue_coins),
        ):
            ours[key], theirs[key] = ours.get(key, ZERO) + size, found
    return tuple(_Place(*key, ours[key], found) for key, found in theirs.items() if found is not None)


def _pair(position: PositionRecord, listed: Instruments) -> Pair | None:
    spot, perp = listed.spot.get(position.spot_symbol), listed.perp.get(position.perp_symbol)
    if spot is None or perp is None:
        return None
    return Pair(base=position.base, spot=spot, perp=perp, multiplier=position.multiplier)


def _view(store: Store, position: PositionRecord, *, seen: _Market, pnl: Pnl) -> PositionView:
    book = Book(position.spot_owned, position.contracts)
    spot, perp = (store.ledger.read.holding(holding_key(position, leg)) for leg in (Leg.SPOT, Leg.PERP))
    worth = _priced(seen, spot, perp=perp, multiplier=position.multiplier)
    pending = _pending(store, position, quote=seen.perp)
    unpaid = not pnl.funding and pending != 0
    flying = tuple(item.link_id for item in store.intents.open() if item.position_id == position.position_id)
    certain = not flying and position.state is not PositionState.UNCERTAIN
    return PositionView(
        position_id=position.position_id,
        base=position.base,
        state=position.state,
        spot_quantity=position.spot_owned,
        perp_quantity=-position.contracts,
        multiplier=position.multiplier,
        delta=book.delta(position.multiplier) if certain else None,
        drift=_cut(book.drift(position.multiplier)) if certain else None,
        lot=worth.lot,
        entry_basis=_ratio(entry_basis(position, store.executions.of_position(position.position_id))),
        mark_basis=worth.basis,
        notional=position.notional,
        funding_received=None if unpaid else pnl.funding,
        fees_paid=pnl.fees,
        unrealised_pnl=worth.marked,
        net_pnl=None if worth.marked is None or unpaid else pnl.net + worth.marked,
        opened_at=position.opened_at,
        next_funding_time=seen.next_funding,
        liquidation_price=None if seen.liquidation is None else derived(seen.liquidation),
        liquidation_distance=seen.distance,
        unrealised_executable=worth.executable,
        realised_pnl=pnl.realised,
        funding_pending=pending,
        mark_price=seen.mark,
        spot_symbol=position.spot_symbol,
        perp_symbol=position.perp_symbol,
        in_flight=flying,
        venue_contracts=seen.report.size if seen.report is not None else ZERO,
        venue_coins=seen.coins,
        liquidation_price_bare=derived(seen.bare) if seen.bare is not None else None,
        delisted_at=ending(None if seen.pair is None else seen.pair.perp, seen.perp),
    )


def _priced(seen: _Market, spot: Holding, *, perp: Holding, multiplier: Decimal) -> _Priced:
    if seen.spot is None or seen.perp is None:
        return _Priced()
    mid, mark = seen.spot.mid, seen.perp.mark
    return _Priced(
        marked=spot.unrealised(mid) + perp.unrealised(mark),
        executable=spot.unrealised(seen.spot.bid) + perp.unrealised(seen.perp.ask),
        basis=_basis(mid, seen.perp.mid, multiplier=multiplier),
        lot=None if seen.pair is None else derived(lot(seen.pair, spot_price=mid, perp_price=mark)),
    )


def _pending(store: Store, position: PositionRecord, *, quote: PerpQuote | None) -> int | None:
    """How many settlements of a position the venue's log does not show; None if one may have passed since the
    log was read.
    """
    cursor, passed = _read_until(store), _last_settlement(quote, now=store.clock.now())
    if passed > (position.opened_at or position.created_at) and (cursor is None or cursor < passed):
        return None
    waiting = store.ledger.log.pending_settlements()
    return sum(item.position_id == position.position_id for item in waiting)


def _last_settlement(quote: PerpQuote | None, *, now: datetime) -> datetime:
    """When a contract settled last, by its running period; one of which no period is known may have settled
    at any full hour.
    """
    if quote is None or quote.funding is None:
        return floor_hour(now)
    return NextSettlement(quote.funding.next_time, quote.funding.interval).last(now)


def _read_until(store: Store) -> datetime | None:
    """Until when everything of the venue has been read; None if something never was."""
    cursors = [read_until(store, source) for source in SOURCES]
    known = [cursor for cursor in cursors if cursor is not None]
    return min(known) if len(known) == len(cursors) else None


def _unread(store: Store, views: tuple[PositionView, ...]) -> Iterator[Reason]:
    bases = ", ".join(view.base for view in views if view.funding_pending is None)
    if bases:
        cursor = _read_until(store)
        when = (
            "has not been read yet" if cursor is None else f"has been read until {cursor:%Y-%m-%d %H:%M} UTC"
        )
        text = f"{bases}: the venue's log {when}: what it paid since is not in here; run `fundarb reconcile`"
        yield Reason("unread", text)


def concerns(store: Store, views: tuple[PositionView, ...]) -> tuple[Reason, ...]:
    """What the figures alone do not say: an order without an end, a venue that holds something else, a perp
    whose end is announced, payments that nobody has read yet.
    """
    now = store.clock.now()
    found = [
        Reason("in_flight", f"{item.sentence(now)}: its figures are not certain; run `fundarb reconcile`")
        for item in unfinished(store)
    ]
    flying = {name for view in views for name in view.in_flight}
    found += [
        Reason(
            "venue_differs",
            f"{place}: our books say {plain(place.ours)}, the venue {plain(place.theirs)}: "
            "`fundarb reconcile` tells why",
        )
        for place in _places(views)
        if place.differs and not flying
    ]
    found += [delisting(view.base, view.delisted_at) for view in views if view.delisted_at is not None]
    return (*found, *_unread(store, views))


def _basis(spot: Decimal, perp: Decimal, *, multiplier: Decimal) -> Decimal:
    """``perp/(m·spot) − 1``, a fraction."""
    return _cut(perp / (multiplier * spot) - 1)


def _ratio(value: Decimal | None) -> Decimal | None:
    return None if value is None else _cut(value)


def _cut(value: Decimal) -> Decimal:
    """Ratios are shown to 12 places."""
    return value.quantize(Decimal("1e-12"))
