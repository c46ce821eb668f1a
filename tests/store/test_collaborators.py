"""Blocks, commands, events, identity, jobs, snapshots, executions: each keeps its promise."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fundarb.core.events import (
    ActivityChanged,
    AlertRaised,
    BlockSet,
    DecisionMade,
    Severity,
    WriterStarted,
)
from fundarb.core.instants import from_ms, to_ms
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, CommandState
from fundarb.errors import ConfigError, InvariantBroken
from fundarb.store.blocks import Control
from fundarb.store.database import Store
from tests.store.make import NOW, heard, opened, process, server_in_proof

START = from_ms(to_ms(NOW))
HOUR = timedelta(hours=1)


def block(kind: BlockKind = BlockKind.COOL_DOWN, scope: str = "BTC", **changes: Any) -> Block:
    """A block of one coin."""
    return replace(Block(scope=scope, kind=kind, reason="unwound", since=START), **changes)


def kinds(store: Store) -> list[str]:
    """What the audit trail holds."""
    return [event.kind for event in store.events.after(0, 100)]


def test_a_block_holds_until_its_end(store: Store) -> None:
    """It is active before its end and no longer at it; one without an end stays."""
    store.blocks.set(block(until=START + HOUR))
    store.blocks.set(block(BlockKind.FREEZE))
    assert {item.kind for item in store.blocks.active(START)} == {BlockKind.COOL_DOWN, BlockKind.FREEZE}
    assert {item.kind for item in store.blocks.active(START + HOUR)} == {BlockKind.FREEZE}


def test_a_block_is_news_once(store: Store) -> None:
    """Setting what already holds, or making it longer, is no second event; a new reason is."""
    store.blocks.set(block(until=START + HOUR))
    store.blocks.set(block(until=START + HOUR))
    store.blocks.set(block(until=START + 2 * HOUR))
    assert kinds(store) == ["block_set"]
    store.blocks.set(block(until=START + HOUR, reason="unwound twice"))
    assert kinds(store) == ["block_set", "block_set"]
    store.clock.sleep(3 * HOUR)
    store.blocks.set(block(until=START + 4 * HOUR, reason="unwound twice"))
    assert kinds(store) == ["block_set"] * 3


def test_a_block_never_grows_weaker(store: Store) -> None:
    """The later end, the older beginning, the need for a person survive a weaker block of the same kind."""
    store.blocks.set(block(until=START + 2 * HOUR, needs_person=True))
    store.clock.sleep(timedelta(minutes=5))
    kept = store.blocks.set(block(until=START + HOUR, since=START + timedelta(minutes=5)))
    assert (kept.since, kept.until, kept.needs_person) == (START, START + 2 * HOUR, True)
    assert store.blocks.get("BTC", BlockKind.COOL_DOWN) == kept
    assert store.blocks.set(block(until=None)).until is None
    assert store.blocks.set(block(until=START + HOUR)).until is None


def test_an_ended_block_does_not_bind_the_next(store: Store) -> None:
    """After its end a block of the same kind begins anew."""
    store.blocks.set(block(until=START + HOUR, needs_person=True))
    store.clock.sleep(2 * HOUR)
    fresh = store.blocks.set(block(since=START + 2 * HOUR, until=START + 3 * HOUR))
    assert (fresh.since, fresh.needs_person) == (START + 2 * HOUR, False)


def test_clearing_is_an_event_only_if_something_held(store: Store) -> None:
    """Lifting what is not there says nothing."""
    assert store.blocks.clear("BTC", BlockKind.FREEZE) is False
    store.blocks.set(block(BlockKind.FREEZE))
    assert store.blocks.clear("BTC", BlockKind.FREEZE) is True
    assert store.blocks.active(START) == ()
    store.blocks.set(block(until=START + HOUR))
    store.clock.sleep(2 * HOUR)
    assert store.blocks.clear("BTC", BlockKind.COOL_DOWN) is True
    assert kinds(store) == ["block_set", "block_cleared", "block_set"]


@pytest.mark.parametrize(
    ("blocks", "control"),
    [
        ([], Control.RUNNING),
        ([block(BlockKind.HALT, "BTC", needs_person=True)], Control.RUNNING),
        ([block(BlockKind.STALE_DATA, GLOBAL_SCOPE)], Control.RUNNING),
        ([block(BlockKind.PAUSE, GLOBAL_SCOPE, needs_person=True)], Control.PAUSED),
        ([block(BlockKind.HALT, GLOBAL_SCOPE)], Control.HALTED),
        ([block(BlockKind.BREAKER, GLOBAL_SCOPE, needs_person=True)], Control.HALTED),
        (
            [block(BlockKind.PAUSE, GLOBAL_SCOPE), block(BlockKind.HALT, GLOBAL_SCOPE, needs_person=True)],
            Control.HALTED,
        ),
        ([block(BlockKind.HALT, GLOBAL_SCOPE, until=START)], Control.RUNNING),
    ],
)
def test_control_follows_from_the_global_blocks(store: Store, blocks: list[Block], control: Control) -> None:
    """A halt, or anything global that needs a person, halts; a pause pauses; coins' blocks do neither."""
    for item in blocks:
        store.blocks.set(item)
    assert store.blocks.control(START) is control


