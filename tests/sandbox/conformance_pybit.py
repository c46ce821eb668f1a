"""The steps of pybit: every method of its HTTP session that meets a path of the sandbox."""

from typing import Any

from tests.sandbox.conformance import Session, Step, fields, until

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
PAIR = {"category": "spot", "symbol": "BTCUSDT"}


def _rows(name: str, **params: Any) -> Step:
    """A step that counts the rows of a call's list."""

    def call(session: Session) -> str:
        result = getattr(session.client, name)(**params)["result"]
        rows = result.get("list", result.get("rows", result.get("vipCoinList")))
        return "as expected" if rows is None else f"{len(rows)} row{'' if len(rows) == 1 else 's'}"

    return f"{name}({_said(params)})", call


def _said(params: dict[str, Any]) -> str:
    return ", ".join(str(value) for value in params.values() if not isinstance(value, (dict, list)))


def _far(session: Session, ratio: float) -> str:
    """A perp price that far from the market's, on the tick."""
    row = session.client.get_tickers(**LINEAR)["result"]["list"][0]
    return f"{float(row['lastPrice']) * ratio:.1f}"


def _place(link: str, **order: Any) -> Step:
    def call(session: Session) -> str:
        session.client.place_order(**{**LINEAR, "qty": "0.01", "orderLinkId": link, **order})
        found = until(
            lambda: session.client.get_open_orders(**LINEAR, orderLinkId=link)["result"]["list"][0],
            lambda row: row["orderStatus"] != "New",
        )
        return f"{found['orderStatus']}, {found['cumExecQty']} filled"

    return f"place_order({order['side']}, {order['orderType']})", call


def _resting(session: Session) -> str:
    ack = session.client.place_order(
        **LINEAR, side="Buy", orderType="Limit", qty="0.01", price=_far(session, 0.97), orderLinkId="rests"
    )
    return f"orderLinkId {ack['result']['orderLinkId']}"


def _amended(session: Session) -> str:
    session.client.amend_order(**LINEAR, orderLinkId="rests", qty="0.02")
    found = until(
        lambda: session.client.get_open_orders(**LINEAR, orderLinkId="rests")["result"]["list"][0],
        lambda row: row["qty"] == "0.02",
    )
    return f"qty {found['qty']}"


def _dropped(session: Session) -> str:
    ack = session.client.cancel_order(**LINEAR, orderLinkId="rests")
    found = until(
        lambda: session.client.get_order_history(**LINEAR, orderLinkId="rests")["result"]["list"], bool
    )
    return f"orderLinkId {ack['result']['orderLinkId']}, then {found[0]['orderStatus']}"


def _placed_batch(session: Session) -> str:
    order = {
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.01",
        "price": _far(session, 0.97),
    }
    answer = session.client.place_batch_order(category="linear", request=[order, {**order, "qty": "0"}])
    return f"codes {', '.join(str(item['code']) for item in answer['retExtInfo']['list'])}"


def _checked(session: Session) -> str:
    found = session.client.pre_check_order(**LINEAR, side="Sell", orderType="Market", qty="0.5")["result"]
    return f"margin grows: {found['postImrE4'] > found['preImrE4']}"


def _told(name: str, *keys: str, **params: Any) -> Step:
    """A step that tells some fields of a call's result."""
    return (
        f"{name}({_said(params)})",
        lambda session: fields(*keys)(getattr(session.client, name)(**params)["result"]) or "acknowledged",
    )


PYBIT: tuple[Step, ...] = (
    (
        "get_server_time()",
        lambda s: f"{len(s.client.get_server_time()['result']['timeNano'])} digits of nanoseconds",
    ),
    _rows("get_system_status"),
    _rows("get_announcement", locale="en-US"),
    _rows("get_kline", **LINEAR, interval="60", limit=3),
    _rows("get_mark_price_kline", **LINEAR, interval="60", limit=3),
    _rows("get_index_price_kline", **LINEAR, interval="60", limit=3),
    _rows("get_premium_index_price_kline", **LINEAR, interval="60", limit=3),
    _rows("get_instruments_info", **PAIR),
    _rows("get_tickers", **LINEAR),
    _rows("get_tickers", **PAIR),
    (
        "get_orderbook(linear, BTCUSDT)",
        lambda s: f"{len(s.client.get_orderbook(**LINEAR)['result']['b'])} bids",
    ),
    _rows("get_funding_rate_history", **LINEAR, limit=5),
    _rows("get_public_trade_history", **LINEAR, limit=5),
    _rows("get_open_interest", **LINEAR, intervalTime="1h", limit=5),
    _rows("get_risk_limit", **LINEAR),
    _told("get_price_limit", "symbol", **LINEAR),
    _rows("get_coin_info", coin="BTC"),
    _rows("spot_margin_trade_get_vip_margin_data", currency="BTC"),
    _rows("get_tiered_collateral_ratio", currency="BTC"),
    _told("get_api_key_information", "uta", "readOnly"),
    _told("get_account_info", "marginMode", "unifiedMarginStatus"),
    _rows("get_wallet_balance", accountType="UNIFIED"),
    _rows("get_fee_rates", **LINEAR),
    _rows("get_collateral_info", currency="BTC"),
    _told("get_user_setting_config", "deltaEnable"),
    _told("set_delta_mode", deltaEnable="1"),
    _told("set_margin_mode", setMarginMode="REGULAR_MARGIN"),
    _told("set_leverage", **LINEAR, buyLeverage="3", sellLeverage="3"),
    _told("switch_position_mode", **LINEAR, mode=0),
    ("pre_check_order(Sell, Market)", _checked),
    _place("sold", side="Sell", orderType="Market"),
    _place("bought", side="Buy", orderType="Market", reduceOnly=True),
    ("place_order(Buy, Limit) 3 % below", _resting),
    ("amend_order(qty)", _amended),
    ("place_batch_order(a good one, one of zero)", _placed_batch),
    _rows("get_open_orders", **LINEAR),
    ("cancel_order(rests)", _dropped),
    _rows("cancel_all_orders", category="linear", settleCoin="USDT"),
    _rows("get_order_history", **LINEAR, orderStatus="Filled"),
    _rows("get_executions", **LINEAR, orderLinkId="nobody"),
    _rows("get_positions", **LINEAR),
    _rows("get_closed_pnl", **LINEAR),
    _rows("get_transaction_log", accountType="UNIFIED", type="TRANSFER_IN"),
    ("cancel_batch_order()", lambda s: str(s.client.cancel_batch_order(category="linear", request=[]))),
    (
        "get_tickers(linear, NOSUCHUSDT)",
        lambda s: str(s.client.get_tickers(category="linear", symbol="NOSUCHUSDT")),
    ),
)
