"""What ccxt and pybit are asked to do with a sandbox, step by step, and in a few words what each call gave.

The words hold no price and no id, so they are the same in every run: they are the table in
``docs/sandbox.md``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import ccxt
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from fundarb.clock import SystemClock
from fundarb.core.instants import to_ms

SPOT, PERP = "BTC/USDT", "BTC/USDT:USDT"
_CLOCK = SystemClock()
_PATIENCE = timedelta(seconds=5)
_BETWEEN = timedelta(milliseconds=2)


@dataclass(slots=True)
class Session:
    """One client in the middle of its steps; ``noted`` are ids that later steps need."""

    client: Any
    noted: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, value: Any) -> Any:
        """Remember and give back."""
        self.noted[name] = value
        return value


Step = tuple[str, Callable[[Session], str]]


@contextmanager
def ccxt_session(url: str) -> Iterator[Session]:
    """The Bybit class of ccxt as anybody would use it, pointed at a sandbox."""
    client = ccxt.bybit({"apiKey": "demo", "secret": "demo", "enableRateLimit": False})
    client.urls["api"] = dict.fromkeys(("spot", "futures", "v2", "public", "private"), url)
    yield Session(client)
    client.session.close()


@contextmanager
def pybit_session(url: str) -> Iterator[Session]:
    """The HTTP session of pybit, pointed at a sandbox."""
    client = HTTP(api_key="demo", api_secret="demo", max_retries=1)
    client.endpoint = url
    yield Session(client)
    client.client.close()


def outcomes(session: Session, steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Every call with what it gave: a refusal with the class that the client raises and the venue's code."""
    return [(name, _outcome(session, call)) for name, call in steps]


def _outcome(session: Session, call: Callable[[Session], str]) -> str:
    try:
        return call(session)
    except ccxt.BaseError as error:
        return f"refused: {type(error).__name__} {_code(str(error))}"
    except InvalidRequestError as error:
        return f"refused: InvalidRequestError {error.status_code}"
    except FailedRequestError as error:
        return f"refused: FailedRequestError, HTTP {error.status_code}"


def _code(text: str) -> str:
    """The retCode in a message of ccxt's."""
    _, _, rest = text.partition('"retCode":')
    return rest.partition(",")[0] or text


