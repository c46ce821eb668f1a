"""What is certain to happen in a synthetic market: a pump, a squeeze, a fall of everything, an interval
switch, a delisting.

Prices and premiums contain the scripted part as smooth bumps at whole hours; the venue is told the rest as
happenings. Which coins are hit depends on the seed, when it happens is told in hours from the start. A
script never looks at what anybody holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log
from random import Random

from fundarb.core.market import Category
from fundarb.markets.coins import Coin, Mood
from fundarb.venue.feed import Happening, HappeningKind

_BP = 1e-4
_USUAL_HOURS = 8
_DELISTED = "FIO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bump:
    """Something that rises from ``start`` for ``rise`` hours, stays for ``hold`` and falls back to ``rest``
    of it in ``fall``.
    """

    start: int
    rise: int
    hold: int
    fall: int
    height: float
    rest: float = 0.0

    def at(self, hour: int) -> float:
        """Its value at a whole hour."""
        passed = hour - self.start
        if passed <= 0:
            return 0.0
        if passed < self.rise:
            return self.height * passed / self.rise
        passed -= self.rise + self.hold
        if passed <= 0:
            return self.height
        if passed < self.fall:
            return self.height * (1.0 - (1.0 - self.rest) * passed / self.fall)
        return self.height * self.rest


@dataclass(frozen=True, slots=True)
class Switch:
    """From this hour on (a settlement of the old interval) funding settles every ``hours``."""

    hour: int
    hours: int


class Script:
    """All scripted parts of one market."""

    def __init__(self) -> None:
        self._prices: dict[str, list[Bump]] = {}
        self._premiums: dict[str, list[Bump]] = {}
        self._market_price: list[Bump] = []
        self._market_premium: list[Bump] = []
        self.switches: dict[str, tuple[Switch, ...]] = {}
        self.happenings: list[Happening] = []

    def price(self, name: str, hour: int) -> float:
        """What the script adds to a coin's log price."""
        bumps = self._prices.get(name)
        return sum(bump.at(hour) for bump in bumps) if bumps else 0.0

    def premium(self, name: str, hour: int) -> float:
        """What the script adds to a coin's premium."""
        bumps = self._premiums.get(name)
        return sum(bump.at(hour) for bump in bumps) if bumps else 0.0

    def market_price(self, hour: int) -> float:
        """What the script adds to the market's log price."""
        return sum(bump.at(hour) for bump in self._market_price)

    def market_premium(self, hour: int) -> float:
        """What the script adds to every premium."""
        return sum(bump.at(hour) for bump in self._market_premium)

    def move(self, coin: Coin, *, price: Bump | None = None, premium: Bump | None = None) -> None:
        """Add bumps to one coin."""
        if price is not None:
            self._prices.setdefault(coin.name, []).append(price)
        if premium is not None:
            self._premiums.setdefault(coin.name, []).append(premium)

    def move_market(self, *, price: Bump, premium: Bump) -> None:
        """Add bumps to every coin."""
        self._market_price.append(price)
        self._market_premium.append(premium)


def accidents(seed: int, start: datetime, *, coins: tuple[Coin, ...]) -> Script:
    """The script of the built-in market. ``start`` is a full hour of UTC; hours count from it."""
    writer = _Writer(seed, start, coins=coins)
    writer.pump()
    writer.squeeze()
    writer.interval_switches()
    writer.fall_of_everything()
    writer.delisting()
    writer.script.happenings.sort(key=lambda item: item.at)
    return writer.script


class _Writer:
    """Writes the script, one accident a method; each draws its own numbers, so none disturbs the others."""

    def __init__(self, seed: int, start: datetime, *, coins: tuple[Coin, ...]) -> None:
        self.script = Script()
        self._seed, self._start, self._coins = seed, start, coins

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed}|script|{name}")

    def _of_mood(self, mood: Mood) -> list[Coin]:
        """Coins of a mood that can be carried; any coin if there are none."""
        return [coin for coin in self._coins if coin.mood is mood and coin.spot and coin.perp] or list(
            self._coins
        )

    def _settlement(self, day: int, random: Random) -> int:
        """A settlement of the 8-hour grid on a day: switches must lie on one."""
        return day * 24 + random.randrange(3) * 8 - self._start.hour

    def _tell(self, hour: int, coin: Coin, *, text: str) -> None:
        at = self._start + timedelta(hours=hour)
        note = Happening(
            at=at, kind=HappeningKind.NOTE, category=Category.LINEAR, symbol=coin.perp, text=text
        )
        self.script.happenings.append(note)

    def pump(self) -> None:
        """A coin gains half its price in three hours and keeps a third of it; its longs pay dearly."""
        random = self._random("pump")
        coin, hour = random.choice(self._of_mood(Mood.NORMAL)), 24 * 4 + random.randrange(24)
        self.script.move(
            coin,
            price=Bump(start=hour, rise=3, hold=2, fall=60, height=log(1.55), rest=0.35),
            premium=Bump(start=hour, rise=3, hold=6, fall=30, height=45 * _BP),
        )
        self._tell(hour, coin, text="pump")

    def squeeze(self) -> None:
        """A coin that carried well turns: shorts are squeezed and pay for a day."""
        random = self._random("squeeze")
        coin, hour = random.choice(self._of_mood(Mood.HOT)), self._settlement(8, random)
        self.script.move(
            coin,
            price=Bump(start=hour, rise=8, hold=10, fall=50, height=log(1.18), rest=0.5),
            premium=Bump(start=hour, rise=4, hold=14, fall=16, height=-95 * _BP),
        )
        self._tell(hour, coin, text="squeeze")

    def interval_switches(self) -> None:
        """A thin coin hits its floor and settles hourly for days; a hot one changes to four hours in calm."""
        random = self._random("interval")
        thin = [
            coin for coin in self._of_mood(Mood.THIN) if coin.hours == _USUAL_HOURS and coin.name != _DELISTED
        ]
        capped, hour = random.choice(thin or list(self._coins)), self._settlement(6, random)
        self.script.move(
            capped,
            premium=Bump(start=hour - 8, rise=6, hold=40, fall=20, height=-260 * _BP),
            price=Bump(start=hour - 8, rise=8, hold=20, fall=60, height=log(1.3)),
        )
        self.script.switches[capped.name] = (Switch(hour, 1), Switch(self._settlement(10, random), 4))
        self._tell(hour, capped, text="interval 8h -> 1h")
        calm = [coin for coin in self._of_mood(Mood.HOT) if coin.hours == _USUAL_HOURS and coin is not capped]
        if calm:
            switched, hour = random.choice(calm), self._settlement(12, random)
            self.script.switches[switched.name] = (Switch(hour, 4),)
            self._tell(hour, switched, text="interval 8h -> 4h")

    def fall_of_everything(self) -> None:
        """The whole market loses an eighth within a day and takes a week to recover some of it."""
        hour = 24 * 15 + self._random("fall").randrange(24)
        self.script.move_market(
            price=Bump(start=hour, rise=18, hold=6, fall=24 * 6, height=log(0.87), rest=0.4),
            premium=Bump(start=hour, rise=12, hold=8, fall=24, height=-7 * _BP),
        )

    def delisting(self) -> None:
        """One coin's perp is announced to be delisted, six days ahead."""
        for coin in self._coins:
            if coin.name == _DELISTED:
                self.script.happenings.append(
                    Happening(
                        at=self._start + timedelta(days=3, hours=2),
                        kind=HappeningKind.DELIST_ANNOUNCED,
                        category=Category.LINEAR,
                        symbol=coin.perp,
                        when=self._start + timedelta(days=9, hours=10),
                        text="delisting",
                    )
                )
