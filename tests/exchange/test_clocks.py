"""The venue's clock as it is estimated, the repetition of reads, and the sandbox's clock over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.instants import iso, to_ms
from fundarb.errors import BadAnswer, ConfigError, Unavailable
from fundarb.exchange.retry import RetryPolicy, repeated
from fundarb.exchange.sandbox_clock import SandboxClock
from fundarb.exchange.server_clock import MAX_AGE, ServerClock
from fundarb.exchange.strict import NoAnswer, VenueRefused
from tests.exchange.conftest import NOW
from tests.exchange.server import FakeVenue, Reply, Request, envelope

MS = timedelta(milliseconds=1)


class World:
    """A venue whose clock runs apart from ours, and answers after a while."""

    def __init__(self, ahead: timedelta = timedelta(), trips: tuple[int, ...] = (40,)) -> None:
        self.clock = VirtualClock(NOW)
        self.wall = timedelta()
        self.ahead = ahead
        self.trips = list(trips)
        self.asked = 0
        self.broken = False
        self.server = ServerClock(self, self.read)

    def now(self) -> datetime:
        """Our wall clock, which may jump."""
        return self.clock.now() + self.wall

    def monotonic(self) -> timedelta:
        """Our monotonic clock, which does not."""
        return self.clock.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        self.clock.sleep(duration)

    def truth(self) -> datetime:
        """The venue's clock."""
        return self.clock.now() + self.ahead

    def read(self) -> datetime:
        """Ask for it: half of the trip before, half after."""
        self.asked += 1
        if self.broken:
            raise Unavailable("the venue is away")
        trip = self.trips.pop(0) if len(self.trips) > 1 else self.trips[0]
        self.clock.sleep(trip / 2 * MS)
        answer = self.truth()
        self.clock.sleep(trip / 2 * MS)
        return answer


@pytest.mark.parametrize("seconds", [-7.0, -0.4, 0.0, 1.5, 5.0])
def test_the_offset_is_measured_with_half_the_round_trip(seconds: float) -> None:
    """Venue less ours: positive when ours is behind."""
    world = World(timedelta(seconds=seconds))
    assert world.server.offset is None
    assert world.server.round_trip is None
    assert world.server.measure() == world.truth()
    assert world.server.offset == timedelta(seconds=seconds)
    assert world.server.round_trip == 40 * MS


def test_a_stamp_lies_in_the_past_by_less_than_a_lease() -> None:
    """Never ahead of the venue, whole milliseconds, close enough for a lease of two seconds."""
    world = World(timedelta(seconds=3))
    stamp = world.server.stamp()
    assert timedelta() < world.truth() - stamp < 100 * MS
    assert stamp.microsecond % 1000 == 0


def test_one_measurement_serves_five_minutes() -> None:
    """Then it is renewed; if that fails, an undisturbed old one still serves."""
    world = World()
    world.server.stamp()
    world.clock.sleep(MAX_AGE - timedelta(seconds=1))
    world.server.stamp()
    assert world.asked == 1
    world.clock.sleep(timedelta(seconds=2))
    world.server.stamp()
    assert world.asked == 2
    world.clock.sleep(MAX_AGE * 2)
    world.broken = True
    assert timedelta() < world.truth() - world.server.stamp() < 100 * MS


def test_a_write_waits_for_no_measurement() -> None:
    """With an undisturbed anchor of the last hour an order is stamped at once, even while the venue's clock
    cannot be asked; a read that failed to renew it does not try again within half a minute.
    """
    world = World()
    world.server.stamp()
    world.sleep(timedelta(minutes=20))
    asked = world.asked
    world.broken = True
    assert timedelta() < world.truth() - world.server.stamp(write=True) < 100 * MS
    assert world.asked == asked
    world.server.stamp()
    world.server.stamp()
    assert world.asked == asked + 1
    world.sleep(timedelta(hours=1))
    world.broken = False
    world.server.stamp(write=True)
    assert world.asked == asked + 2


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=1)])
def test_a_jump_of_our_clock_shows_at_once_and_moves_no_stamp(jump: timedelta) -> None:
    """The offset tells it without a request; the next stamp is measured anew and still right."""
    world = World()
    world.server.stamp()
    world.wall = jump
    assert world.server.offset == -jump
    assert world.asked == 1
    assert timedelta() < world.truth() - world.server.stamp() < 100 * MS
    assert world.asked == 2


