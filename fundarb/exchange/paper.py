"""The paper account: the venue engine over the real venue's live quotes, with a latency; no private request
exists in it.

The account lives in a file of its own between commands. Every order is written down before it is matched and
before its answer goes out; an order that a crash left unmatched meets the live book at the next start. On
start the account catches up: the funding settled meanwhile, from the venue's own history, at the mark of that
instant where the market data offers it (else at the current mark, and ``caught_up`` says so), interest, and
liquidation on the way. It is never kinder than the venue: quotes of the past fill nothing, a book that is too
old counts as empty, and margin is computed by the venue's public tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fundarb.clock import Clock
from fundarb.core.account import FeeRates
from fundarb.core.instants import iso
from fundarb.core.market import (
    Book,
    Category,
    Instruments,
    MarketSnapshot,
    SettledFunding,
)
from fundarb.core.market_data import MarketData
from fundarb.core.money import plain
from fundarb.core.orders import OrderRequest, Outcome, WriteAnswer
from fundarb.errors import ConfigError, OtherAccount, Problem, Rejected, Unavailable
from fundarb.exchange.inprocess import VenueSide
from fundarb.exchange.origin import Origin
from fundarb.exchange.paper_delisting import Delistings
from fundarb.exchange.paper_feed import Key, LiveFeed
from fundarb.exchange.paper_file import AccountFile
from fundarb.exchange.paper_funding import Settlements
from fundarb.exchange.paper_parts import (
    CaughtUp,
    Live,
    MarginTerms,
    MarkHistory,
    PaperAccount,
    remembered,
    row,
    text,
    uid,
    where_known,
    worth_keeping,
)
from fundarb.exchange.paper_past import Past, caught_up
from fundarb.exchange.strict import WireGate
from fundarb.venue.codec import decode, encode
from fundarb.venue.engine import Venue

__all__ = ["CaughtUp", "MarginTerms", "MarkHistory", "PaperAccount", "PaperExchange"]

QUOTES_KEPT = timedelta(seconds=10)
"""How old the quotes may be from which a held position is valued."""
HISTORY_KEPT = timedelta(days=40)
_GAP = timedelta(minutes=5)
"""From when on the time between two looks is one of which ``caught_up`` tells."""
BOOK_KEPT = timedelta(seconds=10)
"""An older book offers nothing any more."""
_BOOK_DEPTH = 200
_NOTHING = timedelta()


class PaperExchange(VenueSide):
    """``engine.ports.Exchange``: public data pass through, the private side is simulated."""

    def __init__(
        self, market: MarketData, account: PaperAccount, *, clock: Clock, gate: WireGate | None
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
        self._world = ""
        self._quoted: timedelta | None = None
        self._written: tuple[int, dict[str, datetime]] | None = None
        self._settlements = Settlements(market, self._live)
        self._delistings = Delistings(market)
        self._past = Past(market)
        self._writing = False

    # ------------------------------------------------------------------------------------------ market data

    @property
    def requests_made(self) -> int:
        """HTTP requests of the public side since the start."""
        return self._market.requests_made

    @property
    def banned_until(self) -> datetime | None:
        """Until when the market's venue serves us no more."""
        return self._market.banned_until

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
        if self._feed is not None and self._opened is not None:
            self._quoted = self._clock.monotonic()
            self._feed.show(snapshot, self._clock.now())
            self._opened.requoted()
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

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:  # noqa: ARG002 - the interface gives it
        """Nothing beyond the public schedule."""
        return {}

    # ------------------------------------------------------------------------------------------ the account

    @property
    def venue(self) -> Venue:
        """The account's venue, read from its file (or begun) when first asked for."""
        return self._open()[0]

    def _open(self) -> tuple[Venue, LiveFeed]:
        if self._opened is None or self._feed is None:
            if not self._paper.readonly:
                self._file.claim()
            content = self._file.read()
            self._world = self._same_world(content)
            self._opened, self._feed = self._load(content) if content is not None else self._begin()
            self._settlements = Settlements(self._market, self._live)
            self._quoted = None
            self._written = self._changeable(self._opened)
            if content is None:
                self._save()  # its uid goes into a database: from now on there is this account and no other
        return self._opened, self._feed

    def _same_world(self, content: Mapping[str, Any] | None) -> str:
        """The market on which the account was begun, "" where that cannot be told. ``OtherAccount`` if what
        feeds it now is another one: prices of two worlds in one account would be neither's.
        """
        known = str(content.get("market", "")) if content is not None else ""
        if not isinstance(self._market, Origin):
            return known
        try:
            found = self._market.world()
        except Unavailable:
            if content is None:
                raise
            found = known
        if known and found != known:
            raise OtherAccount(self._other_world(known, found))
        if found:
            self._market.stay_in(found, self._other_world)
        return found

    def _other_world(self, expected: str, found: str) -> Problem:
        return Problem(
            where=str(self._paper.path),
            message=f"the paper account was begun on {expected}, but its quotes now come from {found}",
            remedy="bring that market back, or begin a new account with a new database (--db)",
        )

    def sure(self) -> bool:
        """Whether the quotes are known to be of the market on which the account was begun."""
        return self._market.in_place() if self._world and isinstance(self._market, Origin) else True

    def _begin(self) -> tuple[Venue, LiveFeed]:
        self._live = Live()
        feed = LiveFeed(self._market.instruments(), self._live.terms)
        now = self._clock.now()
        opening = ",".join(f"{plain(amount)} {coin}" for coin, amount in sorted(self._paper.balances.items()))
        self._created = f"{iso(now)}/{opening}/{self._paper.path.absolute()}"
        return Venue(feed, start=now, uid=uid(self._created), balances=self._paper.balances), feed

    def _load(self, content: Mapping[str, Any]) -> tuple[Venue, LiveFeed]:
        try:
            self._created = str(content["created"])
            self._live = decode(Live, content["live"])
            quotes, instruments = remembered(content, self._market.instruments())
            feed = LiveFeed(instruments, self._live.terms, remembered=quotes)
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
        try:
            self._file.write(self._content())
        except OSError as error:
            self._opened = None
            raise Unavailable(f"the paper account cannot be written: {error.strerror or error}") from error
        self._written = self._changeable(self.venue)

    @staticmethod
    def _changeable(venue: Venue) -> tuple[int, dict[str, datetime]]:
        """By what an account that has changed is told: the venue's version does not count deliveries."""
        return venue.version, dict(venue.deliveries())

    def _content(self) -> dict[str, Any]:
        """The account with the quotes and instruments that it cannot be valued without."""
        venue, feed = self._open()
        held = worth_keeping(venue)
        return {
            "created": self._created,
            "market": self._world,
            "live": encode(self._live),
            "quotes": {text(key): row(point) for key in held if (point := feed.remembered(key)) is not None},
            "instruments": [
                {"category": kind.value, "row": encode(item)}
                for kind, symbol in held
                if (item := feed.instrument(kind, symbol)) is not None
            ],
            "venue": venue.snapshot(),
        }

    def _changed(self) -> None:
        self._save()

    # ------------------------------------------------------------------------------------------ time

    def _sync(self) -> datetime:
        """Bring the account to the present: quotes, settled funding, books for open orders, then time. The
        present is never before what the account has seen, also where the machine's clock was set back.

        What the look changed is on disk when it ends, and so is what an earlier look changed that failed.
        """
        venue, feed = self._open()
        began = venue.now
        now = max(self._clock.now(), began)
        gap = now - began >= _GAP and bool(venue.held())
        self._quotes()
        self._delistings.learn(venue, feed, now=now)
        self._settlements.learn(venue, feed, now=now)
        history = self._past.show(venue, feed, now=now, gap=gap)
        held, rows = venue.held(), len(venue.all_fills())
        self._show_books(now)
        patient = not venue.any_open and not self._writing
        venue.advance(self._settlements.hold_back(venue, feed, now=now, patient=patient))
        feed.forget_books()
        if venue.held():
            venue.look()
        feed.forget_marks()
        self._settlements.expect(venue, feed, now=now)
        self._settlements.settle_late(venue, now)
        if gap:
            news = venue.all_fills()[rows:]
            self.caught_up = caught_up((began, venue.now), held, news=news, history=history)
        if self._changeable(venue) != self._written:
            venue.prune(began - HISTORY_KEPT)  # what has just been caught up with was not read by anybody yet
            self._save()
        return now

    def _quotes(self) -> None:
        """Fresh quotes when there is something to value or to match."""
        venue, _ = self._open()
        if not venue.held() and not venue.any_open and not venue.coins_owned():
            return
        if self._quotes_are_old():
            self.snapshot()

    def _quotes_are_old(self) -> bool:
        return self._quoted is None or self._clock.monotonic() - self._quoted > QUOTES_KEPT

    # ------------------------------------------------------------------------------------------ orders

    def _arrive(self, request: OrderRequest, signed_at: datetime) -> WriteAnswer:
        """A create that cannot even be looked at, or written down, never happened."""
        self._writing = True
        try:
            self._know(request)
            return super()._arrive(request, signed_at)
        except (Unavailable, OtherAccount, Rejected) as error:
            return WriteAnswer(outcome=Outcome.REFUSED, message=str(error), sent=False)
        finally:
            self._writing = False

    def _know(self, request: OrderRequest) -> None:
        """Quotes for a symbol before its first order; an instrument listed since the start needs a new
        feed, which still knows what the account holds.
        """
        _, feed = self._open()
        listed = feed.lists(request.category, request.symbol)
        if self._learn_terms(request) or not listed:
            content = self._content()
            quotes, instruments = remembered(content, self._market.instruments(refresh=not listed))
            self._feed = LiveFeed(instruments, self._live.terms, remembered=quotes)
            self._opened = Venue.restore(self._feed, content["venue"])
            self._quoted = None
        _, feed = self._open()
        if self._quotes_are_old() or feed.remembered((request.category, request.symbol)) is None:
            self.snapshot()

    def _learn_terms(self, request: OrderRequest) -> bool:
        """Read the tables of margin that this order needs, once a day; True if they differ from what was
        known. What cannot be read keeps its assumption.
        """
        if not isinstance(self._market, MarginTerms):
            return False
        terms, now = self._live.terms, self._clock.now()
        before = encode(terms.tiers), encode(terms.collateral)
        wanted = ["", request.symbol] if request.category is Category.LINEAR else [""]
        for name in wanted:
            if not terms.due(now, name):
                continue
            try:
                if name:
                    terms.tiers[name] = list(self._market.risk_tiers(name))
                else:
                    found = self._market.collateral()
                    terms.collateral = {coin: list(tiers) for coin, tiers in found.items()}
            except (Unavailable, Rejected):
                continue
            terms.read[name] = now
        return before != (encode(terms.tiers), encode(terms.collateral))

    def _matched(self) -> None:
        """The order is written down; now it meets the live book. If that cannot be had it waits for the
        next look.
        """
        try:
            self._sync()
        except (Unavailable, OtherAccount, Rejected):
            return

    def _show_books(self, now: datetime) -> None:
        """The live books that open orders meet."""
        venue, feed = self._open()
        orders = itertools.chain.from_iterable(venue.open_orders(kind) for kind in Category)
        newest: dict[Key, datetime] = {}
        for order in orders:
            newest.setdefault((order.category, order.symbol), order.created)
        for (category, symbol), created in newest.items():
            feed.show_book(self._book(category, symbol, patient=now - created <= BOOK_KEPT))

    def _book(self, category: Category, symbol: str, *, patient: bool) -> Book:
        """One live book. Nothing is left of it that is too old, of a symbol that the market does not know
        (any more), or where it cannot be had and nobody waits for it any longer: one order must not hold up
        the whole account.
        """
        nothing = Book(category=category, symbol=symbol, bids=(), asks=(), as_of=self._clock.now())
        try:
            book = where_known(lambda: self._market.book(category, symbol, depth=_BOOK_DEPTH), nothing)
        except Unavailable:
            if patient:
                raise
            return nothing
        old = self._clock.now() + (self._market.clock_offset or _NOTHING) - book.as_of > BOOK_KEPT
        return replace(book, bids=(), asks=()) if old else book
