"""What the venue holds of one position at this moment, beside what our books say of it.

Read before anything is sold, bought back or added. Only reads; what a difference means, and whether it stops
a walk, is decided by whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from fundarb.core.account import Wallet
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Leg
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.engine.ports import Trading


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Contracts ``short``, coins ``owned``, and coins ``free`` to be sold, as the venue showed them; coins
    within the ``tolerance`` of a comparison are not gone: the venue rounds. ``told``: the venue's rows tell
    why something is gone. Until they do, an answer may only lack it, and nothing is done because of it but
    less.

    What is gone is asked of a book at each use and never kept: between two questions it may have been booked.
    """

    short: Decimal
    owned: Decimal
    free: Decimal
    tolerance: Decimal = ZERO
    told: bool = False

    def after(self, leg: Leg, filled: Decimal) -> Sizes:
        """The same after an order of ours has reduced a leg by so much (base units)."""
        if leg is Leg.PERP:
            return replace(self, short=max(self.short - filled, ZERO))
        return replace(self, owned=max(self.owned - filled, ZERO), free=max(self.free - filled, ZERO))

    def gone(self, position: PositionRecord) -> Book:
        """The contracts and coins of our book that the venue does not hold."""
        coins = position.spot_owned - self.owned
        return Book(coins if coins > self.tolerance else ZERO, max(position.contracts - self.short, ZERO))

    def notes(self, position: PositionRecord) -> list[Reason]:
        """Where the venue holds less than our books say."""
        notes, gone = [], self.gone(position)
        if gone.contracts > ZERO:
            text = f"the venue holds {plain(self.short)} {position.perp_symbol} short, our books say"
            notes.append(Reason("perp_size", f"{text} {plain(position.contracts)}: run `fundarb reconcile`"))
        if gone.spot_owned > ZERO:
            text = f"{plain(gone.spot_owned)} {position.base} of ours are not in the wallet"
            notes.append(Reason("spot_short", f"{text}: run `fundarb reconcile`"))
        return notes

    def tied_up(self, position: PositionRecord) -> Decimal:
        """Coins of ours that are there and cannot be sold, as an order of somebody else's holds them."""
        return max(self.really(position).spot_owned - self.free, ZERO)

    def really(self, position: PositionRecord) -> Book:
        """Our book without what is gone."""
        gone = self.gone(position)
        return Book(position.spot_owned - gone.spot_owned, position.contracts - gone.contracts)


def sizes_of(position: PositionRecord, exchange: Trading, *, tolerance: Decimal) -> Sizes:
    """What the venue holds; ``Unavailable`` rather than a guess."""
    size = sum((item.size for item in exchange.positions() if item.symbol == position.perp_symbol), ZERO)
    wallet = exchange.wallet()
    return Sizes(
        short=max(-size, ZERO),
        owned=max(wallet.owned(position.base), ZERO),
        free=wallet.free(position.base),
        tolerance=tolerance,
    )


def as_booked(position: PositionRecord, *, wallet: Wallet | None = None, tolerance: Decimal = ZERO) -> Sizes:
    """What our book says is there, where the venue cannot be read; of the coins what a ``wallet`` says."""
    if wallet is None:
        return Sizes(short=position.contracts, owned=position.spot_owned, free=position.spot_owned)
    return Sizes(
        short=position.contracts,
        owned=max(wallet.owned(position.base), ZERO),
        free=wallet.free(position.base),
        tolerance=tolerance,
    )
