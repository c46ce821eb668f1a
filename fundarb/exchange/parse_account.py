"""Raw account data → core types: positions, wallet, transaction log, fee rates, account and key.

One bad row makes the whole answer bad: nothing may be decided from half an account. ``""`` becomes None where
the core type says "not applicable"; in amounts that are only added up (fees, flows, liabilities) it
contributes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from fundarb.core.account import (
    AccountInfo,
    CoinBalance,
    FeeRates,
    KeyInfo,
    PositionReport,
    Transaction,
    Wallet,
)
from fundarb.core.money import ZERO
from fundarb.core.orders import Side
from fundarb.exchange.parse import (
    ParseError,
    Row,
    amount,
    each,
    flag,
    instant,
    integer,
    not_negative,
    number,
    optional_number,
    optional_price,
    optional_text,
    positive,
    rows,
    text,
)
from fundarb.exchange.strict import Answer

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}


def positions(answer: Answer) -> list[PositionReport]:
    """A page of open positions; flat rows, which some queries return, are left out."""
    return [report for report in each(answer, position) if report.size != 0]


def position(row: Row) -> PositionReport:
    """One row, flat or not: the wire's size is never negative, its side is "" when flat."""
    size = not_negative(row, "size")
    side = _SIDES.get(text(row, "side", empty=True))
    if side is None and size != 0:
        raise ParseError(f"a position of {size} without a side")
    return PositionReport(
        symbol=text(row, "symbol"),
        size=size * side.sign if side is not None else ZERO,
        average_price=optional_price(row, "avgPrice"),
        mark_price=positive(row, "markPrice") if size != 0 else amount(row, "markPrice"),
        leverage=optional_price(row, "leverage"),
        liquidation_price=optional_price(row, "liqPrice"),
        unrealised_pnl=number(row, "unrealisedPnl") if size != 0 else amount(row, "unrealisedPnl"),
        maintenance_margin=optional_number(row, "positionMM"),
        adl_rank=integer(row, "adlRankIndicator", missing=0),
        reduce_only=flag(row, "isReduceOnly"),
        status=optional_text(row, "positionStatus"),
        position_idx=integer(row, "positionIdx"),
    )


def wallet(answer: Answer) -> Wallet:
    """The unified account; exactly one must be there, an empty list is no empty wallet."""
    accounts = [row for row in rows(answer) if row.get("accountType") == "UNIFIED"]
    if len(accounts) != 1:
        raise ParseError(f"{len(accounts)} unified accounts in the answer")
    account = accounts[0]
    coins = account.get("coin")
    if not isinstance(coins, list):
        raise ParseError("the wallet has no list of coins")
    balances: dict[str, CoinBalance] = {}
    for row in coins:
        if not isinstance(row, dict):
            raise ParseError("a coin of the wallet is no object")
        balance = _coin(row)
        if balance.coin in balances:
            raise ParseError(f"{balance.coin} is in the wallet twice")
        balances[balance.coin] = balance
    return Wallet(
        total_equity=number(account, "totalEquity"),
        margin_balance=optional_number(account, "totalMarginBalance"),
        available=optional_number(account, "totalAvailableBalance"),
        initial_margin_rate=optional_number(account, "accountIMRate"),
        maintenance_margin_rate=optional_number(account, "accountMMRate"),
        coins=balances,
    )


def _coin(row: Row) -> CoinBalance:
    """A coin. ``spotBorrow`` is younger than the walletBalance that includes it: missing, nothing is
    included.
    """
    return CoinBalance(
        coin=text(row, "coin"),
        wallet=number(row, "walletBalance"),
        locked=amount(row, "locked"),
        borrowed=amount(row, "borrowAmount"),
        spot_borrowed=amount(row, "spotBorrow"),
        accrued_interest=amount(row, "accruedInterest"),
        equity=number(row, "equity"),
        usd_value=optional_number(row, "usdValue"),
        unrealised_pnl=amount(row, "unrealisedPnl"),
        collateral=flag(row, "marginCollateral") and flag(row, "collateralSwitch"),
    )


