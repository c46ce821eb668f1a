"""What the venue's smallest orders allow: whether a rest can still be traded, at which limit a small sale
counts, whether coins could be sold again.

Pure; quantities are in base units, prices in quote. Nothing here decides what is traded.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.market import Instrument, SpotInstrument
from fundarb.core.money import ONE, ZERO, ceil_to, floor_to, plain
from fundarb.core.orders import Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
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


def part_reasons(frame: Frame, book: Book, *, keep: Decimal, fall: Decimal) -> tuple[Reason, ...]:
    """Why a position cannot be reduced to ``keep`` contracts: what would be closed is below the venue's
    smallest order on a leg, or what would stay could not be closed after the price fell by the fraction
    ``fall``.

    A reduce-only order is bound by the quantity minimum alone, a sale by its value too.
    """
    pair, least_perp = frame.pair, max(frame.pair.perp.qty_step, frame.pair.perp.min_qty)
    step, least = pair.spot.qty_step, min_quantity(pair.spot, frame.spot_price)
    least_later = min_quantity(pair.spot, frame.spot_price * (ONE - fall))
    kept = keep * pair.multiplier
    small, rest = "fraction_too_small", "rest_too_small"
    checks = (
        (small, book.contracts - keep, least_perp, pair.perp.symbol),
        (small, floor_to(book.spot_owned - kept, step), least, pair.spot.symbol),
        (rest, keep, least_perp, pair.perp.symbol),
        (rest, floor_to(kept, step), least_later, pair.spot.symbol),
    )
    remedy = {small: "close more", rest: "close less, or everything"}
    what = {small: "closed", rest: "left"}
    return tuple(
        Reason(
            code,
            f"{plain(quantity)} {symbol} would be {what[code]}, the smallest order is {plain(minimum)}: "
            f"{remedy[code]}",
        )
        for code, quantity, minimum, symbol in checks
        if quantity < minimum
    )
