"""Clients nobody here wrote, over real HTTP on the real clock: ccxt's unified and implicit calls, and
pybit.
"""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ccxt
import pytest
from pybit import account, asset, market, misc, position, spot_margin_trade, trade, user

from fundarb.markets.synthetic import synthetic
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.options import ClockKind
from tests.sandbox import conformance
from tests.sandbox.conformance_pybit import PYBIT
from tests.sandbox.harness import OverHttp, over_http

GUIDE = Path(__file__).parents[2] / "docs" / "sandbox.md"
PYBIT_PATHS = {
    entry.value
    for module, name in (
        (account, "Account"),
        (asset, "Asset"),
        (market, "Market"),
        (misc, "Misc"),
        (position, "Position"),
        (spot_margin_trade, "SpotMarginTrade"),
        (trade, "Trade"),
        (user, "User"),
    )
    for entry in getattr(module, name)
}
PERP = {"category": "linear", "symbol": "BTCUSDT"}
REAL: dict[str, Any] = {
    "market": partial(synthetic, 1),
    "clock": ClockKind.REAL,
    "start": None,
    "limits": False,
}


def tabled(client: str) -> list[tuple[str, str]]:
    """The rows of a client's table in the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    part = text.partition(f"<!-- tried: {client} -->")[2].partition("<!-- end -->")[0]
    cells = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return [(call.strip("`"), gave.strip()) for call, gave in cells]


def as_table(rows: list[tuple[str, str]]) -> str:
    """The rows as they belong into the guide."""
    return "\n".join(f"| `{call}` | {gave} |" for call, gave in rows)


def answered(real: OverHttp) -> set[str]:
    """The paths that were asked for."""
    return {str(row["path"]) for row in real.truth()["requests"]}


def test_ccxt_gives_what_the_guide_says() -> None:
    """Every unified call of a user's day, refused ones included, gives exactly what the table of the guide
    says.
    """
    with over_http(**REAL) as real, conformance.ccxt_session(real.url) as session:
        found = conformance.outcomes(session, conformance.CCXT)
    assert as_table(found) == as_table(tabled("ccxt"))


def test_pybit_gives_what_the_guide_says() -> None:
    """Every method of pybit's that meets a path of ours was called, and gave what the table of the guide
    says.
    """
    with over_http(**REAL) as real, conformance.pybit_session(real.url) as session:
        found = conformance.outcomes(session, PYBIT)
        assert answered(real) >= PYBIT_PATHS & TABLE.keys()
    assert as_table(found) == as_table(tabled("pybit"))


def test_no_path_is_known_to_nobody() -> None:
    """Every path of the sandbox is one that pybit knows too: none is invented."""
    assert TABLE.keys() <= PYBIT_PATHS


@pytest.fixture
def exchange(real: OverHttp) -> Any:
    """Ccxt's Bybit class on a small market."""
    with conformance.ccxt_session(real.url) as session:
        yield session.client


def test_ccxt_trades_both_legs(exchange: Any) -> None:
    """After a spot buy and a perp short, trades, orders, positions, balance and ledger tell the same."""
    exchange.load_markets()
    spot = exchange.create_order("BTC/USDT", "market", "buy", 0.01, params={"orderLinkId": "spot-1"})
    perp = exchange.create_order("BTC/USDT:USDT", "market", "sell", 0.01, params={"orderLinkId": "perp-1"})
    assert (bool(spot["id"]), perp["clientOrderId"]) == (True, "perp-1")
    found = exchange.fetch_order(perp["id"], "BTC/USDT:USDT", params={"acknowledged": True})
    for _ in range(50):
        if found["status"] == "closed":
            break
        found = exchange.fetch_order(perp["id"], "BTC/USDT:USDT", params={"acknowledged": True})
    assert (found["filled"], found["status"]) == (0.01, "closed")
    trade_row = exchange.fetch_my_trades("BTC/USDT")[0]
    assert (trade_row["fee"]["currency"], trade_row["amount"]) == ("BTC", 0.01)
    held = exchange.fetch_positions()[0]
    assert (held["side"], held["contracts"]) == ("short", 0.01)
    assert exchange.fetch_balance()["BTC"]["total"] == pytest.approx(0.00999)
    assert {row["currency"] for row in exchange.fetch_ledger()} == {"BTC", "USDT"}


def test_ccxt_with_a_wrong_secret(exchange: Any) -> None:
    """Ccxt understands the refusals: bad secret and unknown key are authentication errors."""
    exchange.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.privateGetV5AccountInfo()
    exchange.apiKey = "nobody"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.privateGetV5AccountInfo()


