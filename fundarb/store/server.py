"""Where a PostgreSQL database is and how it is reached: the URL, the password that is never shown,
encryption, and connections that do not wait for ever.

A password comes from PGPASSWORD, ``~/.pgpass``, or the URL in FUNDARB_DB; ``name`` and ``url`` have none. To
another machine the connection is encrypted and the server's certificate verified, unless the URL says
otherwise in so many words.
"""

from __future__ import annotations

import platform
from collections.abc import Generator, Mapping
from typing import Any, Final
from urllib.parse import quote

import certifi
import psycopg
from psycopg import pq
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict

from fundarb.config.places import is_loopback
from fundarb.errors import ConfigError, Problem
from fundarb.store.server_errors import cannot_connect

CONNECT_TIMEOUT: Final = 5
"""Seconds until a server that does not answer is given up."""
_TURNS: Final = 10
"""How often in a second the client library looks up while it waits."""
_KNOWN: Final = frozenset(
    {
        *("user", "password", "host", "hostaddr", "port", "dbname", "passfile"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding", "require_auth"),
    }
)
_SECRET: Final = frozenset({"password"})
_WAVERING: Final = frozenset({"allow", "prefer"})
_USE: Final = "use postgresql://USER@HOST:PORT/NAME"
# the kernel notices a dead peer within half a minute, where it would take two hours by itself
_ALIVE: Final[Mapping[str, Any]] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


class PlainNumeric(Loader):
    """A NUMERIC as plain text without trailing zeros: the very form in which SQLite keeps money."""

    def load(self, data: Any) -> str:
        """The server's own text is plain already, and exact."""
        text = bytes(data).decode()
        return text.rstrip("0").rstrip(".") if "." in text else text


class Connection(psycopg.Connection[Any]):
    """A connection that gives up, and is closed, when the server is silent for longer than ``patience``
    (seconds): a server that was stopped keeps its sockets open and never answers.
    """

    patience = 60

    def wait(self, gen: Any, *arguments: Any, **named: Any) -> Any:
        """The one place where the library waits."""
        try:
            return super().wait(_bounded(gen, self.patience * _TURNS), *arguments, **named)
        except _SilentError:
            self.pgconn.finish()  # what comes later must not be taken for the answer to something else
            raise psycopg.OperationalError(
                f"the server has not answered for {self.patience} s; the connection was given up"
            ) from None


class _SilentError(Exception):
    """The server was silent for too long."""


def _bounded(gen: Generator[Any, Any, Any], turns: int) -> Generator[Any, Any, Any]:
    """The same generator, ended by ``_SilentError`` after so many turns in a row in which nothing came."""
    silent = 0
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            silent = 0 if ready else silent + 1
            if silent > turns:
                raise _SilentError
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


class Server:
    """One database of one server."""

    def __init__(self, url: str) -> None:
        """From a URL; ``ConfigError`` with every problem of it. Nothing is reached for yet."""
        given = _parsed(url)
        unknown = sorted(set(given) - _KNOWN)
        problems = [Problem("--db", f"{word!r} has no place in a database URL", _USE) for word in unknown]
        host = _said(given, "hostaddr") or _said(given, "host")
        if "," in host or "," in given.get("port", ""):
            problems.append(
                Problem("--db", "names several servers: each would have a writer of its own", _USE)
            )
        if not given.get("dbname"):
            problems.append(Problem("--db", "the URL names no database", _USE))
        self.local = not host or host.startswith(("/", "@")) or is_loopback(host)
        mode = given.get("sslmode")
        if not self.local and mode in _WAVERING:
            remedy = "say require, verify-ca or verify-full; or disable, where the network itself is trusted"
            problems.append(Problem("--db", f"sslmode={mode} falls back to no encryption unseen", remedy))
        if problems:
            raise ConfigError(*problems)
        self.database = given["dbname"]
        self.name = self.url = _shown(given)
        self._settings: dict[str, Any] = {**given, **self._encryption(given)}

    def _encryption(self, given: Mapping[str, str]) -> dict[str, str]:
        """What is added where the URL says nothing: a verified certificate for any other machine."""
        if self.local or "sslmode" in given:
            return {}
        return {"sslmode": "verify-full", "sslrootcert": given.get("sslrootcert", certifi.where())}

    def connect(self, *, patience: int, label: str = "") -> Connection:
        """A new connection in autocommit mode. ``ConfigError`` for what a person has to mend,
        ``StateUnavailable`` for what may pass.
        """
        try:
            connection = Connection.connect(
                **self._settings,
                **_ALIVE,
                connect_timeout=CONNECT_TIMEOUT,
                client_encoding="utf8",
                gssencmode="disable",
                application_name=f"fundarb {label}".strip(),
                autocommit=True,
            )
        except psycopg.Error as error:
            raise cannot_connect(error, self.name) from error
        connection.patience = patience
        connection.adapters.register_loader("numeric", PlainNumeric)
        return connection


def this_host() -> str:
    """The name of this machine."""
    return platform.node() or "localhost"


def _parsed(url: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error as error:
        # the library repeats the URL, and with it the password, after the first colon of some messages
        message = f"is no PostgreSQL URL: {str(error).partition(':')[0].strip()}"
        raise ConfigError(Problem("--db", message, _USE)) from None


def _said(given: Mapping[str, str], keyword: str) -> str:
    """What the URL says, else what the client library takes from its own environment variables."""
    if given.get(keyword):
        return given[keyword]
    for option in pq.Conninfo.get_defaults():
        if option.keyword == keyword.encode() and option.val:
            return option.val.decode(errors="replace")
    return ""


def _shown(given: Mapping[str, str]) -> str:
    """The URL without any secret, by which the same database is found again."""
    user = f"{quote(given['user'], safe='')}@" if given.get("user") else ""
    host, port = given.get("host", ""), given.get("port", "")
    socket = host.startswith(("/", "@"))
    place = "" if socket else f"[{host}]" if ":" in host else host
    rest = {
        name: value
        for name, value in given.items()
        if name not in {*_SECRET, "user", "port", "dbname", *(() if socket else ("host",))}
    }
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in sorted(rest.items()))
    return (
        f"postgresql://{user}{place}{f':{port}' if port else ''}/{quote(given['dbname'], safe='')}"
        f"{f'?{query}' if query else ''}"
    )
