"""One venue value to one wire row: the keys and types of Bybit's lists; numbers become strings here and
nowhere else.

Shapes follow recorded answers; "" stands for "not applicable".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from fundarb.core.account import Transaction
from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.money import ZERO, cash, plain
from fundarb.core.orders import ExecKind, OrderStatus
from fundarb.sandbox.closings import Closing
from fundarb.venue.rows import CoinView, Fill, Order, OrderType, PositionView, WalletView

Row = dict[str, Any]
_FEE_RATE_STEP = Decimal("0.000001")
_PRICE_STEP = Decimal("1e-10")
_PRICE_DIGITS = 8


def ms_text(instant: datetime | None, missing: str = "") -> str:
    """Milliseconds as the wire's string."""
    return missing if instant is None else str(to_ms(instant))


def optional(value: Decimal | None) -> str:
    """A number, or "" where there is none."""
    return "" if value is None else plain(value)


def average(price: Decimal) -> str:
    """An average price: ten places, but never fewer than eight digits, for there are coins at 1e-9. Further
    ones would be those of values that are kept to 1e-8.
    """
    return plain(price.quantize(min(_PRICE_STEP, Decimal(1).scaleb(price.adjusted() + 1 - _PRICE_DIGITS))))


def link_of(category: Category, order_id: str, *, link_id: str) -> str:
    """The link id as the wire shows it: for a spot order without one the exchange invents order id + 1."""
    if link_id or category is not Category.SPOT or not order_id.isdigit():
        return link_id
    return str(int(order_id) + 1)


class _Standing(NamedTuple):
    """How an order stands: now, or as a lagging read still shows it."""

    status: OrderStatus
    filled: Decimal
    value: Decimal
    fees: Mapping[str, Decimal]
    leaves: Decimal
    updated: datetime
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"


_NOT_OFFERED: Row = {
    "slLimitPrice": "0",
    "stopOrderType": "",
    "lastPriceOnCreated": "",
    "takeProfit": "",
    "smpType": "None",
    "triggerDirection": 0,
    "blockTradeId": "",
    "orderIv": "",
    "tpTriggerBy": "",
    "positionIdx": 0,
    "smpGroup": 0,
    "triggerPrice": "",
    "tpLimitPrice": "0",
    "slTriggerBy": "",
    "closeOnTrigger": False,
    "slippageToleranceType": "UNKNOWN",
    "placeType": "",
    "stopLoss": "",
    "smpOrderId": "",
    "slippageTolerance": "0",
    "triggerBy": "",
    "extraFees": "",
}
"""Fields of an order that always say the same here: no conditions, no take profit, no hedge mode."""


def order_row(order: Order, fills: tuple[Fill, ...] | None = None) -> Row:
    """A row of order/realtime and order/history.

    With ``fills`` the order is shown as it was when only those had happened: the past that a lagging read
    still shows.
    """
    now = _present(order) if fills is None else _past(order, fills)
    price = order.price or ZERO
    return {
        **_NOT_OFFERED,
        **_unfilled(order, now, price=price),
        **_own_fields(order),
        "symbol": order.symbol,
        "orderType": order.order_type.value,
        "orderLinkId": link_of(order.category, order.order_id, link_id=order.link_id),
        "orderId": order.order_id,
        "cancelType": now.cancel_type,
        "avgPrice": average(now.value / now.filled) if now.filled else "",
        "orderStatus": now.status.value,
        "cumExecValue": plain(now.value),
        "cumFeeDetail": {coin: plain(amount) for coin, amount in now.fees.items()},
        "rejectReason": now.reject_reason,
        "price": plain(price),
        "createdTime": ms_text(order.created),
        "timeInForce": order.time_in_force.value,
        "updatedTime": ms_text(now.updated),
        "side": order.side.value,
        "cumExecFee": plain(sum(now.fees.values(), ZERO)),
        "cumExecQty": plain(now.filled),
        "reduceOnly": order.reduce_only,
        "qty": plain(order.quantity),
    }


def _present(order: Order) -> _Standing:
    return _Standing(
        status=order.status,
        filled=order.filled,
        value=order.filled_value,
        fees=order.fees,
        leaves=order.leaves,
        updated=order.updated,
        cancel_type=order.cancel_type,
        reject_reason=order.reject_reason,
    )


