"""A perp that is not listed any more, of which nothing is held: what stands in its place while the coins that
it hedged are sold.

No order can be made for it: its smallest quantity is beyond any position and its largest is nothing, so that
sizing always turns to the spot leg. Its prices are the spot market's, times the multiplier.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.market import Book, Category, Level, Pair, PerpInstrument, SpotInstrument
from fundarb.core.money import ONE, ZERO
from fundarb.core.postings import settle_coin
from fundarb.core.records import PositionRecord

GONE: Final = "Gone"
_BEYOND: Final = Decimal("1e15")


def gone_perp(position: PositionRecord, spot: SpotInstrument) -> PerpInstrument:
    """A stand-in for the delisted perp of a position that holds none of it."""
    return PerpInstrument(
        symbol=position.perp_symbol,
        base_coin=position.base,
        quote_coin=spot.quote_coin,
        status=GONE,
        symbol_type="",
        tick_size=spot.tick_size,
        qty_step=ONE,
        min_qty=_BEYOND,
        min_notional=ZERO,
        max_limit_qty=ZERO,
        max_market_qty=ZERO,
        price_limit_x=spot.price_limit_x,
        price_limit_y=spot.price_limit_y,
        settle_coin=settle_coin(position.perp_symbol),
        contract_type="LinearPerpetual",
        launch_time=None,
        delivery_time=None,
        listed_interval=timedelta(hours=8),
        max_leverage=ONE,
        leverage_step=ONE,
    )


def beside(spot: Book, pair: Pair) -> Book:
    """The spot book in contracts of the delisted perp: for its prices only."""
    return Book(
        category=Category.LINEAR,
        symbol=pair.perp.symbol,
        bids=tuple(Level(level.price * pair.multiplier, level.quantity) for level in spot.bids),
        asks=tuple(Level(level.price * pair.multiplier, level.quantity) for level in spot.asks),
        as_of=spot.as_of,
    )