def test_commands_are_claimed_in_order_and_once(store: Store) -> None:
    """First come, first served; a claimed command is never given out again."""
    first, second = store.commands.add("open", '{"base":"BTC"}'), store.commands.add("close", "{}")
    assert [item.id for item in store.commands.waiting()] == [first, second]
    claimed = store.commands.claim()
    assert claimed is not None
    assert (claimed.id, claimed.name, claimed.arguments, claimed.state) == (
        first,
        "open",
        '{"base":"BTC"}',
        CommandState.RUNNING,
    )
    assert store.commands.running() == (claimed,)
    done = store.commands.finish(first, CommandState.DONE, exit_code=0, result='{"ok":true}')
    assert store.commands.get(first) == done
    assert (done.exit_code, done.result, done.finished_at) == (0, '{"ok":true}', START)
    again = store.commands.claim()
    assert again is not None
    assert again.id == second
    assert store.commands.claim() is None


def test_a_command_ends_once_and_only_after_it_began(store: Store) -> None:
    """A result needs a claim, and a finished command keeps its result."""
    number = store.commands.add("open", "{}")
    with pytest.raises(InvariantBroken, match="not running"):
        store.commands.finish(number, CommandState.DONE, exit_code=0, result="")
    store.commands.claim()
    with pytest.raises(InvariantBroken, match="cannot end"):
        store.commands.finish(number, CommandState.WAITING, exit_code=0, result="")
    store.commands.finish(number, CommandState.FAILED, exit_code=3, result="")
    with pytest.raises(InvariantBroken, match="not running"):
        store.commands.finish(number, CommandState.DONE, exit_code=0, result="")
    assert store.commands.get(number).exit_code == 3


def test_a_command_is_taken_back_only_while_it_waits(store: Store) -> None:
    """Who gave up waiting can be sure that nothing will happen, or learns that it is too late."""
    number = store.commands.add("open", "{}")
    assert store.commands.withdraw(number) is True
    with pytest.raises(LookupError):
        store.commands.get(number)
    later = store.commands.add("open", "{}")
    assert later > number
    store.commands.claim()
    assert store.commands.withdraw(later) is False


CLAIM = """
sys.stdin.readline()
mine = []
while (record := store.commands.claim()) is not None:
    mine.append(record.id)
print(*mine, flush=True)
"""