def until(ask: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """Ask until the answer is as it must become: matching is asynchronous."""
    end = _CLOCK.monotonic() + _PATIENCE
    while not good(found := ask()) and _CLOCK.monotonic() < end:
        _CLOCK.sleep(_BETWEEN)
    return found


# ------------------------------------------------------------------------------------------------ ccxt


def _create(session: Session, name: str, *order: Any, **params: Any) -> str:
    """Create, wait until matching has looked at it, and say how it stands."""
    client, symbol = session.client, order[0]
    ack = session.note(name, client.create_order(*order, params=params))

    def ask() -> Any:
        return client.fetch_order(ack["id"], symbol, params={"acknowledged": True})

    rests = order[1] == "limit" and "timeInForce" not in params
    found = until(ask, lambda item: item["status"] != "open" or rests)
    return (
        f"{found['type']} {found['side']} of {found['amount']}: {found['status']}, {found['filled']} filled"
    )


def _off(session: Session, symbol: str, ratio: float) -> float:
    """A price that far from the market's, on the tick."""
    price = session.client.fetch_ticker(symbol)["last"] * ratio
    return float(session.client.price_to_precision(symbol, price))


def _batch(session: Session) -> str:
    low = _off(session, PERP, 0.97)
    order = {"symbol": PERP, "type": "limit", "side": "buy", "amount": 0.01, "price": low}
    found = session.client.create_orders([order, {**order, "amount": 100_000}])
    session.note("batch", found[0])
    return ", ".join(f"{item['status'] or 'accepted'}" for item in found)


def _edit(session: Session) -> str:
    order = session.noted["batch"]
    session.client.edit_order(order["id"], PERP, "limit", "buy", 0.02, _off(session, PERP, 0.96))
    found = until(
        lambda: session.client.fetch_open_order(order["id"], PERP), lambda item: item["amount"] == 0.02
    )
    return f"open with {found['amount']}"


def _canceled(session: Session) -> str:
    session.client.cancel_order(session.noted["limit"]["id"], PERP)
    ids = until(
        lambda: [item["id"] for item in session.client.fetch_open_orders(PERP)],
        lambda found: session.noted["limit"]["id"] not in found,
    )
    return f"acknowledged, {len(ids)} open afterwards"


def _all_gone(session: Session) -> str:
    acks = session.client.cancel_all_orders(PERP)
    left = until(lambda: session.client.fetch_open_orders(PERP), lambda found: not found)
    return f"{len(acks)} acknowledged, {len(left)} open afterwards"


def _since(session: Session, limit: int, **params: bool) -> str:
    since = (session.client.fetch_time() // 60_000 - 1440) * 60_000
    bars = session.client.fetch_ohlcv(PERP, "1m", since=since, limit=limit, params=params)
    whole = all(bar[0] == since + number * 60_000 for number, bar in enumerate(bars))
    return f"{len(bars)} bars, each minute from then on: {whole}"


def fields(*names: str) -> Callable[[Any], str]:
    return lambda row: ", ".join(f"{name} {row[name]}" for name in names)


CCXT: tuple[Step, ...] = (
    (
        "load_markets()",
        lambda s: f"{len(s.client.load_markets())} markets, {len(s.client.currencies)} currencies",
    ),
    ("fetch_currencies()", lambda s: f"BTC: {len(s.client.fetch_currencies()['BTC']['networks'])} network"),
    (
        "fetch_time()",
        lambda s: f"within {1 + abs(s.client.fetch_time() - to_ms(_CLOCK.now())) // 2000 * 2} s of ours",
    ),
    ("fetch_status()", lambda s: str(s.client.fetch_status()["status"])),
    (
        "fetch_ticker(PERP)",
        lambda s: f"bid below ask: {(t := s.client.fetch_ticker(PERP))['bid'] < t['ask']}",
    ),
    ("fetch_tickers()", lambda s: f"{len(s.client.fetch_tickers())} perps"),
    ("fetch_tickers(type spot)", lambda s: f"{len(s.client.fetch_tickers(params={'type': 'spot'}))} pairs"),
    ("fetch_bids_asks()", lambda s: f"{len(s.client.fetch_bids_asks())} perps"),
    ("fetch_order_book(SPOT, 20)", lambda s: f"{len(s.client.fetch_order_book(SPOT, 20)['bids'])} bids"),
    ("fetch_order_book(PERP)", lambda s: f"{len(s.client.fetch_order_book(PERP)['asks'])} asks"),
    ("fetch_trades(PERP)", lambda s: f"{len(s.client.fetch_trades(PERP))} trades"),
    ("fetch_trades(SPOT, limit 10)", lambda s: f"{len(s.client.fetch_trades(SPOT, limit=10))} trades"),
    ("fetch_ohlcv(PERP, 1h, limit 5)", lambda s: f"{len(s.client.fetch_ohlcv(PERP, '1h', limit=5))} bars"),
    ("fetch_ohlcv(PERP, 1m, since a day ago, limit 10)", lambda s: _since(s, 10)),
    (
        "fetch_ohlcv(PERP, 1m, since a day ago, paginate)",
        lambda s: _since(s, 1400, paginate=True),
    ),
    (
        "fetch_mark_ohlcv(PERP, 1h, limit 5)",
        lambda s: f"{len(s.client.fetch_mark_ohlcv(PERP, '1h', limit=5))} bars",
    ),
    (
        "fetch_index_ohlcv(PERP, 1h, limit 5)",
        lambda s: f"{len(s.client.fetch_index_ohlcv(PERP, '1h', limit=5))} bars",
    ),
    (
        "fetch_premium_index_ohlcv(PERP, 1h, limit 5)",
        lambda s: f"{len(s.client.fetch_premium_index_ohlcv(PERP, '1h', limit=5))} bars",
    ),
    ("fetch_funding_rate(PERP)", lambda s: fields("interval")(s.client.fetch_funding_rate(PERP))),
    ("fetch_funding_rates()", lambda s: f"{len(s.client.fetch_funding_rates())} perps"),
    (
        "fetch_funding_rate_history(PERP, limit 10)",
        lambda s: f"{len(s.client.fetch_funding_rate_history(PERP, limit=10))} rates",
    ),
    (
        "fetch_open_interest(PERP)",
        lambda s: f"positive: {s.client.fetch_open_interest(PERP)['openInterestAmount'] > 0}",
    ),
    (
        "fetch_open_interest_history(PERP, 1h, limit 24)",
        lambda s: f"{len(s.client.fetch_open_interest_history(PERP, '1h', limit=24))} rows",
    ),
    (
        "fetch_market_leverage_tiers(PERP)",
        lambda s: f"{len(s.client.fetch_market_leverage_tiers(PERP))} tiers",
    ),
    ("fetch_leverage_tiers()", lambda s: f"{len(s.client.fetch_leverage_tiers())} perps"),
    (
        "fetch_cross_borrow_rate(USDT)",
        lambda s: fields("currency")(s.client.fetch_cross_borrow_rate("USDT")),
    ),
    ("fetch_balance()", lambda s: f"USDT {s.client.fetch_balance()['USDT']['total']:.0f}"),
    ("fetch_trading_fee(PERP)", lambda s: fields("taker", "maker")(s.client.fetch_trading_fee(PERP))),
    ("set_leverage(2, PERP)", lambda s: fields("retMsg")(s.client.set_leverage(2, PERP))),
    ("set_leverage(2, PERP) again", lambda s: str(s.client.set_leverage(2, PERP))),
    ("set_margin_mode(cross)", lambda s: str(s.client.set_margin_mode("cross"))),
    ("set_position_mode(False, PERP)", lambda s: str(s.client.set_position_mode(False, PERP))),
    ("create_order(SPOT, market, buy, 0.01)", lambda s: _create(s, "spot", SPOT, "market", "buy", 0.01)),
    ("create_order(PERP, market, sell, 0.01)", lambda s: _create(s, "perp", PERP, "market", "sell", 0.01)),
    (
        "create_order(PERP, limit, sell, 0.01, 3 % above)",
        lambda s: _create(s, "limit", PERP, "limit", "sell", 0.01, _off(s, PERP, 1.03)),
    ),
    (
        "create_order(PERP, limit, sell, 0.01, postOnly through the bid)",
        lambda s: _create(
            s, "post", PERP, "limit", "sell", 0.01, _off(s, PERP, 0.97), timeInForce="PostOnly"
        ),
    ),
    (
        "create_order(PERP, limit, sell, 0.01, IOC above the market)",
        lambda s: _create(s, "ioc", PERP, "limit", "sell", 0.01, _off(s, PERP, 1.03), timeInForce="IOC"),
    ),
    (
        "create_order(PERP, limit, sell, 0.01, FOK through the bid)",
        lambda s: _create(s, "fok", PERP, "limit", "sell", 0.01, _off(s, PERP, 0.97), timeInForce="FOK"),
    ),
    (
        "create_order(PERP, market, buy, 0.01, reduceOnly)",
        lambda s: _create(s, "reduce", PERP, "market", "buy", 0.01, reduceOnly=True),
    ),
    (
        "create_order(PERP, market, sell, 0.01, reduceOnly) on a short",
        lambda s: _create(s, "wrong", PERP, "market", "sell", 0.01, reduceOnly=True),
    ),
    ("create_order(SPOT, market, buy, 50)", lambda s: _create(s, "poor", SPOT, "market", "buy", 50)),
    (
        "create_order(PERP, market, buy, 0.01, triggerPrice)",
        lambda s: _create(
            s, "stop", PERP, "market", "buy", 0.01, None, triggerPrice=1, triggerDirection="below"
        ),
    ),
    ("create_orders([limit buy of 0.01, limit buy of 100000])", _batch),
    ("edit_order(PERP, quantity and price)", _edit),
    (
        "fetch_order(PERP) of a filled one",
        lambda s: fields("status", "filled")(
            s.client.fetch_order(s.noted["perp"]["id"], PERP, params={"acknowledged": True})
        ),
    ),
    ("fetch_open_orders(PERP)", lambda s: f"{len(s.client.fetch_open_orders(PERP))} orders"),
    (
        "fetch_open_order(PERP)",
        lambda s: fields("status")(s.client.fetch_open_order(s.noted["limit"]["id"], PERP)),
    ),
    (
        "fetch_closed_order(PERP)",
        lambda s: fields("status")(s.client.fetch_closed_order(s.noted["perp"]["id"], PERP)),
    ),
    ("fetch_closed_orders(PERP)", lambda s: f"{len(s.client.fetch_closed_orders(PERP))} orders"),
    ("fetch_canceled_orders(PERP)", lambda s: f"{len(s.client.fetch_canceled_orders(PERP))} orders"),
    (
        "fetch_canceled_and_closed_orders(PERP)",
        lambda s: f"{len(s.client.fetch_canceled_and_closed_orders(PERP))} orders",
    ),
    (
        "fetch_my_trades(PERP)",
        lambda s: f"of {len({row['order'] for row in s.client.fetch_my_trades(PERP)})} orders",
    ),
    ("fetch_my_trades(SPOT)", lambda s: f"fee in {s.client.fetch_my_trades(SPOT)[0]['fee']['currency']}"),
    (
        "fetch_order_trades(PERP)",
        lambda s: (
            f"{sum(row['amount'] for row in s.client.fetch_order_trades(s.noted['perp']['id'], PERP))} in all"
        ),
    ),
    ("fetch_positions()", lambda s: fields("side", "contracts")(s.client.fetch_positions()[0])),
    ("fetch_position(PERP)", lambda s: fields("side", "contracts")(s.client.fetch_position(PERP))),
    (
        "fetch_positions_adl_rank([PERP])",
        lambda s: f"{len(s.client.fetch_positions_adl_rank([PERP]))} position",
    ),
    (
        "fetch_positions_history([PERP])",
        lambda s: fields("side", "contracts")(s.client.fetch_positions_history([PERP])[0]),
    ),
    ("fetch_ledger()", lambda s: ", ".join(sorted({row["currency"] for row in s.client.fetch_ledger()}))),
    ("fetch_funding_history(PERP)", lambda s: f"{len(s.client.fetch_funding_history(PERP))} settlements yet"),
    ("cancel_order(PERP)", _canceled),
    ("cancel_order(PERP) of no order", lambda s: str(s.client.cancel_order("none", PERP))),
    ("cancel_all_orders(PERP)", _all_gone),
    ("cancel_orders([id], PERP)", lambda s: str(s.client.cancel_orders([s.noted["limit"]["id"]], PERP))),
    ("fetch_trading_fees()", lambda s: str(s.client.fetch_trading_fees())),
    ("fetch_borrow_rate_history(USDT)", lambda s: str(s.client.fetch_borrow_rate_history("USDT"))),
    (
        "fetch_long_short_ratio_history(PERP, 1h)",
        lambda s: str(s.client.fetch_long_short_ratio_history(PERP, "1h")),
    ),
    ("fetch_deposits()", lambda s: str(s.client.fetch_deposits())),
    ("transfer(USDT, 1, unified, fund)", lambda s: str(s.client.transfer("USDT", 1, "unified", "fund"))),
)
