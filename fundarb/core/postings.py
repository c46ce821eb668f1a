"""From facts to journals: how executions, opening balances and dust are booked.

Trades are booked from executions and from nothing else. Amounts are the venue's own, never recomputed; what
is computed here (average cost, the quote value of a fee paid in coins) is rounded to 1e-8. Pure: what is held
before comes in, the journal and the holdings after it come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import (
    DUST,
    POOL,
    QUOTE_COINS,
    Account,
    Booked,
    Draft,
    Holding,
    HoldingKey,
    Journal,
)
from fundarb.core.market import Category
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Execution, Leg, Side
from fundarb.core.records import PositionRecord

REVERSAL_PREFIX = "reversal:"
"""Keys of journals that take another one back."""


def settle_coin(symbol: str) -> str:
    """The coin in which a linear contract settles, by the form of its name: ``…PERP`` in USDC, the others in
    USDT.
    """
    return "USDC" if symbol.endswith("PERP") else "USDT"


def quote_coin(position: PositionRecord, leg: Leg) -> str:
    """The coin in which a leg's price is quoted."""
    return (
        position.spot_symbol.removeprefix(position.base)
        if leg is Leg.SPOT
        else settle_coin(position.perp_symbol)
    )


def holding_key(position: PositionRecord, leg: Leg) -> HoldingKey:
    """Under which key a leg's holding is kept: coins for spot, contracts for the perp."""
    return HoldingKey(position.position_id, position.base if leg is Leg.SPOT else position.perp_symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """An execution of ours with what its booking needs to know.

    ``mid`` is the decision's mid of this leg's market, None if no decision stands behind it (a forced
    reduction). ``fee_price`` is what a fee charged in a third coin was worth at the fill, in quote; None:
    unknown, then it is valued at the book cost of that coin.
    """

    execution: Execution
    position: PositionRecord
    leg: Leg
    mid: Decimal | None = None
    fee_price: Decimal | None = None


def execution_journal(fill: Fill, before: Mapping[HoldingKey, Holding]) -> Booked:
    """Book one execution of ours: quantity, cost, realised gain and fee.

    Spot moves both coins; a perp moves cash only when it reduces, by the gain against its average entry.
    ``before`` needs the leg's holding (``holding_key``) and, for a fee in a third coin, the pool's holding of
    that coin.
    """
    execution, position, leg = fill.execution, fill.position, fill.leg
    draft = Draft(before, position.position_id, leg)
    key, quote = holding_key(position, leg), quote_coin(position, leg)
    sign = execution.side.sign
    quantity, value = sign * execution.quantity, sign * execution.value
    change, gain = draft.move(key, quantity=quantity, value=value)
    if leg is Leg.SPOT:
        draft.add(Account.WALLET, position.base, amount=quantity, value=change)
        draft.add(Account.POSITION_COST, position.base, amount=-quantity, value=-change)
        draft.add(Account.WALLET, quote, amount=-value)
        draft.add(Account.POSITION_COST, quote, amount=change)
    else:
        draft.add(Account.WALLET, quote, amount=gain)
    draft.add(Account.REALISED, quote, amount=-gain)
    _add_fee(draft, fill, key=key, quote=quote)
    return draft.booked(
        Journal(
            key=execution.key,
            fact=execution.raw_kind,
            at=execution.time,
            symbol=execution.symbol,
            entries=tuple(draft.entries),
            position_id=position.position_id,
            leg=leg,
            slippage=_slippage(fill),
        )
    )


def pays_fee(execution: Execution, position: PositionRecord, *, leg: Leg) -> bool:
    """Whether the fee of a fill comes out of the position's own coins: what a buy brings arrives without it.

    A sale whose fee is taken in the coin that it sells (deduction in that coin) takes from the position what
    it sold and no more; its fee comes from the pool. A rebate in the coin belongs to the position.
    """
    own = leg is Leg.SPOT and execution.fee_coin == position.base
    return own and (execution.side is Side.BUY or execution.fee < ZERO)


def third_coin(execution: Execution) -> str | None:
    """The coin that pays a fee and is neither a quote coin nor the one traded for it, so that the fill does
    not say what it is worth; None for every other fee.
    """
    coin = execution.fee_coin
    known = not coin or coin in QUOTE_COINS or _trades(execution, coin)
    return None if known or not execution.fee else coin


def _trades(execution: Execution, coin: str) -> bool:
    """Whether a fill's price is the price of this coin."""
    return execution.category is Category.SPOT and execution.symbol.removeprefix(coin) in QUOTE_COINS


def _add_fee(draft: Draft, fill: Fill, *, key: HoldingKey, quote: str) -> None:
    """The fee in the coin it was charged in, valued in quote at the fill; + = expense, − = rebate.

    The position bears the fee's worth at the fill. What coins of the pool gained or lost between being bought
    and being spent on it is the account's own result. Last of a journal's entries.
    """
    fee, coin = fill.execution.fee, fill.execution.fee_coin or quote
    if fee and pays_fee(fill.execution, fill.position, leg=fill.leg):
        # taken from the coins of this very fill: they leave at the price they came in for, no gain
        worth, holding = cash(fee * fill.execution.price), draft.after[key]
        draft.after[key] = Holding(holding.quantity - fee, holding.cost - worth)
        draft.add(Account.WALLET, coin, amount=-fee, value=-worth)
        draft.add(Account.FEES, coin, amount=fee, value=worth)
        return
    price = fill.execution.price if _trades(fill.execution, coin) else fill.fee_price
    if price is None:
        price = draft.before.get(HoldingKey(POOL, coin), Holding()).average
    draft.exchange(Account.FEES, coin, amount=-fee, price=price)


def _slippage(fill: Fill) -> Decimal | None:
    """(fill price − decision mid) · quantity, signed so that + is a cost."""
    if fill.mid is None:
        return None
    execution = fill.execution
    return cash(execution.side.sign * (execution.price - fill.mid) * execution.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningBalance:
    """What a wallet held when the books were opened; ``borrowed`` is part of ``amount``; ``price`` in quote,
    None if unknown.
    """

    coin: str
    amount: Decimal
    borrowed: Decimal = ZERO
    price: Decimal | None = None


def opening_journal(opening: OpeningBalance, before: Mapping[HoldingKey, Holding], *, at: datetime) -> Booked:
    """An opening balance comes from outside: what was lent first, as some of it may be gone already."""
    draft = Draft(before)
    draft.exchange(Account.LOAN, opening.coin, amount=opening.borrowed, price=opening.price)
    draft.exchange(
        Account.EXTERNAL, opening.coin, amount=opening.amount - opening.borrowed, price=opening.price
    )
    return draft.booked(
        Journal(key=f"opening:{opening.coin}", fact="OPENING", at=at, symbol="", entries=tuple(draft.entries))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DustMove:
    """Coins that go from a closed position to the dust (``quantity`` +) or from the dust into a position (−).

    ``sequence`` numbers the moves of one position, so that each has its own key.
    """

    position: PositionRecord
    quantity: Decimal
    at: datetime
    sequence: int


def dust_journal(move: DustMove, before: Mapping[HoldingKey, Holding]) -> Booked:
    """Coins change their owner at average cost: no gain, no cash, and nothing at the venue moves."""
    position = move.position
    own, dust = holding_key(position, Leg.SPOT), HoldingKey(DUST, position.base)
    source, target = (own, dust) if move.quantity > 0 else (dust, own)
    held, other = before.get(source, Holding()), before.get(target, Holding())
    quantity = abs(move.quantity)
    whole = quantity == held.quantity
    cost = held.cost if whole else cash(quantity * (held.average or ZERO))
    if move.quantity < 0:
        quantity, cost = -quantity, -cost
    draft = Draft(before, position.position_id, Leg.SPOT)
    quote = quote_coin(position, Leg.SPOT)
    draft.add(Account.POSITION_COST, position.base, amount=quantity, value=cost)
    draft.add(Account.DUST, position.base, amount=-quantity, value=-cost)
    draft.add(Account.POSITION_COST, quote, amount=-cost)
    draft.add(Account.DUST, quote, amount=cost)
    draft.after[source] = (
        Holding() if whole else Holding(held.quantity - abs(quantity), held.cost - abs(cost))
    )
    draft.after[target] = Holding(other.quantity + abs(quantity), other.cost + abs(cost))
    return draft.booked(
        Journal(
            key=f"dust:{position.position_id}:{move.sequence}",
            fact="DUST",
            at=move.at,
            symbol=position.spot_symbol,
            entries=tuple(draft.entries),
            position_id=position.position_id,
            leg=Leg.SPOT,
        )
    )


def reversal_journal(journal: Journal, before: Mapping[HoldingKey, Holding]) -> Booked:
    """A correction: the opposite of a journal that touched no position's holding (of a trade that turned out
    to be ours).
    """
    draft = Draft(before)
    for entry in journal.entries:
        draft.add(entry.account, entry.coin, amount=-entry.amount, value=-entry.value)
        if entry.account is Account.WALLET and entry.coin not in QUOTE_COINS:
            key = HoldingKey(POOL, entry.coin)
            held = draft.after.get(key) or before.get(key) or Holding()
            draft.after[key] = Holding(held.quantity - entry.amount, held.cost - entry.value)
    return draft.booked(replace(journal, key=REVERSAL_PREFIX + journal.key, entries=tuple(draft.entries)))
