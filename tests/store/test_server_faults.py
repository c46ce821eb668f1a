"""Whatever a PostgreSQL server does to us is named, and nothing that is not durable is acted upon."""

# ruff: noqa: PT012 - a block that fails after several statements is what is tested here

import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from fundarb.clock import SystemClock
from fundarb.errors import ConfigError, FundarbError, StateUnavailable
from fundarb.store import postgres, server
from fundarb.store.database import Store, exists
from fundarb.store.lock import WriterLock
from fundarb.store.server_errors import cannot_connect, failed
from tests.postgres import Cluster
from tests.store.make import heard, intent, opened, position, process

END_ALL = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def name(server_url: str) -> str:
    """The name of the database."""
    return server_url.rpartition("/")[2]


@pytest.fixture
def store(server_url: str) -> Iterator[Store]:
    """A database on the machine's own clock."""
    with opened(server_url, clock=SystemClock()) as made:
        yield made


# --------------------------------------------------------------------------------- lost connections


def test_a_connection_that_is_ended_between_transactions(cluster: Cluster, store: Store, name: str) -> None:
    """A writer that lost its connection writes nothing more and says so; it does not quietly connect anew."""
    store.meta.set("kept", "yes")
    cluster.ask(name, END_ALL)
    assert store.still_there()
    with pytest.raises(StateUnavailable, match=r"terminating connection.*the connection was lost|connection"):
        store.meta.get("kept")
    assert not store.still_there()
    with pytest.raises(StateUnavailable, match="nothing is recorded any more"):
        store.meta.set("more", "x")
    with opened(store.url) as again:
        assert (again.meta.get("kept"), again.meta.get("more")) == ("yes", None)


def test_a_connection_that_is_ended_inside_a_transaction(cluster: Cluster, store: Store, name: str) -> None:
    """Nothing of it remains, nobody is told, and the failure cannot be swallowed."""
    told: list[bool] = []
    with pytest.raises(StateUnavailable), store.transaction():
        store.meta.set("half", "x")
        store.on_commit(lambda: told.append(True))
        cluster.ask(name, END_ALL)
        with pytest.raises(StateUnavailable):
            store.meta.get("half")
    assert told == []
    with opened(store.url) as again:
        assert again.meta.get("half") is None


def test_a_connection_that_is_lost_at_the_commit(cluster: Cluster, store: Store, name: str) -> None:
    """Whether it became durable nobody knows: nothing is acted upon, and only a new start finds out."""
    told: list[bool] = []
    store.positions.add(position())
    with pytest.raises(StateUnavailable, match="whether it is durable is not known"), store.transaction():
        store.intents.add(intent())
        store.on_commit(lambda: told.append(True))
        cluster.ask(name, END_ALL)
    assert told == []
    assert not store.still_there()
    with opened(store.url) as again:
        assert again.intents.open() == ()


def test_a_commit_whose_answer_is_lost_is_found_by_the_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server committed and the answer never came: we act upon nothing, and the row is there next time."""
    told: list[bool] = []
    store.positions.add(position())
    connection = store.database._mine()  # type: ignore[attr-defined]
    real = connection.execute

    def cut(sql: str, *arguments: object) -> object:
        answer = real(sql, *arguments)
        if sql == "COMMIT":
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return answer

    monkeypatch.setattr(connection, "execute", cut)
    with pytest.raises(StateUnavailable, match="whether it is durable is not known"), store.transaction():
        store.intents.add(intent())
        store.on_commit(lambda: told.append(True))
    assert told == []
    with pytest.raises(StateUnavailable):
        store.intents.open()
    with opened(store.url) as again:
        assert len(again.intents.open()) == 1


def test_a_reader_looks_again(cluster: Cluster, store: Store, name: str) -> None:
    """Who only reads has one failure, and a new connection with the next question."""
    store.meta.set("a", "1")
    with opened(store.url, readonly=True) as reader:
        assert reader.meta.get("a") == "1"
        cluster.ask(name, END_ALL)
        with pytest.raises(StateUnavailable):
            reader.meta.get("a")
        assert reader.still_there()
        assert reader.meta.get("a") == "1"
        with pytest.raises(StateUnavailable), reader.reading():
            cluster.ask(name, END_ALL)
            reader.meta.get("a")
        with reader.reading():
            assert reader.meta.get("a") == "1"


def test_a_crash_of_the_server_is_survived(cluster: Cluster, server_url: str) -> None:
    """Stopped at once in the middle of a transaction and started again: what was committed is there, the rest
    is not, and the old writer does not go on.
    """
    with opened(server_url, clock=SystemClock()) as store:
        lock = WriterLock(store, clock=store.clock)
        lock.acquire("daemon")
        store.positions.add(position())
        try:
            with pytest.raises(StateUnavailable), store.transaction():
                store.intents.add(intent())
                cluster.stop("immediate")
            assert not lock.still_ours()
            with pytest.raises(StateUnavailable, match=r"cannot be reached|lost"):
                opened(server_url)
        finally:
            cluster.start()
        assert not lock.still_ours()
        with pytest.raises(StateUnavailable):
            store.meta.set("late", "x")
        with opened(server_url, clock=SystemClock()) as again:
            assert len(again.positions.active()) == 1
            assert again.intents.open() == ()
            second = WriterLock(again, clock=again.clock)
            assert second.acquire("daemon") == 2
            second.release()
        with pytest.raises(StateUnavailable):
            lock.release()


@pytest.mark.proof
def test_a_frozen_server_is_given_up(cluster: Cluster, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement, a commit and a new connection come back with an error, not never."""
    monkeypatch.setattr(store.database._mine(), "patience", 1)  # type: ignore[attr-defined]
    monkeypatch.setattr(server, "CONNECT_TIMEOUT", 1)
    told: list[bool] = []
    try:
        with (
            pytest.raises(StateUnavailable, match=r"not answered for 1 s.*durable is not known"),
            store.transaction(),
        ):
            store.meta.set("half", "x")
            store.on_commit(lambda: told.append(True))
            cluster.freeze()
        assert told == []
        with pytest.raises(StateUnavailable, match=r"cannot be reached.*timeout"):
            exists(store.url)
    finally:
        cluster.thaw()
    assert not store.still_there()


