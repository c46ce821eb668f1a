"""How far one clip of an exit goes, and what is said where it can go no further.

Steps and smallest orders are the venue's and change while a position is held: a clip that would be too small
to sell is made larger, up to a whole clip, and what no order can end any more is left hedged and told. Pure;
sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from fundarb.core import sizing
from fundarb.core.market import Pair
from fundarb.core.money import ZERO, floor_to, plain
from fundarb.core.orders import Leg
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.engine.sizes import Sizes


def targets(pair: Pair, position: PositionRecord, *, keep: Decimal, clip: Decimal) -> tuple[Decimal, ...]:
    """The cumulative contract targets from here to ``keep``, in even steps of at most ``clip``; at least
    one.
    """
    if position.contracts <= keep:
        return (keep,)
    return sizing.clip_targets(pair, position.contracts, target=keep, clip=clip) or (keep,)


def standing(pair: Pair, position: PositionRecord, *, sizes: Sizes) -> PositionRecord:
    """The position as a clip finds it: without what is known to be gone. Where something is missing and
    nobody knows why, no more contracts than have their coins in our book: a clip before may have gone on one
    leg alone, and the next one goes on from there.
    """
    there = sizes.really(position)
    if sizes.told:
        return replace(position, spot_owned=there.spot_owned, contracts=there.contracts)
    if there == Book(position.spot_owned, position.contracts):
        return position
    covered = sizing.contracts_covered(pair, position.spot_owned)
    return replace(position, contracts=min(position.contracts, covered))


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


def coverable(pair: Pair, position: PositionRecord, *, sizes: Sizes, keep: Decimal) -> Decimal:
    """The contracts that can be left after a clip: ``keep``, and where something is known to be gone no more
    than are there and than the coins that are there cover.
    """
    there = sizes.really(position)
    if not sizes.told:
        return keep
    return min(keep, there.contracts, sizing.contracts_covered(pair, there.spot_owned))


def first_leg(position: PositionRecord, *, sizes: Sizes, otherwise: Leg) -> Leg:
    """The leg that goes first where something is missing and nobody knows why: the one of which the venue
    shows more, so that a clip makes nothing naked by what it shows.
    """
    there = sizes.really(position)
    if sizes.told or there == Book(position.spot_owned, position.contracts):
        return otherwise
    return Leg.SPOT if there.delta(position.multiplier) > ZERO else Leg.PERP


def first_quantity(pair: Pair, position: PositionRecord, *, leg: Leg, keep: Decimal, sizes: Sizes) -> Decimal:
    """What the first leg of a clip gives so that ``keep`` contracts, or the coins for them, are left; what is
    only missing makes it no larger.
    """
    book = Book(position.spot_owned, position.contracts)
    return _quantity(pair, sizes.really(position) if sizes.told else book, leg=leg, keep=keep, sizes=sizes)


def second_quantity(
    frame: sizing.Frame, position: PositionRecord, *, leg: Leg, keep: Decimal, sizes: Sizes
) -> Decimal:
    """What the second leg gives to match what the first one left; where nothing is kept and the coins that
    are left are no order any more, no contract stays to cover them. Where something is missing and nobody
    knows why, the lesser of what our book and the venue call for.
    """
    there = sizes.really(position)
    books = (there,) if sizes.told else (there, Book(position.spot_owned, position.contracts))
    return min(
        _quantity(frame.pair, book, leg=leg, keep=_matching(frame, book, leg=leg, keep=keep), sizes=sizes)
        for book in books
    )


def _matching(frame: sizing.Frame, book: Book, *, leg: Leg, keep: Decimal) -> Decimal:
    """The contracts to which ``leg`` must come to match the other one."""
    if leg is Leg.SPOT:
        return book.contracts
    if not keep and sizing.flat(frame.pair, Book(book.spot_owned, ZERO), spot_price=frame.spot_price):
        return keep
    return sizing.contracts_covered(frame.pair, book.spot_owned)


def _quantity(pair: Pair, book: Book, *, leg: Leg, keep: Decimal, sizes: Sizes) -> Decimal:
    """What one leg of a book gives so that it comes to ``keep`` contracts; no more than the venue holds."""
    if leg is Leg.SPOT:
        return sizing.spot_sell_quantity(pair, book, keep=keep, wallet_free=sizes.free)
    return sizing.perp_close_quantity(pair, book, keep=keep, venue_size=sizes.short)


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


def what_is_left(position: PositionRecord, keep: Decimal) -> Reason:
    """An exit that ended short of its target says so."""
    message = (
        f"{plain(position.contracts)} {position.perp_symbol} and {plain(position.spot_owned)} "
        f"{position.base} are still held; {plain(keep)} contracts were to stay"
    )
    return Reason("partly_closed", message)
