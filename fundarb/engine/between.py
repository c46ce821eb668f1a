"""Between two clips of a walk: a settlement is let pass, what the first clips built or left is looked for at
the venue, and the other positions are looked after.

There is one trading thread, and a walk of many clips may hold it for a minute. Whatever is called here may
have booked something of the walking position, too: it gives back what the books say then, and what was read
before counts no more. A clip under way is never held up, for nothing here is called between its legs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from fundarb.core.money import ZERO
from fundarb.core.orders import Leg
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.settling import settlement_wait
from fundarb.core.states import PositionState
from fundarb.engine.clips import Progress
from fundarb.engine.desk import ONE_READ, Desk
from fundarb.engine.explain import NOTHING
from fundarb.engine.given import denied, stubborn
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import settle
from fundarb.engine.repair import Repairer
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import met, passing_over
from fundarb.engine.sizes import Sizes, as_booked, sizes_of
from fundarb.errors import Unavailable

TAKEN: Final = "taken_meanwhile"
_LOOKS: Final = 3
_GLANCE: Final = timedelta(seconds=1)
"""While it waits for a settlement to pass, an entry looks so often whether it is to stop; and what it saw of
the venue so long ago still counts.
"""
_ROUND: Final = timedelta(seconds=5)
"""The other positions are left alone for no longer, as in a doubt."""


class Between:
    """What one walk at a time does between its clips."""

    def __init__(self, desk: Desk, *, hedger: Hedger, resolver: Resolver) -> None:
        """At one desk; the resolver knows who looks after the others, and books what the venue did, after
        which the hedger brings the legs together.
        """
        self._desk = desk
        self._hedger = hedger
        self._resolver = resolver
        self._round = timedelta()
        self._repairer = Repairer(desk)
        self._missing: Book | None = None

    def begin(self) -> None:
        """A walk begins: whoever called for it has looked at everything."""
        self._round = self._desk.clock.monotonic()
        self._missing = None

    def others(self, position_id: str) -> None:
        """Hedge what the venue took of other positions than the one that walks, unless that was looked at a
        short time ago.
        """
        desk = self._desk
        if desk.clock.monotonic() - self._round >= _ROUND:
            with desk.exchange.urgent(ONE_READ * desk.rules.patience):
                self._resolver.meanwhile(position_id)
            self._round = desk.clock.monotonic()

    # ----------------------------------------------------------------------------------------- shrinking

    def stand(self, position_id: str) -> Sizes:
        """What the venue holds before the next clip of a walk down. What was taken meanwhile is booked as far
        as the venue's rows tell of it, and the other leg follows at once, not clip by clip; what no row tells
        of is left as it is. ``Unavailable`` if it cannot be read.
        """
        self.others(position_id)
        position = settle(self._desk, position_id)
        if position.state is PositionState.EXPOSED:
            position = self._hedger.repair(position_id, grow=False)
        sizes = self.sizes(position)
        if not sizes.notes(position):
            return sizes
        for look in range(_LOOKS):
            if look:
                self._desk.clock.sleep(_GLANCE)
            self.overtaken(position_id)
            position = self._desk.store.positions.get(position_id)
            sizes = self._judged(position, self.sizes(position))
            if sizes.told or not sizes.notes(position):
                break
        return sizes

    def urgently(self, position: PositionRecord, progress: Progress) -> Sizes | None:
        """What the venue holds before a clip that nothing holds back: what it does not show is looked for
        again. Where it cannot be read the venue, which reduces nothing that is not there, is the judge.
        Coins that it has denied then may be gone or locked: contracts of one clip are bought back for them,
        and no more.
        """
        sizes = self.seen(position) or self._unseen(position, progress)
        if sizes is None:
            return None
        if not sizes.notes(position):
            return sizes
        try:
            with self._desk.hurried():
                return self.confirmed(position, sizes)
        except Unavailable as error:
            met(self._desk, error)
            return sizes

    def _unseen(self, position: PositionRecord, progress: Progress) -> Sizes | None:
        """What is gone by where not all of it can be read: the wallet alone, else our book, as far as the
        venue has not denied it; None, with the reason, where that has been tried.
        """
        try:
            with self._desk.hurried():
                wallet = self._desk.exchange.wallet()
                return as_booked(position, wallet=wallet, tolerance=self._desk.rules.tolerance)
        except Unavailable as error:
            met(self._desk, error)
        orders = self._desk.store.intents.of_position(position.position_id)
        if not denied(orders, Leg.SPOT):
            return as_booked(position)
        long = Book(position.spot_owned, position.contracts).delta(position.multiplier) > ZERO
        if stubborn(orders) is Leg.SPOT or (long and position.state is PositionState.EXPOSED):
            text = f"{position.base} cannot be sold, and nobody can see why: the wallet cannot be read"
            progress.reasons.append(Reason("coins_unseen", text))
            return None
        return replace(as_booked(position), owned=ZERO, free=ZERO)

    def seen(self, position: PositionRecord) -> Sizes | None:
        """What the venue holds of it now, read in a hurry; None if it cannot be read soon."""
        try:
            with self._desk.hurried():
                return self.sizes(position)
        except Unavailable as error:
            met(self._desk, error)
            return None

    def confirmed(self, position: PositionRecord, sizes: Sizes) -> Sizes:
        """The same for a clip that nothing holds back and of which the venue shows less than our books: it is
        asked again, two moments long, but for what it did not show before the last clip either.
        """
        for _ in range(_LOOKS - 1):
            sizes = self._judged(position, sizes)
            if sizes.told or sizes.gone(position) == self._missing or not sizes.notes(position):
                break
            self._desk.clock.sleep(_GLANCE)
            sizes = self.sizes(position)
        self._missing = sizes.gone(position)
        return sizes

    def _judged(self, position: PositionRecord, sizes: Sizes) -> Sizes:
        """Sizes with what booked rows say about all that is gone."""
        if not sizes.notes(position):
            return sizes
        gone, why = sizes.gone(position), self._repairer.explain_now().get(position.position_id, NOTHING)
        coins = not gone.spot_owned or why.outflow is not None
        return replace(sizes, told=coins and why.closed >= gone.contracts)

    def overtaken(self, position_id: str) -> bool:
        """Whether something went that was not in our book; it is booked and the legs are brought together."""
        desk = self._desk
        before = desk.store.positions.get(position_id)
        with passing_over(desk), desk.hurried(desk.rules.t_hedge):
            settle(desk, position_id)  # books are taken over at rest only
            self._resolver.catch_up()
            if settle(desk, position_id).state is PositionState.EXPOSED:
                self._hedger.repair(position_id, grow=False)
        after = desk.store.positions.get(position_id)
        return (before.spot_owned, before.contracts) != (after.spot_owned, after.contracts)

    def sizes(self, position: PositionRecord) -> Sizes:
        """What the venue holds of a position now; ``Unavailable`` if it cannot be read."""
        found = sizes_of(position, self._desk.exchange, tolerance=self._desk.rules.tolerance)
        self._hedger.saw(position, gone=found.gone(position).spot_owned)
        return found

    # ------------------------------------------------------------------------------------------- growing

    def may_grow(self, position: PositionRecord, progress: Progress) -> bool:
        """Whether the next clip of an entry may begin, once it has waited for whatever there is to wait for;
        the reasons say why not. ``Unavailable`` if that cannot be known.
        """
        self.others(position.position_id)
        self.wait_for_window(position, progress)
        return not progress.reasons and self._all_there(position.position_id, progress)

    def turned(self, position: PositionRecord, progress: Progress) -> bool:
        """Whether what the venue took has made a way down of the entry; the reasons say so then, and nothing
        that went is restored.
        """
        if position.goal.growing:
            return False
        text = f"{position.base}: a leg was taken; no further clip was begun"
        progress.reasons.append(Reason(TAKEN, text))
        return True

    def wait_for_window(self, position: PositionRecord, progress: Progress) -> None:
        """Let a settlement pass before an entry clip starts; a request to stop ends the wait, and so does a
        leg that is taken, as the reasons say then.

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
                with passing_over(desk):  # what cannot be read now is looked for before the clip
                    self._all_there(position.position_id, progress)
                if desk.stop.requested or progress.reasons:
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

    def _all_there(self, position_id: str, progress: Progress) -> bool:
        """Whether the venue holds what earlier clips built; if not, the reasons say so, and what it took is
        booked: beside a leg that is gone another clip would only be naked, too. Lists that are but late get
        two moments.
        """
        desk, position = self._desk, self._desk.store.positions.get(position_id)
        if self.turned(position, progress):
            return False
        if progress.seen is not None and desk.clock.monotonic() - progress.seen < _GLANCE:
            return True
        book, missing = Book(position.spot_owned, position.contracts), list[Reason]()
        for look in range(_LOOKS if position.contracts else 0):
            if look:
                desk.clock.sleep(_GLANCE)
            missing = self.sizes(position).notes(position)
            if not missing:
                break
            self._resolver.catch_up()
            position = settle(desk, position_id)
            if self.turned(position, progress):
                return False
            if book != Book(position.spot_owned, position.contracts):
                missing = [Reason(TAKEN, f"{position.base}: the book changed; no further clip was begun")]
                break
        progress.reasons += missing
        progress.seen = desk.clock.monotonic()
        return not missing