def transaction(row: Row) -> Transaction:
    """A row of the transaction log; ``change`` and the balance after it must be there."""
    return Transaction(
        id=text(row, "id"),
        kind=text(row, "type"),
        coin=text(row, "currency"),
        category=optional_text(row, "category"),
        symbol=optional_text(row, "symbol"),
        side=_SIDES.get(optional_text(row, "side")),
        time=instant(row, "transactionTime"),
        quantity=amount(row, "qty"),
        size=amount(row, "size"),
        price=optional_price(row, "tradePrice"),
        funding=amount(row, "funding"),
        fee=amount(row, "fee"),
        cash_flow=amount(row, "cashFlow"),
        change=number(row, "change"),
        balance=number(row, "cashBalance"),
        fee_rate=optional_number(row, "feeRate"),
        trade_id=optional_text(row, "tradeId"),
        order_id=optional_text(row, "orderId"),
        link_id=optional_text(row, "orderLinkId"),
    )


_HIGHEST_FEE = Decimal("0.1")


def fee_rates(answer: Answer, symbol: str) -> FeeRates:
    """The account's rates of one symbol."""
    for row in rows(answer):
        if row.get("symbol") == symbol:
            return _fee_rates(row)
    raise ParseError(f"no fee rate for {symbol}")


def fee_schedule(answer: Answer) -> dict[str, FeeRates]:
    """The account's rates of every symbol of a market; an empty list is a bad answer."""
    found = {text(row, "symbol"): _fee_rates(row) for row in rows(answer)}
    if not found:
        raise ParseError("an empty list of fee rates")
    return found


def _fee_rates(row: Row) -> FeeRates:
    taker, maker = number(row, "takerFeeRate"), number(row, "makerFeeRate")
    if abs(taker) > _HIGHEST_FEE or abs(maker) > _HIGHEST_FEE:
        raise ParseError(f"the fee rates of {row.get('symbol')} are absurd: {taker}, {maker}")
    return FeeRates(taker=taker, maker=maker)


def account_info(info: Answer, settings: Answer | None, *, uid: str) -> AccountInfo:
    """How the account is set up; ``settings`` is None where the venue does not have that endpoint (demo)."""
    more = settings.result if settings is not None else {}
    return AccountInfo(
        uid=uid,
        margin_mode=text(info.result, "marginMode"),
        unified_status=integer(info.result, "unifiedMarginStatus"),
        spot_fee_deduction=flag(more, "smsef"),
        linear_fee_deduction=flag(more, "fmsef"),
        delta_neutral_mode=flag(more, "deltaEnable") if more.get("deltaEnable") is not None else None,
    )


def key_info(answer: Answer) -> KeyInfo:
    """What the key may do; a key bound to addresses has no expiry (the venue then says 1970)."""
    result = answer.result
    return KeyInfo(
        uid=str(integer(result, "userID")),
        read_only=flag(result, "readOnly"),
        permissions=_permissions(result),
        addresses=tuple(address for address in _texts(result.get("ips"), "ips") if address != "*"),
        expires=_expiry(optional_text(result, "expiredAt")),
        unified=flag(result, "uta") or flag(result, "unified"),
        master=flag(result, "isMaster"),
    )


def _permissions(result: Row) -> Mapping[str, tuple[str, ...]]:
    raw = result.get("permissions")
    if not isinstance(raw, dict):
        raise ParseError("permissions are missing")
    return {name: _texts(names, "permissions") for name, names in raw.items()}


def _texts(value: object, key: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ParseError(f"{key} is no list of texts")
    return tuple(value)


_NO_EXPIRY_BEFORE = 2000


def _expiry(value: str) -> datetime | None:
    if not value:
        return None
    try:
        expires = datetime.fromisoformat(value)
    except ValueError as error:
        raise ParseError(f"expiredAt is {value!r}") from error
    if expires.year < _NO_EXPIRY_BEFORE:
        return None
    return expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