def _past(order: Order, fills: tuple[Fill, ...]) -> _Standing:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        fees[fill.fee_coin] = fees.get(fill.fee_coin, ZERO) + fill.fee
    filled = sum((fill.quantity for fill in fills), ZERO)
    value = sum((fill.value for fill in fills), ZERO)
    return _Standing(
        status=OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW,
        filled=filled,
        value=value,
        fees=fees,
        leaves=order.quantity - (value if order.by_value else filled),
        updated=max((fill.time for fill in fills), default=order.created),
    )


def _unfilled(order: Order, now: _Standing, *, price: Decimal) -> Row:
    """What is left: of an order by value only money, no quantity, and what it could not buy is told when it
    has ended, too.
    """
    if order.by_value:
        ended = now.status is OrderStatus.PARTIALLY_FILLED_CANCELED
        return {"leavesQty": "0", "leavesValue": plain(order.quantity - now.value if ended else now.leaves)}
    return {"leavesQty": plain(now.leaves), "leavesValue": plain(now.leaves * price)}


def _own_fields(order: Order) -> Row:
    """Perp rows have a ``tpslMode``; spot rows have none and say what a market order's quantity counts."""
    if order.category is Category.LINEAR:
        return {"createType": order.create_type, "tpslMode": "", "isLeverage": ""}
    unit = "quoteCoin" if order.by_value else "baseCoin"
    return {
        "createType": "",
        "isLeverage": "1" if order.leverage else "0",
        "marketUnit": unit if order.order_type is OrderType.MARKET else "",
    }


def execution_row(fill: Fill) -> Row:
    """A row of execution/list. The fee rate of a funding row is cut to six decimals, as the exchange does."""
    linear = fill.category is Category.LINEAR
    funding = fill.kind is ExecKind.FUNDING
    return {
        "symbol": fill.symbol,
        "orderType": fill.order_type,
        "underlyingPrice": "",
        "orderLinkId": link_of(fill.category, fill.order_id, link_id=fill.link_id),
        "orderId": fill.order_id,
        "stopOrderType": "UNKNOWN" if linear else "",
        "execTime": ms_text(fill.time),
        "feeCurrency": "" if funding else fill.fee_coin,
        "createType": fill.create_type if linear and not funding else "",
        "feeRate": plain(fill.fee_rate.quantize(_FEE_RATE_STEP) if funding else fill.fee_rate),
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": optional(fill.mark),
        "execPrice": plain(fill.price),
        "markIv": "",
        "orderQty": plain(fill.order_quantity),
        "orderPrice": plain(fill.order_price),
        "execValue": plain(fill.value),
        "closedSize": plain(fill.closed) if linear else "",
        "execType": fill.kind.value,
        "seq": fill.sequence,
        "side": fill.side.value,
        "indexPrice": "",
        "leavesQty": plain(fill.leaves),
        "isMaker": fill.maker,
        "execFee": plain(fill.fee),
        "execId": fill.exec_id,
        "marketUnit": "",
        "execQty": plain(fill.quantity),
        "extraFees": "",
    }


def closed_row(item: Closing, leverage: Decimal) -> Row:
    """A row of position/closed-pnl; ``side`` is that of the closing order."""
    last = item.last
    return {
        "symbol": last.symbol,
        "orderType": last.order_type,
        "leverage": plain(leverage),
        "updatedTime": ms_text(item.updated),
        "side": last.side.value,
        "orderId": last.order_id,
        "closedPnl": plain(item.pnl),
        "openFee": plain(cash(item.open_fee)),
        "closeFee": plain(cash(item.close_fee)),
        "avgEntryPrice": average(item.entry_value / item.quantity),
        "avgExitPrice": average(item.exit_value / item.quantity),
        "qty": plain(last.order_quantity),
        "closedSize": plain(item.quantity),
        "cumEntryValue": plain(cash(item.entry_value)),
        "cumExitValue": plain(cash(item.exit_value)),
        "createdTime": ms_text(item.created),
        "orderPrice": plain(last.order_price),
        "execType": last.kind.value,
        "fillCount": str(item.fills),
    }


