"""Funding, settlement by settlement: what the venue paid, to which position it belongs, and what was to
be expected.

A payment is booked from the venue's own row and never recomputed; the expectation (our contracts at the
instant × settled rate × mark) only stands beside it. A settlement at which we held and that the venue
does not show is pending, never zero.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.events import FundingMissing, FundingPaid
from fundarb.core.instants import floor_hour
from fundarb.core.market import Category, SettledFunding
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import ExecKind, Leg, Side
from fundarb.core.records import PositionRecord
from fundarb.core.transactions import Share
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement

GRACE: Final = timedelta(minutes=15)
"""How long a payment may be late before somebody is told."""
_NEAR: Final = timedelta(minutes=2)
_LOOK_BACK: Final = timedelta(days=7)


class FundingBook:
    """Expected and received funding of our positions."""

    def __init__(self, store: Store, market: MarketData | None) -> None:
        """Without a market no rate is known, so nothing can be expected."""
        self._store = store
        self._market = market

    # ------------------------------------------------------------------------------------- received

    def book(self, row: Transaction) -> Settlement | None:
        """Book a SETTLEMENT row; our settlement as it is known then, None if it is not ours or was booked
        before.
        """
        share = self._share(row)
        if not self._store.ledger.post_transaction(row, share=share) or share is None:
            return None
        position, amount = share.position, share.part(row.funding)
        settled_at = self._instant(position, row.time)
        known = self._store.ledger.log.settlement(position.position_id, settled_at)
        settlement = known or Settlement(
            position_id=position.position_id,
            symbol=row.symbol,
            settled_at=settled_at,
            contracts=share.ours,
            rate=rate_of(row),
        )
        settlement = replace(settlement, received=amount + (settlement.received or ZERO), source_id=row.key)
        settlement = self._valued(settlement)
        self._store.ledger.log.put_settlement(settlement)
        self._store.events.record(
            FundingPaid(
                position_id=position.position_id,
                symbol=row.symbol,
                amount=amount,
                coin=row.coin,
                rate=settlement.rate,
                settled_at=settled_at,
            )
        )
        return settlement

    def _share(self, row: Transaction) -> Share | None:
        """Which position of ours held at the instant, and how much of all that the account held.

        By its executions, which carry the venue's time: our own clock may have been wrong when the position
        was opened or closed.
        """
        holder = self._store.executions.last_holder(Category.LINEAR, row.symbol, at=row.time)
        if holder is None:
            return None
        position = self._store.positions.get(holder)
        ours = contracts_at(self._store, position, at=row.time)
        return Share(position, ours, _all_held(row, ours)) if ours else None

    def _instant(self, position: PositionRecord, time: datetime) -> datetime:
        """The settlement that a row at ``time`` belongs to: an expected one beside it, else the row's own
        time.
        """
        near = self._store.ledger.log.settlements(
            since=time - _NEAR, until=time + _NEAR, position_id=position.position_id
        )
        return min(near, key=lambda item: abs(item.settled_at - time)).settled_at if near else time

    # ------------------------------------------------------------------------------------- expected

    def expect(
        self, until: datetime, *, previous: datetime | None, at_most: int | None = None
    ) -> tuple[Settlement, ...]:
        """Note every settlement until then at which we held, with its rate; those that are still pending.

        ``previous`` is when this was done last: whoever became overdue since is told once. ``at_most`` so
        many positions ask the venue for rates (None: all that are due), the rest the next time.
        """
        asked = 0
        for position in self._store.positions.all(since=until - _LOOK_BACK):
            asked += self._expect_of(position, until, ask=at_most is None or asked < at_most)
        pending = self._store.ledger.log.pending_settlements()
        for item in pending:
            due = item.settled_at + GRACE
            if due <= until and (previous is None or previous < due):
                self._store.events.record(
                    FundingMissing(
                        position_id=item.position_id, symbol=item.symbol, settled_at=item.settled_at
                    )
                )
        return pending

    def _expect_of(self, position: PositionRecord, until: datetime, *, ask: bool) -> bool:
        """Settlements of one position; whether the venue was asked for rates.

        The venue is asked only when an hour has struck since the last time (settlements fall on full
        hours), once more when that hour is surely published, and while a rate is missing.
        """
        end = min(until, position.closed_at) if position.closed_at is not None else until
        hour, key = floor_hour(end), f"collect.funding.{position.position_id}"
        asked, final = self._marker(key, position.created_at)
        unvalued = self._store.ledger.log.unvalued_settlements(position.position_id, since=until - _LOOK_BACK)
        unrated = [item.settled_at for item in unvalued if item.rate is None]
        sure = until - hour > GRACE
        due = hour > asked or (sure and hour > final)
        if self._market is None or not ask or not (due or unrated):
            self._value_again(unvalued)
            return False
        since = max(min((final, *unrated)) - _NEAR, until - _LOOK_BACK)
        try:
            rates = self._market.settled_funding(position.perp_symbol, since=since, until=end)
        except Unavailable:  # of a market that is gone, say: the expectation waits, nothing else does
            return True
        with self._store.transaction():
            for rate in rates:
                self._expect_one(position, rate)
            if due:
                sure = sure or any(rate.time >= hour for rate in rates)
                self._store.meta.set(key, f"{hour.isoformat()} {(hour if sure else final).isoformat()}")
        return True

    def _marker(self, key: str, born: datetime) -> tuple[datetime, datetime]:
        """The hour up to which rates were asked for, and the one up to which they are surely complete."""
        text = self._store.meta.get(key)
        if text is None:
            return born, born
        asked, _, final = text.partition(" ")
        return datetime.fromisoformat(asked), datetime.fromisoformat(final)

    def _value_again(self, settlements: tuple[Settlement, ...]) -> None:
        """A mark may become known later than the payment."""
        for item in settlements:
            if item.expected is None and self._valued(item) != item:
                self._store.ledger.log.put_settlement(self._valued(item))

    def _expect_one(self, position: PositionRecord, rate: SettledFunding) -> None:
        ours = contracts_at(self._store, position, at=rate.time)
        if not ours:
            return
        at = self._instant(position, rate.time)
        known = self._store.ledger.log.settlement(position.position_id, at)
        settlement = known or Settlement(
            position_id=position.position_id, symbol=rate.symbol, settled_at=at, contracts=ours
        )
        valued = self._valued(replace(settlement, rate=rate.rate))
        if valued != known:
            self._store.ledger.log.put_settlement(valued)

    def _valued(self, settlement: Settlement) -> Settlement:
        """With the mark of the venue's own funding row, where it has one, and what follows from it."""
        mark = settlement.mark or self._mark(settlement.symbol, settlement.settled_at)
        if mark is None or settlement.rate is None:
            return replace(settlement, mark=mark)
        return replace(settlement, mark=mark, expected=cash(-settlement.contracts * mark * settlement.rate))

    def _mark(self, symbol: str, at: datetime) -> Decimal | None:
        for row in self._store.executions.between(at - _NEAR, at + _NEAR):
            if row.kind is ExecKind.FUNDING and row.symbol == symbol:
                return row.price
        return None


def contracts_at(store: Store, position: PositionRecord, *, at: datetime) -> Decimal:
    """The contracts that a position held at an instant, signed (negative = short), as its executions say."""
    return sum(
        (
            execution.side.sign * execution.quantity
            for execution in store.executions.of_position(position.position_id)
            if execution.symbol == position.perp_symbol
            and execution.category is Leg.PERP.category
            and execution.kind.trades
            and execution.time <= at
        ),
        ZERO,
    )


def _all_held(row: Transaction, ours: Decimal) -> Decimal | None:
    """All that the account held at a settlement, negative for a short: some rows carry the size without a
    sign, and the side of the position beside it. None where a row without a side can only mean ours.
    """
    if row.side is not None:
        return row.side.sign * abs(row.size)
    return None if abs(row.size) == abs(ours) else row.size


def rate_of(row: Transaction) -> Decimal | None:
    """The market's rate: on a SETTLEMENT row ``feeRate`` is the rate for a long and its negative for a
    short.
    """
    if row.fee_rate is None or row.side is None:
        return None
    return row.fee_rate if row.side is Side.BUY else -row.fee_rate
