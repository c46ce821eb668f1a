"""ccxt as it is used: signatures, timestamps, and nothing of it that we did not ask for."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from fundarb.clock import SystemClock, VirtualClock
from fundarb.core.instants import to_ms
from fundarb.core.orders import OrderRequest
from fundarb.exchange.bybit import BybitExchange, Credentials, connect
from fundarb.exchange.client import Client
from fundarb.exchange.wire import Call, Transport
from tests.exchange.conftest import NOW, Gate, settings
from tests.exchange.server import FakeVenue, Request, envelope, listing

VECTOR_TIME = 1_700_000_000_000


@contextmanager
def signing(window: timedelta) -> Iterator[Client]:
    """A client with the reference's key, about to sign at the reference's time."""
    url = "http://127.0.0.1:1"
    transport = Transport(url, SystemClock())
    client = Client(transport, url, credentials=Credentials("k", "s"))
    transport.wire.current.call = Call(nonce=VECTOR_TIME, recv_window=window)
    yield client


def test_a_get_is_signed_as_the_reference_says() -> None:
    """The query string in the order it was given, behind time, key and lease."""
    with signing(timedelta(seconds=5)) as client:
        signed = client.sign(
            "v5/position/list", ["private"], "GET", {"category": "linear", "symbol": "BTCUSDT"}
        )
    assert (
        signed["headers"]["X-BAPI-SIGN"] == "217858eab09ac914d6e8040386945f4616c286d1dd26b88bfaf9e061ad9fea3f"
    )
    assert signed["headers"]["X-BAPI-TIMESTAMP"] == str(VECTOR_TIME)
    assert signed["url"].endswith("?category=linear&symbol=BTCUSDT")


def test_a_post_is_signed_as_the_reference_says() -> None:
    """The raw JSON body, byte for byte as it is sent."""
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.001"}
    with signing(timedelta(seconds=5)) as client:
        signed = client.sign("v5/order/create", ["private"], "POST", order)
    assert (
        signed["headers"]["X-BAPI-SIGN"] == "88e8ed45e019108af26e8ba4050c1982ee6ef7acaf4b9ab7b72fecae846fc8ac"
    )
    assert signed["body"] == json.dumps(order, separators=(",", ":"))


def test_the_lease_of_a_create_is_two_seconds() -> None:
    """Each call has its own window, also where the library keeps one for all."""
    with signing(timedelta(seconds=2)) as client:
        signed = client.sign("v5/order/create", ["private"], "POST", {"a": "b"})
    assert signed["headers"]["X-BAPI-RECV-WINDOW"] == "2000"


def check_signature(request: Request, *, key: str = "demo", secret: str = "demo") -> None:
    """What the venue does with a signature: the text is rebuilt from what arrived."""
    payload = request.body.decode() if request.method == "POST" else request.query
    headers = request.headers
    text = headers["X-BAPI-TIMESTAMP"] + key + headers["X-BAPI-RECV-WINDOW"] + payload
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    assert headers["X-BAPI-SIGN"] == expected
    assert headers["X-BAPI-API-KEY"] == key


def test_the_timestamp_of_a_create_is_the_committed_one(
    exchange: BybitExchange, venue: FakeVenue, gate: Gate, request_: OrderRequest
) -> None:
    """What was written to the intent is what is signed, to the millisecond; the clock is not asked again."""
    venue.on("/v5/order/create", envelope({"orderId": "1", "orderLinkId": request_.link_id}))
    signed_at = datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)
    exchange.create(request_, signed_at=signed_at)
    arrived = venue.to("/v5/order/create")[0]
    check_signature(arrived)
    assert arrived.headers["X-BAPI-TIMESTAMP"] == str(to_ms(signed_at))
    assert arrived.headers["X-BAPI-RECV-WINDOW"] == "2000"
    assert venue.to("/v5/market/time") == []
    assert gate.asked == [(request_, signed_at)]


def test_reads_are_signed_with_the_venues_time_less_a_margin(
    exchange: BybitExchange, venue: FakeVenue
) -> None:
    """One measurement serves many reads."""
    venue.on("/v5/position/list", listing())
    exchange.positions()
    exchange.positions()
    assert len(venue.to("/v5/market/time")) == 1
    for request in venue.to("/v5/position/list"):
        check_signature(request)
        assert 0 < VECTOR_TIME - int(request.headers["X-BAPI-TIMESTAMP"]) <= 50


def test_no_broker_is_named(exchange: BybitExchange, venue: FakeVenue, request_: OrderRequest) -> None:
    """Ccxt's Referer header does not leave."""
    venue.on("/v5/order/create", envelope({"orderId": "1"}))
    exchange.create(request_, signed_at=NOW)
    assert "Referer" not in venue.to("/v5/order/create")[0].headers


def test_a_cursor_reaches_the_venue_as_it_was_sent(exchange: BybitExchange, venue: FakeVenue) -> None:
    """The venue's cursors are already escaped; escaping them again would break the signature or the page."""
    cursor = "page_args%3Dfd4300ae%26symbol%3D6%26"
    venue.on("/v5/position/list", listing(cursor=cursor), listing())
    exchange.positions()
    followed = venue.to("/v5/position/list")[1]
    assert followed.query.endswith(f"cursor={cursor}")
    check_signature(followed)


def test_a_signature_error_does_not_show_the_key(venue: FakeVenue, clock: VirtualClock) -> None:
    """The venue repeats key and text in its answer to a bad signature; neither reaches a message."""
    said = "error sign! origin_string[1700000000000CANARYKEY5000category=linear CANARYSECRET]"
    venue.on("/v5/position/list", envelope({}, code=10004, message=said))
    adapter = connect(settings(venue), clock=clock, credentials=Credentials("CANARYKEY", "CANARYSECRET"))
    with pytest.raises(Exception, match="error sign!") as caught:
        adapter.positions()
    assert "CANARY" not in str(caught.value)
    assert "CANARY" not in repr(Credentials("CANARYKEY", "CANARYSECRET"))
