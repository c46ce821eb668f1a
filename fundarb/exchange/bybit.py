"""Bybit behind the engine's port ``Exchange``: public and private side over one gateway.

The one entrance is ``connect``. Nothing is sent and no HTTP library is loaded before the first question.
"""

from __future__ import annotations

from pathlib import Path

from fundarb.clock import Clock
from fundarb.exchange.bybit_market import BybitMarket
from fundarb.exchange.bybit_trading import BybitTrading
from fundarb.exchange.gateway import Gateway
from fundarb.exchange.hosts import SANDBOX_CREDENTIALS, BybitSettings, Credentials
from fundarb.exchange.strict import WireGate

__all__ = ["SANDBOX_CREDENTIALS", "BybitExchange", "BybitSettings", "Credentials", "connect"]


class BybitExchange(BybitMarket, BybitTrading):
    """One venue, and one account if there are credentials."""

    def __init__(self, gateway: Gateway, gate: WireGate | None, *, cache_dir: Path | None) -> None:
        """Both sides share the gateway, its budget and its clock."""
        BybitMarket.__init__(self, gateway, cache_dir)
        BybitTrading.__init__(self, gateway, gate)

    @property
    def url(self) -> str:
        """The root of every request."""
        return self._gateway.url

    def close(self) -> None:
        """Close the connections; the next question opens them again."""
        self._gateway.close()


def connect(
    settings: BybitSettings,
    *,
    clock: Clock,
    credentials: Credentials | None = None,
    gate: WireGate | None = None,
    cache_dir: Path | None = None,
) -> BybitExchange:
    """An adapter for the venue of ``settings``; ``ConfigError`` if its address is not allowed.

    Without ``credentials`` only the public side works and no request is ever signed (for the sandbox pass
    ``SANDBOX_CREDENTIALS`` to trade). Without ``gate`` no order can be sent. Without ``cache_dir`` the
    instrument list, and a ban of this address, are known to this process only.
    """
    gateway = Gateway(settings, clock=clock, credentials=credentials, folder=cache_dir)
    return BybitExchange(gateway, gate, cache_dir=cache_dir)
