"""The venue engine in process behind the port of a real exchange: for simulation, backtest and the tests of
the engine.

The private side is ``inprocess.VenueSide``; here are the quotes, taken from the venue's own market source,
and a clock that is the venue's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.account import FeeRates
from fundarb.core.market import (
    Book,
    Category,
    FundingRate,
    Instruments,
    MarketSnapshot,
    PerpInstrument,
    PerpQuote,
    SettledFunding,
    SpotInstrument,
    SpotQuote,
)
from fundarb.core.money import dec
from fundarb.exchange.inprocess import Loss, VenueSide
from fundarb.exchange.strict import WireGate
from fundarb.venue.engine import Venue
from fundarb.venue.feed import Point

__all__ = ["LocalExchange", "Loss", "VenueClock"]

_NOTHING = timedelta()
_RATES = 200


class VenueClock:
    """A clock that *is* the venue's time: sleeping advances the venue."""

    def __init__(self, venue: Venue) -> None:
        """Over one venue."""
        self._venue = venue

    def now(self) -> datetime:
        """The venue's present."""
        return self._venue.now

    def monotonic(self) -> timedelta:
        """Venue time since it began."""
        return self._venue.now - self._venue.started

    def sleep(self, duration: timedelta) -> None:
        """Let everything due until then happen."""
        self._venue.advance(self._venue.now + max(duration, _NOTHING))


class LocalExchange(VenueSide):
    """``engine.ports.Exchange`` with the venue's own market data."""

    def __init__(
        self, venue: Venue, gate: WireGate | None, *, clock: Clock, latency: timedelta = _NOTHING
    ) -> None:
        """``latency`` passes on the clock between the gate and the venue's door."""
        super().__init__(clock, gate)
        self._venue = venue
        self.latency = latency

    @property
    def venue(self) -> Venue:
        """The venue in process."""
        return self._venue

    @property
    def requests_made(self) -> int:
        """No HTTP here."""
        return 0

    @property
    def clock_offset(self) -> timedelta:
        """The venue shares our clock."""
        return _NOTHING

    def server_time(self) -> datetime:
        """The venue's present."""
        return self._sync()

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Everything that is not closed."""
        del refresh  # nothing is cached
        now = self._sync()
        spot = self.venue.instruments(Category.SPOT)
        perp = self.venue.instruments(Category.LINEAR)
        return Instruments(
            spot={
                name: item
                for name, item in spot.items()
                if isinstance(item, SpotInstrument) and item.status != "Closed"
            },
            perp={
                name: item
                for name, item in perp.items()
                if isinstance(item, PerpInstrument) and item.status != "Closed"
            },
            as_of=now,
        )

    def snapshot(self) -> MarketSnapshot:
        """All quotes; a row with an empty side or a forced impossible price is unreadable."""
        now = self._sync()
        unreadable: dict[str, str] = {}
        fundings = self.venue.fundings()
        spot = {
            symbol: self._spot_quote(symbol, point)
            for symbol, point in self._readable(Category.SPOT, unreadable).items()
        }
        perp = {
            symbol: self._perp_quote(symbol, point, funding=fundings.get(symbol))
            for symbol, point in self._readable(Category.LINEAR, unreadable).items()
        }
        return MarketSnapshot(spot=spot, perp=perp, spot_as_of=now, perp_as_of=now, unreadable=unreadable)

    def _readable(self, category: Category, unreadable: dict[str, str]) -> Mapping[str, Point]:
        rows: dict[str, Point] = {}
        for symbol, point in self.venue.points(category).items():
            try:
                rows[symbol] = _patched(point, self.venue.ticker_patch(category, symbol))
            except ValueError as error:
                unreadable[symbol] = str(error)
        return rows

    def _spot_quote(self, symbol: str, point: Point) -> SpotQuote:
        coin = self.venue.instruments(Category.SPOT)[symbol].base_coin
        rules = self.venue.coin_rules().get(coin)
        index = self.venue.usd_price(coin) if rules is not None and rules.tiers else None
        bid, ask = _both_sides(point)
        return SpotQuote(
            symbol=symbol,
            bid=bid,
            bid_size=point.bid_size,
            ask=ask,
            ask_size=point.ask_size,
            last=point.last,
            turnover_24h=point.turnover_24h,
            usd_index=index or None,
        )

    def _perp_quote(self, symbol: str, point: Point, *, funding: FundingRate | None) -> PerpQuote:
        instrument = self.venue.instruments(Category.LINEAR)[symbol]
        bid, ask = _both_sides(point)
        return PerpQuote(
            symbol=symbol,
            bid=bid,
            bid_size=point.bid_size,
            ask=ask,
            ask_size=point.ask_size,
            last=point.last,
            turnover_24h=point.turnover_24h,
            mark=point.mark,
            index=point.index,
            open_interest_notional=point.open_interest * point.mark,
            funding=funding,
            delivery_time=instrument.delivery_time if isinstance(instrument, PerpInstrument) else None,
        )

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The order book of one symbol."""
        self._sync()
        return self.venue.book(category, symbol, depth=depth)

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Settled rates, oldest first; without ``since`` the newest 200."""
        now = self._sync()
        rows = self.venue.settled_funding(symbol, since or now - timedelta(days=_RATES), until=until or now)
        return rows if since is not None else rows[-_RATES:]

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """The account's rates."""
        return self.venue.fee_rates(category, symbol)

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:
        """The account's rates of everything listed."""
        return {symbol: self.venue.fee_rates(category, symbol) for symbol in self.venue.instruments(category)}


def _both_sides(point: Point) -> tuple[Decimal, Decimal]:
    """Bid and ask; ``ValueError`` for an empty side."""
    if point.bid is None or point.ask is None:
        raise ValueError("an empty side of the book")
    return point.bid, point.ask


_PATCHES = {
    "bid1Price": "bid",
    "ask1Price": "ask",
    "lastPrice": "last",
    "markPrice": "mark",
    "indexPrice": "index",
}


def _patched(point: Point, patch: Mapping[str, str]) -> Point:
    """The point with forced prices; ``ValueError`` where an adapter would refuse the row."""
    changes = {_PATCHES[name]: dec(text) for name, text in patch.items() if name in _PATCHES}
    point = point._replace(**changes) if changes else point
    if min(*_both_sides(point), point.last, point.mark) <= 0:
        raise ValueError("a price that is not positive")
    return point
