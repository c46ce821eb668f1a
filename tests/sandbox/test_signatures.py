"""Who may ask: signatures against published vectors, the clock rule at its edges, permissions."""

import json

import pytest

from fundarb.sandbox.auth import sign
from tests.sandbox.harness import START_MS, InProcess, headers, parsed

PATH = "/v5/account/info"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            "category=linear&symbol=BTCUSDT",
            "217858eab09ac914d6e8040386945f4616c286d1dd26b88bfaf9e061ad9fea3f",
        ),
        (
            '{"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.001"}',
            "88e8ed45e019108af26e8ba4050c1982ee6ef7acaf4b9ab7b72fecae846fc8ac",
        ),
    ],
)
def test_known_vectors(payload: str, expected: str) -> None:
    """The signature of the reference's two requests (key k, secret s) is the published one."""
    assert sign("s", f"1700000000000k5000{payload}".encode()) == expected


def test_a_good_signature_is_let_in(desk: InProcess) -> None:
    """A correctly signed read answers with retCode 0."""
    assert desk.get("account/info")["retCode"] == 0


@pytest.mark.parametrize(("offset", "code"), [(-5000, 0), (-5001, 10002), (999, 0), (1000, 10002), (0, 0)])
def test_the_clock_rule_at_its_edges(desk: InProcess, offset: int, code: int) -> None:
    """Server − recvWindow ≤ timestamp < server + 1 s, both edges exact."""
    reply = desk.reply("GET", PATH, signed=headers("", stamp=START_MS + offset))
    assert parsed(reply)["retCode"] == code


def test_a_larger_window_does_not_help_a_clock_that_is_ahead(desk: InProcess) -> None:
    """A timestamp 2 s ahead is refused whatever the window; 20 s late is let in with a window of 30 s."""
    ahead = desk.reply("GET", PATH, signed=headers("", stamp=START_MS + 2000, window="30000"))
    late = desk.reply("GET", PATH, signed=headers("", stamp=START_MS - 20_000, window="30000"))
    assert parsed(ahead)["retCode"] == 10002
    assert parsed(late)["retCode"] == 0


def test_wrong_key_wrong_secret_and_no_key(desk: InProcess) -> None:
    """An unknown key is 10003, a wrong secret 10004, no key at all 10003 with HTTP 401."""
    unknown = desk.reply("GET", PATH, signed=headers("", stamp=START_MS, key="other"))
    wrong = desk.reply("GET", PATH, signed=headers("", stamp=START_MS, secret="other"))
    missing = desk.reply("GET", PATH, signed={})
    assert (parsed(unknown)["retCode"], parsed(wrong)["retCode"]) == (10003, 10004)
    assert (missing.response.status, parsed(missing)["retCode"]) == (401, 10003)


def test_a_changed_byte_breaks_the_signature(desk: InProcess) -> None:
    """The signature covers the raw body: one changed digit is 10004 and no order exists."""
    body = json.dumps(
        {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.01"}
    )
    signed = headers(body, stamp=START_MS)
    reply = desk.reply("POST", "/v5/order/create", body=body.replace("0.01", "0.09"), signed=signed)
    assert parsed(reply)["retCode"] == 10004
    assert desk.house.venue.all_orders() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-BAPI-TIMESTAMP", "soon"), ("X-BAPI-RECV-WINDOW", "-1"), ("X-BAPI-RECV-WINDOW", "99999999")],
)
def test_unreadable_headers_are_a_parameter_error(desk: InProcess, name: str, value: str) -> None:
    """A timestamp or window that is no sensible number is 10001."""
    signed = {**headers("", stamp=START_MS), name: value}
    assert parsed(desk.reply("GET", PATH, signed=signed))["retCode"] == 10001


def test_a_get_with_a_body_is_forbidden(desk: InProcess) -> None:
    """As at the exchange: a GET that carries an empty JSON body earns a 403 without any JSON."""
    reply = desk.reply("GET", "/v5/market/time", body="{}")
    assert reply.response.status == 403
    assert b"html" in reply.response.body


def test_read_only_and_missing_permissions(desk: InProcess) -> None:
    """A read-only key and a key without the market's permission cannot write (10005) but can read."""
    desk.house.venue.world.key(read_only=True)
    assert desk.short()["retCode"] == 10005
    assert desk.get("account/info")["retCode"] == 0
    desk.house.venue.world.key(read_only=False, permissions={"Spot": ["SpotTrade"]})
    assert desk.short()["retCode"] == 10005
    assert desk.buy()["retCode"] == 0
    assert desk.get("user/query-api")["result"]["permissions"]["ContractTrade"] == []


def test_a_contract_key_has_two_rights(desk: InProcess) -> None:
    """One right lets it order, the other set a leverage; neither stands for both."""
    leverage = {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "3", "sellLeverage": "3"}
    found = []
    for right in ("Order", "Position"):
        desk.world("key", permissions={"ContractTrade": [right]})
        found.append((desk.short()["retCode"], desk.post("position/set-leverage", **leverage)["retCode"]))
    assert found == [(0, 10005), (10005, 0)]


def test_a_key_without_any_right(desk: InProcess) -> None:
    """Permissions that name nothing take every right: nothing can be written, and the key says so."""
    desk.world("key", permissions={})
    assert (desk.short()["retCode"], desk.buy()["retCode"]) == (10005, 10005)
    assert not any(desk.get("user/query-api")["result"]["permissions"].values())
    assert desk.get("account/info")["retCode"] == 0


def test_expired_key_and_foreign_address(desk: InProcess) -> None:
    """An expired key is 33004, a key bound to another address 10010."""
    desk.house.venue.world.key(addresses=["10.0.0.1"])
    assert desk.get("account/info")["retCode"] == 10010
    desk.house.venue.world.key(addresses=["127.0.0.1"], expire=desk.house.venue.now)
    assert desk.get("account/info")["retCode"] == 33004


def test_the_key_says_what_it_may_do(desk: InProcess) -> None:
    """A fresh key may trade both markets, may not withdraw, and belongs to the account's uid."""
    result = desk.get("user/query-api")["result"]
    assert result["readOnly"] == 0
    assert result["permissions"]["ContractTrade"] == ["Order", "Position"]
    assert result["permissions"]["Wallet"] == []
    assert str(result["userID"]) == desk.house.venue.uid
