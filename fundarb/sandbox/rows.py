"""One venue value to one wire row: the keys and types of Bybit's lists; numbers become strings here and
nowhere else.

Shapes follow recorded answers; "" stands for "not applicable".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from fundarb.core.account import Transaction
from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.core.orders import ExecKind, OrderStatus
from fundarb.venue.rows import CoinView, Fill, Order, OrderType, PositionView, WalletView

Row = dict[str, Any]
_FEE_RATE_STEP = Decimal("0.000001")


def ms_text(instant: datetime | None, missing: str = "") -> str:
    """Milliseconds as the wire's string."""
    return missing if instant is None else str(to_ms(instant))


def optional(value: Decimal | None) -> str:
    """A number, or "" where there is none."""
    return "" if value is None else plain(value)


def link_of(category: Category, order_id: str, *, link_id: str) -> str:
    """The link id as the wire shows it: for a spot order without one the exchange invents order id + 1."""
    if link_id or category is not Category.SPOT or not order_id.isdigit():
        return link_id
    return str(int(order_id) + 1)


def order_row(order: Order, fills: tuple[Fill, ...] | None = None) -> Row:
    """A row of order/realtime and order/history.

    With ``fills`` the order is shown as it was when only those had happened: the past that a lagging read
    still shows.
    """
    status, filled, value, fees = order.status, order.filled, order.filled_value, dict(order.fees)
    leaves, updated = order.leaves, order.updated
    if fills is not None:
        filled, value, fees, updated = _as_of(order, fills)
        status = OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW
        leaves = order.quantity - (value if order.by_value else filled)
    linear = order.category is Category.LINEAR
    price = order.price if order.price is not None else Decimal(0)
    fee_total = sum(fees.values(), Decimal(0))
    row: Row = {
        "symbol": order.symbol,
        "orderType": order.order_type.value,
        "orderLinkId": link_of(order.category, order.order_id, link_id=order.link_id),
        "slLimitPrice": "0",
        "orderId": order.order_id,
        "cancelType": order.cancel_type if fills is None else "UNKNOWN",
        "avgPrice": plain((value / filled).quantize(Decimal("1e-10"))) if filled else "",
        "stopOrderType": "",
        "lastPriceOnCreated": "",
        "orderStatus": status.value,
        "createType": order.create_type if linear else "",
        "takeProfit": "",
        "cumExecValue": plain(value),
        "tpslMode": "",
        "smpType": "None",
        "triggerDirection": 0,
        "blockTradeId": "",
        "cumFeeDetail": {coin: plain(amount) for coin, amount in fees.items()},
        "rejectReason": order.reject_reason if fills is None else "EC_NoError",
        "isLeverage": "" if linear else ("1" if order.leverage else "0"),
        "price": plain(price),
        "orderIv": "",
        "createdTime": ms_text(order.created),
        "tpTriggerBy": "",
        "positionIdx": 0,
        "timeInForce": order.time_in_force.value,
        "leavesValue": plain(leaves if order.by_value else leaves * price),
        "updatedTime": ms_text(updated),
        "side": order.side.value,
        "smpGroup": 0,
        "triggerPrice": "",
        "tpLimitPrice": "0",
        "cumExecFee": plain(fee_total),
        "slTriggerBy": "",
        "leavesQty": plain(Decimal(0) if order.by_value else leaves),
        "closeOnTrigger": False,
        "slippageToleranceType": "UNKNOWN",
        "placeType": "",
        "cumExecQty": plain(filled),
        "reduceOnly": order.reduce_only,
        "qty": plain(order.quantity),
        "stopLoss": "",
        "smpOrderId": "",
        "slippageTolerance": "0",
        "triggerBy": "",
        "extraFees": "",
    }
    return row if linear else _as_spot(order, row)


def _as_spot(order: Order, row: Row) -> Row:
    """Spot rows have no ``tpslMode`` and say what a market order's quantity counts."""
    del row["tpslMode"]
    return {**row, "marketUnit": _market_unit(order)}


def _market_unit(order: Order) -> str:
    if order.order_type is OrderType.LIMIT:
        return ""
    return "quoteCoin" if order.by_value else "baseCoin"


def _as_of(order: Order, fills: tuple[Fill, ...]) -> tuple[Decimal, Decimal, dict[str, Decimal], datetime]:
    fees: dict[str, Decimal] = {}
    for fill in fills:
        fees[fill.fee_coin] = fees.get(fill.fee_coin, Decimal(0)) + fill.fee
    return (
        sum((fill.quantity for fill in fills), Decimal(0)),
        sum((fill.value for fill in fills), Decimal(0)),
        fees,
        max((fill.time for fill in fills), default=order.created),
    )


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
        "avgPrice": "0" if view.entry_price is None else plain(view.entry_price.quantize(Decimal("1e-10"))),
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
        "breakEvenPrice": ""
        if view.entry_price is None
        else plain(view.entry_price.quantize(Decimal("1e-10"))),
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
