"""What all end points share: the venue, its clock, keys, faults, limits and the log of requests; one
account, one thread.

Every request first brings the venue to the present, so that everything due by then has happened in order
before it is answered. Nothing here speaks HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from secrets import token_hex
from typing import Any

from fundarb.core.instants import floor_hour, iso, to_ms
from fundarb.core.market import Category
from fundarb.errors import ConfigError, FundarbError, Problem
from fundarb.sandbox.arguments import Arguments
from fundarb.sandbox.auth import ApiKey, Keyring, Signed
from fundarb.sandbox.faults import FaultBook
from fundarb.sandbox.limits import Limits
from fundarb.sandbox.options import SandboxOptions, world_uid
from fundarb.sandbox.past import Past
from fundarb.sandbox.restoring import World, read, untouched, written
from fundarb.sandbox.setting import Setting
from fundarb.sandbox.timekeeping import Timekeeper
from fundarb.sandbox.wire import Parameters, WireError
from fundarb.venue.engine import Venue
from fundarb.venue.feed import EndingFeed, MarketFeed
from fundarb.venue.rows import Directive, Notice, Topic

_READS_KEPT = 50_000
_TICK_CACHE = 4
_A_HABIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way through an end point. ``cutoff``: a lagging read sees nothing younger than
    this. ``granted``: how many orders of a batch the request limit lets through, None for all.
    """

    method: str
    path: str
    parameters: Parameters
    now: datetime
    key: ApiKey | None = None
    cutoff: datetime | None = None
    directive: Directive | None = None
    granted: int | None = None

    def visible(self, instant: datetime) -> bool:
        """Whether something that happened then is to be seen by this read."""
        return self.cutoff is None or instant <= self.cutoff


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as ``/sandbox/truth`` tells it; ``timestamp`` is the signed one (None: not signed)."""

    at: datetime
    method: str
    path: str
    link_id: str
    timestamp: int | None
    outcome: str

    def row(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "time": to_ms(self.at),
            "method": self.method,
            "path": self.path,
            "link_id": self.link_id,
            "timestamp": self.timestamp,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DayText:
    """The slow parts of a ticker row, ready as text, with the figures they were made from."""

    turnover: Decimal
    interest: Decimal
    high: Decimal
    low: Decimal
    prev: float
    interest_size: float
    head: str
    high_text: str
    low_text: str
    tail: str


class Habit:
    """Whether somebody asks for all tickers of a market after every step of a virtual clock: then they are
    made ready with the step, instead of while he waits.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._asked: set[Category] = set()
        self._steps: dict[Category, int] = dict.fromkeys(Category, 0)

    def ask(self, category: Category) -> None:
        """All tickers of a market were asked for."""
        self._asked.add(category)

    def step(self) -> tuple[Category, ...]:
        """The clock has moved; the markets that were asked for after each of the last two steps."""
        for category in Category:
            self._steps[category] = self._steps[category] + 1 if category in self._asked else 0
        self._asked.clear()
        return tuple(category for category, steps in self._steps.items() if steps >= _A_HABIT)


class RequestLog:
    """Every write for ever, of the reads the latest ones; in the order of arrival."""

    def __init__(self) -> None:
        """Empty."""
        self._count = 0
        self._writes: list[tuple[int, Logged]] = []
        self._reads: deque[tuple[int, Logged]] = deque(maxlen=_READS_KEPT)

    def add(self, entry: Logged) -> None:
        """Record one."""
        self._count += 1
        (self._writes.append if entry.method == "POST" else self._reads.append)((self._count, entry))

    def rows(self) -> list[dict[str, Any]]:
        """All of them, oldest first."""
        return [entry.row() for _, entry in sorted([*self._writes, *self._reads], key=lambda item: item[0])]