# ----------------------------------------------------------------------------------- named failures


def break_writes(cluster: Cluster, name: str, code: str) -> None:
    """Let every write into ``meta`` fail with a state of the server."""
    cluster.ask(
        name,
        f"""CREATE OR REPLACE FUNCTION fundarb.broken() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '{code}'; END $$""",
        """CREATE OR REPLACE TRIGGER broken BEFORE INSERT ON fundarb.meta
        FOR EACH ROW EXECUTE FUNCTION fundarb.broken()""",
    )


@pytest.fixture
def breakable(cluster: Cluster, store: Store, name: str) -> Iterator[Store]:
    """A store whose table ``meta`` may be broken, and is mended at the end."""
    yield store
    cluster.ask(name, "DROP FUNCTION IF EXISTS fundarb.broken CASCADE")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("53100", "disk is full"),
        ("53200", "no memory left"),
        ("40001", "changed the same rows"),
        ("40P01", "waited for each other"),
        ("57014", "took too long"),
        ("58030", "cannot reach its files"),
        ("XX001", "database is damaged"),
        ("42501", "lacks a right"),
        ("42P01", "a table is gone"),
    ],
)
def test_each_state_of_the_server_has_its_words(
    cluster: Cluster, breakable: Store, name: str, code: str, words: str
) -> None:
    """The failure names database and remedy; nothing of the transaction remains; the next one works."""
    store = breakable
    break_writes(cluster, name, code)
    with pytest.raises(StateUnavailable, match=words) as caught, store.transaction():
        store.positions.add(position())
        store.meta.set("new", "x")
    assert store.name in str(caught.value)
    assert store.positions.active() == ()
    cluster.ask(name, "DROP FUNCTION fundarb.broken CASCADE")
    store.meta.set("new", "y")
    assert store.meta.get("new") == "y"


def test_a_failure_that_is_swallowed_cannot_become_a_commit(
    cluster: Cluster, breakable: Store, name: str
) -> None:
    """The server answers the commit of a failed transaction with a mere ROLLBACK: that is no success."""
    store, told = breakable, []
    break_writes(cluster, name, "53100")
    with pytest.raises(StateUnavailable, match="rolled back by the server"), store.transaction():
        store.positions.add(position())
        store.on_commit(lambda: told.append(True))
        with pytest.raises(StateUnavailable):
            store.database.execute_sql("INSERT INTO meta VALUES ('a', 'b')")
    assert told == []
    assert store.positions.active() == ()


def test_an_inner_block_that_failed_is_undone_alone(cluster: Cluster, breakable: Store, name: str) -> None:
    """After an error inside an inner block the outer one goes on, and becomes durable."""
    store = breakable
    break_writes(cluster, name, "53100")
    with store.transaction():
        store.positions.add(position())
        with pytest.raises(StateUnavailable):
            store.meta.set("a", "b")
    assert len(store.positions.active()) == 1


def test_a_transaction_the_server_gave_up_does_not_end_as_if_it_were_durable(store: Store) -> None:
    """A rollback behind our back is reported at the end of the block; its listeners hear nothing."""
    told: list[bool] = []
    with pytest.raises(StateUnavailable, match="rolled back by"), store.transaction():
        store.meta.set("a", "1")
        store.on_commit(lambda: told.append(True))
        store.database.execute_sql("ROLLBACK")
    assert told == []
    store.meta.set("b", "1")
    assert (store.meta.get("a"), store.meta.get("b")) == (None, "1")


