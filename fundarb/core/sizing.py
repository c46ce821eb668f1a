"""From money to quantities: what to buy and to short so that both legs match within one lot .

Quantities are exact multiples of the venue's steps. Reductions are rounded down, never up; a spot buy is
rounded up so that what arrives net of the base-coin fee covers the short. Nothing here knows prices other
than those handed in, and nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from fundarb.core.market import Book as OrderBook
from fundarb.core.market import Instrument, Level, Pair, depth_at
from fundarb.core.money import ONE, ZERO, ceil_to, floor_to, plain
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused

_OF_THE_BAND = Decimal("0.9")


def min_quantity(instrument: Instrument, price: Decimal) -> Decimal:
    """The smallest order the venue takes at ``price``: step, quantity minimum and value minimum, in base
    units.
    """
    step = instrument.qty_step
    return max(step, ceil_to(instrument.min_qty, step), ceil_to(instrument.min_notional / price, step))


def lot(pair: Pair, *, spot_price: Decimal, perp_price: Decimal) -> Decimal:
    """Coins that even the finer leg cannot correct: ``min(fix_spot, fix_perp)``;
    ``perp_price`` per contract.
    """
    return min(_fix(pair.spot, spot_price), _fix(pair.perp, perp_price) * pair.multiplier)


def coarser_fix(pair: Pair, *, spot_price: Decimal, perp_price: Decimal) -> Decimal:
    """Coins that the coarser leg cannot correct: more than that is missing only where an order of either leg
    could have brought it.
    """
    return max(_fix(pair.spot, spot_price), _fix(pair.perp, perp_price) * pair.multiplier)


def _fix(instrument: Instrument, price: Decimal) -> Decimal:
    return max(instrument.qty_step, instrument.min_qty, instrument.min_notional / price)


def spot_is_coarser(pair: Pair, fee: Decimal) -> bool:
    """Whether one spot step, net of fee, is more than one perp step: then spot is sized, and
    traded, first.
    """
    return pair.spot.qty_step * (ONE - fee) > pair.perp.qty_step * pair.multiplier


def contracts_covered(pair: Pair, owned: Decimal) -> Decimal:
    """The largest short that ``owned`` coins cover: ``floor(owned/(m·qp))·qp`` contracts."""
    return floor_to(owned / pair.multiplier, pair.perp.qty_step)


def contracts_target(pair: Pair, notional: Decimal, *, perp_bid: Decimal, fee: Decimal = ZERO) -> Decimal:
    """Contracts to short for ``notional`` quote value of one leg, rounded down: ``T = N/perp_bid``.

    A contract is quoted at about multiplier × the coin's price, so T is in contracts already. Where the spot
    step is the coarser one, spot is sized first (its buy rounded down) and the short is what the coins
    bought, net of ``fee``, cover.
    """
    wanted = notional / perp_bid
    if spot_is_coarser(pair, fee):
        gross = floor_to(wanted * pair.multiplier / (ONE - fee), pair.spot.qty_step)
        return contracts_covered(pair, gross * (ONE - fee))
    return floor_to(wanted, pair.perp.qty_step)


def spot_buy_quantity(pair: Pair, contracts: Decimal, *, owned: Decimal, fee: Decimal) -> Decimal:
    """Coins to buy so that ``owned`` plus what arrives net of ``fee`` covers ``contracts`` in total; zero if
    they do already.

    ``ceil((contracts·m − owned)/(1−f)/qs)·qs``: cumulative, so that rounding does not add up over clips.
    ``owned`` is net of fees, hence only what is missing is grossed up. ``fee`` is the fraction taken in the
    base coin (zero when another coin pays it).
    """
    missing = contracts * pair.multiplier - owned
    return ceil_to(missing / (ONE - fee), pair.spot.qty_step) if missing > 0 else ZERO


def hedge_contracts(pair: Pair, book: Book) -> Decimal:
    """Further contracts to short so that the short matches the coins really owned, rounded down; never
    negative.
    """
    return max(contracts_covered(pair, book.spot_owned) - book.contracts, ZERO)


def keep_contracts(pair: Pair, contracts: Decimal, *, fraction: Decimal) -> Decimal:
    """Contracts that remain when ``fraction`` (0…1) of a position is closed; what is closed is rounded down
    to what both legs can trade.
    """
    unit = ceil_to(max(pair.perp.qty_step, pair.spot.qty_step / pair.multiplier), pair.perp.qty_step)
    return contracts - floor_to(contracts * fraction, unit)


def perp_close_quantity(pair: Pair, book: Book, *, keep: Decimal, venue_size: Decimal) -> Decimal:
    """Contracts to buy back (reduce-only) so that ``keep`` remain; never more than the venue
    shows as short.
    """
    return max(floor_to(min(book.contracts - keep, venue_size), pair.perp.qty_step), ZERO)


def spot_sell_quantity(pair: Pair, book: Book, *, keep: Decimal, wallet_free: Decimal) -> Decimal:
    """Coins to sell so that those needed for ``keep`` contracts remain, rounded down; never more than is
    free.

    With ``keep`` = zero: everything of ours that a whole step can sell.
    """
    spare = min(book.spot_owned - keep * pair.multiplier, wallet_free)
    return max(floor_to(spare, pair.spot.qty_step), ZERO)


def flat(pair: Pair, book: Book, *, spot_price: Decimal) -> bool:
    """Whether nothing that an order could change is left: no contracts, and coins below the venue's smallest
    order (dust) at ``spot_price``, which is that of a sale: the bid.
    """
    sellable = floor_to(book.spot_owned, pair.spot.qty_step)
    return not book.contracts and sellable < min_quantity(pair.spot, spot_price)


def within_band(cap_frac: Decimal, instrument: Instrument) -> Decimal:
    """A price cap that the venue's own band lets through, where the instrument states one.

    The band is measured from the index, a cap from the best price: a tenth of the band is left for what lies
    between. A spot order outside the band is refused, not moved (Bybit V5 API), so a wider cap would trade
    less.
    """
    limit = instrument.price_limit_x
    return cap_frac if limit is None else min(cap_frac, limit * _OF_THE_BAND)


def cap_price(reference: Decimal, cap_frac: Decimal, *, side: Side, tick: Decimal) -> Decimal:
    """The worst price an order accepts: ``reference`` ± ``cap_frac``, on the tick and never beyond the cap.

    A sell never goes below one tick.
    """
    if side is Side.BUY:
        return floor_to(reference * (ONE + cap_frac), tick)
    return max(ceil_to(reference * (ONE - cap_frac), tick), tick)


def thin_leg(pair: Pair, *, spot_depth: Decimal, perp_depth: Decimal, fee: Decimal = ZERO) -> Leg:
    """The leg to trade first: the one with less depth at its cap (quote value); on a tie the perp, as spot
    hedges finer.

    Where the spot step is the coarser one the spot leg goes first whatever the depth, as only the perp can
    match it.
    """
    return Leg.SPOT if spot_is_coarser(pair, fee) or spot_depth < perp_depth else Leg.PERP


def side_levels(book: OrderBook, side: Side) -> tuple[Level, ...]:
    """The levels that an order of ``side`` takes."""
    return book.asks if side is Side.BUY else book.bids


def depth_for(book: OrderBook, side: Side, *, cap: Decimal) -> Decimal:
    """The quote value that an order of ``side`` finds up to its price cap."""
    return depth_at(side_levels(book, side), cap, buying=side is Side.BUY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A pair with what quantities are judged by right now.

    ``spot_price`` and ``perp_price`` (per contract) are the prices at which order values are judged; ``fee``
    is the fraction of a spot buy expected to be taken in the base coin.
    """

    pair: Pair
    spot_price: Decimal
    perp_price: Decimal
    fee: Decimal = ZERO

    @property
    def lot(self) -> Decimal:
        """One lot, in coins."""
        return lot(self.pair, spot_price=self.spot_price, perp_price=self.perp_price)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """What an entry is to become. ``contracts`` and ``spot_buy`` are additions to the book; ``clips`` are
    cumulative short targets.

    ``spot_net`` is what arrives of ``spot_buy`` net of the expected fee; ``excess`` the planned delta in
    coins, within one lot. Values are in quote at the frame's prices.
    """

    contracts: Decimal
    spot_buy: Decimal
    spot_net: Decimal
    excess: Decimal
    lot: Decimal
    spot_value: Decimal
    perp_value: Decimal
    clips: tuple[Decimal, ...]


