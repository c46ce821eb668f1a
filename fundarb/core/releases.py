"""Coins that left a position without an order of ours: taken by the venue, sold, spent or moved by hand.

What happened to the wallet is booked from the venue's own row, against the pool of coins that belong to no
position; here the position hands the coins over to that pool at the price at which they went. No wallet
moves and nothing is counted twice. Pure: holdings in, journal and holdings after it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import POOL, Account, Booked, Draft, Holding, HoldingKey, Journal
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key, quote_coin
from fundarb.core.records import PositionRecord

RELEASE_PREFIX = "release:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """``quantity`` coins (+) that went at ``price`` (quote); ``fact`` is the venue's word for how.

    ``sequence`` numbers the releases of one position, so that each has its own key.
    """

    position: PositionRecord
    quantity: Decimal
    price: Decimal
    at: datetime
    fact: str
    sequence: int


def release_journal(release: Release, before: Mapping[HoldingKey, Holding]) -> Booked:
    """The position realises what the coins were worth against their average cost; the pool takes them over.

    The wallet's amount stays: its row brings the change. Its book value follows the holdings.
    """
    position = release.position
    quote, worth = quote_coin(position, Leg.SPOT), cash(release.quantity * release.price)
    draft = Draft(before, position.position_id, Leg.SPOT)
    change, gain = draft.move(holding_key(position, Leg.SPOT), quantity=-release.quantity, value=-worth)
    draft.add(Account.POSITION_COST, position.base, amount=release.quantity, value=-change)
    draft.add(Account.POSITION_COST, quote, amount=change)
    draft.add(Account.REALISED, quote, amount=-gain)
    draft.position_id, draft.leg = None, None
    taken, made = draft.move(HoldingKey(POOL, position.base), quantity=release.quantity, value=worth)
    draft.add(Account.EXTERNAL, position.base, amount=-release.quantity, value=-worth)
    draft.add(Account.EXTERNAL, quote, amount=worth)
    draft.add(Account.WALLET, position.base, amount=ZERO, value=change + taken)
    draft.add(Account.REALISED, position.base, amount=ZERO, value=-made)
    return draft.booked(
        Journal(
            key=f"{RELEASE_PREFIX}{position.position_id}:{release.sequence}",
            fact=release.fact,
            at=release.at,
            symbol=position.spot_symbol,
            entries=tuple(draft.entries),
            position_id=position.position_id,
            leg=Leg.SPOT,
        )
    )