def test_a_lost_answer_through_ccxt(real: OverHttp, exchange: Any) -> None:
    """To ccxt a reset after the order was applied is a network error; the order is found by its link id."""
    real.do(
        "faults", {"match": {"path": "/v5/order/create"}, "do": {"verb": "apply_then_lose", "how": "reset"}}
    )
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.01"}
    with pytest.raises(ccxt.NetworkError):
        exchange.privatePostV5OrderCreate({**order, "orderLinkId": "lost"})
    found = exchange.privateGetV5OrderRealtime({"category": "linear", "orderLinkId": "lost"})
    assert len(found["result"]["list"]) == 1


def waiting(call: Any, **named: Any) -> Any:
    """A call of pybit's, again where it stumbles over a limit that has ended before it could wait for it (it
    sleeps until then, and for less than nothing it cannot sleep).
    """
    for _ in range(10):
        with suppress(ValueError):
            return call(**named)
    return call(**named)


def test_pybit_understands_the_limits() -> None:
    """With the limits on, pybit meets the exchange's own 10006 and repeats by itself after the second."""
    with over_http(**{**REAL, "limits": True}) as real, conformance.pybit_session(real.url) as session:
        order = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Sell",
            "orderType": "Market",
            "qty": "0.001",
        }
        session.client.max_retries = 3
        for number in range(12):
            waiting(session.client.place_order, **order, orderLinkId=f"n{number}")
        outcomes = [row["outcome"] for row in real.truth()["requests"] if row["path"] == "/v5/order/create"]
    assert outcomes.count("0") == 12
    assert "10006" in outcomes


def test_ccxt_trades_with_the_limits_on() -> None:
    """Ccxt paces itself and repeats what is refused as RateLimitExceeded: a day's orders are all there once,
    both legs are held, and nothing but 10006 was ever refused.
    """
    with over_http(**{**REAL, "limits": True}) as real, conformance.ccxt_session(real.url) as session:
        exchange = session.client
        exchange.enableRateLimit = True

        def patiently(call: Any, *arguments: Any, **named: Any) -> Any:
            for _ in range(20):
                try:
                    return call(*arguments, **named)
                except ccxt.RateLimitExceeded:
                    exchange.sleep(200)
            return call(*arguments, **named)

        patiently(exchange.load_markets)
        patiently(exchange.set_leverage, 2, conformance.PERP)
        for number in range(12):
            for symbol, side in ((conformance.PERP, "sell"), (conformance.SPOT, "buy")):
                patiently(
                    exchange.create_order, symbol, "market", side, 0.001, params={"orderLinkId": f"o{number}"}
                )
        held = conformance.until(
            lambda: patiently(exchange.fetch_positions), lambda rows: rows and rows[0]["contracts"] == 0.012
        )
        assert held[0]["side"] == "short"
        assert patiently(exchange.fetch_balance)["BTC"]["total"] == pytest.approx(0.011988)
        truth = real.truth()
    links = [(row["category"], row["orderLinkId"]) for row in truth["orders"]]
    assert sorted(links) == sorted((kind, f"o{n}") for kind in ("linear", "spot") for n in range(12))
    assert {row["outcome"] for row in truth["requests"]} <= {"0", "10006"}


def test_pybit_trades_with_the_limits_on() -> None:
    """Pybit waits for the end of a limit by itself: orders, reads of every account end point and a cancel of
    everything go through, and nothing but 10006 was ever refused.
    """
    with over_http(**{**REAL, "limits": True}) as real, conformance.pybit_session(real.url) as session:
        client = session.client
        client.max_retries = 10
        order = {**PERP, "side": "Buy", "orderType": "Limit", "qty": "0.001"}
        price = f"{float(client.get_tickers(**PERP)['result']['list'][0]['lastPrice']) * 0.97:.1f}"
        for number in range(15):
            waiting(client.place_order, **order, price=price, orderLinkId=f"o{number}")
        for _ in range(7):
            assert waiting(client.get_fee_rates, **PERP)["result"]["list"]
        assert len(client.get_open_orders(**PERP, limit=50)["result"]["list"]) == 15
        assert len(client.cancel_all_orders(**PERP)["result"]["list"]) == 15
        left = conformance.until(
            lambda: waiting(client.get_open_orders, **PERP)["result"]["list"], lambda rows: not rows
        )
        assert left == []
        truth = real.truth()
    assert len(truth["orders"]) == 15
    assert {row["outcome"] for row in truth["requests"]} <= {"0", "10006"}
