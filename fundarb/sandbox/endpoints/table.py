"""Every path this sandbox answers, with its method, permission and limits per second (linear, spot)."""

from __future__ import annotations

from collections.abc import Mapping

from fundarb.sandbox.endpoints import account, market, orders
from fundarb.sandbox.endpoints.common import Endpoint, Handler


def _public(handler: Handler) -> Endpoint:
    return Endpoint(method="GET", handler=handler)


def _read(handler: Handler, limit: int = 50, *, group: str = "") -> Endpoint:
    return Endpoint(method="GET", handler=handler, group=group, limit=(limit, limit))


def _write(handler: Handler, linear: int = 10, *, spot: int = 10, group: str = "") -> Endpoint:
    return Endpoint(method="POST", handler=handler, group=group, limit=(linear, spot))


TABLE: Mapping[str, Endpoint] = {
    "/v5/market/time": _public(market.server_time),
    "/v5/market/instruments-info": _public(market.instruments_info),
    "/v5/market/tickers": _public(market.tickers),
    "/v5/market/orderbook": _public(market.orderbook),
    "/v5/market/funding/history": _public(market.funding_history),
    "/v5/market/kline": _public(market.kline),
    "/v5/market/mark-price-kline": _public(market.mark_kline),
    "/v5/market/index-price-kline": _public(market.index_kline),
    "/v5/market/premium-index-price-kline": _public(market.premium_kline),
    "/v5/market/risk-limit": _public(market.risk_limit),
    "/v5/market/price-limit": _public(market.price_limit),
    "/v5/market/recent-trade": _public(market.recent_trades),
    "/v5/system/status": _public(market.system_status),
    "/v5/announcements/index": _public(market.announcements),
    "/v5/user/query-api": _read(account.query_api, 10),
    "/v5/account/info": _read(account.account_info),
    "/v5/account/wallet-balance": _read(account.wallet_balance),
    "/v5/account/fee-rate": _read(account.fee_rate, 5),
    "/v5/account/transaction-log": _read(account.transaction_log, 25),
    "/v5/account/collateral-info": _read(account.collateral_info),
    "/v5/account/user-setting-config": _read(account.user_setting_config),
    "/v5/account/set-margin-mode": _write(account.set_margin_mode, 5, spot=5, group="ContractTrade"),
    "/v5/account/set-delta-mode": _write(account.set_delta_mode, 5, spot=5, group="ContractTrade"),
    "/v5/position/list": _read(account.position_list),
    "/v5/position/set-leverage": _write(account.set_leverage, group="ContractTrade"),
    "/v5/position/switch-mode": _write(account.switch_mode, group="ContractTrade"),
    "/v5/order/create": _write(orders.create, 10, spot=20, group="trade"),
    "/v5/order/cancel": _write(orders.cancel, 10, spot=20, group="trade"),
    "/v5/order/cancel-all": _write(orders.cancel_all, 10, spot=20, group="trade"),
    "/v5/order/realtime": _read(orders.realtime),
    "/v5/order/history": _read(orders.history),
    "/v5/execution/list": _read(orders.executions),
}
"""``group`` "trade" stands for ContractTrade or Spot, by the category of the request."""
