"""The walls around every test: no foreign network, no foreign settings."""

import os
import socket
import threading
from pathlib import Path

import pytest

FOREIGN = "192.0.2.1"  # reserved for documentation, never routed


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, FOREIGN), (socket.AF_INET6, "2001:db8::1")])
@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_connection_beyond_this_machine_is_refused(
    family: socket.AddressFamily, host: str, method: str
) -> None:
    """Connecting a socket of either family to a foreign address raises and names the address."""
    with socket.socket(family) as sock, pytest.raises(AssertionError, match="do not leave this machine"):
        getattr(sock, method)((host, 443))


def test_a_datagram_beyond_this_machine_is_refused() -> None:
    """Sending a datagram to a foreign address raises."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(AssertionError, match=FOREIGN),
    ):
        sock.sendto(b"x", (FOREIGN, 53))


@pytest.mark.parametrize("lookup", ["getaddrinfo", "gethostbyname"])
def test_a_foreign_name_is_not_looked_up(lookup: str) -> None:
    """Resolving a name other than localhost raises before any question is asked."""
    arguments = ("example.org", 443) if lookup == "getaddrinfo" else ("example.org",)
    with pytest.raises(AssertionError, match="look-up"):
        getattr(socket, lookup)(*arguments)


def test_loopback_works() -> None:
    """A server on this machine can be reached by address and by name."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"x")

        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            assert client.recv(1) == b"x"
        thread.join(5)


def test_the_environment_is_empty_and_the_home_is_ours() -> None:
    """No FUNDARB_ or BYBIT_ variable but the test's own home is set, and the working folder is not the
    checkout.
    """
    assert [name for name in os.environ if name.startswith(("FUNDARB_", "BYBIT_"))] == ["FUNDARB_HOME"]
    assert not (Path.cwd() / "pyproject.toml").exists()
