"""What others did to a position of ours, as far as booked facts tell: fills of strangers in its perp, coins
that went from its wallet.

Pure over rows that the collector has booked. It explains and decides nothing; what no row explains stays
unexplained, and nothing is done about it but telling. Never more is gone than was ours: what a hand traded
beyond that is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import Transaction
from fundarb.core.money import ZERO
from fundarb.core.orders import LINK_PREFIX, Execution
from fundarb.core.shares import shared_out
from fundarb.core.transactions import MATCHED_KINDS, price_of

_OF_THE_VENUE = ("SPOT_REPAYMENT", "CURRENCY_", "AUTO_DEDUCTION", "INTEREST", "REPAY", "FEE_REFUND")
"""Rows that the venue writes by itself: forced repayment, automatic conversion, interest, deductions."""


Run = tuple[tuple[Execution, Execution | None], ...]
"""Fills as far as they were traded against ours, each with what is left of it for its owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outflow:
    """Coins of a position that are gone: ``forced`` by the venue, ``by_hand`` by somebody with access.

    ``price`` is at what they went in quote, None if no row says; ``words`` are the venue's words for it, and
    ``at`` is when the last of them went. ``orphaned``: a fundarb's order sold some of them.
    """

    forced: Decimal
    by_hand: Decimal
    price: Decimal | None
    words: tuple[str, ...]
    at: datetime | None
    orphaned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Why one position is not what our orders made it.

    ``run`` are the strangers' fills that are exactly the difference in its perp, each as far as it was traded
    against our contracts and with the rest of it; empty where none are. ``outflow`` is None where no coins
    are missing, or the ledger itself does not know where they went. ``long``, ``owing``: a hand went beyond
    what was ours, and the account is long in the perp, or owes coins.
    """

    run: Run = ()
    outflow: Outflow | None = None
    long: bool = False
    owing: bool = False

    @property
    def fills(self) -> tuple[Execution, ...]:
        """The part of the run that was traded against our contracts."""
        return tuple(mine for mine, _ in self.run)

    @property
    def closed(self) -> Decimal:
        """Contracts of ours that the fills closed; negative: that they added."""
        return sum((row.side.sign * row.quantity for row in self.fills), ZERO)

    @property
    def orphaned(self) -> bool:
        """Whether a fundarb traded some of it, on either leg: none of it is taken over without a person. Its
        orders belong together; half of them in our book would make a hedged position naked there.
        """
        sold = self.outflow is not None and self.outflow.orphaned
        return sold or any(row.link_id.startswith(LINK_PREFIX) for row in self.fills)


NOTHING = Explained()


def run_of(rows: Sequence[Execution], difference: Decimal, *, contracts: Decimal) -> Run:
    """The latest run of successive fills that changes the account's size by exactly ``difference`` (signed,
    + = bought), as far as it was traded against a short of ``contracts``; empty if there is none.
    """
    rows = [row for row in rows if row.kind.trades]
    for start in range(len(rows) - 1, -1, -1):
        total = ZERO
        for end in range(start, len(rows)):
            total += rows[end].side.sign * rows[end].quantity
            if total == difference:
                return _against(rows[start : end + 1], contracts)
    return ()


def _against(rows: Iterable[Execution], contracts: Decimal) -> Run:
    """What of successive fills was traded against a short: the long that a fill opens beyond it, and what
    later reduces that long, are their owner's.
    """
    total, run = ZERO, []
    for row in rows:
        before = min(total, contracts)
        total += row.side.sign * row.quantity
        ours = abs(min(total, contracts) - before)
        if ours:
            run.append(shared_out(row, ours))
    return tuple(run)


def outflow_of(rows: Iterable[Transaction], missing: Decimal, *, settled: datetime | None = None) -> Outflow:
    """How ``missing`` coins went, from the coin's log rows that are no fills of ours, in any order.

    Undone from the newest on, until nothing is missing any more: what went before that took nobody's but
    its owner's coins. What the venue took up to the instant ``settled`` is booked already: what is missing
    all the same went by hand. What no row tells of was taken by the venue (a fee in this coin).
    """
    left, hand, taken = missing, ZERO, []
    for row in sorted(rows, key=lambda item: item.time, reverse=True):
        forced = row.kind.startswith(_OF_THE_VENUE)
        if left <= ZERO:
            break
        if forced and settled is not None and row.time <= settled:
            continue
        if row.change < ZERO:
            part = min(-row.change, left)
            hand += ZERO if forced else part
            taken.append((row, part))
        left += row.change
    by_hand = min(hand, missing)
    priced = [(price, part) for row, part in taken if (price := price_of(row))]
    weight = sum((part for _, part in priced), ZERO)
    price = sum((price * part for price, part in priced), ZERO) / weight if weight else None
    return Outflow(
        forced=missing - by_hand,
        by_hand=by_hand,
        price=price,
        words=tuple(sorted({_word(row) for row, _ in taken})),
        at=max((row.time for row, _ in taken), default=None),
        orphaned=any(row.link_id.startswith(LINK_PREFIX) for row, _ in taken),
    )


def _word(row: Transaction) -> str:
    return "sold by hand" if row.kind in MATCHED_KINDS else row.kind
