"""What every test lives in: no network beyond this machine, an environment of its own, deterministic
properties.
"""

import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import _server_database, cluster, server_url  # noqa: F401 - one server for all tests
from tests.room import room

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "default",
    deadline=None,  # two busy cores make single examples slow without being wrong
    print_blob=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


class NetworkRefusedError(AssertionError):
    """A test tried to leave this machine."""


def is_local(host: object) -> bool:
    """Whether a host name or address stays on this machine; names other than localhost count as foreign."""
    if host in {None, "", b"", "localhost", b"localhost"}:
        return True
    text = host.decode(errors="replace") if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(action: str, target: object) -> NoReturn:
    """Raises with what was tried and what to do instead."""
    message = (
        f"{action} {target!r}: tests do not leave this machine; use a local server, responses or a fixture."
    )
    raise NetworkRefusedError(message)


def guarded(action: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """A socket method that refuses foreign addresses; local sockets of the file system pass."""

    def method(sock: socket.socket, *arguments: Any) -> Any:
        address = arguments[-1]
        if sock.family in {socket.AF_INET, socket.AF_INET6} and not is_local(address[0]):
            refuse(action, address)
        return real(sock, *arguments)

    return method


def guarded_lookup(real: Callable[..., Any]) -> Callable[..., Any]:
    """A name look-up that refuses foreign names."""

    def lookup(host: Any, *arguments: Any, **named: Any) -> Any:
        if not is_local(host):
            refuse("look-up of", host)
        return real(host, *arguments, **named)

    return lookup


def pytest_configure(config: pytest.Config) -> None:
    """The refusal holds from before the first test module is imported to the end, in every thread."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(room()))
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded("connection to", socket.socket.connect))
    patch.setattr(socket.socket, "connect_ex", guarded("connection to", socket.socket.connect_ex))
    patch.setattr(socket.socket, "sendto", guarded("datagram to", socket.socket.sendto))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        patch.setattr(socket, name, guarded_lookup(getattr(socket, name)))
    config.add_cleanup(patch.undo)
    _hear_interrupts()


def _hear_interrupts() -> None:
    """A runner started in the background ignores Ctrl-C, and so would every process that a test starts."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, key or file of whoever runs the tests reaches them: a home and a working folder of their
    own.
    """
    for name in list(os.environ):
        if name.startswith(("FUNDARB_", "BYBIT_")) or name in {
            "NO_COLOR",
            "FORCE_COLOR",
            "CLICOLOR_FORCE",
            "COLUMNS",
        }:
            monkeypatch.delenv(name)
    # Not mktemp: it reads the names of all its folders for the next number.
    place = Path(tempfile.mkdtemp(prefix="run-", dir=tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("FUNDARB_HOME", str(place / "home"))
    monkeypatch.chdir(place)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded answers and reference data beside the checkout; the test is skipped where it is
    absent.
    """
    place = Path(SHARED or ROOT.parent / "shared")
    if not (place / "fixtures").is_dir():
        pytest.skip(f"needs the recorded data in {place} (set FUNDARB_SHARED to its folder)")
    return place


SHARED = os.environ.get("FUNDARB_SHARED")  # read before the environment of the tests is cleaned


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the crash matrix measured: a line for each way, and the deaths in all."""
    deaths = 0
    for report in terminalreporter.stats.get("passed", ()):
        found = dict(getattr(report, "user_properties", ()))
        if "deaths" in found:
            deaths += found["deaths"]
            terminalreporter.write_line(f"{found['deaths']:>6} deaths: {found['measured']}")
    if deaths:
        terminalreporter.write_line(f"{deaths:>6} deaths in all")
