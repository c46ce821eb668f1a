"""A world's first hour, lived before anybody lives in it: time passes and everything is looked at once. What
cannot stand that is not let in.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fundarb.core.market import Category
from fundarb.sandbox.auth import FULL_PERMISSIONS, ApiKey
from fundarb.sandbox.endpoints.market import all_tickers
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.wire import Parameters

_HOUR = timedelta(hours=1)
_LOOKS = (
    ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    ("/v5/account/collateral-info", {}),
    ("/v5/account/transaction-log", {}),
    ("/v5/user/query-api", {}),
    ("/v5/system/status", {}),
    ("/v5/announcements/index", {"locale": "en-US"}),
    ("/v5/position/list", {"category": "linear", "settleCoin": "USDT"}),
    ("/v5/position/closed-pnl", {"category": "linear"}),
    *((path, {"category": category.value, "settleCoin": "USDT"})
      for path in ("/v5/account/fee-rate", "/v5/market/instruments-info", "/v5/order/realtime",
                   "/v5/order/history", "/v5/execution/list")
      for category in Category),
)  # fmt: skip
"""End points, each with what it must be asked with."""


def live_an_hour(house: House, present: datetime) -> None:
    """Look, let time pass until ``present`` and an hour more, and look again; raises whatever that raises."""
    venue = house.venue
    for instant in (venue.now, max(venue.now, present) + _HOUR):
        venue.advance(instant)
        for path, named in _LOOKS:
            key = ApiKey(key="", permissions=FULL_PERMISSIONS, read_only=True, addresses=(), expires=None)
            call = Call(method="GET", path=path, parameters=Parameters(named), now=venue.now, key=key)
            TABLE[path].handler(house, call)
        for category in Category:
            all_tickers(house, category)
            for symbol in venue.instruments(category):
                venue.book(category, symbol, depth=1)
                venue.price_limits(category, symbol)
        for symbol in venue.instruments(Category.LINEAR):
            venue.position(symbol)
