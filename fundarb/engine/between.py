"""Between two clips of a walk: a settlement is let pass, what the first clips built is looked for at the
venue, and the other positions are looked after.

There is one trading thread, and a walk of many clips may hold it for a minute. Sends nothing itself; a clip
under way is never held up, for nothing here is called between its legs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.settling import settlement_wait
from fundarb.engine.clips import Progress
from fundarb.engine.desk import ONE_READ, Desk
from fundarb.engine.lifecycle import settle
from fundarb.engine.resolve import Resolver
from fundarb.engine.sizes import sizes_of
from fundarb.errors import Unavailable

_LOOKS: Final = 3
_GLANCE: Final = timedelta(seconds=1)
"""While it waits for a settlement to pass, an entry looks so often whether it is to stop; and what it saw of
the venue so long ago still counts.
"""
_ROUND: Final = timedelta(seconds=5)
"""The other positions are left alone for no longer, as in a doubt."""


class Between:
    """What one walk at a time does between its clips."""

    def __init__(self, desk: Desk, *, resolver: Resolver) -> None:
        """At one desk; the resolver knows who looks after the others, and books what the venue did."""
        self._desk = desk
        self._resolver = resolver
        self._round = timedelta()

    def begin(self) -> None:
        """A walk begins: whoever called for it has looked at everything."""
        self._round = self._desk.clock.monotonic()

    def others(self, position_id: str) -> None:
        """Hedge what the venue took of other positions than the one that walks, unless that was looked at a
        short time ago.
        """
        desk = self._desk
        if desk.clock.monotonic() - self._round >= _ROUND:
            with desk.exchange.urgent(ONE_READ * desk.rules.patience):
                self._resolver.meanwhile(position_id)
            self._round = desk.clock.monotonic()

    def may_grow(self, position: PositionRecord, progress: Progress) -> bool:
        """Whether the next clip of an entry may begin, once it has waited for whatever there is to wait for;
        the reasons say why not. ``Unavailable`` if that cannot be known.
        """
        self.others(position.position_id)
        self.wait_for_window(position)
        return self._all_there(position, progress)

    def wait_for_window(self, position: PositionRecord) -> None:
        """Let a settlement pass before an entry clip starts; a request to stop ends the wait.

        No entry clip starts unless ``now + 2·t_hedge < settlement − 5 s``, and none until 15 s after one.
        ``Unavailable`` if the next settlement is unknown or keeps moving.
        """
        desk = self._desk
        for _ in range(_LOOKS):
            pause = self.window(position)
            if not pause:
                return
            over = desk.clock.monotonic() + pause
            while (left := over - desk.clock.monotonic()) > timedelta():
                if desk.stop.requested:
                    return
                desk.clock.sleep(min(left, _GLANCE))
                self.others(position.position_id)
            desk.market.refresh()
        raise Unavailable(f"{position.perp_symbol}: the next settlement keeps moving")

    def window(self, position: PositionRecord) -> timedelta:
        """How long an entry clip must wait for a settlement; zero if it may start now."""
        desk, symbol = self._desk, position.perp_symbol
        quote = desk.market.at_most(desk.rules.limits.max_quote_age).perp.get(symbol)
        if quote is None or quote.funding is None:
            raise Unavailable(f"{symbol}: the next settlement is unknown")
        return settlement_wait(desk.exchange.stamp(), quote.funding, t_hedge=desk.rules.t_hedge)

    def _all_there(self, position: PositionRecord, progress: Progress) -> bool:
        """Whether the venue holds what earlier clips built; if not, the reasons say so, and what it took is
        booked: beside a leg that is gone another clip would only be naked, too. Lists that are but late get
        two moments.
        """
        desk, book = self._desk, Book(position.spot_owned, position.contracts)
        if progress.seen is not None and desk.clock.monotonic() - progress.seen < _GLANCE:
            return True
        missing: list[Reason] = []
        for look in range(_LOOKS if position.contracts else 0):
            if look:
                desk.clock.sleep(_GLANCE)
            missing = sizes_of(position, desk.exchange, tolerance=desk.rules.tolerance).notes(position)
            if not missing:
                break
            self._resolver.catch_up()
            position = settle(desk, position.position_id)
            if book != Book(position.spot_owned, position.contracts):
                text = f"{position.base}: a leg was taken; no further clip was begun"
                missing = [Reason("taken_meanwhile", text)]
                break
        progress.reasons += missing
        progress.seen = desk.clock.monotonic()
        return not missing
