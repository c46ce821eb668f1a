"""A real PostgreSQL of the tests' own, from the wheel ``pgserver``: on a free port of this machine, as an
ordinary user even where the tests run as root.

Only the programs of that wheel are used. Its own start-up makes every folder above the data readable for all
and adds a user to the machine; a test must do neither.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.room import room

WHY_NOT = "needs the wheel pgserver, which exists for Python < 3.13 only"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "30",
    "shared_buffers": "16MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}
GUARDED = """
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
_END_CLIENTS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_QUIETLY = "SET session_replication_role = replica; SET synchronous_commit = off;"
_TABLES = """
    SELECT 'DELETE FROM ' || oid::regclass || ';' FROM pg_class
    WHERE relnamespace = to_regnamespace('fundarb') AND relkind = 'r' AND relname <> 'schema_info'
    UNION ALL
    SELECT 'ALTER SEQUENCE ' || oid::regclass || ' RESTART;' FROM pg_class
    WHERE relnamespace = to_regnamespace('fundarb') AND relkind = 'S'
"""


class Cluster:
    """One server with its data; ``url()`` names an empty database on it."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Make the data; nothing runs yet."""
        self.folder = folder
        self.data = folder / "data"
        self._programs = programs
        self._as: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._run("initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        (self.data / "pg_hba.conf").write_text(GUARDED, encoding="utf-8")
        self.port = _free_port()
        self._made = 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self.data, *arguments],
            **self._as,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout

    def start(self, **more: str) -> None:
        """Start, and wait until it answers."""
        settings = {**SETTINGS, "port": str(self.port), **more}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "-w", "-s", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop: ``fast`` ends every client in order, ``immediate`` is a crash."""
        self._run("pg_ctl", "-w", "-s", "-m", mode, "stop")

    @property
    def processes(self) -> tuple[int, ...]:
        """The server's processes, one for each connection among them."""
        first = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(first)], stdout=subprocess.PIPE, text=True, check=True)
        return (first, *map(int, children.stdout.split()))

    def freeze(self) -> None:
        """Stop every process of it where it stands: its sockets stay open and nobody answers."""
        for pid in self.processes:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        for pid in self.processes:
            with suppress(ProcessLookupError):  # its client is gone, and now so is it
                os.kill(pid, signal.SIGCONT)

    def address(self, database: str, user: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """A new empty database."""
        self._made += 1
        name = f"t{self._made}"
        self.ask("postgres", f"CREATE DATABASE {name}")
        return name

    def ask(self, database: str, *statements: str) -> list[Any]:
        """Run statements as the server's master; the rows of the last one."""
        rows: list[Any] = []
        with closing(psycopg.connect(self.address(database), autocommit=True)) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def clear(self, database: str) -> None:
        """End whoever is connected, and take every row out of our tables, which is ten times as quick as
        making them anew.
        """
        with closing(psycopg.connect(self.address(database), autocommit=True)) as connection:
            connection.execute(_END_CLIENTS)
            found = connection.execute(_TABLES).fetchall()
            connection.execute(_QUIETLY + "".join(text for (text,) in found))


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _programs(folder: Path) -> Path:
    """The programs, where an ordinary user may run them: a checkout in root's home is closed to others."""
    spec = find_spec("pgserver")
    if spec is None or spec.origin is None:
        pytest.skip(WHY_NOT)
    there = Path(spec.origin).parent / "pginstall"
    if os.geteuid() == 0 and any(not place.stat().st_mode & 0o001 for place in there.parents):
        for part in (
            "pgserver/pginstall",
            "pgserver.libs",
        ):  # the programs look for their libraries beside it
            shutil.copytree(there.parents[1] / part, folder / part, symlinks=True)
        there = folder / "pgserver" / "pginstall"
    return there / "bin"


def clusters() -> Iterator[Cluster]:
    """A running server, for as long as it is wanted."""
    folder = Path(tempfile.mkdtemp(prefix="fundarb-pg-", dir=room()))
    folder.chmod(0o755)
    try:
        made = Cluster(folder, _programs(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One server for all tests of a worker; skipped where there is none."""
    yield from clusters()


@pytest.fixture(scope="session")
def _server_database(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
def server_url(cluster: Cluster, _server_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database without a row on a real server, our tables made or not."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    yield cluster.address(_server_database)
    cluster.clear(_server_database)