def plan_entry(
    frame: Frame, notional: Decimal, *, max_clip: Decimal, book: Book | None = None
) -> EntryPlan | Refused:
    """Quantities of both legs for ``notional`` (one leg, quote), or every reason why the venue or
    ``max_clip`` forbids them.

    ``book`` is what the position holds already (``--add``); clip targets include it.
    """
    pair, held = frame.pair, book or Book(ZERO, ZERO)
    contracts = contracts_target(pair, notional, perp_bid=frame.perp_price, fee=frame.fee)
    total = held.contracts + contracts
    spot_buy = spot_buy_quantity(pair, total, owned=held.spot_owned, fee=frame.fee)
    spot_net = spot_buy * (ONE - frame.fee)
    reasons = _minimum_reasons(
        frame, contracts=contracts, spot_buy=spot_buy, sellable=held.spot_owned + spot_net
    )
    clip = clip_contracts(frame, max_clip)
    clips = clip_targets(pair, held.contracts, target=total, clip=clip) if clip else ()
    if not reasons and not _clips_tradable(frame, (held.contracts, *clips)):
        message = f"max_clip {plain(max_clip)} would cut {pair.base} into orders below the venue's smallest"
        reasons.append(Reason("clip_too_small", message))
    if reasons:
        return Refused(tuple(reasons))
    return EntryPlan(
        contracts=contracts,
        spot_buy=spot_buy,
        spot_net=spot_net,
        excess=held.spot_owned + spot_net - total * pair.multiplier,
        lot=frame.lot,
        spot_value=spot_buy * frame.spot_price,
        perp_value=contracts * frame.perp_price,
        clips=clips,
    )


