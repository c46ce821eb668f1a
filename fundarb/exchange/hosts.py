"""Where requests may go: the venues, their hosts (an allow-list), and the keys that belong to them.

A host that is not on the list is refused before anything is sent: a mistyped or malicious address would
receive signed requests. The sandbox is reached on loopback addresses only. Never prints a key or a secret.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from fundarb.errors import ConfigError, Problem

MAINNET_HOSTS = frozenset(
    {
        "api.bybit.com",
        "api.bytick.com",
        "api.bybit.nl",
        "api.bybit.tr",
        "api.bybit.kz",
        "api.bybitgeorgia.ge",
        "api.bybit.ae",
        "api.bybit.eu",
        "api.bybit.id",
        "api.manepa.jp",
    }
)
"""The exchange's own hosts by region; key and host must match (Bybit V5 API)."""

_FIXED_HOSTS = {"bybit-testnet": "api-testnet.bybit.com", "bybit-demo": "api-demo.bybit.com"}
DEFAULT_SANDBOX_URL = "http://127.0.0.1:8899"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key with its secret; neither shows in a repr."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


SANDBOX_CREDENTIALS = Credentials("demo", "demo")  # the sandbox's documented default, not a secret
"""What the sandbox accepts unless it was started with other keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BybitSettings:
    """Where and how patiently to talk.

    ``recv_window`` is the lease of a create. ``read_timeout`` is the total deadline of one
    read; a write waits ``write_timeout`` for its answer, after which looking the order up says more.
    ``instruments_max_age`` is how old the cached instrument list may be.
    """

    venue: str = "bybit"
    hostname: str = "api.bybit.com"
    url: str | None = None
    recv_window: timedelta = timedelta(seconds=2)
    read_timeout: timedelta = timedelta(seconds=10)
    write_timeout: timedelta = timedelta(seconds=5)
    instruments_max_age: timedelta = timedelta(hours=1)
    attempts: int = 3

    @property
    def demo(self) -> bool:
        """Whether this is the exchange's demo trading, which lacks some endpoints (Bybit V5 API)."""
        return self.venue == "bybit-demo"


def base_url(settings: BybitSettings) -> str:
    """The root of every request, without a trailing slash; ``ConfigError`` for an address that is not
    allowed.
    """
    if settings.venue == "sandbox":
        return _loopback(settings.url or DEFAULT_SANDBOX_URL)
    if settings.url is not None:
        raise ConfigError(
            Problem("--venue-url", "is for the venue sandbox only", "leave it out or use --venue sandbox")
        )
    if settings.venue in _FIXED_HOSTS:
        return f"https://{_FIXED_HOSTS[settings.venue]}"
    if settings.venue != "bybit":
        known = ", ".join(("bybit", *_FIXED_HOSTS, "sandbox"))
        raise ConfigError(
            Problem("[venue] name", f"there is no venue {settings.venue!r}", f"use one of {known}")
        )
    if settings.hostname not in MAINNET_HOSTS:
        known = ", ".join(sorted(MAINNET_HOSTS))
        raise ConfigError(
            Problem(
                "[venue] hostname",
                f"{settings.hostname!r} is not a host of the exchange",
                f"use one of {known}",
            )
        )
    return f"https://{settings.hostname}"


def _loopback(url: str) -> str:
    remedy = f"use an address like {DEFAULT_SANDBOX_URL}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # not shown, nor what it says: a mistyped address may carry a password
        raise ConfigError(Problem("--venue-url", "is not an address", remedy)) from None
    if parts.scheme != "http" or parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(Problem("--venue-url", "is not of the form http://HOST:PORT", remedy))
    if not _is_loopback(host):
        raise ConfigError(Problem("--venue-url", f"{host!r} is not a loopback address", remedy))
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}" if port is None else f"http://{shown}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