class House:
    """One sandbox in this process."""

    def __init__(self, options: SandboxOptions) -> None:
        """Open the doors: build the market and the venue, or restore them from the state file.
        ``ConfigError`` for a market that ends on a clock that cannot be held.
        """
        self.options = options
        self.keyring = Keyring(options.key, options.secret)
        self.faults = FaultBook()
        self.limits = Limits(enforced=options.limited)
        self.log = RequestLog()
        self.stills: dict[str, House] = {}
        """What reads see that an armed fault makes stale, by its id."""
        self.setting = Setting()
        self.funding_texts: dict[str, tuple[datetime, str]] = {}
        self.day_texts: dict[tuple[Category, str], DayText] = {}
        self.habit = Habit()
        self.served_text: dict[tuple[str, datetime], str] = {}
        self.restarts = 0
        """How often the world has restarted the platform."""
        self.listeners: list[Callable[[Notice], None]] = []
        """Who is told every event of the venue, whichever venue a restore puts in its place."""
        self.streamed_update: Callable[[Category, str], int | None] = _nobody_streams
        """The number of the last update of a symbol's order book stream, brought up to date; None if nobody
        watches it.
        """
        self.clock = Timekeeper(options.clock, options.start)
        self.start = self.clock.now()
        self.feed: MarketFeed = options.market(self.start)
        if self.until is not None and not self.clock.virtual:
            problem = f"the real clock would run past the end of the recording at {iso(self.until)}"
            raise ConfigError(Problem("--replay", problem, "add --clock virtual and a --start inside it"))
        run = options.run if options.run is not None else token_hex(8)
        self.venue = Venue(
            self.feed,
            start=self.start,
            uid=world_uid(options.seed, self.start, replay=options.replay, run=run),
            balances=dict(options.balances),
            rules=options.venue_rules(),
        )
        self.past = Past(self.venue)
        self.happenings = self.feed.happenings()
        self.venue.subscribe(self._heard)

    @property
    def until(self) -> datetime | None:
        """The last instant of which the market knows anything; None for one that goes on."""
        return self.feed.until if isinstance(self.feed, EndingFeed) else None

    def coins(self) -> frozenset[str]:
        """Every coin that this venue deals in: of a spot pair, or one that has collateral rules."""
        pairs = self.venue.instruments(Category.SPOT).values()
        traded = (name for pair in pairs for name in (pair.base_coin, pair.quote_coin))
        return frozenset((*self.venue.coin_rules(), *traded))

    def present(self) -> datetime:
        """Bring the venue to its clock's present."""
        now = self.clock.now()
        self.venue.advance(now)
        return self.venue.now

    def wire_now(self) -> datetime:
        """The time the venue claims: its own, shifted by ``skew``."""
        return self.venue.now + timedelta(milliseconds=self.setting.skew_ms)

    def move(self, instant: datetime) -> datetime:
        """Move a virtual clock; returns after everything due has happened, the market included: in a new
        hour all its prices have moved on, so that the next reader does not wait for them.
        """
        before = floor_hour(self.venue.now)
        self.venue.advance(instant)
        self.clock.move_to(instant)
        if floor_hour(self.venue.now) != before:
            self.look()
        return self.venue.now

    def look(self) -> None:
        """Bring every price of both markets up to the present instant."""
        for category in Category:
            self.venue.points(category)

    def arm(self, body: Arguments) -> str:
        """Arm a fault, from the present on; its id. ``ControlError`` leaves everything as it was."""
        ident = self.faults.arm(body)
        armed = {rule.id for rule in self.faults.armed()} - {ident}
        self.stills = {name: still for name, still in self.stills.items() if name in armed}
        if self.faults.stale(ident):
            world = replace(self.as_world(), venue=Venue.restore(self.feed, self.venue.snapshot()))
            self.stills[ident] = copy(self)
            self.stills[ident].enter(world)
        return ident

    def settled_reads(self) -> None:
        """Keep what lagging reads need; called after every request."""
        self.past.keep(self.venue)

    def remember_text(self, name: str, text: str) -> str:
        """Keep a built answer for the same instant (bulk tickers)."""
        if len(self.served_text) >= _TICK_CACHE:
            self.served_text.clear()
        self.served_text[name, self.venue.now] = text
        return text

    def forget_texts(self) -> None:
        """Something outside the feed changed the market: no text built before holds."""
        self.served_text.clear()
        self.day_texts.clear()
        self.funding_texts.clear()

    def _heard(self, notice: Notice) -> None:
        self.past.heard(notice)
        if notice.topic is Topic.MARKET:
            self.forget_texts()
        for listener in self.listeners:
            listener(notice)

    def note(self, call: tuple[str, str], signed: Signed | None, *, link_id: str, outcome: str) -> None:
        """Write one request into the log."""
        stamp = signed.timestamp_ms if signed is not None else None
        self.log.add(Logged(self.venue.now, call[0], call[1], link_id, stamp, outcome))

    # ------------------------------------------------------------------------------------------ snapshot

    def snapshot(self) -> dict[str, Any]:
        """The complete state as JSON values; faults and the request log are not part of it."""
        return written(self.as_world(), self.options)

    def restore(self, saved: Mapping[str, Any], *, trial: Callable[[House, datetime], None]) -> None:
        """Become what a snapshot says; ``ValueError`` for one that no world of this market can have given,
        with nothing changed. ``trial`` lives in a copy of it first.

        A virtual clock goes (back) to the snapshot's instant; on a real clock the venue then catches up
        with the present. Armed faults stay armed; bans and counted requests are forgotten.
        """
        try:
            aside, found = copy(self), read(saved, self.options, here=self.as_world())
            aside.enter(found)
            trial(aside, aside.venue.now if self.clock.virtual else self.clock.now())
            world = untouched(found, saved, options=self.options)
        except (LookupError, TypeError, AttributeError, ArithmeticError, FundarbError, WireError) as error:
            msg = f"{type(error).__name__}: {error}"
            raise ValueError(msg) from error
        self.enter(world)
        self.limits.forget()
        self.clock.restart_at(self.venue.now)
        self.venue.subscribe(self._heard)

    def as_world(self) -> World:
        """What a snapshot holds."""
        return World(start=self.start, feed=self.feed, venue=self.venue, setting=self.setting)

    def enter(self, world: World) -> None:
        """Stand in a world, with nothing remembered of another."""
        self.start, self.feed, self.venue, self.setting = world.start, world.feed, world.venue, world.setting
        self.happenings = world.feed.happenings()
        self.past = Past(self.venue)
        self.served_text, self.day_texts, self.funding_texts = {}, {}, {}


def _nobody_streams(_category: Category, _symbol: str) -> int | None:
    return None
