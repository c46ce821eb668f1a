"""Order book channels: a snapshot, then what has changed, numbered without a gap.

``u`` counts by one with each message of a channel; the depth of 1000 is what REST's ``u`` speaks of. A size
of "0" takes a level out. Level 1 sends snapshots only and repeats itself after three quiet seconds. Source:
Bybit V5 API, order book stream.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.instants import to_ms
from fundarb.core.market import Book, Level
from fundarb.core.money import plain
from fundarb.sandbox.house import House
from fundarb.sandbox.streams.topics import PublicTopic
from fundarb.sandbox.wire import compact

_QUIET = timedelta(seconds=3)
_Side = dict[Decimal, Decimal]
_Levels = list[tuple[Decimal, Decimal]]


class Numbers:
    """The last update number of every book topic: a topic that is subscribed to again goes on above it. After
    a restart of the venue every topic begins with 1.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self._restarted = False

    def first(self, topic: PublicTopic, now_ms: int) -> int:
        """The number of a channel's first snapshot; ten milliseconds count one, so that it grows while nobody
        looks.
        """
        known = self._last.get((topic.category, topic.name))
        if known is None:
            return 1 if self._restarted else now_ms // 10
        return known + 1 if self._restarted else max(known + 1, now_ms // 10)

    def keep(self, topic: PublicTopic, number: int) -> None:
        """Remember the number of the latest message."""
        self._last[topic.category, topic.name] = number

    def restart(self) -> None:
        """Begin anew."""
        self._last.clear()
        self._restarted = True


class BookChannel:
    """One order book topic, shared by everybody who has subscribed to it."""

    def __init__(self, house: House, topic: PublicTopic, *, numbers: Numbers) -> None:
        self.topic = topic
        self._house = house
        self._numbers = numbers
        self._depth = int(topic.detail)
        self._sides: tuple[_Side, _Side] = ({}, {})
        self._at: datetime | None = None
        self._number = 0
        self._told_at = house.venue.now

    @property
    def number(self) -> int:
        """``u`` of the latest message."""
        return self._number

    def greeting(self) -> list[str]:
        """The snapshot that a new subscriber gets: the book as of the latest message."""
        if self._at is None:
            self._begin()
        return [self._message("snapshot", [list(side.items()) for side in self._sides])]

    def advance(self) -> list[str]:
        """What everybody who is subscribed gets now."""
        if self._at is None:
            return self.greeting()
        before = self._sides
        self._look()
        changes = [_changes(before[side], self._sides[side], down=side == 0) for side in (0, 1)]
        now = self._house.venue.now
        if not any(changes):
            quiet = self._depth == 1 and now - self._told_at >= _QUIET
            self._told_at = now if quiet else self._told_at
            return self.greeting() if quiet else []
        self._told_at = now
        self._number += 1
        self._numbers.keep(self.topic, self._number)
        return self.greeting() if self._depth == 1 else [self._message("delta", changes)]

    def _begin(self) -> None:
        self._look()
        self._told_at = self._house.venue.now
        self._number = self._numbers.first(self.topic, to_ms(self._house.venue.now))
        self._numbers.keep(self.topic, self._number)

    def _look(self) -> None:
        book: Book = self._house.venue.book(self.topic.category, self.topic.symbol, depth=self._depth)
        self._sides = (_side(book.bids), _side(book.asks))
        self._at = book.as_of

    def _message(self, kind: str, sides: list[_Levels]) -> str:
        cts = to_ms(self._at or self._house.venue.now)
        texts = [",".join([f'["{plain(price)}","{plain(size)}"]' for price, size in side]) for side in sides]
        return (
            f'{{"topic":"{self.topic.name}","type":"{kind}","ts":{to_ms(self._house.wire_now())},"data":{{'
            f'"s":{compact(self.topic.symbol)},"b":[{texts[0]}],"a":[{texts[1]}],"u":{self._number},"seq":{cts}}},'
            f'"cts":{cts}}}'
        )


def _side(levels: tuple[Level, ...]) -> _Side:
    return {level.price: level.quantity for level in levels}


def _changes(old: _Side, new: _Side, *, down: bool) -> _Levels:
    """Levels that are new or have another size, and those that are gone (size zero); best price first."""
    if old == new:
        return []
    changed = [(price, size) for price, size in new.items() if old.get(price) != size]
    changed += [(price, Decimal(0)) for price in old if price not in new]
    return sorted(changed, reverse=down)