def position_row(view: PositionView) -> Row:
    """A row of position/list: size without a sign, the sign is the side."""
    flat = view.size == 0
    side = "" if flat else ("Buy" if view.size > 0 else "Sell")
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": plain(view.risk_limit),
        "symbol": view.symbol,
        "side": side,
        "size": plain(abs(view.size)),
        "avgPrice": "0" if view.entry_price is None else average(view.entry_price),
        "positionValue": "" if flat else plain(abs(view.value)),
        "tradeMode": 0,
        "positionStatus": view.status,
        "autoAddMargin": 0,
        "adlRankIndicator": view.adl_rank,
        "leverage": plain(view.leverage),
        "positionBalance": "0",
        "markPrice": plain(view.mark),
        "liqPrice": optional(view.liquidation_price),
        "bustPrice": "",
        "positionMM": plain(view.maintenance_margin),
        "positionMMByMp": plain(view.maintenance_margin),
        "positionIM": plain(view.initial_margin),
        "positionIMByMp": plain(view.initial_margin),
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "sessionAvgPrice": "",
        "unrealisedPnl": "" if flat else plain(view.unrealised),
        "curRealisedPnl": plain(view.realised),
        "cumRealisedPnl": plain(view.realised_total),
        "breakEvenPrice": "" if view.entry_price is None else average(view.entry_price),
        "seq": view.sequence or -1,
        "isReduceOnly": view.reduce_only,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "createdTime": ms_text(view.created),
        "openTime": 0 if view.opened is None else to_ms(view.opened),
        "updatedTime": ms_text(view.updated),
    }


def wallet_row(view: WalletView, coins: Mapping[str, CoinView]) -> Row:
    """The one row of wallet-balance: the account in USD and the coins asked for."""
    return {
        "totalEquity": plain(view.total_equity),
        "accountIMRate": _rate(view.im_rate),
        "accountIMRateByMp": _rate(view.im_rate),
        "totalMarginBalance": plain(view.margin_balance),
        "totalInitialMargin": plain(view.initial_margin),
        "totalInitialMarginByMp": plain(view.initial_margin),
        "accountType": "UNIFIED",
        "totalAvailableBalance": plain(view.available),
        "accountMMRate": _rate(view.mm_rate),
        "accountMMRateByMp": _rate(view.mm_rate),
        "totalPerpUPL": plain(view.unrealised),
        "totalWalletBalance": plain(view.total_wallet),
        "accountLTV": "0",
        "totalMaintenanceMargin": plain(view.maintenance_margin),
        "totalMaintenanceMarginByMp": plain(view.maintenance_margin),
        "coin": [coin_row(coin) for coin in coins.values()],
    }


def _rate(value: Decimal) -> str:
    return plain(value.quantize(Decimal("0.0001")))


def coin_row(coin: CoinView) -> Row:
    """One coin of the wallet."""
    return {
        "availableToBorrow": "",
        "bonus": "0",
        "accruedInterest": plain(coin.accrued_interest),
        "availableToWithdraw": "",
        "totalOrderIM": plain(coin.order_im),
        "equity": plain(coin.equity),
        "totalPositionMM": plain(coin.position_mm),
        "usdValue": plain(coin.usd_value.quantize(Decimal("1e-8"))),
        "unrealisedPnl": plain(coin.unrealised),
        "collateralSwitch": coin.collateral_switch,
        "spotHedgingQty": "0",
        "borrowAmount": plain(coin.borrowed),
        "totalPositionIM": plain(coin.position_im),
        "walletBalance": plain(coin.wallet),
        "cumRealisedPnl": plain(coin.realised_total),
        "locked": plain(coin.locked),
        "marginCollateral": coin.collateral,
        "coin": coin.coin,
        "spotBorrow": plain(coin.spot_borrowed),
        "colRes": "0",
    }


def transaction_row(tx: Transaction) -> Row:
    """A row of the transaction log; ``funding`` is "" where the row is no settlement."""
    settlement = tx.kind == "SETTLEMENT"
    return {
        "id": tx.id,
        "symbol": tx.symbol,
        "side": "None" if tx.side is None else tx.side.value,
        "funding": plain(tx.funding) if settlement else "",
        "orderLinkId": tx.link_id,
        "orderId": tx.order_id,
        "fee": plain(tx.fee),
        "change": plain(tx.change),
        "cashFlow": plain(tx.cash_flow),
        "transactionTime": ms_text(tx.time),
        "type": tx.kind,
        "transSubType": "",
        "feeRate": optional(tx.fee_rate),
        "bonusChange": "",
        "size": plain(tx.size),
        "qty": plain(tx.quantity),
        "cashBalance": plain(tx.balance),
        "currency": tx.coin,
        "category": tx.category,
        "tradePrice": optional(tx.price),
        "tradeId": tx.trade_id,
        "extraFees": "",
    }
