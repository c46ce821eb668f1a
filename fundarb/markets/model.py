"""How prices and premiums move: pure functions of (seed, coin, instant) in floats; Decimals begin one
module up.

Log price of a coin = its start + beta × market factor + what all but BTC share + its own walk + scripted
events. Walks step hourly with heavy tails and volatility that clusters; inside an hour a Brownian bridge of
four sines joins the two ends. The premium (perp ÷ spot − 1, per eight hours of funding) is a regime that
lasts weeks, two faster drifts, noise and squeezes; the rate follows by the exchange's formula. Constants are
fitted to how real coins behave (spread of levels, persistence, tails); ``tests/markets`` measures them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, pi, sin
from random import Random
from typing import NamedTuple

from fundarb.markets.coins import Coin, Mood
from fundarb.markets.noise import Drift, Nodes, Regime, Shocks, Walk, key_number
from fundarb.markets.script import Script

HOUR_MS = 3_600_000
BP = 1e-4
_CLAMP = 5 * BP
_HARMONICS = tuple(2.0**0.5 / (k * pi) for k in (1, 2, 3, 4))
_MARKET_SD = 0.0043
_ALTS_SD = 0.0038
_FOLLOWS = 0.5
"""Coins with a smaller beta than this (a metal, a stock) do not move with the other coins either."""
_RARE, _LARGEST = 2.6, 3.0
_DAY_SHAPE = (0.98, 1.08, 0.96, 0.83, 0.77, 0.77, 0.82, 0.87, 0.85, 0.80, 0.82, 0.80,
              0.91, 1.28, 1.60, 1.40, 1.16, 1.20, 1.13, 1.14, 1.05, 1.0, 1.0, 0.84)  # fmt: skip
"""|return| by hour of the day (UTC), relative to its mean."""


def fine_sines(fraction: float) -> tuple[float, float, float, float]:
    """The four sines of the bridge at a fraction of an hour; the same for every coin, so a bulk query
    computes them once.
    """
    x = pi * fraction
    return sin(x), sin(2 * x), sin(3 * x), sin(4 * x)


class Segment(NamedTuple):
    """One hour of a path: value at its start, change over it, amplitudes of the bridge."""

    start: float
    change: float
    a: float
    b: float
    c: float
    d: float


_STILL = Segment(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Path:
    """A random walk in hourly steps with clustered volatility and heavy tails.

    ``sd`` is the typical hourly standard deviation; ``scale`` gives the factor of an hour (mean near 1).
    """

    def __init__(self, key: str, sd: float, *, scale: Callable[[int], float]) -> None:
        self._shocks = Shocks(key, 6, offset=key_number(key) % 64)
        self._sd = sd
        self._scale = scale
        self._walk = Walk(self._step)
        self._last: tuple[int, Segment] | None = None

    def at(self, hour: int) -> float:
        """Its value at a whole hour."""
        return self._walk.at(hour)

    def segment(self, hour: int) -> Segment:
        """One hour of it; the last one is remembered, as many coins ask for the same."""
        if self._last is None or self._last[0] != hour:
            self._last = (hour, self._draw(hour))
        return self._last[1]

    def _draw(self, hour: int) -> Segment:
        row = self._shocks.row(hour)
        sd = self._sd * self._scale(hour) * 0.8
        start = self._walk.at(hour)
        one, two, three, four = _HARMONICS
        return Segment(
            start,
            self._walk.at(hour + 1) - start,
            sd * one * row[2],
            sd * two * row[3],
            sd * three * row[4],
            sd * four * row[5],
        )

    def _step(self, hour: int) -> float:
        row = self._shocks.row(hour)
        burst = min(row[1], _LARGEST)
        size = exp(0.36 * burst - 0.065)
        if burst > _RARE:
            size *= 1.5
        return self._sd * self._scale(hour) * size * row[0]


class Market:
    """What all coins share: the market factor, the volatility of the day, the mood of premiums."""

    def __init__(self, seed: int, origin_hour: int, *, script: Script) -> None:
        key = f"{seed}|market"
        self.seed = seed
        self.origin_hour = origin_hour
        self.script = script
        self._slow = Drift(f"{key}|vol-slow", 24 * 6)
        self._quick = Drift(f"{key}|vol-quick", 14)
        self._scale = Nodes(self._volatility)
        self.path = Path(f"{key}|path", _MARKET_SD, scale=self._scale.at)
        self.alts = Path(f"{key}|alts", _ALTS_SD, scale=self._scale.at)
        self._premium = Drift(f"{key}|premium", 24 * 5)
        self._premium_quick = Drift(f"{key}|premium-quick", 20)
        self.premium = Nodes(self._common_premium)

    def scale(self, hour: int) -> float:
        """The volatility of an hour relative to normal."""
        return self._scale.at(hour)

    def _volatility(self, hour: int) -> float:
        shape = _DAY_SHAPE[(hour + self.origin_hour) % 24]
        return shape * exp(0.34 * self._slow.at(hour) + 0.48 * self._quick.at(hour) - 0.12)

    def _common_premium(self, hour: int) -> float:
        level = 1.1 * self._premium.at(hour) + 1.2 * self._premium_quick.at(hour)
        return level * BP + self.script.market_premium(hour)


class _Manner(NamedTuple):
    """The numbers of a mood, in bp: drifts, noise, how much of the common mood it takes, squeezes a week
    and their depth.
    """

    mid: float
    quick: float
    noise: float
    common: float
    squeezes: float
    depth: float


_MANNERS = {
    Mood.MAJOR: _Manner(0.5, 1.2, 0.6, 0.9, 0.0, 0.0),
    Mood.HOT: _Manner(1.0, 1.8, 1.0, 1.0, 0.05, 40.0),
    Mood.NORMAL: _Manner(0.7, 1.7, 1.0, 1.0, 0.03, 25.0),
    Mood.DULL: _Manner(0.5, 1.5, 1.1, 0.8, 0.015, 30.0),
    Mood.THIN: _Manner(0.9, 2.3, 1.8, 0.8, 0.08, 90.0),
    Mood.COLD: _Manner(1.0, 1.9, 1.0, 0.9, 0.03, 20.0),
}


def _draw_level(mood: Mood) -> Callable[[Random], float]:
    """The distribution of regime levels of a mood, in bp of premium: (weight, mean, sd), drawn once a
    stretch.

    Between −4 and +6 bp the funding formula answers exactly the default of 1 bp; above and below the rate
    leaves it.
    """
    table = {
        Mood.MAJOR: ((0.66, -4.4, 0.4), (0.26, -2.0, 1.5), (0.08, 6.4, 0.6)),
        Mood.HOT: ((0.40, 8.0, 1.0), (0.28, 2.0, 2.0), (0.32, -3.6, 0.6)),
        Mood.NORMAL: ((0.55, -4.0, 0.5), (0.36, -0.5, 2.0), (0.07, 6.8, 0.7), (0.02, -6.0, 1.0)),
        Mood.DULL: ((0.82, -1.4, 1.2), (0.18, -3.8, 0.5)),
        Mood.THIN: ((0.76, -0.8, 1.5), (0.17, -4.0, 1.0), (0.07, 6.0, 1.0)),
        Mood.COLD: ((0.75, -4.9, 0.6), (0.25, -3.5, 1.0)),
    }[mood]

    def draw(random: Random) -> float:
        place = random.random()
        for weight, mean, sd in table:
            place -= weight
            if place < 0.0:
                return random.gauss(mean, sd) * BP
        return random.gauss(table[-1][1], table[-1][2]) * BP

    return draw


class CoinModel:
    """One asset: its price and its premium at whole hours and inside them. Hours count from the market's
    origin.
    """

    def __init__(self, coin: Coin, market: Market) -> None:
        key = f"{market.seed}|{coin.name}"
        self.coin = coin
        self._market = market
        self.offset = key_number(key)
        follows = coin.hedges or coin.name
        self._own = (
            None
            if follows == "BTC"
            else Path(f"{market.seed}|{follows}|path", coin.size.idio, scale=market.scale)
        )
        self._shares = self._own is not None and coin.beta > _FOLLOWS
        self.base = coin.price * (0.9 + 0.2 * (key_number(f"{market.seed}|{follows}|base") / 2**64))
        manner = _MANNERS[coin.mood]
        self._manner = manner
        self._cap = float(coin.size.cap)
        days = 9 + self.offset % 12
        self.regime = Regime(f"{key}|regime", 24 * days, draw=_draw_level(coin.mood))
        self._mid = Drift(f"{key}|mid", 40)
        self._quick = Drift(f"{key}|quick", 7)
        self._noise = Shocks(f"{key}|noise", 1, offset=self.offset % 64)
        self._squeezes: dict[int, tuple[int, int, float] | None] = {}
        self._key = key
        self._premium = Nodes(self._premium_at)
        self._logs = Nodes(self._log_price)

    # ------------------------------------------------------------------------------------------ price

    def log_price(self, hour: int) -> float:
        """Log of price ÷ starting price at a whole hour."""
        return self._logs.at(hour)

    def _log_price(self, hour: int) -> float:
        total = self.coin.beta * self._market.path.at(hour) + self._market.script.price(self.coin.name, hour)
        total += self.coin.beta * self._market.script.market_price(hour)
        if self._shares:
            total += self._market.alts.at(hour)
        return total if self._own is None else total + self._own.at(hour)

    def price_at(self, hour: int) -> float:
        """The price in quote at a whole hour."""
        return self.base * exp(self.log_price(hour))

    def volatility(self, hour: int) -> float:
        """The volatility of an hour relative to normal."""
        return self._market.scale(hour)

    def segment(self, hour: int) -> Segment:
        """One hour of the log price."""
        start, beta = self.log_price(hour), self.coin.beta
        common = self._market.path.segment(hour)
        change = self.log_price(hour + 1) - start
        if self._own is None:
            return Segment(start, change, beta * common.a, beta * common.b, beta * common.c, beta * common.d)
        own = self._own.segment(hour)
        alts = self._market.alts.segment(hour) if self._shares else _STILL
        return Segment(
            start,
            change,
            beta * common.a + alts.a + own.a,
            beta * common.b + alts.b + own.b,
            beta * common.c + alts.c + own.c,
            beta * common.d + alts.d + own.d,
        )

    # ------------------------------------------------------------------------------------------ premium

    def premium(self, hour: int) -> float:
        """Perp ÷ (multiplier × spot) − 1 at a whole hour, as a fraction."""
        return self._premium.at(hour)

    def premium_area(self, since: int, hour: int) -> float:
        """The integral of the premium from one whole hour to another, in hours."""
        at = self._premium.at
        if since == hour:
            return 0.0
        return (at(since) + at(hour)) / 2.0 + sum(at(node) for node in range(since + 1, hour))

    def rate(self, mean: float, hours: int) -> float:
        """Bybit's funding formula for an interval of ``hours``: mean premium P, interest I of 1 bp per 8 h.

        ``(P + clamp(I − P, ±5 bp)) × hours/8``, limited to ± the cap.
        """
        clamped = BP - mean
        if clamped > _CLAMP:
            clamped = _CLAMP
        elif clamped < -_CLAMP:
            clamped = -_CLAMP
        rate = (mean + clamped) * hours / 8.0
        cap = self._cap
        return cap if rate > cap else max(rate, -cap)

    def _premium_at(self, hour: int) -> float:
        manner = self._manner
        level = (
            manner.mid * self._mid.at(hour)
            + manner.quick * self._quick.at(hour)
            + manner.noise * self._noise.row(hour)[0]
        )
        total = level * BP + self.regime.at(hour) + manner.common * self._market.premium.at(hour)
        if manner.squeezes:
            total += self._squeeze(hour)
        return total + self._market.script.premium(self.coin.name, hour)

    def _squeeze(self, hour: int) -> float:
        """Shorts are squeezed: the premium dives for some hours, once in a while, in a week drawn by
        chance.
        """
        total = 0.0
        for week in (hour // 168, hour // 168 - 1):
            if week not in self._squeezes:
                self._squeezes[week] = self._draw_squeeze(week)
            found = self._squeezes[week]
            if found is not None:
                start, length, depth = found
                if start <= hour < start + length:
                    place = (hour - start) / length
                    total -= depth * (1.0 - place) * min(1.0, 4.0 * place + 0.3)
        return total

    def _draw_squeeze(self, week: int) -> tuple[int, int, float] | None:
        random = Random(f"{self._key}|squeeze|{week}")
        if random.random() >= self._manner.squeezes:
            return None
        start = week * 168 + random.randrange(168)
        return start, random.randrange(8, 40), self._manner.depth * random.uniform(0.4, 1.6) * BP
