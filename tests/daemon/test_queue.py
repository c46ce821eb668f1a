"""The one priority queue."""

from __future__ import annotations

import threading
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fundarb.daemon.queue import Item, JobQueue, Priority, priority_of

SECOND = timedelta(seconds=1)


def drained(queue: JobQueue) -> list[str]:
    """Everything that waits, in order."""
    found = []
    while (item := queue.take()) is not None:
        found.append(item.name)
    return found


def test_more_urgent_names_come_first() -> None:
    """What is put is taken by priority, and within one priority in the order of arrival."""
    queue = JobQueue()
    for name, priority in (
        ("a", Priority.OTHER),
        ("b", Priority.WATCH),
        ("c", Priority.URGENT),
        ("d", Priority.WATCH),
    ):
        queue.put(name, priority)
    assert drained(queue) == ["c", "b", "d", "a"]


def test_a_waiting_name_is_not_added_twice() -> None:
    """A second ring of a job that still waits is dropped."""
    queue = JobQueue()
    assert queue.put("watch", Priority.WATCH)
    assert not queue.put("watch", Priority.WATCH)
    assert drained(queue) == ["watch"]


def test_a_name_moves_up_but_never_down() -> None:
    """Asked for with more urgency a waiting name is taken earlier, and still once; less urgency changes
    nothing.
    """
    queue = JobQueue()
    queue.put("reconcile", Priority.RECONCILE)
    queue.put("watch", Priority.WATCH)
    assert not queue.put("reconcile", Priority.URGENT)
    queue.put("reconcile", Priority.OTHER)
    assert queue.take() == Item("reconcile", Priority.URGENT)
    assert drained(queue) == ["watch"]


def test_a_taken_name_may_wait_again() -> None:
    """Once taken, a name is free to be put again, even while its job runs."""
    queue = JobQueue()
    queue.put("watch", Priority.WATCH)
    queue.take()
    assert queue.put("watch", Priority.WATCH)
    assert queue.waiting() == ("watch",)


def test_the_order_of_the_runs() -> None:
    """Urgent work, commands, watch, reconcile, collect, close, open, the rest: in this order."""
    runs = ["watch", "reconcile", "collect_funding", "close_when_due", "scan_and_open", "digest"]
    priorities = [Priority.URGENT, Priority.COMMAND, *map(priority_of, runs)]
    assert priorities == sorted(priorities)
    assert len(set(priorities)) == 8


def test_take_waits_for_a_name() -> None:
    """A taker that waits is woken by a put from another thread."""
    queue = JobQueue()
    found: list[Item | None] = []
    thread = threading.Thread(target=lambda: found.append(queue.take(10 * SECOND)))
    thread.start()
    queue.put("watch", Priority.WATCH)
    thread.join(5)
    assert found == [Item("watch", Priority.WATCH)]


def test_close_wakes_and_ends() -> None:
    """A closed queue gives nothing out, takes nothing in, and wakes whoever waits."""
    queue = JobQueue()
    found: list[Item | None] = []
    thread = threading.Thread(target=lambda: found.append(queue.take(30 * SECOND)))
    thread.start()
    queue.close()
    thread.join(5)
    assert found == [None]
    assert queue.closed
    assert not queue.put("watch", Priority.WATCH)
    assert queue.take() is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(list(Priority)))))
def test_every_name_comes_out_once_at_its_best_priority(puts: list[tuple[str, Priority]]) -> None:
    """Whatever is put in whatever order, each name is taken once, under the most urgent of its priorities."""
    queue = JobQueue()
    best: dict[str, Priority] = {}
    for name, priority in puts:
        queue.put(name, priority)
        best[name] = min(priority, best.get(name, priority))
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    assert {item.name: item.priority for item in taken} == best
    assert len(taken) == len(best)
    assert [item.priority for item in taken] == sorted(item.priority for item in taken)