def test_a_server_that_became_read_only_is_named(cluster: Cluster, store: Store, name: str) -> None:
    """An administrator's setting, or a standby: nothing is written, and it is said why."""
    store.database.execute_sql("SET default_transaction_read_only = on")
    with pytest.raises(StateUnavailable, match=r"read-only.*name the primary"):
        store.meta.set("a", "1")
    store.database.execute_sql("SET default_transaction_read_only = off")
    store.meta.set("a", "1")


BUSY = """
with store.transaction():
    store.meta.set("busy", "1")
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_a_transaction_that_never_ends_is_not_waited_for_forever(store: Store) -> None:
    """A second writer gives up after a while and says why; nothing of its transaction is left."""
    store.database.execute_sql("SET lock_timeout = '100ms'")
    with process(store.url, BUSY) as child:
        assert heard(child) == "in"
        with pytest.raises(StateUnavailable, match="locked; another process"):
            store.meta.set("mine", "1")
    assert store.meta.get("busy") is None
    store.meta.set("mine", "2")


def test_a_writer_that_sleeps_in_a_transaction_is_cut_off(store: Store) -> None:
    """A stopped process keeps everybody waiting for a while only; on waking it learns that nothing holds."""
    store.database.execute_sql("SET idle_in_transaction_session_timeout = '100ms'")
    with pytest.raises(StateUnavailable), store.transaction():
        store.meta.set("a", "1")
        SystemClock().sleep(timedelta(milliseconds=400))
        store.meta.set("b", "1")
    with opened(store.url) as again:
        assert (again.meta.get("a"), again.meta.get("b")) == (None, None)


def test_a_statement_that_takes_too_long_is_ended(store: Store) -> None:
    """By the server, with a limit for writers and a longer one for readers."""
    assert store.database.row("SHOW statement_timeout", ()) == (f"{postgres.WRITE_SECONDS}s",)
    with opened(store.url, readonly=True) as reader:
        assert reader.database.row("SHOW statement_timeout", ()) == ("5min",)
    store.database.execute_sql("SET statement_timeout = '50ms'")
    with pytest.raises(StateUnavailable, match="took too long"):
        store.database.execute_sql("SELECT pg_sleep(5)")
    assert store.still_there()


def test_a_server_without_a_free_connection(cluster: Cluster, server_url: str) -> None:
    """Too many clients: something that may pass, named with what mends it."""
    opened(server_url).close()
    cluster.stop()
    cluster.start(max_connections="4", superuser_reserved_connections="0", reserved_connections="0")
    held = []
    try:
        held = [psycopg.connect(server_url) for _ in range(4)]
        with pytest.raises(StateUnavailable, match=r"too many clients.*max_connections"):
            exists(server_url)
    finally:
        for connection in held:
            connection.close()
        cluster.stop()
        cluster.start()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', ConfigError),
        ("failed to resolve host 'db.invalid': Name or service not known", ConfigError),
        ('could not translate host name "db.invalid" to address', ConfigError),
        ("SSL error: certificate verify failed", ConfigError),
        ('FATAL:  permission denied for database "x"', ConfigError),
        ('FATAL:  role "x" is not permitted to log in', ConfigError),
        ("FATAL:  the database system is starting up", StateUnavailable),
        ("FATAL:  the database system is shutting down", StateUnavailable),
        ("FATAL:  remaining connection slots are reserved", StateUnavailable),
        ("connection timeout expired", StateUnavailable),
        ("something that nobody has seen yet", StateUnavailable),
    ],
)
def test_failures_to_connect_are_told_apart(text: str, kind: type[FundarbError]) -> None:
    """What a person must mend is a configuration error; what may pass is not; each names a remedy."""
    found = cannot_connect(psycopg.OperationalError(text), "postgresql://bot@db/x")
    assert type(found) is kind
    assert "postgresql://bot@db/x" in str(found)
    assert "; " in str(found)


def test_a_failure_without_a_state_is_no_success() -> None:
    """An error of the library itself is named by its class."""
    assert isinstance(failed(psycopg.InterfaceError(), "x"), StateUnavailable)


def test_a_closed_store_says_so(store: Store) -> None:
    """Nothing reopens behind the back of who closed it, on no thread."""
    store.close()
    seen: list[str] = []

    def ask() -> None:
        try:
            store.meta.get("a")
        except StateUnavailable as error:
            seen.append(str(error))

    ask()
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(seen) == 2
    assert all("was closed" in text for text in seen)
