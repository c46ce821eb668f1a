"""Token buckets: below the venue's limits, hedges before scans, and silence after a ban."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.clock import VirtualClock
from fundarb.exchange.ban import BanNote
from fundarb.exchange.budget import BAN, Budget, Lane
from fundarb.exchange.strict import NoAnswer
from tests.exchange.conftest import NOW

SECOND = timedelta(seconds=1)


@given(st.lists(st.sampled_from([0, 1, 50, 400]), min_size=1, max_size=150))
def test_no_second_sees_more_orders_than_the_venue_allows(pauses: list[int]) -> None:
    """However requests come, a rolling second has at most ten creates."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    sent: list[timedelta] = []
    for pause in pauses:
        clock.sleep(timedelta(milliseconds=pause))
        budget.take(Lane.URGENT, "create")
        sent.append(clock.monotonic())
    for moment in sent:
        assert sum(1 for other in sent if moment <= other < moment + SECOND) <= 10


def test_five_seconds_see_at_most_the_ip_limit() -> None:
    """A long burst of reads is slowed to the venue's 600 in five seconds."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    sent = []
    for _ in range(1000):
        budget.take(Lane.URGENT)
        sent.append(clock.monotonic())
    for moment in sent[::50]:
        assert sum(1 for other in sent if moment <= other < moment + 5 * SECOND) <= 600


def test_scans_leave_a_reserve_for_hedges() -> None:
    """When the normal lane has to wait, the urgent lane still has a hundred requests."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    while clock.monotonic() == timedelta():
        budget.take(Lane.NORMAL)
    waited = clock.monotonic()
    for _ in range(99):
        budget.take(Lane.URGENT)
    assert clock.monotonic() == waited


def test_a_scan_stands_still_while_a_hedge_waits() -> None:
    """The urgent lane is served first even when the scan came earlier and tokens trickle in."""
    order: list[str] = []

    class Stepping(VirtualClock):
        """While the first hedge waits, a scan asks too."""

        asked = False

        def sleep(self, duration: timedelta) -> None:
            if not self.asked:
                self.asked = True
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(self, "sleep", lambda _: self._give_up())
                    with pytest.raises(TimeoutError):
                        budget.take(Lane.NORMAL)
                order.append("scan waited")
            super().sleep(duration)

        def _give_up(self) -> None:
            raise TimeoutError

    clock = Stepping(NOW)
    budget = Budget(clock)
    for _ in range(6):
        budget.take(Lane.URGENT, "create")
    order.append("hedge sent")
    assert order == ["scan waited", "hedge sent"]
    budget.take(Lane.NORMAL)


def test_a_ban_stops_everything_and_ends_by_itself() -> None:
    """Both lanes, at once, with the time that is left; then requests go out again."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    budget.ban()
    assert budget.banned_until == NOW + BAN
    for lane in Lane:
        with pytest.raises(NoAnswer, match="600 s") as caught:
            budget.take(lane)
        assert (caught.value.sent, caught.value.repeat) == (False, False)
    clock.sleep(BAN)
    budget.take(Lane.NORMAL)
    assert budget.banned_until is None


def test_too_fast_by_the_venues_word_makes_the_next_one_wait() -> None:
    """After 10006 the group pauses; others do not."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    budget.drain("create")
    budget.drain("no such group")
    budget.take(Lane.URGENT, "position")
    assert clock.monotonic() == timedelta()
    budget.take(Lane.URGENT, "create")
    assert clock.monotonic() > timedelta(milliseconds=100)


def test_threads_share_one_budget() -> None:
    """Tokens taken by several threads add up."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)

    def work() -> None:
        for _ in range(20):
            budget.take(Lane.URGENT, "create")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic() > timedelta(seconds=(80 - 5) / 5 * 0.9)


def test_scans_leave_a_part_of_a_shared_group_for_hedges() -> None:
    """Looking at positions for a report does not use up what a hedge needs to look at them."""
    clock = VirtualClock(NOW)
    budget = Budget(clock)
    while clock.monotonic() == timedelta():
        budget.take(Lane.NORMAL, "position")
    waited = clock.monotonic()
    for _ in range(9):
        budget.take(Lane.URGENT, "position")
    assert clock.monotonic() == waited


def note(folder: Path, clock: VirtualClock, source: str = "https://api.bybit.com") -> BanNote:
    """What one process knows of the bans in a folder."""
    return BanNote(folder, source, clock=clock, longest=BAN)


def test_a_ban_holds_for_the_next_process_too(tmp_path: Path) -> None:
    """The venue banned the address: a command started a minute later sends nothing, one of another venue
    does.
    """
    clock = VirtualClock(NOW)
    folder = tmp_path / "home" / "cache"
    Budget(clock, note(folder, clock)).ban()
    clock.sleep(timedelta(minutes=1))
    second = Budget(clock, note(folder, clock))
    with pytest.raises(NoAnswer, match="540 s"):
        second.take(Lane.URGENT)
    assert second.banned_until == NOW + BAN
    Budget(clock, note(folder, clock, "https://api-testnet.bybit.com")).take(Lane.URGENT)
    clock.sleep(timedelta(minutes=9))
    second.take(Lane.NORMAL)
    assert second.banned_until is None


def test_a_ban_of_a_neighbour_is_seen_while_running(tmp_path: Path) -> None:
    """A daemon whose neighbour was banned stops, too."""
    clock = VirtualClock(NOW)
    daemon = Budget(clock, note(tmp_path, clock))
    daemon.take(Lane.URGENT)
    Budget(clock, note(tmp_path, clock)).ban()
    with pytest.raises(NoAnswer, match="IP limit"):
        daemon.take(Lane.URGENT)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"until": "soon"}', '{"until": 1e400}', '{"until": null}']
)
def test_a_note_that_cannot_be_read_is_no_ban(tmp_path: Path, content: str) -> None:
    """A damaged file costs at most one more refused request."""
    clock = VirtualClock(NOW)
    Budget(clock, note(tmp_path, clock)).ban()
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    Budget(clock, note(tmp_path, clock)).take(Lane.URGENT)


def test_a_note_of_another_clock_is_no_ban(tmp_path: Path) -> None:
    """An hour ahead cannot be a ban of ten minutes: the clock was set back, or the sandbox began anew."""
    clock = VirtualClock(NOW)
    note(tmp_path, clock).write(NOW + timedelta(hours=1))
    assert note(tmp_path, clock).left() == timedelta()


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """The ban holds in this process all the same."""
    clock = VirtualClock(NOW)
    (tmp_path / "file").touch()
    budget = Budget(clock, note(tmp_path / "file" / "cache", clock))
    budget.ban()
    with pytest.raises(NoAnswer):
        budget.take(Lane.URGENT)
    assert note(tmp_path / "file" / "cache", clock).left() == timedelta()