def clip_contracts(frame: Frame, max_clip: Decimal) -> Decimal:
    """The most contracts one clip may leave unhedged: worth at most ``max_clip`` on either leg, rounding and
    fee included.

    Also bounded by the venue's largest limit orders.
    """
    pair, kept = frame.pair, ONE - frame.fee
    spot_room = min(floor_to(max_clip / frame.spot_price, pair.spot.qty_step), pair.spot.max_limit_qty)
    perp_room = min(max_clip / frame.perp_price, pair.perp.max_limit_qty)
    return max(min(contracts_covered(pair, spot_room * kept), floor_to(perp_room, pair.perp.qty_step)), ZERO)


def clip_targets(pair: Pair, start: Decimal, *, target: Decimal, clip: Decimal) -> tuple[Decimal, ...]:
    """Cumulative contract targets from ``start`` (excluded) to ``target`` (included), evenly in steps of at
    most ``clip``.

    Works downwards as well; even steps keep the last one from falling below a minimum. ``clip`` is a positive
    multiple of the step. A way that is no whole number of steps (the venue has changed them) ends where the
    last whole one does; empty if there is none.
    """
    step = pair.perp.qty_step
    way = floor_to(abs(target - start), step)
    count = ceil_to(way / clip, ONE)
    return tuple(
        start + floor_to(way * i / count, step).copy_sign(target - start) for i in range(1, int(count) + 1)
    )


def _clips_tradable(frame: Frame, targets: tuple[Decimal, ...]) -> bool:
    """Whether every clip between consecutive ``targets`` makes an order that the venue takes, on
    both legs.
    """
    pair = frame.pair
    smallest = min((after - before for before, after in pairwise(targets)), default=ZERO)
    spot = spot_buy_quantity(pair, smallest, owned=ZERO, fee=frame.fee)
    return smallest >= min_quantity(pair.perp, frame.perp_price) and spot >= min_quantity(
        pair.spot, frame.spot_price
    )


def _minimum_reasons(
    frame: Frame, *, contracts: Decimal, spot_buy: Decimal, sellable: Decimal
) -> list[Reason]:
    """Both legs against the venue's smallest orders, at entry and at exit."""
    pair = frame.pair
    spot_least = min_quantity(pair.spot, frame.spot_price)
    perp_least = min_quantity(pair.perp, frame.perp_price)
    checks = (
        ("below_perp_minimum", contracts, perp_least, f"{pair.perp.symbol} short"),
        ("below_spot_minimum", spot_buy, spot_least, f"spot {pair.spot.symbol} buy"),
        (
            "below_exit_minimum",
            floor_to(sellable, pair.spot.qty_step),
            spot_least,
            f"spot {pair.spot.symbol} sale at the exit",
        ),
    )
    return [
        Reason(code, f"{what} of {plain(quantity)} is below the venue's smallest order of {plain(least)}")
        for code, quantity, least, what in checks
        if quantity < least
    ]
