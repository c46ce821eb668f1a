"""What coins were worth, and when: from which fees and rows in coins that are no quote coins get their value.
Each price is a moment of the table ``snapshots``, under a kind of its coin; nothing here reads a market.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.money import dec, plain
from fundarb.store.fields import readable
from fundarb.store.snapshots import Snapshot, Snapshots

AGE: Final = timedelta(days=1)
"""How far from a fact a price may be to value it."""
_KIND: Final = "price:"


@dataclass(frozen=True, slots=True)
class Worth:
    """What a coin was worth at a fact, in quote; None if nobody ever said. A ``stand_in`` is a price of
    another time: it keeps the equity from jumping when the coin comes or goes, and is not what it was worth.
    """

    price: Decimal | None
    stand_in: bool = False

    @property
    def known(self) -> bool:
        """Whether this is what the coin was worth."""
        return self.price is not None and not self.stand_in


class CoinPrices:
    """The prices of one database, in quote."""

    def __init__(self, snapshots: Snapshots) -> None:
        """Kept among its moments."""
        self._snapshots = snapshots

    def note(self, coin: str, price: Decimal, *, at: datetime) -> None:
        """Keep what a coin was worth; of one instant the price told last counts."""
        last = self._snapshots.last(_KIND + coin)
        if last is None or (last.at, last.payload) != (at, plain(price)):
            self._snapshots.add(at, _KIND + coin, payload=plain(price))

    def near(self, coin: str, at: datetime) -> Decimal | None:
        """The price known closest to an instant, before it or after (of two as close the earlier one), so
        that a fact gets the same value whenever it is booked, as far as its time's prices are known. None if
        none is within a day.
        """
        kind = _KIND + coin
        found = (
            self._snapshots.last(kind, until=at + timedelta(milliseconds=1)),
            self._snapshots.first(kind, at),
        )
        close = [moment for moment in found if moment is not None and abs(moment.at - at) <= AGE]
        return _price(min(close, key=lambda moment: abs(moment.at - at))) if close else None

    def thin(self, coin: str, before: datetime, *, each: timedelta) -> None:
        """Of older prices keep one in each stretch of time."""
        self._snapshots.thin(_KIND + coin, before, each=each)


def _price(moment: Snapshot) -> Decimal:
    with readable("a price"):
        return dec(moment.payload)
