"""The paper account: the venue engine over the real venue's live quotes, with a latency; no private request
exists in it.

The account lives in a file of its own between commands. Every order is written down before it is matched
and before its answer goes out; an order that a crash left unmatched meets the live book at the next start.
On start the account catches up: the funding settled meanwhile, from the venue's own history, at the mark of
that instant where the market data offers it (else at the current mark, and ``caught_up`` says so),
interest, and liquidation on the way.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fundarb.clock import Clock
from fundarb.core.account import FeeRates
from fundarb.core.instants import floor_hour, iso
from fundarb.core.market import (
    Book,
    Category,
    Instruments,
    MarketSnapshot,
    PerpInstrument,
    SettledFunding,
)
from fundarb.core.money import plain
from fundarb.core.orders import OrderRequest, Outcome, WriteAnswer
from fundarb.errors import ConfigError, Problem, Unavailable
from fundarb.exchange.inprocess import VenueSide
from fundarb.exchange.paper_feed import LiveFeed
from fundarb.exchange.paper_file import AccountFile
from fundarb.exchange.paper_parts import (
    CaughtUp,
    Live,
    MarkHistory,
    PaperAccount,
    PublicMarket,
    remembered,
    row,
    text,
    uid,
    worth_keeping,
)
from fundarb.exchange.strict import WireGate
from fundarb.venue.codec import decode, encode
from fundarb.venue.engine import Venue

__all__ = ["CaughtUp", "MarkHistory", "PaperAccount", "PaperExchange", "PublicMarket"]

QUOTES_KEPT = timedelta(seconds=10)
"""How old the quotes may be from which a held position is valued."""
HISTORY_KEPT = timedelta(days=40)
LATE_AFTER = timedelta(seconds=90)
"""How long the venue may take to publish a settled rate before the account goes on without it."""
_LATE_RETRY = timedelta(seconds=60)
_GAP = timedelta(hours=1)
_BAR = timedelta(minutes=15)
_JUST_BEFORE = timedelta(microseconds=1)
_AROUND = timedelta(seconds=1)
_BOOK_DEPTH = 200
_NEVER = datetime.max.replace(tzinfo=UTC)


class PaperExchange(VenueSide):
    """``engine.ports.Exchange``: public data pass through, the private side is simulated."""

    def __init__(
        self, market: PublicMarket, account: PaperAccount, *, clock: Clock, gate: WireGate | None
    ) -> None:
        """Nothing is read or fetched until the private side is first used."""
        super().__init__(clock, gate)
        self.latency = account.latency
        self.caught_up: CaughtUp | None = None
        self._market = market
        self._paper = account
        self._file = AccountFile(account.path)
        self._opened: Venue | None = None
        self._feed: LiveFeed | None = None
        self._live = Live()
        self._created = ""
        self._quoted_at: datetime | None = None
        self._asked_late: datetime | None = None
        self._writing = False

    # ------------------------------------------------------------------------------------------ market data

    @property
    def requests_made(self) -> int:
        """HTTP requests of the public side since the start."""
        return self._market.requests_made

    @property
    def clock_offset(self) -> timedelta | None:
        """The venue's clock less ours."""
        return self._market.clock_offset

    def server_time(self) -> datetime:
        """The venue's clock."""
        return self._market.server_time()

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Every instrument."""
        return self._market.instruments(refresh=refresh)

    def snapshot(self) -> MarketSnapshot:
        """All quotes; the paper venue sees the same ones."""
        snapshot = self._market.snapshot()
        if self._feed is not None:
            self._feed.show(snapshot)
            self._quoted_at = self._clock.now()
        return snapshot

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The live order book."""
        return self._market.book(category, symbol, depth=depth)

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Settled rates."""
        return self._market.settled_funding(symbol, since=since, until=until)

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """The public schedule: the paper account pays it."""
        return self._market.fee_rates(category, symbol)

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:  # noqa: ARG002
        """Nothing beyond the public schedule."""
        return {}

    # ------------------------------------------------------------------------------------------ the account

    @property
    def venue(self) -> Venue:
        """The account's venue, read from its file (or begun) when first asked for."""
        return self._open()[0]

    def _open(self) -> tuple[Venue, LiveFeed]:
        if self._opened is None or self._feed is None:
            content = self._file.read()
            self._opened, self._feed = self._load(content) if content is not None else self._begin()
            self._quoted_at = None
            if content is None:
                self._save()  # its uid goes into a database: from now on there is this account and no other
        return self._opened, self._feed

    def _begin(self) -> tuple[Venue, LiveFeed]:
        feed = LiveFeed(self._market.instruments())
        now = self._clock.now()
        opening = ",".join(f"{plain(amount)} {coin}" for coin, amount in sorted(self._paper.balances.items()))
        self._created = f"{iso(now)}/{opening}/{self._paper.path.absolute()}"
        self._live = Live()
        return Venue(feed, start=now, uid=uid(self._created), balances=self._paper.balances), feed

    def _load(self, content: Mapping[str, Any]) -> tuple[Venue, LiveFeed]:
        try:
            self._created = str(content["created"])
            self._live = decode(Live, content["live"])
            quotes, instruments = remembered(content, self._market.instruments())
            feed = LiveFeed(instruments, quotes)
            venue = Venue.restore(feed, content["venue"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                Problem(
                    where=str(self._paper.path),
                    message=f"the paper account is damaged: {error}",
                    remedy="restore the file, or move it away and begin a new account with a new database",
                )
            ) from error
        return venue, feed

    def _save(self) -> None:
        """Write the account down; on failure forget what is only in memory, so that disk and mind agree."""
        if self._paper.readonly:
            return
        venue, feed = self._open()
        held = worth_keeping(venue)
        content = {
            "created": self._created,
            "live": encode(self._live),
            "quotes": {text(key): row(point) for key in held if (point := feed.remembered(key)) is not None},
            "instruments": [
                {"category": kind.value, "row": encode(item)}
                for kind, symbol in held
                if (item := feed.instrument(kind, symbol)) is not None
            ],
            "venue": venue.snapshot(),
        }
        try:
            self._file.write(content)
        except OSError as error:
            self._opened = None
            raise Unavailable(f"the paper account cannot be written: {error.strerror or error}") from error

    def _changed(self) -> None:
        self._save()

    # ------------------------------------------------------------------------------------------ time

    def _sync(self) -> datetime:
        """Bring the account to the present: quotes, settled funding, books for open orders, then time."""
        venue, feed = self._open()
        now = self._clock.now()
        began, version = venue.now, venue.version
        gap = now - began >= _GAP and bool(venue.held())
        self._quotes(now)
        self._announced_delistings()
        history = gap and self._mark_history(began, now)
        self._learn_settlements(now)
        held, rows = venue.held(), len(venue.all_fills())
        self._show_books()
        venue.advance(self._hold_back(now))
        feed.forget_books()
        feed.forget_marks()
        self._expect(now)
        self._settle_late(now)
        if gap:
            self._note_gap(began, held, rows=rows, marks="history" if history else "current")
        if venue.version != version:
            venue.prune(now - HISTORY_KEPT)
            self._save()
        return now

    def _quotes(self, now: datetime) -> None:
        """Fresh quotes when there is something to value or to match."""
        venue, _ = self._open()
        if not venue.held() and not venue.any_open and not venue.coins_owned():
            return
        if self._quoted_at is None or now - self._quoted_at > QUOTES_KEPT:
            self.snapshot()

    def _announced_delistings(self) -> None:
        """A held contract that the venue delists, or has delisted meanwhile, is settled here too."""
        venue, feed = self._open()
        for symbol in venue.held():
            instrument = feed.instrument(Category.LINEAR, symbol)
            if not isinstance(instrument, PerpInstrument) or venue.delivery(symbol) is not None:
                continue
            gone = symbol not in self._market.instruments().perp
            when = instrument.delivery_time
            if gone or when is not None:
                venue.world.delist(symbol, max(when or venue.now, venue.now))

    def _mark_history(self, since: datetime, until: datetime) -> bool:
        """Mark bars of the time nobody looked, if the market data offers them for every held symbol."""
        venue, feed = self._open()
        if not isinstance(self._market, MarkHistory):
            return False
        for symbol, size in venue.held().items():
            feed.show_marks(
                symbol,
                self._market.mark_bars(symbol, step=_BAR, since=floor_hour(since), until=until),
                size=size,
            )
        return True

    def _note_gap(self, since: datetime, held: Mapping[str, Decimal], *, rows: int, marks: str) -> None:
        venue, _ = self._open()
        news = venue.all_fills()[rows:]
        gone = {row.symbol for row in news if row.kind.trades and not row.link_id}
        self.caught_up = CaughtUp(
            since=since,
            until=venue.now,
            settlements=sum(1 for row in news if not row.kind.trades),
            liquidated=tuple(symbol for symbol in held if symbol in gone),
            marks=marks,
        )

    # ------------------------------------------------------------------------------------------ funding

    def _learn_settlements(self, now: datetime) -> None:
        """Ask for settled rates whenever a full hour has passed: intervals change unannounced, full hours
        stay.
        """
        venue, feed = self._open()
        if floor_hour(now) <= venue.now:
            return
        for symbol in venue.held():
            rows = self._market.settled_funding(symbol, since=venue.now, until=now)
            feed.show_settled(symbol, rows)

    def _expect(self, now: datetime) -> None:
        """Remember when each held symbol settles next, to notice a rate that is published late."""
        venue, feed = self._open()
        held, expected = venue.held(), self._live.expected
        for symbol in [symbol for symbol in expected if symbol not in held]:
            del expected[symbol]
        for symbol in held:
            if expected.get(symbol, _NEVER) > now and feed.runs(symbol):
                expected[symbol] = feed.funding(symbol, now).next_time

    def _hold_back(self, now: datetime) -> datetime:
        """Now, unless an expected rate is not out yet: then just before it, for a while, if nothing must be
        matched.
        """
        venue, feed = self._open()
        target = now
        for symbol, due in list(self._live.expected.items()):
            if due > now:
                continue
            if feed.settled_at(symbol, due) is None and due > venue.now:
                if now - due < LATE_AFTER and not venue.any_open and not self._writing:
                    target = min(target, due - _JUST_BEFORE)
                    continue
                self._live.late.setdefault(symbol, []).append(due)
            del self._live.expected[symbol]
        return target

    def _settle_late(self, now: datetime) -> None:
        """Book rates that came out after the account had gone on without them."""
        if not self._live.late or (self._asked_late is not None and now - self._asked_late < _LATE_RETRY):
            return
        self._asked_late = now
        venue, _ = self._open()
        for symbol, times in list(self._live.late.items()):
            rows = self._market.settled_funding(symbol, since=times[0] - _AROUND, until=times[-1] + _AROUND)
            known = {row.time: row for row in rows}
            for time in [time for time in times if time in known]:
                venue.settle_late(known[time])
                times.remove(time)
            if not times:
                del self._live.late[symbol]

    # ------------------------------------------------------------------------------------------ orders

    def _arrive(self, request: OrderRequest, signed_at: datetime) -> WriteAnswer:
        """A create that cannot even be looked at, or written down, never happened."""
        self._writing = True
        try:
            self._know(request)
            return super()._arrive(request, signed_at)
        except Unavailable as error:
            return WriteAnswer(outcome=Outcome.REFUSED, message=str(error), sent=False)
        finally:
            self._writing = False

    def _know(self, request: OrderRequest) -> None:
        """Quotes for a symbol before its first order; an instrument listed since the start needs a new
        feed.
        """
        venue, feed = self._open()
        if not feed.lists(request.category, request.symbol):
            self._feed = LiveFeed(self._market.instruments(refresh=True))
            self._opened = Venue.restore(self._feed, venue.snapshot())
            self._quoted_at = None
        _, feed = self._open()
        stale = self._quoted_at is None or self._clock.now() - self._quoted_at > QUOTES_KEPT
        if stale or feed.remembered((request.category, request.symbol)) is None:
            self.snapshot()

    def _matched(self) -> None:
        """The order is written down; now it meets the live book. If that cannot be had it waits for the
        next look.
        """
        try:
            self._sync()
        except Unavailable:
            return

    def _show_books(self) -> None:
        venue, feed = self._open()
        orders = itertools.chain.from_iterable(venue.open_orders(kind) for kind in Category)
        for category, symbol in dict.fromkeys((order.category, order.symbol) for order in orders):
            feed.show_book(self._market.book(category, symbol, depth=_BOOK_DEPTH))
