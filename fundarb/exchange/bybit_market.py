"""The public side of Bybit: instruments, quotes, books, funding history, fee schedule.

Quotes of the whole market take two requests; instruments come from the cache. Without a key nothing here is
signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates
from fundarb.core.instants import floor_hour, to_ms
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot, SettledFunding
from fundarb.errors import BadAnswer
from fundarb.exchange import bybit_marks as marks
from fundarb.exchange import bybit_terms as terms
from fundarb.exchange import endpoints, parse_account, parse_market, parse_tickers
from fundarb.exchange.gateway import Gateway, next_cursor
from fundarb.exchange.instruments import InstrumentCache, RawInstruments
from fundarb.exchange.origin import Complaint
from fundarb.exchange.parse import ParseError, Row, rows
from fundarb.exchange.strict import Answer, VenueRefused
from fundarb.venue.feed import Bar, CollateralTier, RiskTier

_COLD_REQUESTS = 4
_PAGE = 1000
_HISTORY_PAGE = 200
_MILLISECOND = timedelta(milliseconds=1)
_NOT_IN_DEMO = 10032


class BybitMarket:
    """Satisfies the port ``MarketData``."""

    def __init__(self, gateway: Gateway, cache_dir: Path | None) -> None:
        """Read through ``gateway``; keep instruments in ``cache_dir``, or in memory only."""
        self._gateway = gateway
        self.cache = InstrumentCache(
            self._read_instruments,
            clock=gateway.clock,
            source=gateway.url,
            folder=cache_dir,
            max_age=gateway.settings.instruments_max_age,
        )

    @property
    def requests_made(self) -> int:
        """HTTP requests since the start."""
        return self._gateway.counters.made

    @property
    def signed_requests(self) -> int:
        """Those of them that carried a signature; always zero without a key."""
        return self._gateway.counters.signed

    @property
    def clock_offset(self) -> timedelta | None:
        """Venue's clock less ours (positive: ours is behind); None before its first answer."""
        return self._gateway.server.offset

    @property
    def round_trip(self) -> timedelta | None:
        """The round trip of the last time measurement."""
        return self._gateway.server.round_trip

    @property
    def banned_until(self) -> datetime | None:
        """Until when no request is sent because the venue's IP limit was hit; None when they are."""
        return self._gateway.budget.banned_until

    def world(self) -> str:
        """Which market this is; ``Unavailable`` if a sandbox does not say."""
        return self._gateway.world()

    def stay_in(self, world: str, complaint: Complaint) -> None:
        """From now on every answer must be of this market, or raises ``OtherAccount``. Without a key only:
        with one it is the account that tells.
        """
        self._gateway.owner.belong(world, complaint)

    def in_place(self) -> bool:
        """Whether the market is known to be that one, on the connections that there are."""
        return self._gateway.owner.sure()

    def server_time(self) -> datetime:
        """The venue's clock; measures the offset as well."""
        return self._gateway.server.measure()

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Every spot pair and linear contract; from memory or disk unless too old or ``refresh``."""
        try:
            return self.cache.get(refresh=refresh)
        except ParseError as error:
            raise BadAnswer(f"instruments: {error}") from error

    def snapshot(self) -> MarketSnapshot:
        """All quotes of both markets, in two requests. ``unreadable`` says of which market a row is."""
        with self._gateway.patience.one_read():
            spot, spot_bad, spot_at = self._tickers(Category.SPOT, parse_tickers.spot_quotes)
            perp, perp_bad, perp_at = self._tickers(Category.LINEAR, parse_tickers.perp_quotes)
        unreadable = {symbol: f"spot: {reason}" for symbol, reason in spot_bad.items()}
        for symbol, reason in perp_bad.items():
            both = unreadable.get(symbol)
            unreadable[symbol] = f"{both}; linear: {reason}" if both else f"linear: {reason}"
        return MarketSnapshot(
            spot=spot, perp=perp, spot_as_of=spot_at, perp_as_of=perp_at, unreadable=unreadable
        )

    def _tickers(self, category: Category, parse: Any) -> tuple[Any, Mapping[str, str], datetime]:
        def read(answer: Answer) -> tuple[Any, Mapping[str, str], datetime]:
            if answer.time is None:
                raise ParseError("tickers without the time of the answer")
            quotes, unreadable = parse(answer)
            return quotes, unreadable, answer.time

        return self._gateway.read(endpoints.TICKERS, {"category": category.value}, parse=read)

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The order book of one symbol."""
        params = {"category": category.value, "symbol": symbol, "limit": depth}

        def read(answer: Answer) -> Book:
            return parse_market.book(answer, category, symbol=symbol)

        return self._gateway.read(endpoints.ORDER_BOOK, params, parse=read)

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Settled rates of [since, until], oldest first; without ``since`` the newest 200 up to ``until``.

        Pages backward by ``endTime``: a start alone is an error at the venue, and counting rows from it would
        cut the oldest ones after a change of the interval (Bybit V5 API). A short page is not taken for the
        last one: paging ends where no full hour is left.
        """
        found: dict[datetime, SettledFunding] = {}
        end = until
        while True:
            page = self._funding_page(symbol, end, since=since)
            for row in page:
                found[row.time] = row
            if since is None or not page:
                break
            end = page[-1].time - _MILLISECOND
            if floor_hour(end) < since:  # settlements fall on full hours: none is left
                break
        wanted = [row for row in found.values() if since is None or row.time >= since]
        return tuple(sorted(wanted, key=lambda row: row.time))

    def _funding_page(
        self, symbol: str, end: datetime | None, *, since: datetime | None
    ) -> list[SettledFunding]:
        """One page, newest first, all of it at or before ``end``, so that paging always moves."""
        params: dict[str, Any] = {"category": Category.LINEAR.value, "symbol": symbol, "limit": _HISTORY_PAGE}
        if end is not None:
            params["endTime"] = to_ms(end)
            if since is not None and since <= end:
                params["startTime"] = to_ms(since)  # with an end it only cuts what is not wanted

        def read(answer: Answer) -> list[SettledFunding]:
            page = sorted(parse_market.settled(answer, symbol), key=lambda row: row.time, reverse=True)
            if end is not None and page and page[0].time > end:
                raise ParseError("rates from after the end that was asked for")
            return page

        return self._gateway.read(endpoints.FUNDING_HISTORY, params, parse=read)

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """Mark price bars that start in [since, until], oldest first."""
        return marks.mark_bars(self._gateway, symbol, step=step, since=since, until=until)

    def ended(self, symbol: str) -> datetime | None:
        """When a contract was delivered that is listed no more (``bybit_terms``)."""
        return terms.ended(self._gateway, symbol)

    def risk_tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """The risk tiers of a contract, lowest first (``bybit_terms``)."""
        return terms.risk_tiers(self._gateway, symbol)

    def collateral(self) -> Mapping[str, tuple[CollateralTier, ...]]:
        """The collateral tiers of every coin (``bybit_terms``)."""
        return terms.collateral(self._gateway)

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """The account's rates with a key, else the public schedule of VIP 0 (also on demo, which lacks the
        endpoint).
        """
        schedule = VIP0_SPOT if category is Category.SPOT else VIP0_LINEAR
        if not self._gateway.has_key or self._gateway.settings.demo:
            return schedule
        params = {"category": category.value, "symbol": symbol}
        try:
            return self._gateway.read(
                endpoints.FEE_RATE,
                params,
                parse=lambda answer: parse_account.fee_rates(answer, symbol),
            )
        except VenueRefused as error:
            if error.code == _NOT_IN_DEMO:
                return schedule
            raise

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:
        """The account's rates of every symbol, in one signed request; empty without a key and on demo."""
        if not self._gateway.has_key or self._gateway.settings.demo:
            return {}
        try:
            return self._gateway.read(
                endpoints.FEE_RATE,
                {"category": category.value},
                parse=parse_account.fee_schedule,
            )
        except VenueRefused as error:
            if error.code == _NOT_IN_DEMO:
                return {}
            raise

    # ------------------------------------------------------------------------------------------ instruments

    def _read_instruments(self) -> RawInstruments:
        """Spot and linear, each symbol once, in at most four requests.

        Contracts that do not trade any more or not yet (Delivering, PreLaunch) must be asked for by name;
        they are, so that a delisting is seen and a coin without a market has its reason.
        """
        as_of = self._gateway.clock.now()  # by our clock, which also judges the age
        spot, _ = self._instrument_page({"category": Category.SPOT.value})
        linear: dict[str, Row] = {}
        used = 1
        cursor = ""
        while True:
            params = {"category": Category.LINEAR.value, "limit": _PAGE}
            page, following = self._instrument_page(params | ({"cursor": cursor} if cursor else {}))
            used += 1
            linear |= page
            if not following:
                break
            if following == cursor or used == _COLD_REQUESTS * 4:
                raise BadAnswer("the pages of the instrument list do not end")
            cursor = following
        if not spot or not linear:
            raise BadAnswer("the instrument list is empty")
        for status in ("Delivering", "PreLaunch")[: max(_COLD_REQUESTS - used, 0)]:
            page, _ = self._instrument_page(
                {"category": Category.LINEAR.value, "limit": _PAGE, "status": status}
            )
            linear = page | linear
        return RawInstruments(tuple(spot.values()), tuple(linear.values()), as_of)

    def _instrument_page(self, params: dict[str, Any]) -> tuple[dict[str, Row], str]:
        def read(answer: Answer) -> tuple[dict[str, Row], str]:
            page = {str(row.get("symbol")): row for row in rows(answer)}
            return page, next_cursor(answer)

        return self._gateway.read(endpoints.INSTRUMENTS, params, parse=read)
