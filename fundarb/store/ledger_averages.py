"""Why the venue realised another result of a fill of ours than the books: it averages what the account holds,
the books what each position traded, in the order in which it became known. Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from typing import Final

from fundarb.core.ledger import Account, HoldingKey, Journal
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg
from fundarb.core.postings import settle_coin
from fundarb.store.ledger_read import LedgerReader


@dataclass(frozen=True, slots=True)
class Averaged:
    """What the average was made of that the books do not have: strangers' contracts, beside which our fill
    paid so much of its row's fee (``paid``), or a fill of ours that became known after a later one of the
    short ``entry``, still open.
    """

    paid: Decimal | None = None
    entry: HoldingKey | None = None


NOT_KNOWN: Final = Averaged()


def averaged(read: LedgerReader, execution_key: str, *, coin: str) -> Averaged:
    """Of a booked execution of ours and its row in a coin. What strangers hold beside us is asked first: then
    our own average is the truth for our position, and is not moved.
    """
    mine = read.journal(execution_key)
    if mine is None or mine.leg is not Leg.PERP or mine.position_id is None:
        return NOT_KNOWN
    if read.strangers_beside(mine.position_id, mine.symbol, until=mine.at) is not None:
        fees = (item for item in mine.entries if item.account is Account.FEES and item.coin == coin)
        return Averaged(paid=sum((item.amount for item in fees), ZERO))
    key, late = HoldingKey(mine.position_id, mine.symbol), _late(read, mine)
    moves = late and coin == settle_coin(mine.symbol) and read.holding(key).quantity
    return Averaged(entry=key) if moves else NOT_KNOWN


def _late(read: LedgerReader, mine: Journal) -> bool:
    """Whether a fill was booked after a later one of its short. The venue realised it against the average of
    before, the books against one that contains the later fill.
    """
    booked = read.journals(since=mine.at, position_id=mine.position_id)
    before = takewhile(lambda one: one.key != mine.key, booked)
    return any(one.at > mine.at and one.symbol == mine.symbol and one.leg is Leg.PERP for one in before)
