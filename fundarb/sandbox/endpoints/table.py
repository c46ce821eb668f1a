"""Every path this sandbox answers, with its method, permission and limits per second (linear, spot)."""

from __future__ import annotations

from collections.abc import Mapping

from fundarb.sandbox.endpoints import account, bars, coins, market, order_reads, orders, positions
from fundarb.sandbox.endpoints.common import Endpoint, Handler


def _public(handler: Handler) -> Endpoint:
    return Endpoint(method="GET", handler=handler)


def _read(handler: Handler, limit: int = 50) -> Endpoint:
    return Endpoint(method="GET", handler=handler, group="", limit=(limit, limit), apart=False)


def _orders(handler: Handler) -> Endpoint:
    return Endpoint(method="GET", handler=handler, group="")


def _setting(handler: Handler, limit: int) -> Endpoint:
    return Endpoint(method="POST", handler=handler, group="setting", limit=(limit, limit), apart=False)


def _trade(handler: Handler, linear: int, *, spot: int) -> Endpoint:
    return Endpoint(method="POST", handler=handler, group="trade", limit=(linear, spot))


def _batch(handler: Handler, linear: int, *, spot: int) -> Endpoint:
    return Endpoint(method="POST", handler=handler, group="trade", limit=(linear, spot), batch=True)


TABLE: Mapping[str, Endpoint] = {
    "/v5/market/time": _public(market.server_time),
    "/v5/market/instruments-info": _public(market.instruments_info),
    "/v5/market/tickers": _public(market.tickers),
    "/v5/market/orderbook": _public(market.orderbook),
    "/v5/market/funding/history": _public(market.funding_history),
    "/v5/market/kline": _public(bars.kline),
    "/v5/market/mark-price-kline": _public(bars.mark_kline),
    "/v5/market/index-price-kline": _public(bars.index_kline),
    "/v5/market/premium-index-price-kline": _public(bars.premium_kline),
    "/v5/market/risk-limit": _public(market.risk_limit),
    "/v5/market/price-limit": _public(market.price_limit),
    "/v5/market/recent-trade": _public(bars.recent_trades),
    "/v5/market/open-interest": _public(bars.open_interest),
    "/v5/spot-margin-trade/data": _public(coins.margin_data),
    "/v5/spot-margin-trade/collateral": _public(coins.collateral_tiers),
    "/v5/system/status": _public(market.system_status),
    "/v5/announcements/index": _public(market.announcements),
    "/v5/user/query-api": _read(account.query_api, 10),
    "/v5/asset/coin/query-info": _read(coins.query_info, 5),
    "/v5/account/info": _read(account.account_info),
    "/v5/account/wallet-balance": _read(account.wallet_balance),
    "/v5/account/fee-rate": _read(account.fee_rate, 5),
    "/v5/account/transaction-log": _read(account.transaction_log, 25),
    "/v5/account/collateral-info": _read(account.collateral_info),
    "/v5/account/user-setting-config": _read(account.user_setting_config),
    "/v5/account/set-margin-mode": _setting(account.set_margin_mode, 5),
    "/v5/account/set-delta-mode": _setting(account.set_delta_mode, 5),
    "/v5/position/list": _read(positions.position_list),
    "/v5/position/closed-pnl": _read(positions.closed_pnl),
    "/v5/position/set-leverage": _setting(positions.set_leverage, 10),
    "/v5/position/switch-mode": _setting(positions.switch_mode, 10),
    "/v5/order/create": _trade(orders.create, 10, spot=20),
    "/v5/order/create-batch": _batch(orders.create_batch, 10, spot=20),
    "/v5/order/amend": _trade(orders.amend, 10, spot=10),
    "/v5/order/pre-check": _trade(orders.pre_check, 10, spot=20),
    "/v5/order/cancel": _trade(orders.cancel, 10, spot=20),
    "/v5/order/cancel-all": _trade(orders.cancel_all, 10, spot=20),
    "/v5/order/realtime": _orders(order_reads.realtime),
    "/v5/order/history": _orders(order_reads.history),
    "/v5/execution/list": _orders(order_reads.executions),
}
"""``group`` "trade" stands for ContractTrade or Spot, by the category of the request."""
