"""How rows of the transaction log are booked: everything that executions lack, and the matching
of the rest.

One source per fact: rows that repeat an execution are only matched against it. Amounts are the venue's own; a
part of a row that belongs to somebody else is rounded to 1e-8. A kind that nobody has described goes to
suspense, never to a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from fundarb.core.account import Transaction
from fundarb.core.ledger import QUOTE_COINS, Account, Booked, Draft, Holding, HoldingKey, Journal
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key
from fundarb.core.records import PositionRecord

MATCHED_KINDS = frozenset({"TRADE", "LIQUIDATION", "ADL", "DELIVERY"})
"""Rows of the transaction log that repeat an execution: matched, never booked a second time."""

SETTLEMENT = "SETTLEMENT"
MATCH_PREFIX = "match:"
"""Keys of journals that book the difference between a trade row and its execution."""
AGAIN = ":again"
"""Ends the key of a row that is booked anew, after what was booked of it before was taken back."""

_ACCOUNT_OF_KIND: Mapping[str, Account] = {
    "INTEREST": Account.INTEREST,
    "TRANSFER_IN": Account.EXTERNAL,
    "TRANSFER_OUT": Account.EXTERNAL,
    "AIRDROP": Account.EXTERNAL,
    "BONUS": Account.EXTERNAL,
    "AUTO_DEDUCTION": Account.EXTERNAL,
    # an exchange of coins by the venue: what went out at cost against what came in at its price
    "CONVERT": Account.REALISED,
    "CURRENCY_BUY": Account.REALISED,
    "CURRENCY_SELL": Account.REALISED,
    "SPOT_REPAYMENT_BUY": Account.REALISED,
    "SPOT_REPAYMENT_SELL": Account.REALISED,
    "BORROW": Account.LOAN,
    "REPAY": Account.LOAN,
    "FEE_REFUND": Account.FEES,
}
_FREE_FORMS = (
    ("TRANSFER_IN", Account.EXTERNAL),
    ("TRANSFER_OUT", Account.EXTERNAL),
    ("BONUS", Account.EXTERNAL),
)
"""The venue adds suffixes to these (``TRANSFER_IN_…``, ``BONUS_RECOLLECT``)."""


def account_of(kind: str) -> Account:
    """The account against which a row of this kind is booked; SUSPENSE for one that nobody has described
    yet.
    """
    known = _ACCOUNT_OF_KIND.get(kind)
    if known is not None:
        return known
    return next((account for form, account in _FREE_FORMS if kind.startswith(form)), Account.SUSPENSE)


@dataclass(frozen=True, slots=True)
class Share:
    """Whose a funding row is: ``ours`` contracts, signed, of all that the account held at the instant (also
    signed).

    ``total`` None or zero: the row does not say; then all of it is ours.
    """

    position: PositionRecord
    ours: Decimal
    total: Decimal | None = None

    def part(self, amount: Decimal) -> Decimal:
        """Our part of an amount: exactly all of it when we were alone, else by size, rounded to 1e-8.

        Positions of one symbol net at the venue, so a stranger's long makes our part larger than the whole.
        """
        if not self.total or self.total == self.ours:
            return amount
        return cash(amount * self.ours / self.total)


def transaction_journal(
    row: Transaction,
    before: Mapping[HoldingKey, Holding],
    *,
    share: Share | None = None,
    price: Decimal | None = None,
) -> Booked:
    """Book a row that executions lack: funding, interest, transfers, conversions, loans, refunds; unknown
    kinds to suspense.

    ``share`` names the position that a SETTLEMENT belongs to (None: the account's). ``price`` is the
    coin's price in quote, for what comes in and what goes (``Draft.exchange``). Should ``change`` not be
    ``cash_flow + funding − fee``, the difference goes to suspense.
    """
    draft = Draft(before)
    if row.kind == SETTLEMENT:
        _settlement(draft, row, share=share)
    else:
        draft.exchange(account_of(row.kind), row.coin, amount=row.cash_flow + row.funding, price=price)
        draft.exchange(Account.FEES, row.coin, amount=-row.fee, price=price)
    draft.exchange(
        Account.SUSPENSE, row.coin, amount=row.change - (row.cash_flow + row.funding - row.fee), price=price
    )
    return _of_row(draft, row, position_id=share.position.position_id if share else None)


def _settlement(draft: Draft, row: Transaction, *, share: Share | None) -> None:
    """Funding as funding, the session's cash flow as realised: our share to the position, the rest to the
    account.
    """
    parts = [(Account.FUNDING, row.funding), (Account.REALISED, row.cash_flow), (Account.FEES, -row.fee)]
    rests = parts
    if share is not None:
        draft.position_id, draft.leg = share.position.position_id, Leg.PERP
        ours = [(account, share.part(amount)) for account, amount in parts]
        for account, amount in ours:
            draft.exchange(account, row.coin, amount=amount)
        _move_entry(draft, share.part(row.cash_flow), share=share)
        draft.position_id, draft.leg = None, None
        rests = [(account, whole - part) for (account, whole), (_, part) in zip(parts, ours, strict=True)]
    for account, amount in rests:
        draft.exchange(account, row.coin, amount=amount)


def _move_entry(draft: Draft, paid: Decimal, *, share: Share) -> None:
    """A session's profit is paid out and the entry moves to the session's price: no gain twice."""
    if paid:
        key = holding_key(share.position, Leg.PERP)
        held = draft.before.get(key, Holding())
        draft.after[key] = Holding(held.quantity, held.cost + paid)


def match_journal(
    row: Transaction,
    before: Mapping[HoldingKey, Holding],
    *,
    posted: Decimal,
    entry: HoldingKey | None = None,
    paid: Decimal | None = None,
    price: Decimal | None = None,
) -> Booked:
    """A trade row against what its execution did to this coin's wallet: the difference (a rounding) goes to
    suspense. Where strangers hold the contract beside us the venue realises our fill against the average of
    both, and theirs against it as well: the difference is the account's own result. ``paid`` (None: nobody
    is beside us) is what ours paid of the row's fee: the rest is of a part that was a stranger's, and the
    account's. ``price`` is the coin's in quote.

    ``entry`` is the short whose average was not the venue's when a fill was booked that became known after a
    later one: then the difference is realised with the fill, and the entry of what is left moves by as much.
    """
    difference = row.change - posted
    if entry is None:
        draft, owner = Draft(before), None
        theirs = ZERO if paid is None else row.fee - paid
        account = Account.SUSPENSE if paid is None else Account.REALISED
        draft.exchange(account, row.coin, amount=difference + theirs, price=price)
        draft.exchange(Account.FEES, row.coin, amount=-theirs, price=price)
    else:
        owner = entry.owner
        draft, held = Draft(before, owner, Leg.PERP), before[entry]
        draft.exchange(Account.REALISED, row.coin, amount=difference)
        draft.after[entry] = Holding(held.quantity, held.cost + difference)
    booked = _of_row(draft, row, position_id=owner)
    return Booked(replace(booked.journal, key=MATCH_PREFIX + row.key), booked.holdings)


def foreign_trade_journal(
    row: Transaction,
    before: Mapping[HoldingKey, Holding],
    *,
    price: Decimal | None = None,
    again: bool = False,
) -> Booked:
    """A trade row of somebody else on this account: an exchange of coins in and out of the pool, its result
    and its fee the account's own, of no position. Nothing came from outside. ``price`` is the coin's price in
    quote, for what comes in and for the fee; ``again``: what was booked of the row before was taken back.
    """
    draft = Draft(before)
    flow = row.cash_flow + row.funding
    draft.exchange(Account.REALISED, row.coin, amount=flow, price=price)
    draft.exchange(Account.FEES, row.coin, amount=-row.fee, price=price)
    draft.exchange(Account.SUSPENSE, row.coin, amount=row.change - (flow - row.fee), price=price)
    booked = _of_row(draft, row, position_id=None)
    return replace(booked, journal=replace(booked.journal, key=row.key + AGAIN)) if again else booked


def _of_row(draft: Draft, row: Transaction, *, position_id: str | None) -> Booked:
    return draft.booked(
        Journal(
            key=row.key,
            fact=row.kind,
            at=row.time,
            symbol=row.symbol,
            entries=tuple(draft.entries),
            position_id=position_id,
            leg=Leg.PERP if position_id else None,
        )
    )


def execution_key(row: Transaction) -> str:
    """The key of the execution that a trade row repeats."""
    return trade_key(row.category, row.symbol, trade_id=row.trade_id)


def trade_key(category: str, symbol: str, *, trade_id: str) -> str:
    """The key of the execution of a trade."""
    return f"exec:{category}:{symbol}:{trade_id}"


def price_of(row: Transaction) -> Decimal | None:
    """The row's trade price where it is the price of the row's own coin in quote: that of BTC in ``BTCUSDT``,
    not in ``BTCEUR``, and that of neither coin in ``ETHBTC``.
    """
    return row.price if row.symbol.removeprefix(row.coin) in QUOTE_COINS else None
