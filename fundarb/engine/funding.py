"""Funding, settlement by settlement: what the venue paid, to which position it belongs, and what was to
be expected.

A payment is booked from the venue's own row and never recomputed; the expectation (our contracts at the
instant × settled rate × mark) only stands beside it. A settlement at which we held and that the venue
does not show is pending, never zero, from the moment on that the contract's schedule names. What we held is
what the executions say: when one of before a settlement becomes known after it, whose the payment was and
what was to be expected are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, takewhile
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.events import FundingMissing, FundingPaid
from fundarb.core.instants import floor_hour
from fundarb.core.market import Category, SettledFunding
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import ExecKind, Leg, Side
from fundarb.core.postings import settle_coin
from fundarb.core.records import PositionRecord
from fundarb.core.resplit import received, resplit, resplit_key
from fundarb.core.transactions import Share
from fundarb.engine.held import Coming, nobody_knows
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement

GRACE: Final = timedelta(minutes=15)
"""How long a payment may be late before somebody is told."""
_NEAR: Final = timedelta(minutes=2)
_LOOK_BACK: Final = timedelta(days=7)
MARK_PATIENCE: Final = timedelta(days=1)
"""How long the executions are read back to a payment whose settlement's mark they have not shown."""
_RATE_PATIENCE: Final = timedelta(days=1)
"""How long a settlement that only the schedule names is waited for: the log has been read all that time, and
what it pays later is booked all the same.
"""
_MARKER: Final = "collect.funding."


