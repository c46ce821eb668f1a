"""Where requests may go."""

from __future__ import annotations

import pytest

from fundarb.clock import VirtualClock
from fundarb.errors import ConfigError
from fundarb.exchange.bybit import BybitSettings, connect
from fundarb.exchange.hosts import MAINNET_HOSTS, base_url
from tests.exchange.conftest import NOW


@pytest.mark.parametrize("host", sorted(MAINNET_HOSTS))
def test_each_regional_host_is_reached_over_tls(host: str) -> None:
    """The exchange's own hosts, nothing else, never in plain text."""
    assert base_url(BybitSettings(hostname=host)) == f"https://{host}"


@pytest.mark.parametrize(
    ("venue", "url"),
    [
        ("bybit-testnet", "https://api-testnet.bybit.com"),
        ("bybit-demo", "https://api-demo.bybit.com"),
        ("sandbox", "http://127.0.0.1:8899"),
    ],
)
def test_each_venue_has_its_address(venue: str, url: str) -> None:
    """Testnet and demo are fixed, the sandbox has a default."""
    assert base_url(BybitSettings(venue=venue)) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://localhost:9000",
        "http://[::1]:9000",
        "http://127.3.2.1",
        "http://127.0.0.1:1/",
    ],
)
def test_a_sandbox_may_be_on_any_loopback_address(url: str) -> None:
    """Without a trailing slash."""
    assert base_url(BybitSettings(venue="sandbox", url=url)) == url.rstrip("/")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (BybitSettings(venue="sandbox", url="http://203.0.113.9:8899"), "loopback"),
        (BybitSettings(venue="sandbox", url="http://127.0.0.1.example.com"), "loopback"),
        (BybitSettings(venue="sandbox", url="https://127.0.0.1:8899"), "form"),
        (BybitSettings(venue="sandbox", url="http://user:secret@127.0.0.1:8899"), "form"),
        (BybitSettings(venue="sandbox", url="http://127.0.0.1:8899/v5"), "form"),
        (BybitSettings(venue="sandbox", url="http://127.0.0.1:99999"), "address"),
        (BybitSettings(venue="sandbox", url="http://[::1"), "address"),
        (BybitSettings(venue="sandbox", url="127.0.0.1:8899"), "form"),
        (BybitSettings(venue="bybit", url="http://127.0.0.1:8899"), "sandbox only"),
        (BybitSettings(venue="bybit", hostname="api.bybit.com.example.org"), "not a host"),
        (BybitSettings(venue="bybit", hostname="127.0.0.1"), "not a host"),
        (BybitSettings(venue="binance"), "no venue"),
    ],
)
def test_any_other_address_is_refused_with_its_remedy(settings: BybitSettings, words: str) -> None:
    """Before anything is sent, naming the setting."""
    with pytest.raises(ConfigError, match=words) as caught:
        connect(settings, clock=VirtualClock(NOW))
    problem = caught.value.problems[0]
    assert problem.where
    assert problem.remedy
    assert "secret" not in str(problem)