@server_in_proof
def test_two_processes_never_get_the_same_command(store: Store) -> None:
    """However they race, each command goes to exactly one."""
    numbers = [store.commands.add("open", "{}") for _ in range(20)]
    with process(store.url, CLAIM) as first, process(store.url, CLAIM) as second:
        for child in (first, second):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        taken = [int(word) for child in (first, second) for word in heard(child).split()]
    assert sorted(taken) == numbers


def test_event_ids_only_grow(store: Store) -> None:
    """Even after the newest event is gone its number is not given again."""
    first = store.events.record(ActivityChanged(activity="IDLE"))
    store.database.execute_sql("DELETE FROM events")
    second = store.events.record(ActivityChanged(activity="IDLE"))
    assert second.id > first.id
    assert store.events.newest_id() == second.id


def test_events_are_asked_for_by_id_kind_and_time(store: Store) -> None:
    """A follower reads on from the last id that it has seen."""
    assert store.events.newest_id() == 0
    one = store.events.record(WriterStarted(pid=1, epoch=1, role="daemon"))
    store.clock.sleep(HOUR)
    two = store.events.record(ActivityChanged(activity="IDLE"))
    three = store.events.record(ActivityChanged(activity="SCANNING"))
    assert store.events.after(0, 2) == (one, two)
    assert store.events.after(two.id, 10) == (three,)
    assert store.events.after(0, 10, kind="activity_changed") == (two, three)
    assert store.events.after(0, 10, since=START + HOUR) == (two, three)
    assert store.events.after(0, 10, kind="writer_started", since=START + HOUR) == ()


def test_the_last_events_of_a_severity(store: Store) -> None:
    """The newest that are at least so severe, in the order in which they happened."""
    alert = AlertRaised(code="x", subject="BTC", message="look")
    store.events.record(ActivityChanged(activity="IDLE"))
    warning = store.events.record(
        BlockSet(scope="*", block="halt", reason="r", until=START + timedelta(microseconds=5000))
    )
    first, second = store.events.record(alert), store.events.record(alert)
    assert store.events.last(2) == (first, second)
    assert store.events.last(10, severity=Severity.WARNING) == (warning, first, second)
    assert store.events.last(10, severity=Severity.ALERT) == (first, second)
    assert store.events.last(10, severity=Severity.WARNING, kind="block_set") == (warning,)
    assert second.severity is Severity.ALERT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(text=st.text(max_size=40).map(lambda text: text.encode("utf-8", "ignore").decode()))
def test_any_text_survives_in_an_event(store: Store, text: str) -> None:
    """Whatever a venue says in a reason is kept, quotes, newlines and foreign letters included."""
    import json

    recorded = store.events.record(DecisionMade(base="BTC", decision="skip", reason=text))
    assert json.loads(store.events.after(recorded.id - 1, 1)[0].payload)["reason"] == text


def test_half_a_letter_does_not_stop_the_audit_trail(store: Store) -> None:
    """A venue's message that was cut inside a letter is kept with a question mark in its place."""
    store.events.record(DecisionMade(base="BTC", decision="skip", reason="cut \ud83d here"))
    assert "cut ? here" in store.events.last(1)[0].payload


def test_an_identity_is_written_once_and_checked(store: Store) -> None:
    """A database belongs to one account; every difference is named."""
    assert store.identity.read() is None
    assert store.identity.since() is None
    with pytest.raises(InvariantBroken, match="nobody"):
        store.identity.require()
    with pytest.raises(ConfigError, match="no owner"):
        store.identity.check(venue="bybit", mode="paper", instance="default", uid="")
    made = store.identity.create(venue="bybit", mode="paper", instance="default", uid="7", tag="k3f9")
    assert store.identity.read() == store.identity.require() == made
    assert store.identity.since() == START
    with pytest.raises(InvariantBroken, match="already belongs"):
        store.identity.create(venue="bybit", mode="paper", instance="default", uid="7", tag="aaaa")
    assert store.identity.check(venue="bybit", mode="paper", instance="default", uid="7") == made
    with pytest.raises(ConfigError) as caught:
        store.identity.check(venue="sandbox", mode="paper", instance="default", uid="8")
    assert len(caught.value.problems) == 2
    assert "'bybit', not to 'sandbox'" in str(caught.value)
    assert store.name in str(caught.value)


