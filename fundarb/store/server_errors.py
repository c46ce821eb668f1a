"""What PostgreSQL says when something fails, as the exceptions of fundarb: by the state's code once
connected, by the words of the client library before.

A person's mistake (address, password, rights, encryption) is a ``ConfigError`` that names the remedy;
whatever may pass by itself is a ``StateUnavailable``. A broken constraint is neither: its caller names it.
"""

from __future__ import annotations

from typing import Final

import peewee
import psycopg

from fundarb.errors import ConfigError, FundarbError, Problem, StateUnavailable

_START: Final = "start again: the start finds out what the venue has"

# The first code, or class of codes, that the state begins with decides.
_HINTS: Final = (
    ("53100", f"the server's disk is full: free some space there, then {_START}"),
    ("53200", f"the server has no memory left; look at its log, then {_START}"),
    ("53300", "the server has no connection left for us: raise max_connections, or end other clients"),
    ("25006", "the server is read-only (a standby, or set so by its administrator); name the primary"),
    ("25P03", f"this process kept a transaction open for too long; {_START}"),
    ("25P02", "a statement before it failed; nothing was committed"),
    ("40P01", "two processes waited for each other; nothing was committed, try again"),
    ("40001", "another process changed the same rows; nothing was committed, try again"),
    ("55P03", "locked; another process holds a transaction for too long; end it, then try again"),
    ("57014", "the statement took too long, or somebody ended it; nothing was committed"),
    ("57P01", f"the server is being shut down, or somebody ended this connection; {_START}"),
    ("57P02", f"the server has crashed and begins anew; {_START}"),
    ("57P03", f"the server is starting or being shut down; {_START}"),
    ("58", f"the server cannot reach its files; look at its disk and log, then {_START}"),
    ("XX001", "the database is damaged: put the newest backup in its place, then reconcile"),
    ("XX002", "the database is damaged: put the newest backup in its place, then reconcile"),
    ("42501", "the role lacks a right; grant it, or name another role"),
    ("42P01", "a table is gone: put the newest backup in its place, then reconcile"),
    ("08", f"the connection to the server was lost; {_START}"),
)


def unavailable(error: psycopg.Error, name: str) -> StateUnavailable:
    """A failure of a statement, with the database's name and what to do about it."""
    state = error.sqlstate or ""
    text = " ".join(str(error).split()) or type(error).__name__
    hint = next((remedy for code, remedy in _HINTS if state.startswith(code)), "nothing was committed")
    return StateUnavailable(f"database {name}: {text}; {hint}")


def failed(error: psycopg.Error, name: str) -> Exception:
    """The exception for a failed statement: peewee's own for a broken constraint."""
    if isinstance(error, psycopg.IntegrityError):
        return peewee.IntegrityError(*error.args)
    return unavailable(error, name)


# Words of the client library or of the server's refusal, each with what mends it.
_MISTAKES: Final = (
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        "give the right password in PGPASSWORD, in ~/.pgpass, or within the URL in FUNDARB_DB",
    ),
    (("no pg_hba.conf entry", "pg_hba.conf rejects"), "let this role and address in, in pg_hba.conf"),
    (("role ", "is not permitted to log in"), "create the role (createuser), or name another one in the URL"),
    (("database ", "does not exist"), "create it (createdb NAME), or name the right one in the URL"),
    (("permission denied for database",), "GRANT CONNECT ON DATABASE … TO the role"),
    (("failed to resolve host", "could not translate host name"), "look at the host in the URL"),
    (
        ("server does not support SSL", "certificate", "SSL error", "SSL connection", "sslrootcert"),
        (
            "mend the server's certificate or name its authority with sslrootcert; sslmode=require encrypts "
            "without knowing the server, sslmode=disable not at all"
        ),
    ),
    (("invalid port number", "invalid sslmode", "invalid integer value"), "look at the URL"),
)
_PASSING: Final = (
    (("Connection refused", "No such file or directory"), "start the server, or look at host and port"),
    (("timeout",), "look at the network, and whether the server answers at all"),
    (
        ("too many", "remaining connection slots"),
        "raise max_connections of the server, or end other clients",
    ),
    (("starting up", "shutting down", "in recovery mode"), "wait until the server is up"),
)


def cannot_connect(error: psycopg.Error, name: str) -> FundarbError:
    """Why there is no connection: a mistake that a person mends, or something that may pass."""
    text = " ".join(str(error).split())
    for words, remedy in _MISTAKES:
        if _says(text, words):
            return ConfigError(Problem("--db", f"cannot open {name}: {text}", remedy))
    remedy = next((remedy for words, remedy in _PASSING if _says(text, words)), "look at the server's log")
    return StateUnavailable(f"database {name} cannot be reached: {text}; {remedy}")


def _says(text: str, words: tuple[str, ...]) -> bool:
    """Whether a text has one of these words; a word that ends in a space is a kind of thing, of which the
    others say something.
    """
    if words[0].endswith(" "):
        return words[0] in text and ("does not exist" in text or any(word in text for word in words[1:]))
    return any(word in text for word in words)


def forbidden(error: StateUnavailable, name: str, *, remedy: str) -> ConfigError | None:
    """A refusal for want of a right, while a database is made ready, as the configuration's problem; None for
    any other failure.
    """
    cause = error.__cause__
    if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return None
    return ConfigError(Problem("--db", f"{name}: {' '.join(str(cause).split())}", remedy))