def test_after_a_jump_nothing_is_signed_without_a_measurement() -> None:
    """If the venue cannot be asked, there is no timestamp."""
    world = World()
    world.server.stamp()
    world.wall = timedelta(hours=8)
    world.broken = True
    with pytest.raises(Unavailable):
        world.server.stamp()


def test_the_venues_refusal_makes_the_next_stamp_measured() -> None:
    """After 10002 the old estimate is not used again."""
    world = World()
    world.server.stamp()
    world.ahead = timedelta(seconds=9)
    world.server.invalidate()
    assert timedelta() < world.truth() - world.server.stamp() < 100 * MS


def test_slow_answers_are_asked_again_and_the_fastest_counts() -> None:
    """Three samples at most."""
    world = World(trips=(900, 600, 1200, 10))
    world.server.measure()
    assert (world.asked, world.server.round_trip) == (3, 600 * MS)


# ---------------------------------------------------------------------------------------------- retry


def failing(*errors: Exception | None) -> tuple[list[int], object]:
    """A read that raises one after the other."""
    calls: list[int] = []

    def read() -> int:
        calls.append(1)
        error = errors[min(len(calls), len(errors)) - 1]
        if error is not None:
            raise error
        return len(calls)

    return calls, read


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (NoAnswer("reset"), 3),
        (NoAnswer("banned", repeat=False), 1),
        (BadAnswer("html"), 3),
        (VenueRefused("busy", code=10016), 3),
        (VenueRefused("key", code=10003), 1),
        (Unavailable("other"), 1),
    ],
)
def test_only_what_may_pass_is_repeated(error: Exception, tries: int) -> None:
    """Bounded, with growing waits on the clock that was handed in; the last error comes out as it was."""
    clock = VirtualClock(NOW)
    calls, read = failing(error)
    with pytest.raises(type(error)) as caught:
        repeated(read, clock=clock, policy=RetryPolicy())  # type: ignore[arg-type]
    assert caught.value is error
    assert len(calls) == tries
    assert clock.monotonic() == (timedelta() if tries == 1 else 750 * MS)


def test_a_second_answer_counts() -> None:
    """A fault that passes is forgotten."""
    _, read = failing(NoAnswer("reset"), None)
    assert repeated(read, clock=VirtualClock(NOW), policy=RetryPolicy()) == 2  # type: ignore[arg-type]


def test_no_try_begins_after_the_total_time() -> None:
    """Slow failures are not repeated as often as fast ones."""
    clock = VirtualClock(NOW)
    calls = 0

    def slow() -> None:
        nonlocal calls
        calls += 1
        clock.sleep(timedelta(seconds=15))
        raise NoAnswer("no answer within the deadline")

    with pytest.raises(NoAnswer):
        repeated(slow, clock=clock, policy=RetryPolicy(attempts=9, total=timedelta(seconds=20)))
    assert calls == 2


# ---------------------------------------------------------------------------------------------- sandbox


@pytest.fixture
def sandbox() -> Iterator[tuple[FakeVenue, VirtualClock]]:
    """A venue that moves its time when asked."""
    venue, clock = FakeVenue(), VirtualClock(datetime(2024, 8, 5, tzinfo=UTC))

    def move(request: Request) -> Reply:
        document = request.document
        if "to" in document:
            clock.advance_to(datetime.fromisoformat(document["to"]))
        else:
            clock.sleep(int(document["advance"].removesuffix("ms")) * MS)
        return Reply(f'{{"now": {to_ms(clock.now())}}}'.encode())

    venue.on("/sandbox/clock", move)
    venue.on("/v5/market/time", lambda _: Reply(envelope({}, time=to_ms(clock.now()))))
    yield venue, clock
    venue.close()


@pytest.fixture
def made(sandbox: tuple[FakeVenue, VirtualClock]) -> Iterator[SandboxClock]:
    """A clock of that sandbox, by a machine's clock that stands still."""
    clock = SandboxClock(sandbox[0].url, machine=VirtualClock(NOW))
    yield clock
    clock.close()