class FundingBook:
    """Expected and received funding of our positions."""

    def __init__(self, store: Store, market: MarketData | None, *, coming: Coming = nobody_knows) -> None:
        """Without a market no rate is known, so nothing can be expected; ``coming`` tells when a symbol
        settles next.
        """
        self._store = store
        self._market = market
        self._coming = coming

    # ------------------------------------------------------------------------------------- received

    def book(self, row: Transaction) -> Settlement | None:
        """Book a SETTLEMENT row; our settlement as it is known then, None if it is not ours or was booked
        before.
        """
        share = self._share(row)
        if not self._store.ledger.post_transaction(row, share=share) or share is None:
            return None
        return self._paid(row, share.position, amount=share.part(row.funding))

    def _paid(self, row: Transaction, position: PositionRecord, *, amount: Decimal) -> Settlement:
        """Note what a row gave a position (−: took back), and tell of it; the settlement after it."""
        log, at = self._store.ledger.log, self._instant(position, row.time)
        known = log.settlement(position.position_id, at) or Settlement(
            position_id=position.position_id,
            symbol=row.symbol,
            settled_at=at,
            contracts=ZERO,
            rate=rate_of(row),
        )
        settlement = self._valued(
            replace(
                known,
                contracts=contracts_at(self._store, position, at=row.time),
                received=(known.received or ZERO) + amount,
                source_id=row.key,
            )
        )
        log.put_settlement(settlement)
        self._store.events.record(
            FundingPaid(
                position_id=position.position_id,
                symbol=row.symbol,
                amount=amount,
                coin=row.coin,
                rate=settlement.rate,
                settled_at=at,
            )
        )
        return settlement

    def _share(self, row: Transaction) -> Share | None:
        """Which position of ours held at the instant, and how much of all that the account held.

        By its executions, which carry the venue's time: our own clock may have been wrong when the position
        was opened or closed.
        """
        names = self._store.executions.last_holders(Category.LINEAR, row.symbol, at=row.time)
        holders = sorted(map(self._store.positions.get, names), key=lambda one: one.created_at)
        for position in reversed(holders):
            ours = contracts_at(self._store, position, at=row.time)
            if ours:
                return Share(position, ours, _all_held(row, ours))
        return None

    def _instant(self, position: PositionRecord, time: datetime) -> datetime:
        """The settlement that a row at ``time`` belongs to: an expected one beside it, else the row's own
        time.
        """
        near = self._store.ledger.log.settlements(
            since=time - _NEAR, until=time + _NEAR, position_id=position.position_id
        )
        return min(near, key=lambda item: abs(item.settled_at - time)).settled_at if near else time

    # ---------------------------------------------------------------------------------- judged anew

    def recount(self, position: PositionRecord, *, since: datetime) -> None:
        """An execution of ``since`` has become a position's: split what was paid after it, and expect what
        is to be expected, by what was really held. Part of the caller's transaction; of a fill that is known
        in time there is nothing to judge.
        """
        log, symbol = self._store.ledger.log, position.perp_symbol
        for row in log.payments(symbol, settle_coin(symbol), since=since):
            self._split_anew(row)
        for item in log.settlements(since=since - _NEAR, position_id=position.position_id):
            self._held_anew(item, position)
        key = _MARKER + position.position_id
        asked, final = self._marker(key, position.created_at)
        if since < asked:  # what was passed over may be ours
            self._store.meta.set(key, f"{since.isoformat()} {min(since, final).isoformat()}")

    def _split_anew(self, row: Transaction) -> None:
        """Give a payment that is booked to whom it belongs as the executions stand now."""
        ledger = self._store.ledger
        keys = [row.key, *takewhile(ledger.posted, (resplit_key(row, number) for number in count(1)))]
        booked = resplit(row, ledger.read.of_keys(keys), share=self._share(row))
        if booked is None:
            return
        ledger.correct(booked)
        for position_id, amount in received(booked.journal).items():
            position = self._store.positions.get(position_id)
            self._held_anew(self._paid(row, position, amount=amount), position)

    def _held_anew(self, item: Settlement, position: PositionRecord) -> None:
        """Expect of a settlement what follows from the contracts of then; one at which there were none, and
        that paid nothing, is none.
        """
        log = self._store.ledger.log
        row = log.row(item.source_id) if item.source_id else None
        held = contracts_at(self._store, position, at=item.settled_at if row is None else row.time)
        if not held and not item.received:
            log.drop_settlement(item.position_id, item.settled_at)
        elif held != item.contracts:
            log.put_settlement(self._valued(replace(item, contracts=held)))

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
        log = self._store.ledger.log
        for item in log.pending_settlements():
            self._held_anew(item, self._store.positions.get(item.position_id))
        pending = log.pending_settlements()
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
        hour, key = floor_hour(end), _MARKER + position.position_id
        asked, final = self._marker(key, position.created_at)
        unvalued = self._store.ledger.log.unvalued_settlements(position.position_id, since=until - _LOOK_BACK)
        self._value_again(unvalued, until)
        unrated = [item.settled_at for item in unvalued if item.rate is None]
        sure = until - hour > GRACE
        due = hour > asked or (sure and hour > final)
        if self._market is None or not ask or not (due or unrated):
            return False
        since = max(min((final, *unrated)) - _NEAR, until - _LOOK_BACK)
        try:
            # beyond the end of a position, too: the rates after it show at which instants there was none
            rates = self._market.settled_funding(position.perp_symbol, since=since, until=until)
        except Unavailable:  # of a market that is gone, say: the expectation waits, nothing else does
            self._expect_by_schedule(position, end)
            self._drop_unsettled((), unvalued, until=until)
            return True
        with self._store.transaction():
            for rate in rates:
                self._expect_one(position, rate)
            self._drop_unsettled(rates, unvalued, until=until)
            if due:
                sure = sure or any(rate.time >= hour for rate in rates)
                self._store.meta.set(key, f"{hour.isoformat()} {(hour if sure else final).isoformat()}")
        if not sure:
            self._expect_by_schedule(position, end)
        return True

    def _expect_by_schedule(self, position: PositionRecord, until: datetime) -> None:
        """Note the newest settlement that has passed by the contract's own schedule: the venue may list it,
        and pay it, later.
        """
        coming = self._coming(position.perp_symbol)
        if coming is None:
            return
        passed = coming.last(until)
        if passed < self._store.clock.now() - _RATE_PATIENCE:
            return
        at, held = self._instant(position, passed), contracts_at(self._store, position, at=passed)
        log = self._store.ledger.log
        if held and log.settlement(position.position_id, at) is None:
            log.put_settlement(
                Settlement(
                    position_id=position.position_id,
                    symbol=position.perp_symbol,
                    settled_at=at,
                    contracts=held,
                )
            )

    def _drop_unsettled(
        self, rates: Iterable[SettledFunding], unvalued: Iterable[Settlement], *, until: datetime
    ) -> None:
        """A contract whose period was changed did not settle when its old schedule said: of that instant no
        rate is listed, but later ones are, or nobody has listed or paid anything for too long.
        """
        times = [rate.time for rate in rates]
        for item in unvalued:
            settled = any(abs(time - item.settled_at) <= _NEAR for time in times)
            past = any(time > item.settled_at for time in times) or item.settled_at < until - _RATE_PATIENCE
            if item.rate is None and item.received is None and past and not settled:
                self._store.ledger.log.drop_settlement(item.position_id, item.settled_at)

    def _marker(self, key: str, born: datetime) -> tuple[datetime, datetime]:
        """The hour up to which rates were asked for, and the one up to which they are surely complete."""
        text = self._store.meta.get(key)
        if text is None:
            return born, born
        asked, _, final = text.partition(" ")
        return datetime.fromisoformat(asked), datetime.fromisoformat(final)

    def _value_again(self, settlements: tuple[Settlement, ...], until: datetime) -> None:
        """A mark may become known later than the payment. One that nobody has shown for too long is that of
        the payment itself.
        """
        log = self._store.ledger.log
        for item in settlements:
            valued = self._valued(item)
            if valued.mark is None and item.settled_at < until - MARK_PATIENCE:
                paid = log.row(item.source_id)
                valued = self._valued(replace(item, mark=paid.price if paid is not None else None))
            if valued != item:
                log.put_settlement(valued)

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