def test_a_new_tag_keeps_the_old_ones(store: Store) -> None:
    """Orders of an earlier tag stay ours; a tag is never used again; the renewal is dated."""
    with pytest.raises(InvariantBroken, match="nobody"):
        store.identity.renew_tag("bbbb")
    store.identity.create(venue="bybit", mode="paper", instance="default", uid="", tag="aaaa")
    store.clock.sleep(HOUR)
    store.identity.renew_tag("bbbb")
    store.clock.sleep(HOUR)
    found = store.identity.renew_tag("cccc")
    assert (found.tag, found.old_tags) == ("cccc", ("aaaa", "bbbb"))
    assert store.identity.read() == found
    assert store.identity.since() == START + 2 * HOUR
    for used in ("aaaa", "cccc"):
        with pytest.raises(InvariantBroken, match="used before"):
            store.identity.renew_tag(used)


def test_job_runs(store: Store) -> None:
    """The newest run tells whether it ended and how; old ones can be forgotten."""
    assert store.jobs.last("scan") is None
    first = store.jobs.started("scan", START)
    running = store.jobs.last("scan")
    assert running is not None
    assert (running.id, running.finished_at, running.result) == (first, None, "")
    store.jobs.finished(first, "ok", message="3 found", at=START + HOUR)
    for number in range(5):
        store.jobs.started("scan", START + number * HOUR)
    other = store.jobs.started("watch", START)
    assert store.jobs.prune("scan", 2) == 4
    assert store.jobs.prune("scan", 2) == 0
    newest, watch = store.jobs.last("scan"), store.jobs.last("watch")
    assert newest is not None
    assert watch is not None
    assert (newest.started_at, watch.id) == (START + 4 * HOUR, other)


def test_snapshots(store: Store) -> None:
    """Moments of one kind in a period; an unknown equity is unknown, not zero."""
    assert store.snapshots.last("equity") is None
    for number in range(3):
        equity = None if number == 1 else Decimal(1000 + number)
        store.snapshots.add(START + number * HOUR, "equity", equity=equity, payload=f'{{"n":{number}}}')
    store.snapshots.add(START, "digest")
    assert [item.equity for item in store.snapshots.between("equity")] == [1000, None, 1002]
    assert [
        item.payload for item in store.snapshots.between("equity", since=START + HOUR, until=START + 2 * HOUR)
    ] == ['{"n":1}']
    newest = store.snapshots.last("equity")
    assert newest is not None
    assert newest.equity == 1002


def test_meta(store: Store) -> None:
    """A text under a key is replaced, read and removed."""
    assert store.meta.get("a") is None
    store.meta.set("a", "1")
    store.meta.set("a", "2")
    assert store.meta.get("a") == "2"
    store.meta.delete("a")
    store.meta.delete("a")
    assert store.meta.get("a") is None


def test_money_is_never_bound_into_a_condition(store: Store) -> None:
    """The statements written by hand refuse a Decimal in a condition, and whatever they do not know."""
    from fundarb.store.records import bound

    for value in (Decimal(1), 1.5, b"1"):
        with pytest.raises(TypeError):
            bound(value)
    assert [
        bound(value) for value in (None, True, 5, "x", BlockKind.HALT, datetime.fromtimestamp(1, NOW.tzinfo))
    ] == [
        None,
        1,
        5,
        "x",
        "halt",
        1000,
    ]


def test_the_store_of_a_closed_file_can_be_opened_again(store: Store) -> None:
    """Closing loses nothing."""
    store.meta.set("a", "1")
    store.close()
    with opened(store.url) as again:
        assert again.meta.get("a") == "1"
