"""What the venue holds of one position at this moment, beside what our books say of it.

Read before anything is sold, bought back or added. Only reads; what a difference means, and whether it stops
a walk, is decided by whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.money import ZERO, plain
from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.engine.ports import Trading


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Contracts ``short`` and coins ``free`` in the wallet; and the contracts and coins of our books that are
    ``gone`` there.
    """

    short: Decimal
    free: Decimal
    gone: Book

    def notes(self, position: PositionRecord) -> list[Reason]:
        """Where the venue holds less than our books say."""
        notes = []
        if self.gone.contracts > ZERO:
            text = f"the venue holds {plain(self.short)} {position.perp_symbol} short, our books say"
            notes.append(Reason("perp_size", f"{text} {plain(position.contracts)}: run `fundarb reconcile`"))
        if self.gone.spot_owned > ZERO:
            text = f"{plain(self.gone.spot_owned)} {position.base} of ours are not in the wallet"
            notes.append(Reason("spot_short", f"{text}: run `fundarb reconcile`"))
        return notes

    def tied_up(self, position: PositionRecord) -> Decimal:
        """Coins of ours that are there and cannot be sold, as an order of somebody else's holds them."""
        return max(self.really(position).spot_owned - self.free, ZERO)

    def really(self, position: PositionRecord) -> Book:
        """Our book without what is gone."""
        return Book(
            max(position.spot_owned - self.gone.spot_owned, ZERO),
            max(position.contracts - self.gone.contracts, ZERO),
        )


def sizes_of(position: PositionRecord, exchange: Trading, *, tolerance: Decimal) -> Sizes:
    """What the venue holds; ``Unavailable`` rather than a guess. Coins within the ``tolerance`` of a
    comparison are not gone: the venue rounds.
    """
    size = sum((item.size for item in exchange.positions() if item.symbol == position.perp_symbol), ZERO)
    wallet = exchange.wallet()
    short = max(-size, ZERO)
    coins = position.spot_owned - max(wallet.owned(position.base), ZERO)
    gone = Book(coins if coins > tolerance else ZERO, max(position.contracts - short, ZERO))
    return Sizes(short=short, free=wallet.free(position.base), gone=gone)


def as_booked(position: PositionRecord) -> Sizes:
    """What our book says is there, where the venue cannot be read."""
    return Sizes(short=position.contracts, free=position.spot_owned, gone=Book(ZERO, ZERO))
