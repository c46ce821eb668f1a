"""The instruments that trade the synthetic coins: steps, limits, risk tiers, collateral.

Shapes follow the real ones: perp step coarser than spot, ticks of 0.5 to 4 bp, 5 USDT minimums, ten
brackets of risk.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil, log10

from fundarb.core.market import PerpInstrument, SpotInstrument
from fundarb.markets.coins import Coin
from fundarb.markets.noise import key_number
from fundarb.venue.feed import CoinRules, CollateralTier, Listing, RiskTier


def steps_of(coin: Coin) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Perp tick, perp step, spot tick, spot step: the coin's own, or powers of ten that suit its price."""
    if coin.steps is not None:
        perp_tick, perp_step, spot_tick, spot_step = (Decimal(text) for text in coin.steps)
        return perp_tick, perp_step, spot_tick, spot_step
    tick = round(log10(coin.price * 1.5e-4))
    step = ceil(log10(0.12 / coin.price))
    finer = (2, 2, 1, 2, 2, 1, 2, 2, 1, 2, 0, 1)[key_number(coin.name) % 12]
    coarser = 1 if key_number(coin.name) % 4 == 0 and 10.0 ** (tick + 1) < 1.2e-3 * coin.price else 0
    return _power(tick), _power(step), _power(tick + coarser), _power(step - finer)


def _power(exponent: int) -> Decimal:
    return Decimal(1).scaleb(exponent)


def listings_of(coin: Coin, start: datetime) -> tuple[Listing, ...]:
    """The instruments of one asset."""
    found: list[Listing] = []
    if coin.spot:
        found.append(_spot(coin))
    if coin.perp:
        found.append(_perp(coin, start))
    return tuple(found)


def _spot(coin: Coin) -> Listing:
    _, _, tick, step = steps_of(coin)
    biggest = Decimal(ceil(coin.size.turnover * 0.002 / coin.price)) * step.max(Decimal(1))
    return Listing(
        instrument=SpotInstrument(
            symbol=coin.spot,
            base_coin=coin.spot_base,
            quote_coin="USDT",
            status="Trading",
            symbol_type=coin.spot_type,
            tick_size=tick,
            qty_step=step,
            min_qty=Decimal(0),
            min_notional=Decimal(5),
            max_limit_qty=biggest * 3,
            max_market_qty=biggest,
            price_limit_x=Decimal("0.02"),
            price_limit_y=Decimal("0.05"),
            special_treatment=coin.tagged,
            margin_trading="utaOnly" if coin.collateral != "0" else "none",
        ),
        quote_precision=Decimal("0.0000001"),
    )


def _perp(coin: Coin, start: datetime) -> Listing:
    tick, step, _, _ = steps_of(coin)
    price = coin.price * coin.multiplier
    biggest = Decimal(ceil(coin.size.turnover * 0.004 / price)) * step.max(Decimal(1))
    cap = Decimal(coin.size.cap)
    return Listing(
        instrument=PerpInstrument(
            symbol=coin.perp,
            base_coin=coin.perp_base,
            quote_coin=coin.settle,
            status="PreLaunch" if coin.prelaunch else "Trading",
            symbol_type=coin.symbol_type,
            tick_size=tick,
            qty_step=step,
            min_qty=step,
            min_notional=Decimal(5),
            max_limit_qty=biggest * 3,
            max_market_qty=biggest,
            price_limit_x=Decimal("0.05"),
            price_limit_y=Decimal("0.1"),
            settle_coin=coin.settle,
            contract_type="LinearPerpetual",
            launch_time=start - timedelta(days=30 + key_number(coin.name) % 1500),
            delivery_time=None,
            listed_interval=timedelta(hours=coin.hours),
            max_leverage=Decimal(coin.size.leverage),
            leverage_step=Decimal("0.01"),
            pre_listing=coin.prelaunch,
            rate_cap=cap,
            rate_floor=-cap,
        ),
        tiers=_tiers(coin),
    )


def _tiers(coin: Coin) -> tuple[RiskTier, ...]:
    """Ten brackets: each wider and dearer than the one before, deductions such that the maintenance margin
    is continuous.
    """
    first, rate = Decimal(coin.size.first_limit), Decimal(coin.size.mm_rate)
    tiers: list[RiskTier] = []
    below, deduction = Decimal(0), Decimal(0)
    for number in range(1, 11):
        mm_rate = rate * (number + 1) / 2
        if tiers:
            deduction += below * (mm_rate - tiers[-1].mm_rate)
        leverage = max(Decimal(1), (Decimal(coin.size.leverage) * 2 / (number + 1)).quantize(Decimal("0.01")))
        limit = first * number
        tiers.append(
            RiskTier(
                limit=limit,
                mm_rate=mm_rate,
                im_rate=(1 / leverage).quantize(Decimal("0.0001")),
                max_leverage=leverage,
                mm_deduction=deduction,
            )
        )
        below = limit
    return tuple(tiers)


def coin_rules(coins: tuple[Coin, ...]) -> dict[str, CoinRules]:
    """Collateral and lending of every coin that counts, USDT and USDC among them."""
    rules = {
        name: CoinRules(
            coin=name,
            tiers=(CollateralTier(limit=None, ratio=Decimal(1)),),
            hourly_borrow_rate=Decimal("0.0000057"),
            free_borrow=Decimal(5000),
        )
        for name in ("USDT", "USDC")
    }
    for coin in coins:
        ratio = Decimal(coin.collateral)
        if coin.spot and ratio:
            limit = Decimal(ceil(2e6 / coin.price))
            rules[coin.spot_base] = CoinRules(
                coin=coin.spot_base,
                tiers=(
                    CollateralTier(limit=limit, ratio=ratio),
                    CollateralTier(limit=limit * 5, ratio=ratio - Decimal("0.10")),
                    CollateralTier(limit=None, ratio=Decimal(0)),
                ),
                max_borrow=limit,
            )
    return rules
