"""The composition root: introduces the collaborators to each other; one thin method per use case.

The only module that may ask which mode this is. It decides nothing about trading. What a use case alone
needs (the store, everything that trades) is imported when it is asked for: a scan is small and quick to
start.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from fundarb.app import venues
from fundarb.clock import Clock, SystemClock, VirtualClock
from fundarb.config import Settings
from fundarb.core.health import Check
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable

if TYPE_CHECKING:
    from fundarb.app.reading import Held
    from fundarb.engine.answers import Answer
    from fundarb.engine.commands import Arguments
    from fundarb.engine.report import Reporter
    from fundarb.engine.scan import Scanner


def build(settings: Settings, *, clock: Clock | None = None, market: MarketData | None = None) -> App:
    """The program for these settings; ``clock`` and ``market`` replace the real ones where given."""
    clock = clock or SystemClock()
    return App(settings, clock=clock, market=market)


class App:
    """The use cases."""

    def __init__(self, settings: Settings, *, clock: Clock, market: MarketData | None = None) -> None:
        """Take the collaborators; nothing is read or opened yet."""
        self.settings = settings
        self._machine = clock
        self._market = market
        self.acted = False
        """Whether this run has begun to change anything: then Ctrl-C says what may be live."""
        self.away = ""
        """Why the venue is not asked, once that is known."""

    @property
    def machine(self) -> Clock:
        """The machine's own clock: signs of life and people's waiting go by it."""
        return self._machine

    def any_clock(self) -> Clock:
        """The venue's clock, else the machine's: our own books can be read and a wish be written down while a
        sandbox is away.
        """
        try:
            return self.clock
        except Unavailable:
            return self._machine

    @cached_property
    def clock(self) -> Clock:
        """The clock of the venue: a sandbox on virtual time is its own, all else goes by the machine's."""
        return venues.venue_clock(self.settings, self._machine)

    def end_of_time(self) -> datetime | None:
        """Where the venue's time ends: a sandbox that replays a recording ends with it; None: it goes on."""
        return venues.end_of_time(self.clock)

    @cached_property
    def market(self) -> MarketData:
        """The venue's public side."""
        return self._market or venues.public_market(self.settings, self.clock)

    @cached_property
    def scanned(self) -> MarketData:
        """What a scan reads: the public side, and in live mode the account's fee rates."""
        return self._market or venues.scanned_market(self.settings, self.clock)

    def close(self) -> None:
        """Close the connections that were opened; the next question opens them again."""
        for held in ("market", "scanned", "clock"):
            close = getattr(self.__dict__.get(held), "close", None)
            if close is not None:
                close()

    def time(self) -> datetime:
        """The time of what was asked: the venue's where its clock was looked at, else the machine's."""
        return (self.clock if "clock" in self.__dict__ else self._machine).now()

    def interrupted(self) -> str:
        """What to say when Ctrl-C ends the run."""
        if not self.acted:
            return "interrupted"
        from fundarb.app import trading

        clock = self.clock if "clock" in self.__dict__ else self._machine
        return trading.interrupted(self.settings, clock, machine=self._machine)

    @property
    def place(self) -> str:
        """Where orders would go, for a question to a person."""
        venue, mode, instance = self.settings.identity
        return f"{venue} ({mode}, {instance})"

    @cached_property
    def scanner(self) -> Scanner:
        """Ranks the venue's market."""
        from fundarb.engine.scan import NoHistory, Scanner

        return Scanner(self.scanned, NoHistory(), clock=self.clock, settings=self.settings)

    @cached_property
    def demo_scanner(self) -> Scanner:
        """Ranks the recorded market that comes with the program; its clock stands still at the recording."""
        from fundarb.engine.scan import NoHistory, Scanner
        from fundarb.exchange.recorded import RecordedMarket, packaged

        recorded = RecordedMarket(packaged())
        still = VirtualClock(recorded.server_time())
        return Scanner(recorded, NoHistory(), clock=still, settings=self.settings)

    def doctor(self, *, fix: bool) -> tuple[Check, ...]:
        """The checks beyond the settings: files, jobs, database, venue, clock, key, account, fees."""
        from fundarb.app import doctor

        return doctor.checks(self.settings, self._machine, reach=lambda: (self.market, self.clock), fix=fix)

    # ------------------------------------------------------------------------------------------- looking

    def positions(self) -> Held:
        """Every open position with live marks, and what they leave unsaid."""
        from fundarb.app import reading

        return reading.positions(self.settings, self.clock)

    def reporter(self) -> AbstractContextManager[Reporter]:
        """What makes reports, for as long as the database is open."""
        from fundarb.app import reading

        clock = self.known_clock()
        return reading.reporter(self.settings, clock, away=self.away)

    def known_clock(self) -> Clock:
        """The venue's clock; where a sandbox has gone away with its time, or does not tell it, one that
        stands at the last instant of our books, and ``away`` says why.
        """
        from fundarb.app import reading

        try:
            self.clock.now()
        except Unavailable as error:
            self.away = str(error)
            self.clock = reading.last_instant(self.settings, self._machine)
        return self.clock

    # ------------------------------------------------------------------------------------------- trading

    def plan_open(self, base: str, notional: Decimal, *, add: bool = False) -> Answer:
        """What an open would do; sends and writes nothing."""
        from fundarb.app import trading

        return trading.open_planned(self.settings, self.clock, base=base, notional=notional, add=add)

    def plan_close(self, name: str, fraction: str) -> Answer:
        """What a close would do, of one position or (empty name) of all."""
        from fundarb.app import trading

        return trading.close_planned(self.settings, self.clock, name=name, fraction=fraction)

    def command(
        self, name: str, arguments: Arguments, *, wait: timedelta | None, lock_wait: timedelta
    ) -> Answer:
        """Execute a command as the writer, or hand it to the daemon that is; ``wait`` None: do not wait for
        its answer.
        """
        from fundarb.app import trading

        self.acted = True
        answer = trading.handed_over(
            self.settings,
            self.any_clock,
            machine=self._machine,
            name=name,
            arguments=arguments,
            wait=wait,
        )
        if answer is not None:
            return answer
        try:
            clock = self.clock
        except Unavailable as error:
            raise trading.with_leftovers(self.settings, self._machine, error=error) from error
        return trading.executed(self.settings, clock, name=name, arguments=arguments, lock_wait=lock_wait)
