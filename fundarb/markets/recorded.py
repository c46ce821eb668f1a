"""One recorded coin: its perp, its spot (recorded or constructed), marks and settlements, asked by the
millisecond.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from math import ceil, floor

from fundarb.core.instants import from_ms
from fundarb.core.market import Category, FundingRate, PerpInstrument, SpotInstrument
from fundarb.markets.coins import TIERS, Tier
from fundarb.markets.ladder import Depth, Ladder
from fundarb.markets.model import BP
from fundarb.markets.noise import key_number
from fundarb.markets.tape import Filters, Series, Settled, Tape, Terms, exact
from fundarb.venue.feed import CoinRules, CollateralTier, Listing, Point, RiskTier

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_CLAMP = 5 * BP
_KNOWN = {"BTC": "A", "ETH": "A", "SOL": "A", "XRP": "B", "DOGE": "B", "BNB": "B", "WIF": "B", "HYPE": "B"}
_UNKNOWN = "D"
_MOMENT_MS = 500
_RATE = Decimal("1e-8")
_CENT = Decimal("0.01")
_CAP = {"BTCUSDT": "0.00375", "ETHUSDT": "0.00375"}
_USUAL_CAP = "0.01"
_COLLATERAL = {"BTC": "0.95", "ETH": "0.95", "SOL": "0.90"}
_OPEN_INTEREST = 0.35  # of a day's volume; the recordings do not have it


class Recorded:
    """One coin of a replay; ``constructed`` says that its spot is made up. ``start_ms`` is where the replay
    begins: the coin's class of turnover is judged by what was traded before.
    """

    def __init__(self, tape: Tape, terms: Terms, *, start_ms: int) -> None:
        self.symbol = tape.symbol
        self.base = tape.symbol.removesuffix("USDT")
        self.terms = terms
        self.constructed = tape.spot is None
        self._perp, self._spot, self._marks = tape.perp, tape.spot, tape.marks
        self._funding = tape.funding
        self._settled_ms = [row.ms for row in tape.funding]
        self._marks_at = {row.ms: row.mark for row in tape.funding if row.mark is not None}
        self.cap = Decimal(_CAP.get(tape.symbol, _USUAL_CAP))
        self.size = _size(tape.perp, tape.symbol, start_ms=start_ms)
        key = key_number(f"replay|{tape.symbol}")
        self._ladders = {
            Category.LINEAR: _ladder(terms.perp, self.size, share=1.0, key=key),
            Category.SPOT: _ladder(terms.spot, self.size, share=self.size.spot_share, key=key ^ 1),
        }
        self._premiums = _running_sum(tape.perp, tape.spot) if tape.spot is not None else array("d")
        self._days: dict[tuple[Category, int], tuple[Decimal, Decimal, Decimal, Decimal, Decimal]] = {}

    @property
    def last_ms(self) -> int:
        """Where its shorter recording ends."""
        return min(self._perp.last_ms, self._spot.last_ms if self._spot is not None else self._perp.last_ms)

    def series(self, category: Category) -> Series | None:
        """The recorded bars of one of its markets; None for a constructed spot."""
        return self._perp if category is Category.LINEAR else self._spot

    def ladder(self, category: Category) -> Ladder:
        """The quoting of one of its two markets."""
        return self._ladders[category]

    # ------------------------------------------------------------------------------------------ prices

    def fair(self, category: Category, ms: int) -> tuple[float, float]:
        """Fair price and index (the spot) at an instant: those at the last edge of a bar."""
        perp = self._perp.known(ms)
        spot = perp / (1.0 + self._implied_premium(ms)) if self._spot is None else self._spot.known(ms)
        return (perp if category is Category.LINEAR else spot), spot

    def mark_range(self, since_ms: int, until_ms: int) -> tuple[Decimal, Decimal] | None:
        """Lowest and highest mark of the bars that ended in ``(since, until]``, by the perp's own
        extremes.
        """
        series = self._perp
        first, last = series.bar_at(since_ms), series.bar_at(until_ms)
        if first == last:
            return None
        fine = self._ladders[Category.LINEAR].fine
        low, high = min(series.lows[first:last]), max(series.highs[first:last])
        return fine.decimal(floor(low / fine.size)), fine.decimal(ceil(high / fine.size))

    def _implied_premium(self, ms: int) -> float:
        """The premium that the last settled rate implies (its middle where the rate is the default)."""
        last = self._last_settled(ms)
        if last is None:
            return 0.0
        rate = float(last.rate) * 8 / last.hours
        if abs(rate - BP) < BP / 1000:
            return BP
        return rate + (_CLAMP if rate > BP else -_CLAMP)

    def mark(self, ms: int) -> Decimal:
        """The mark price: recorded where it was (settlements, edges of its bars), else the perp times the
        last known ratio of the two.
        """
        known = self._marks_at.get(ms)
        if known is not None:
            return known
        fine = self._ladders[Category.LINEAR].fine
        marks, perp = self._marks, self._perp.known(ms)
        if marks is None or not marks.covers(ms):
            return fine.decimal(round(perp / fine.size))
        bar = marks.bar_at(ms)
        edge = marks.first_ms + bar * marks.step_ms
        if edge == ms:
            return exact(marks.nodes[bar])
        return fine.decimal(round(perp * marks.nodes[bar] / self._perp.known(edge) / fine.size))

    def point(self, category: Category, ms: int) -> Point:
        """The market of one instrument at an instant."""
        fair, index = self.fair(category, ms)
        ladder, moment = self._ladders[category], ms // _MOMENT_MS
        bid, bid_size, ask, ask_size, last = ladder.quote(fair, moment)
        prev, high, low, turnover, volume = self._day(category, ms)
        fine = ladder.fine
        linear = category is Category.LINEAR
        return Point(
            bid,
            bid_size,
            ask,
            ask_size,
            last,
            self.mark(ms) if linear else fine.decimal(round(fair / fine.size)),
            fine.decimal(round(index / fine.size)),
            turnover,
            volume,
            prev,
            max(high, last),
            min(low, last),
            ladder.step.decimal(round(_OPEN_INTEREST * float(volume) / ladder.step.size))
            if linear
            else Decimal(0),
        )

    def _day(self, category: Category, ms: int) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
        """Figures of the finished bars of the last 24 hours: previous price, high, low, turnover, volume."""
        series = self._spot if category is Category.SPOT and self._spot is not None else self._perp
        bar = series.bar_at(ms)
        found = self._days.get((category, bar))
        if found is None:
            if len(self._days) > 8:
                self._days.clear()
            ladder = self._ladders[category]
            first = max(0, bar - _DAY_MS // series.step_ms)
            bars, now = range(first, bar), series.nodes[bar]
            tick, volume = ladder.tick, sum(series.volumes[n] for n in bars)
            found = self._days[category, bar] = (
                tick.decimal(max(1, round(series.nodes[first] / tick.size))),
                tick.decimal(max(1, round(max((series.highs[n] for n in bars), default=now) / tick.size))),
                tick.decimal(max(1, round(min((series.lows[n] for n in bars), default=now) / tick.size))),
                _CENT * round(sum(series.volumes[n] * series.nodes[n] for n in bars) * 100),
                ladder.step.decimal(round(volume / ladder.step.size)),
            )
        return found

    # ------------------------------------------------------------------------------------------ funding

    def _last_settled(self, ms: int) -> Settled | None:
        number = bisect_right(self._settled_ms, ms)
        return self._funding[number - 1] if number else None

    def settled(self, since_ms: int, until_ms: int) -> tuple[Settled, ...]:
        """Recorded settlements in ``(since, until]``."""
        first, last = bisect_right(self._settled_ms, since_ms), bisect_right(self._settled_ms, until_ms)
        return self._funding[first:last]

    def running(self, ms: int) -> FundingRate:
        """The running period: when it ends is announced (so recorded), its rate is what the premium so far
        gives.
        """
        number = bisect_right(self._settled_ms, ms)
        last = self._funding[number - 1] if number else None
        if number < len(self._funding):
            ahead = self._funding[number]
            next_ms, hours = ahead.ms, ahead.hours
        else:
            hours = last.hours if last is not None else 8
            length = hours * _HOUR_MS
            next_ms = (ms // length + 1) * length
        rate = self._so_far(next_ms - hours * _HOUR_MS, ms, hours=hours, last=last)
        return FundingRate(
            rate=rate, interval=timedelta(hours=hours), next_time=from_ms(next_ms), cap=self.cap
        )

    def _so_far(self, since_ms: int, ms: int, *, hours: int, last: Settled | None) -> Decimal:
        """The funding formula over the bars finished since the period began; the last settled rate until
        there is one.
        """
        previous = last.rate * hours / last.hours if last is not None else _RATE * round(BP * 1e8)
        if self._spot is None:
            return previous.quantize(_RATE)
        series = self._perp
        first = max(0, -(-(since_ms - series.first_ms) // series.step_ms))
        final = (min(ms, self.last_ms - 1) - series.first_ms) // series.step_ms
        if final < first:
            return previous.quantize(_RATE)
        mean = (self._premiums[final + 1] - self._premiums[first]) / (final + 1 - first)
        rate = (mean + min(max(BP - mean, -_CLAMP), _CLAMP)) * hours / 8
        cap = float(self.cap)
        return _RATE * round(min(max(rate, -cap), cap) * 1e8)


def _running_sum(perp: Series, spot: Series) -> array[float]:
    """Sums of the premium at the edges of the perp's bars: entry n holds those of the first n edges."""
    sums, total = array("d", [0.0]), 0.0
    for number in range(len(perp.highs)):
        total += perp.nodes[number] / spot.known(perp.first_ms + number * perp.step_ms) - 1.0
        sums.append(total)
    return sums


