"""How far one clip of an exit goes, and what is said where it can go no further.

Steps and smallest orders are the venue's and change while a position is held: a clip that would be too small
to sell is made larger, up to a whole clip, and what no order can end any more is left hedged and told. Pure;
sends nothing.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core import sizing
from fundarb.core.market import Pair
from fundarb.core.money import ZERO, floor_to, plain
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord


def targets(pair: Pair, position: PositionRecord, *, keep: Decimal, clip: Decimal) -> tuple[Decimal, ...]:
    """The cumulative contract targets from here to ``keep``, in even steps of at most ``clip``; at least
    one.
    """
    if position.contracts <= keep:
        return (keep,)
    return sizing.clip_targets(pair, position.contracts, target=keep, clip=clip) or (keep,)


def next_goal(frame: sizing.Frame, position: PositionRecord, *, keep: Decimal, clip: Decimal) -> Decimal:
    """The contracts that are to be left after the next clip: an even step, or a whole one where the coins of
    the even one are below the venue's smallest sale.
    """
    even = targets(frame.pair, position, keep=keep, clip=clip)
    whole = max(position.contracts - clip, even[-1])
    larger = not _sells(frame, position, keep=even[0]) and _sells(frame, position, keep=whole)
    return whole if larger else even[0]


def _sells(frame: sizing.Frame, position: PositionRecord, *, keep: Decimal) -> bool:
    """Whether the coins that ``keep`` contracts do not need are a sale that the venue takes."""
    book, spot = Book(position.spot_owned, position.contracts), frame.pair.spot
    coins = sizing.spot_sell_quantity(frame.pair, book, keep=keep, wallet_free=position.spot_owned)
    return coins >= sizing.min_quantity(spot, frame.spot_price)


def below_step(pair: Pair, position: PositionRecord, *, keep: Decimal) -> Reason | None:
    """Why the venue takes no order for the contracts that are left to close: it has changed its steps, and
    they are less than one. None where it takes one, or nothing is left.

    Nothing is sold then, as nothing could follow. A person can end them at the venue, and a close takes that
    over.
    """
    left, step = position.contracts - keep, pair.perp.qty_step
    if left <= ZERO or left >= step:
        return None
    text = (
        f"{plain(left)} {position.perp_symbol} are less than the venue's step, which is {plain(step)} now, "
        f"so it takes no order for them: close them there by hand, then `fundarb close {position.base}` "
        "takes that over and sells the coins"
    )
    return Reason("below_step", text)


def tied_contracts(pair: Pair, coins: Decimal) -> Decimal:
    """Contracts that so many coins cover which cannot be sold, in whole steps: they stay."""
    return floor_to(coins / pair.multiplier, pair.perp.qty_step)


def tied_up(position: PositionRecord, contracts: Decimal) -> tuple[Reason, ...]:
    """Why so many contracts stay."""
    if not contracts:
        return ()
    what = f"{position.base} for {plain(contracts)} {position.perp_symbol}"
    text = f"{what} is tied up in somebody else's order"
    return (Reason("coins_locked", f"{text}: its short stays until the coins can be sold"),)


def arrived(position: PositionRecord, keep: Decimal) -> bool:
    """Whether an exit is where it was to go: nothing left, or no more contracts than are kept."""
    return position.state.final or (keep > ZERO and position.contracts <= keep)


def what_is_left(position: PositionRecord, keep: Decimal) -> Reason:
    """An exit that ended short of its target says so."""
    message = (
        f"{plain(position.contracts)} {position.perp_symbol} and {plain(position.spot_owned)} "
        f"{position.base} are still held; {plain(keep)} contracts were to stay"
    )
    return Reason("partly_closed", message)
