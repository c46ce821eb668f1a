"""The ledger's book-keeper: posts each fact once, under its unique key, and keeps the holdings in step.
Append-only.

How a fact becomes a journal is decided in ``core.postings`` and ``core.transactions``; ``LedgerPen`` writes
it. The transaction log as received is ``Ledger.log``, reading and sums are ``Ledger.read``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.account import Transaction, Wallet
from fundarb.core.ledger import (
    DUST,
    POOL,
    QUOTE_COINS,
    Account,
    Booked,
    ChainBreak,
    Holding,
    HoldingKey,
    chained,
)
from fundarb.core.money import CASH_STEP, ZERO, dec, plain
from fundarb.core.orders import Execution, Leg
from fundarb.core.postings import (
    DustMove,
    Fill,
    OpeningBalance,
    dust_journal,
    execution_journal,
    holding_key,
    opening_journal,
    reversal_journal,
    third_coin,
)
from fundarb.core.records import PositionRecord
from fundarb.core.releases import RELEASE_PREFIX, Release, release_journal
from fundarb.core.transactions import (
    AGAIN,
    MATCHED_KINDS,
    Share,
    foreign_trade_journal,
    match_journal,
    price_of,
    transaction_journal,
)
from fundarb.store.ledger_averages import NOT_KNOWN, averaged
from fundarb.store.ledger_log import TransactionLog
from fundarb.store.ledger_opening import OpenedBooks
from fundarb.store.ledger_pad import Batches, Pad
from fundarb.store.ledger_pen import LedgerPen
from fundarb.store.ledger_read import LedgerReader
from fundarb.store.ledger_tables import RowState, make_ledger_tables
from fundarb.store.meta import Meta
from fundarb.store.prices import CoinPrices, Worth
from fundarb.store.session import Session
from fundarb.store.unvalued import UnvaluedFacts

_PRICE: Final = "ledger.price."


class Ledger(OpenedBooks):
    """The ledger of one database. Every ``post_…`` is part of the caller's transaction if there is one."""

    def __init__(self, session: Session, meta: Meta, *, prices: CoinPrices) -> None:
        """On one session."""
        super().__init__(meta)
        self._session = session
        self._prices = prices
        self.unvalued = UnvaluedFacts(meta)
        self._tables = make_ledger_tables(session.database)
        self._batches = Batches(session)
        self.log = TransactionLog(session, self._tables, batches=self._batches)
        self._reader = LedgerReader(session, self._tables)
        self._pen = LedgerPen(session, self._tables, batches=self._batches)

    @property
    def read(self) -> LedgerReader:
        """Everything that is booked, an open batch included."""
        pad = self._batches.pad
        if pad is not None:
            self._flush(pad)
        return self._reader

    @contextmanager
    def batch(self, keys: Iterable[str] = ()) -> Iterator[None]:
        """A block in which many facts are posted, in one transaction: ``with ledger.batch(): …``.

        ``keys`` of the log rows that will be posted let it ask for all of them at once. The batch is durable
        as a whole or not at all, and costs a fraction of as many single postings, because each table and each
        running total is written once. Whoever reads the ledger inside sees what was posted, at the price of
        writing it at once. Nothing is posted in a block of its own inside, and after a posting that failed
        nothing of the batch can be kept: ``InvariantBroken``.
        """
        with self._batches.batch() as pad:
            self.log.look_up(pad, keys)
            yield
            self._flush(pad)

    def _flush(self, pad: Pad) -> None:
        self._batches.require_level(pad)
        self._pen.flush(pad)
        self.log.flush(pad)

    # ------------------------------------------------------------------------------------------ executions

    def post_execution(
        self,
        execution: Execution,
        *,
        position: PositionRecord | None,
        leg: Leg | None,
        mid: Decimal | None = None,
    ) -> bool:
        """Book an execution of ours; False if it was booked before, or is nobody's (``position`` None), or
        moves nothing.

        A stranger's trade has its wallet effect booked from the transaction log instead. If such a trade
        turns out to be ours (a fill adopted later), that booking is reversed first. ``mid`` is the decision's
        mid, see ``core.postings.Fill``.
        """
        if position is None or leg is None or not execution.kind.trades:
            return False
        with self._batches.posting():
            if self.posted(execution.key):
                return False
            self._reverse_foreign(execution)
            coin = third_coin(execution) or ""
            before = self._holdings((holding_key(position, leg), HoldingKey(POOL, execution.fee_coin)))
            fill = Fill(
                execution=execution,
                position=position,
                leg=leg,
                mid=mid,
                fee_price=self.price_near(coin, execution.time),
            )
            booked = execution_journal(fill, before)
            self._write(booked)
            self.unvalued.judge(booked.journal, coin, worth=Worth(fill.fee_price))
        return True

    def _reverse_foreign(self, execution: Execution) -> None:
        """Take back what was booked under this execution's id as a stranger's trade, or to suspense for want
        of an execution.
        """
        for row in self.log.of_trade(execution.exec_id, RowState.FOREIGN, RowState.POSTED):
            if row.kind in MATCHED_KINDS and row.symbol == execution.symbol:
                self.take_back(row)

    def take_back(self, row: Transaction) -> None:
        """Take back what was booked of a trade row, as a stranger's or to suspense: it waits to be matched
        again.
        """
        with self._batches.posting():
            journal = self.read.journal(row.key + AGAIN) or self.read.journal(row.key)
            if journal is not None:
                self._write(reversal_journal(journal, self._holdings([HoldingKey(POOL, row.coin)])))
                self.log.set_state(row.key, RowState.WAITING)

    # ------------------------------------------------------------------------------------ transaction log

    def post_transaction(
        self, row: Transaction, *, share: Share | None = None, price: Decimal | None = None
    ) -> bool:
        """Book a row of the transaction log that no execution repeats; False if it was booked before.

        ``share`` names the position to which a SETTLEMENT belongs, None: nobody's of ours. ``price`` (in
        quote) values what moves in a coin that is not a quote coin; without it ``_worth`` does.
        """
        with self._batches.posting():
            known = self.log.state(row.key)
            if known is not None and known is not RowState.WAITING:
                return False
            before = self._holdings(self._touched(row, share))
            worth = Worth(price) if price else self._worth(row)
            booked = transaction_journal(row, before, share=share, price=worth.price)
            self._write(booked)
            self.unvalued.judge(booked.journal, row.coin, worth=worth)
            if known is None:
                self.log.add(row, RowState.POSTED)
            else:
                self.log.set_state(row.key, RowState.POSTED)
        return True

    def match_trade(self, row: Transaction, execution_key: str | None) -> Decimal:
        """Match a trade row with the booked execution that it repeats; the difference, which goes to
        suspense. What is off only because a fill was booked after a later one moves the short's entry
        instead, and what is off because strangers trade the contract beside us is the account's result:
        neither is one.

        ``execution_key`` None: the trade is a stranger's, and its effect is booked from the row, as the
        account's own result and fee.
        """
        with self._batches.posting():
            before = self._holdings([HoldingKey(POOL, row.coin)])
            if execution_key is None:
                worth = self._worth(row)
                again = self.log.state(row.key) is RowState.WAITING and self.posted(row.key)
                booked = foreign_trade_journal(row, before, price=worth.price, again=again)
                self._write(booked)
                self.unvalued.judge(booked.journal, row.coin, worth=worth)
                self.log.keep(row, RowState.FOREIGN)
                return ZERO
            reader = self.read if self._pen.held_back(execution_key) else self._reader
            posted = reader.wallet_change(execution_key, row.coin)
            difference = row.change - posted
            why = (
                averaged(self.read, execution_key, coin=row.coin)
                if abs(difference) > CASH_STEP
                else NOT_KNOWN
            )
            if difference:
                before |= {} if why.entry is None else self._holdings([why.entry])
                worth = self._worth(row)
                matched = match_journal(
                    row, before, posted=posted, entry=why.entry, paid=why.paid, price=worth.price
                )
                self._write(matched)
                if why.paid is not None:
                    self.unvalued.judge(matched.journal, row.coin, worth=worth)
            self.log.keep(row, RowState.MATCHED)
            return difference if why == NOT_KNOWN else ZERO

    def correct(self, booked: Booked) -> None:
        """Book a correction, a journal of its own beside those that it corrects."""
        with self._batches.posting():
            self._write(booked)

    def _worth(self, row: Transaction) -> Worth:
        """What a row's coin was worth: as it says itself, else closest to its time; the last price stands in
        for it.
        """
        near = price_of(row) or self.price_near(row.coin, row.time)
        return Worth(near) if near else Worth(self.price(row.coin), stand_in=True)

    @staticmethod
    def _touched(row: Transaction, share: Share | None) -> tuple[HoldingKey, ...]:
        pool = HoldingKey(POOL, row.coin)
        return (pool,) if share is None else (pool, holding_key(share.position, Leg.PERP))

    # ------------------------------------------------------------------------------------- opening, dust

    def chain_breaks(
        self, coins: Iterable[str] | None = None, *, since: datetime | None = None
    ) -> tuple[ChainBreak, ...]:
        """Where the venue's running balances do not follow from one another: over all coins, from the
        opening on.

        With ``since`` only rows from there are proved, beginning with the last one before it.
        """
        if self.opened_at is None:
            return ()
        opening = self.opening()
        breaks: list[ChainBreak] = []
        for coin in sorted(coins) if coins is not None else self.log.coins():
            anchor = self.log.last_before(coin, since) if since is not None else None
            start = None if anchor is not None else opening.get(coin, ZERO)
            breaks += chained(self.log.of_coin(coin, since=anchor), start)[1]
        return tuple(breaks)

    def post_opening(
        self,
        wallet: Wallet,
        at: datetime,
        *,
        prices: Mapping[str, Decimal] | None = None,
        gain: Decimal = ZERO,
    ) -> bool:
        """Open the books with what the wallet holds and the ledger does not know yet; False if they are open
        already.

        ``prices`` in quote value the coins that are no quote coins; a coin without a price is valued at
        nothing and noted (``opening_unpriced``): what it gained by a price that comes later nobody knows.
        ``gain`` is what its contracts had gained by then: no result of these books.
        """
        with self._batches.posting():
            if self.opened_at is not None:
                return False
            known, found = self.read.wallet(), dict(prices or {})
            openings = [
                OpeningBalance(
                    coin=coin,
                    amount=balance.wallet - known.pop(coin, ZERO),
                    borrowed=balance.spot_borrowed,
                    price=found.get(coin),
                )
                for coin, balance in sorted(wallet.coins.items())
            ]
            openings += [
                OpeningBalance(coin=coin, amount=-amount, price=found.get(coin))
                for coin, amount in sorted(known.items())
            ]
            openings = [item for item in openings if item.amount or item.borrowed]
            for item in openings:
                self._write(opening_journal(item, self._holdings([HoldingKey(POOL, item.coin)]), at=at))
            unpriced = {item.coin for item in openings if item.price is None} - QUOTE_COINS
            self._note_opening(wallet, at, number=self.read.last_id(), gain=gain, unpriced=unpriced)
        return True

    def move_dust(self, position: PositionRecord, quantity: Decimal, *, at: datetime) -> None:
        """Give coins of a position to the dust (+), or take some from the dust for it (−); no cash moves, no
        gain arises.
        """
        with self._batches.posting():
            prefix = f"dust:{position.position_id}:"
            sequence = self.read.count_keys(prefix) + 1
            keys = (holding_key(position, Leg.SPOT), HoldingKey(DUST, position.base))
            move = DustMove(position=position, quantity=quantity, at=at, sequence=sequence)
            self._write(dust_journal(move, self._holdings(keys)))

    def release(
        self, position: PositionRecord, quantity: Decimal, *, price: Decimal, at: datetime, fact: str
    ) -> str:
        """Book coins (+) that left a position without an order of ours, at the price they went at; the
        key.
        """
        with self._batches.posting():
            number = self.read.count_keys(f"{RELEASE_PREFIX}{position.position_id}:") + 1
            keys = (holding_key(position, Leg.SPOT), HoldingKey(POOL, position.base))
            gone = Release(
                position=position, quantity=quantity, price=price, at=at, fact=fact, sequence=number
            )
            booked = release_journal(gone, self._holdings(keys))
            self._write(booked)
            return booked.journal.key

    def put_dust_aside(self, position: PositionRecord, at: datetime) -> Decimal:
        """Give all coins that a position still owns to the dust; how many they were."""
        quantity = self._pen.holding(holding_key(position, Leg.SPOT)).quantity
        if quantity > 0:
            self.move_dust(position, quantity, at=at)
        return quantity

    def dust(self, base: str) -> Holding:
        """What closed positions left of a coin, at cost."""
        return self._pen.holding(HoldingKey(DUST, base))

    # ------------------------------------------------------------------------------------------- prices

    def price(self, coin: str) -> Decimal | None:
        """The last known price of a coin in quote, None if nobody ever told."""
        text = self._meta.get(_PRICE + coin) if coin and coin not in QUOTE_COINS else None
        return None if text is None else dec(text)

    def price_near(self, coin: str, at: datetime) -> Decimal | None:
        """What a coin was worth at an instant, as far as a price of within a day is known."""
        return self._prices.near(coin, at) if coin and coin not in QUOTE_COINS else None

    def set_price(self, coin: str, price: Decimal, *, at: datetime | None = None) -> None:
        """Remember what a coin is worth in quote, now or at that instant: values fees and rows in coins that
        are no quote coins.
        """
        self._meta.set(_PRICE + coin, plain(price))
        self._prices.note(coin, price, at=at or self._session.clock.now())

    def thin_prices(self, coin: str, before: datetime, *, each: timedelta) -> None:
        """Of a coin's older prices keep one in each stretch of time."""
        self._prices.thin(coin, before, each=each)

    # -------------------------------------------------------------------------------------------- tables

    def balances(self) -> dict[str, Decimal]:
        """What the account should own of each coin: the wallet's balance less what was borrowed; no zero
        balances.
        """
        totals = self.read.balances()
        owned: dict[str, Decimal] = {}
        for (account, coin), amount in totals.items():
            if account in {Account.WALLET, Account.LOAN}:
                owned[coin] = owned.get(coin, ZERO) + amount
        return {coin: amount for coin, amount in owned.items() if amount}

    def count(self) -> int:
        """How many entries there are."""
        return self.read.count()

    def posted(self, key: str) -> bool:
        """Whether a fact is booked."""
        return self._pen.posted(key)

    def _holdings(self, keys: Iterable[HoldingKey]) -> dict[HoldingKey, Holding]:
        """Those of these holdings that matter: an amount of a quote coin is its own cost."""
        holding = self._pen.holding
        return {key: holding(key) for key in keys if key.asset and key.asset not in QUOTE_COINS}

    def _write(self, booked: Booked) -> None:
        """One journal and the holdings after it, in the transaction or batch around."""
        self._pen.write(booked)
