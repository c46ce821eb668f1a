"""What the venue's smallest orders allow: whether a rest can still be traded, at which limit a small sale
counts, whether coins could be sold again.

Pure; quantities are in base units, prices in quote. Nothing here decides what is traded.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.market import Instrument, SpotInstrument
from fundarb.core.money import ONE, ZERO, ceil_to, floor_to
from fundarb.core.orders import Side
from fundarb.core.sizing import Frame, contracts_covered, min_quantity, spot_buy_quantity, spot_is_coarser


def tradable(frame: Frame, contracts: Decimal) -> bool:
    """Whether ``contracts`` more, with the coins for them, make an order that the venue takes on both legs.

    Where the spot step is the coarser one, only whole steps of it count.
    """
    pair = frame.pair
    if spot_is_coarser(pair, frame.fee):
        spot = floor_to(contracts * pair.multiplier / (ONE - frame.fee), pair.spot.qty_step)
        contracts = contracts_covered(pair, spot * (ONE - frame.fee))
    else:
        spot = spot_buy_quantity(pair, contracts, owned=ZERO, fee=frame.fee)
    least = min_quantity(pair.perp, frame.perp_price)
    return contracts >= least and spot >= min_quantity(pair.spot, frame.spot_price)


def worthwhile(
    instrument: Instrument, *, side: Side, quantity: Decimal, best: Decimal, limit: Decimal
) -> Decimal:
    """The limit price under which an order keeps the venue's least value, as near to ``limit`` as that
    allows.

    A venue judges a limit order by its own price: a sale of about the least value, capped below the best bid,
    would be refused although it could trade. ``limit`` where nothing helps. ``quantity`` is positive.
    """
    if side is Side.BUY or quantity * limit >= instrument.min_notional:
        return limit
    needed = ceil_to(instrument.min_notional / quantity, instrument.tick_size)
    return needed if needed <= best else limit


def sellable_again(instrument: SpotInstrument, coins: Decimal, *, price: Decimal) -> tuple[Decimal, Decimal]:
    """What a sale of ``coins`` would send, and the least that the venue takes at ``price``."""
    return floor_to(coins, instrument.qty_step), min_quantity(instrument, price)
