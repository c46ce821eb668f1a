"""Why the venue realised another result of a fill of ours than the books: it averages what the account holds,
the books what each position traded, in the order in which it became known. Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from fundarb.core.ledger import HoldingKey, Journal
from fundarb.core.orders import Leg
from fundarb.store.ledger_read import LedgerReader


@dataclass(frozen=True, slots=True)
class Averaged:
    """What the average was made of that the books do not have: strangers' contracts (``beside``), or a fill
    of ours that became known after a later one of the short ``entry``, still open.
    """

    beside: bool = False
    entry: HoldingKey | None = None


NOT_KNOWN: Final = Averaged()


def averaged(read: LedgerReader, execution_key: str) -> Averaged:
    """Of a booked execution of ours. What strangers hold beside us is asked first: then our own average is
    the truth for our position, and is not moved.
    """
    mine = read.journal(execution_key)
    if mine is None or mine.leg is not Leg.PERP or mine.position_id is None:
        return NOT_KNOWN
    if read.strangers_beside(mine.position_id, mine.symbol, until=mine.at) is not None:
        return Averaged(beside=True)
    key = HoldingKey(mine.position_id, mine.symbol)
    return Averaged(entry=key) if _late(read, mine) and read.holding(key).quantity else NOT_KNOWN


def _late(read: LedgerReader, mine: Journal) -> bool:
    """Whether a fill was booked after a later one of its short. The venue realised it against the average of
    before, the books against one that contains the later fill.
    """
    booked = read.journals(since=mine.at, position_id=mine.position_id)
    before = takewhile(lambda one: one.key != mine.key, booked)
    return any(one.at > mine.at and one.symbol == mine.symbol and one.leg is Leg.PERP for one in before)
