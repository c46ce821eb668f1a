"""What a venue holds of this account, for the audit: all of it from a sandbox, the visible part from
anywhere else.
"""

from __future__ import annotations

import json
from collections import Counter
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from fundarb.app import venues
from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.config.schema import Mode, VenueName
from fundarb.core.instants import from_ms
from fundarb.core.market import Category
from fundarb.core.money import dec
from fundarb.core.orders import OrderReport, OrderStatus, Side
from fundarb.engine.account_view import require_same_account
from fundarb.engine.audit import VenueOrder, VenueTruth
from fundarb.engine.ports import Exchange
from fundarb.errors import Unavailable
from fundarb.store.database import Store

_PATIENCE = 30
_LATE = "late"
"""A request that was held up; it is noted once more when it arrives."""


def venue_truth(settings: Settings, clock: Clock, *, store: Store) -> VenueTruth:
    """Everything that can be known; ``Unavailable`` if the venue does not answer, ``ConfigError`` if it
    answers as another account than the database's.
    """
    exchange = venues.exchange(settings, clock, gate=None)
    try:
        require_same_account(store, exchange)
        return _asked(settings, exchange)
    finally:
        hang_up(exchange)


def hang_up(exchange: Exchange) -> None:
    """Close the connections of an adapter that has any."""
    close = getattr(exchange, "close", None)
    if close is not None:
        close()


def _asked(settings: Settings, exchange: Exchange) -> VenueTruth:
    if settings.venue.name is VenueName.SANDBOX and settings.mode is Mode.LIVE:
        return sandbox_truth(exchange, settings.venue_url)
    orders = (*exchange.open_orders(Category.SPOT), *exchange.open_orders(Category.LINEAR))
    return VenueTruth(
        wallet=exchange.wallet(),
        positions=exchange.positions(),
        orders=tuple(VenueOrder(report=order) for order in orders),
        at=exchange.stamp(),
    )


def sandbox_truth(exchange: Exchange, url: str) -> VenueTruth:
    """All orders ever, as a sandbox tells them outside its protocol; wallet and positions over the
    protocol.
    """
    document = _ask(url)
    sent = Counter(
        row["link_id"]
        for row in document["requests"]
        if row["path"] == "/v5/order/create" and row["link_id"] and row["outcome"] != _LATE
    )
    return VenueTruth(
        wallet=exchange.wallet(),
        positions=exchange.positions(),
        orders=tuple(
            VenueOrder(report=_report(row), requests=max(sent[row["orderLinkId"]], 1))
            for row in document["orders"]
        ),
        complete=True,
        at=exchange.stamp(),
    )


def _report(row: dict[str, Any]) -> OrderReport:
    filled = dec(row["cumExecQty"])
    return OrderReport(
        order_id=row["orderId"],
        link_id=row["orderLinkId"],
        category=Category(row["category"]),
        symbol=row["symbol"],
        side=Side(row["side"]),
        quantity=dec(row["qty"]),
        limit_price=dec(row["price"]) if row.get("price") else None,
        filled=filled,
        average_price=dec(row["avgPrice"]) if filled and row["avgPrice"] else None,
        status=OrderStatus(row["status"]),
        reduce_only=bool(row.get("reduceOnly", False)),
        reject_reason="",
        cancel_type="",
        created=from_ms(int(row["created"])),
        updated=from_ms(int(row["created"])),
    )


def _ask(url: str) -> Any:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/sandbox/truth?detail=1")
        response = connection.getresponse()
        if response.status != 200:
            raise Unavailable(f"the sandbox at {url} does not tell its truth: status {response.status}")
        return json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(f"the sandbox at {url} does not answer: {error}") from error
    finally:
        connection.close()