def _size(series: Series, symbol: str, *, start_ms: int) -> Tier:
    """The class of turnover: by the day before the start, without one by what is generally known of the
    coin.
    """
    last = series.bar_at(start_ms)
    bars = range(max(0, last - _DAY_MS // series.step_ms), last)
    if len(bars) * series.step_ms < _HOUR_MS:
        return TIERS[_KNOWN.get(symbol.removesuffix("USDT"), _UNKNOWN)]
    money = sum(series.volumes[n] * series.nodes[n] for n in bars) * _DAY_MS / (len(bars) * series.step_ms)
    return next((tier for tier in TIERS.values() if money >= tier.turnover / 4), TIERS["E"])


def _ladder(filters: Filters, size: Tier, *, share: float, key: int) -> Ladder:
    depth = Depth(touch=size.touch * share, density=size.density * share, spread_bp=size.spread_bp)
    return Ladder(tick=filters.tick, step=filters.step, depth=depth, key=key)


def listings_of(coin: Recorded) -> tuple[Listing, Listing]:
    """Spot and perp of a recorded coin, with its recorded steps and tiers."""
    spot, perp, size = coin.terms.spot, coin.terms.perp, coin.size
    most = Decimal(round(size.turnover * 0.002 / coin.fair(Category.SPOT, 0)[0]) + 1)
    tiers = tuple(
        RiskTier(
            limit=limit, mm_rate=rate, im_rate=(1 / leverage).quantize(Decimal("1e-6")), max_leverage=leverage
        )
        for limit, rate, leverage in coin.terms.tiers
    )
    return (
        Listing(
            instrument=SpotInstrument(
                symbol=coin.symbol,
                base_coin=coin.base,
                quote_coin="USDT",
                status="Trading",
                symbol_type="",
                tick_size=spot.tick,
                qty_step=spot.step,
                min_qty=Decimal(0),
                min_notional=Decimal(5),
                max_limit_qty=most * 3,
                max_market_qty=most,
                price_limit_x=Decimal("0.02"),
                price_limit_y=Decimal("0.05"),
                margin_trading="utaOnly" if coin.base in _COLLATERAL else "none",
            )
        ),
        Listing(
            instrument=PerpInstrument(
                symbol=coin.symbol,
                base_coin=coin.base,
                quote_coin="USDT",
                status="Trading",
                symbol_type="",
                tick_size=perp.tick,
                qty_step=perp.step,
                min_qty=perp.least,
                min_notional=Decimal(5),
                max_limit_qty=most * 6,
                max_market_qty=most * 2,
                price_limit_x=Decimal("0.05"),
                price_limit_y=Decimal("0.1"),
                settle_coin="USDT",
                contract_type="LinearPerpetual",
                launch_time=None,
                delivery_time=None,
                listed_interval=coin.running(0).interval,
                max_leverage=tiers[0].max_leverage if tiers else Decimal(size.leverage),
                leverage_step=Decimal("0.01"),
                rate_cap=coin.cap,
                rate_floor=-coin.cap,
            ),
            tiers=_continuous(tiers),
        ),
    )


def _continuous(tiers: tuple[RiskTier, ...]) -> tuple[RiskTier, ...]:
    """The tiers with the deductions that make the maintenance margin continuous."""
    found: list[RiskTier] = []
    for tier in tiers:
        deduction = Decimal(0)
        if found:
            deduction = found[-1].mm_deduction + found[-1].limit * (tier.mm_rate - found[-1].mm_rate)
        found.append(
            RiskTier(
                limit=tier.limit,
                mm_rate=tier.mm_rate,
                im_rate=tier.im_rate,
                max_leverage=tier.max_leverage,
                mm_deduction=deduction,
            )
        )
    return tuple(found)


def rules_of(coins: Iterable[Recorded]) -> dict[str, CoinRules]:
    """Collateral of USDT and of the majors; a constructed spot is no collateral."""
    whole = (CollateralTier(limit=None, ratio=Decimal(1)),)
    rules = {
        "USDT": CoinRules(
            coin="USDT", tiers=whole, hourly_borrow_rate=Decimal("0.0000057"), free_borrow=Decimal(5000)
        )
    }
    for coin in coins:
        if coin.base in _COLLATERAL and not coin.constructed:
            ratio = CollateralTier(limit=None, ratio=Decimal(_COLLATERAL[coin.base]))
            rules[coin.base] = CoinRules(coin=coin.base, tiers=(ratio,))
    return rules