def test_sleeping_moves_the_sandbox(made: SandboxClock, sandbox: tuple[FakeVenue, VirtualClock]) -> None:
    """In whole milliseconds, rounded up; nothing for no time."""
    venue, truth = sandbox
    start = truth.now()
    made.sleep(timedelta(hours=8, microseconds=1))
    made.sleep(timedelta())
    made.sleep(timedelta(seconds=-5))
    assert made.now() == truth.now() == start + timedelta(hours=8) + MS
    assert made.monotonic() == timedelta(hours=8) + MS
    assert [request.document for request in venue.to("/sandbox/clock")] == [
        {"advance": "0ms"},
        {"advance": f"{8 * 3600 * 1000 + 1}ms"},
    ]


def test_an_instant_is_reached_exactly_and_never_backwards(
    made: SandboxClock, sandbox: tuple[FakeVenue, VirtualClock]
) -> None:
    """What is past changes nothing."""
    venue, truth = sandbox
    target = truth.now() + timedelta(minutes=3, milliseconds=7)
    made.advance_to(target)
    made.advance_to(target - timedelta(minutes=1))
    assert made.now() == truth.now() == target
    assert venue.to("/sandbox/clock")[-1].document == {"to": iso(target)}


def test_time_that_somebody_else_moved_is_seen_soon(
    made: SandboxClock, sandbox: tuple[FakeVenue, VirtualClock]
) -> None:
    """A quarter of a second of the machine's time later the clock has looked again."""
    _, truth = sandbox
    before = made.now()
    truth.sleep(timedelta(hours=1))
    assert made.now() == before
    made._machine.sleep(timedelta(seconds=2))
    assert made.now() == before + timedelta(hours=1)


def test_a_sandbox_on_the_real_clock_is_refused(sandbox: tuple[FakeVenue, VirtualClock]) -> None:
    """It says so with 409; the message names the remedy."""
    venue, _ = sandbox
    venue.on("/sandbox/clock", Reply(b'{"error": "real"}', status=409))
    with pytest.raises(ConfigError, match="--clock virtual"):
        SandboxClock(venue.url)


@pytest.mark.parametrize(
    "reply", [Reply(b"<html>"), Reply(how="reset"), Reply(b"{}"), Reply(b"[]"), Reply(b"{}", 500)]
)
def test_a_sandbox_that_answers_garbage_is_unavailable(
    made: SandboxClock, sandbox: tuple[FakeVenue, VirtualClock], reply: Reply
) -> None:
    """No time is invented; the next question opens a new connection."""
    venue, truth = sandbox
    venue.on("/sandbox/clock", reply)
    with pytest.raises(Unavailable):
        made.sleep(MS)
    assert made.now() <= truth.now()


@pytest.mark.parametrize("reply", [Reply(b"<html>", status=404), Reply(b"{}"), Reply(b"null")])
def test_a_server_without_that_endpoint_has_no_virtual_clock(
    sandbox: tuple[FakeVenue, VirtualClock], reply: Reply
) -> None:
    """Whoever only speaks the venue's protocol runs on real time; that is a matter of configuration."""
    venue, _ = sandbox
    venue.on("/sandbox/clock", reply)
    with pytest.raises(ConfigError, match="no virtual clock"):
        SandboxClock(venue.url)


@pytest.mark.parametrize("reply", [Reply(b"<html>"), Reply(b"{}", 500), Reply(b"<html>", 503)])
def test_a_page_or_an_error_says_nothing_about_the_clock(
    sandbox: tuple[FakeVenue, VirtualClock], reply: Reply
) -> None:
    """A sandbox that is down for a moment is no venue on real time."""
    venue, _ = sandbox
    venue.on("/sandbox/clock", reply)
    with pytest.raises(Unavailable):
        SandboxClock(venue.url)


def test_a_sandbox_that_is_not_there_is_unavailable() -> None:
    """Nothing listening is not a matter of configuration."""
    venue = FakeVenue()
    venue.close()
    with pytest.raises(Unavailable, match=r"does not answer \(.*: Connection refused\).*sandbox serve"):
        SandboxClock(venue.url)


def test_only_a_loopback_address_has_a_clock() -> None:
    """The same rule as for every request to a sandbox."""
    with pytest.raises(ConfigError, match="loopback"):
        SandboxClock("http://203.0.113.9:8899")
