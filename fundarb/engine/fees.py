"""What a trade costs this account, read once in a while: rates by symbol and the coin in which a spot buy
pays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates
from fundarb.core.market import Category, Pair
from fundarb.core.money import ZERO
from fundarb.engine.ports import Exchange

_KEEP = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PairFees:
    """Taker rates of both legs; ``in_base`` is the fraction of a spot buy that is taken in the coin (zero
    with MNT deduction).
    """

    spot: FeeRates
    perp: FeeRates
    in_base: Decimal


_SCHEDULE = PairFees(VIP0_SPOT, VIP0_LINEAR, VIP0_SPOT.taker)


class FeeBook:
    """Caches the account's rates; an hour is young enough, as tiers change once a day at most."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        """Read through one exchange."""
        self._exchange = exchange
        self._clock = clock
        self._read: dict[str, tuple[timedelta, PairFees]] = {}

    def of(self, pair: Pair) -> PairFees:
        """The fees of a pair; ``Unavailable`` if they cannot be read."""
        now = self._clock.monotonic()
        held = self._read.get(pair.base)
        if held is not None and now - held[0] < _KEEP:
            return held[1]
        fees = self._from_venue(pair)
        self._read[pair.base] = (now, fees)
        return fees

    def at_hand(self, pair: Pair) -> PairFees:
        """The fees of a pair without asking, for a correction, which waits for nobody: the last known ones,
        else the public schedule, which is the dearest.
        """
        held = self._read.get(pair.base)
        return _SCHEDULE if held is None else held[1]

    def _from_venue(self, pair: Pair) -> PairFees:
        spot = self._exchange.fee_rates(Category.SPOT, pair.spot.symbol)
        perp = self._exchange.fee_rates(Category.LINEAR, pair.perp.symbol)
        deducted = self._exchange.account().spot_fee_deduction
        return PairFees(spot, perp, ZERO if deducted else spot.taker)
