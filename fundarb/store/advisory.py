"""The writer's lock of a PostgreSQL database: a session-level advisory lock on a connection of its own.

The server gives it back when that connection ends, however it ends. A lock whose connection does not answer
counts as lost: nothing is sent on its strength. A pooler that hands out another session for each transaction
cannot keep such a lock, and is noticed by the number of the server's process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import psycopg

from fundarb.core.instants import from_ms
from fundarb.store.ports import Holder
from fundarb.store.postgres import KEY, WRITER
from fundarb.store.process import how_to_end, stopped
from fundarb.store.server import Connection, Server, this_host
from fundarb.store.server_errors import unavailable

_PATIENCE: Final = 2
"""Seconds until a lock whose connection is silent counts as lost."""
_LABEL: Final = re.compile(r"fundarb (\S+) (\d+)@(\S+)")
_TRY: Final = f"SELECT pg_try_advisory_lock({KEY}, {WRITER}), pg_backend_pid()"
_GIVE_BACK: Final = f"SELECT pg_advisory_unlock({KEY}, {WRITER})"
_SETTINGS: Final = """
    SET statement_timeout = '5s'; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3; SET idle_session_timeout = 0
"""
_HOLDER: Final = f"""
    SELECT held.pid, client.application_name,
        (EXTRACT(EPOCH FROM client.backend_start) * 1000)::bigint
    FROM pg_locks AS held LEFT JOIN pg_stat_activity AS client ON client.pid = held.pid
    WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2
        AND held.classid = {KEY} AND held.objid = {WRITER}
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class AdvisoryLock:
    """The writer's lock of one database; a forked child does not have it."""

    def __init__(self, server: Server) -> None:
        """Nothing is reached for yet."""
        self._server = server
        self._connection: Connection | None = None
        self._session = 0
        """The server's process that has the lock for us, 0 while we do not have it."""
        self._process = 0

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it. True if it is (now, or already) ours."""
        if self._session:
            return self.ours()
        try:
            taken, session = self._asked().execute(_TRY).fetchone() or (False, 0)
        except psycopg.Error as error:
            self.release()
            raise unavailable(error, self._server.name) from error
        if not taken:
            return False
        self._session = session
        if self.ours():
            return True
        self.release()  # a pooler between us and the server has changed the session already
        return False

    def _asked(self) -> Connection:
        """The connection, kept from one try to the next."""
        if self._connection is None:
            self._connection = self._server.connect(patience=_PATIENCE, label="lock")
            self._process = os.getpid()
            self._connection.execute(_SETTINGS)
        return self._connection

    def write(self, holder: Mapping[str, str | int]) -> None:
        """Say on the connection who holds it; ``StateUnavailable`` if it is lost."""
        if self._connection is None:
            return
        label = f"fundarb {holder['role']} {holder['pid']}@{this_host()}"[:63]  # the server keeps no more
        try:
            self._connection.execute("SELECT set_config('application_name', %s, false)", (label,))
        except psycopg.Error as error:
            raise unavailable(error, self._server.name) from error

    def ours(self) -> bool:
        """Whether we hold it for certain: the very session that took it answers. One round trip."""
        connection = self._connection
        if connection is None or not self._session or self._process != os.getpid():
            return False
        try:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
        except psycopg.Error:
            connection.close()
            return False
        return row is not None and row[0] == self._session

    def release(self) -> None:
        """Let go; nothing happens if it is not held."""
        connection, self._connection = self._connection, None
        held, self._session = self._session, 0
        if connection is None or self._process != os.getpid():  # a child's copy of it is its parent's
            return
        if held:  # at once: the end of the connection is noticed by the server a little later
            with suppress(psycopg.Error):
                connection.execute(_GIVE_BACK)
        connection.close()


def holder(server: Server) -> Holder | None:
    """Who has the lock now, by the server's own list of locks; None if nobody."""
    connection = server.connect(patience=_PATIENCE, label="look")
    try:
        row = connection.execute(_HOLDER).fetchone()
    except psycopg.Error as error:
        raise unavailable(error, server.name) from error
    finally:
        connection.close()
    if row is None:
        return None
    session, label, since = row
    found = _LABEL.fullmatch(label or "")
    start = None if since is None else from_ms(since)
    if found is None:  # between taking the lock and saying so, or a role whose sessions we may not see
        return Holder(since=start, end=f'psql -c "SELECT pg_terminate_backend({session})"')
    role, pid, host = found.groups()
    here = host == this_host()
    end = how_to_end(int(pid)) if here else f"kill {pid} (on {host})"
    still = here and stopped(int(pid))
    return Holder(pid=int(pid), role=role, since=start, host="" if here else host, end=end, stopped=still)
