"""The venue cannot be asked, or lets us in no more: who is told, what is blocked, and that the hedge is the
first thing tried when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.orders import OrderRequest, Outcome, WriteAnswer
from fundarb.core.reasons import Reason
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.core.risk import blocks
from fundarb.engine.shut_out import shut_out
from fundarb.errors import Unavailable
from fundarb.exchange.strict import NoAnswer, VenueRefused
from tests.daemon.living import SECOND, Living, make_living

D = Decimal
WATCH = 15 * SECOND
READS = (
    "account",
    "book",
    "executions",
    "executions_of",
    "key_info",
    "open_orders",
    "order_history",
    "order_realtime",
    "positions",
    "server_time",
    "snapshot",
    "transactions",
    "wallet",
)


def banned() -> Unavailable:
    """What our own budget says during a ban."""
    return NoAnswer("no request is sent: the IP limit was hit", sent=False, repeat=False, status=403)


def dead_key() -> Unavailable:
    """What the venue says to an expired key."""
    return VenueRefused("the venue answered 33004: your api key has expired", code=33004)


@dataclass
class Away:
    """A venue that answers nothing between two instants of its own clock; creates do not reach it."""

    living: Living
    why: Callable[[], Unavailable]
    reads: bool = True
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)
    from_next_create: timedelta | None = None
    unsent: int = 0

    def __post_init__(self) -> None:
        """Stand before the venue."""
        exchange: Any = self.living.exchange
        for name in READS if self.reads else ():
            setattr(exchange, name, self._asked(getattr(exchange, name)))
        create = exchange.create

        def send(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
            if self.from_next_create is not None:
                self.at(timedelta(), self.from_next_create)
                self.from_next_create = None
            if not self.away:
                answer: WriteAnswer = create(request, signed_at=signed_at)
                return answer
            self.unsent += 1
            code = self.why().code
            return WriteAnswer(outcome=Outcome.REFUSED, code=code, message="away", sent=code is not None)

        exchange.create = send

    def _asked(self, real: Callable[..., object]) -> Callable[..., object]:
        def ask(*args: Any, **named: Any) -> object:
            if self.away:
                raise self.why()
            return real(*args, **named)

        return ask

    @property
    def away(self) -> bool:
        """Whether it is away now."""
        return any(begin <= self.living.real.now() < end for begin, end in self.spans)

    def at(self, start: timedelta, lasting: timedelta) -> datetime:
        """It will be away from ``start`` from now on for so long; when it is back."""
        begin = self.living.real.now() + start
        self.spans.append((begin, begin + lasting))
        return begin + lasting


def held(folder: Path) -> Living:
    """An office that holds a position."""
    living = make_living(folder)
    living.writer.reconciler.run()
    living.writer.trader.open("BTC", D(4000))
    return living


def alerts(living: Living) -> list[tuple[str, datetime]]:
    """The alerts so far, by code."""
    rows = living.store.events.after(0, 10_000, kind="alert_raised")
    return [(json.loads(row.payload)["code"], row.at) for row in rows]


def changes(living: Living, name: str, kind: BlockKind) -> list[datetime]:
    """When a block was set, or lifted."""
    rows = living.store.events.after(0, 10_000, kind=name)
    return [row.at for row in rows if json.loads(row.payload)["block"] == kind.value]


CAUSES = {"ban": (banned, True), "key": (dead_key, True), "creates": (banned, False)}
QUICK = {("ban", 600), ("key", 1500), ("creates", 700)}
CASES = [
    pytest.param(*CAUSES[name], seconds, id=f"{name}-{seconds}", marks=() if quick else pytest.mark.proof)
    for name in CAUSES
    for seconds in (60, 600, 700, 1500, 3600)
    for quick in ((name, seconds) in QUICK,)
]


@pytest.mark.parametrize(("why", "reads", "seconds"), CASES)
def test_the_hedge_is_the_first_thing_tried_when_it_ends(
    tmp_path: Path, why: Callable[[], Unavailable], reads: bool, seconds: int
) -> None:
    """The venue takes 40 % of the short and answers nothing more (or takes no order): the coins follow within
    one round of the watch of its return; meanwhile little is tried, a whole repair once a minute at most.
    """
    living = held(tmp_path)
    away = Away(living, why, reads=reads, from_next_create=seconds * SECOND)
    living.venue.world.adl("BTCUSDT", D("0.4"))
    taken = living.real.now()
    living.live(seconds * SECOND + 60 * SECOND)
    after = [fill for fill in living.venue.all_fills() if fill.time > taken]
    back = away.spans[0][1]
    assert back <= after[0].time <= back + WATCH
    assert abs(living.venue.wallet().report().owned("BTC") - D("0.048")) < D("0.0001")
    assert away.unsent <= 12 * (1 + seconds // 60)
    living.close()


@pytest.mark.parametrize(
    ("why", "kind"), [(banned, BlockKind.BAN), (dead_key, BlockKind.KEY)], ids=["ban", "key"]
)
def test_every_time_we_are_shut_out_is_told_at_once(
    tmp_path: Path, why: Callable[[], Unavailable], kind: BlockKind
) -> None:
    """Two bans, or two deaths of the key, two hours apart: one alert for each within a round of the watch; a
    block as long as it lasts, gone when the venue answers.
    """
    living = held(tmp_path)
    away = Away(living, why)
    backs = [away.at(minute * 60 * SECOND, 600 * SECOND) for minute in (2, 122)]
    living.live(140 * 60 * SECOND)
    told = [at for code, at in alerts(living) if code == kind.value]
    begins = [begin for begin, _ in away.spans]
    assert all(begin <= at <= begin + WATCH for at, begin in zip(told, begins, strict=True))
    assert {code for code, _ in alerts(living)} == {kind.value}
    set_at, cleared_at = (changes(living, name, kind) for name in ("block_set", "block_cleared"))
    assert set_at == told
    assert all(back <= at <= back + WATCH for at, back in zip(cleared_at, backs, strict=True))
    assert living.store.blocks.active(living.store.clock.now()) == ()
    living.close()


@pytest.mark.parametrize("code", [10003, 10005])
@pytest.mark.parametrize("when", ["before", "at an order", "at an order alone"])
@pytest.mark.parametrize("command", ["open", "add", "close", "part", "emergency", "reconcile"])
def test_a_key_that_dies_in_a_command_is_told_by_the_command(
    tmp_path: Path, command: str, when: str, code: int
) -> None:
    """The venue takes the key no more, before a command or at its first order, for reads too or for orders
    alone: one alert and the block by the time it ends; no watch has to come.
    """
    living = make_living(tmp_path) if command == "open" else held(tmp_path)
    away = Away(living, lambda: VenueRefused("dead", code=code), reads=when != "at an order alone")
    if when == "before":
        away.at(timedelta(), 600 * SECOND)
    else:
        away.from_next_create = 600 * SECOND
    asked: dict[str, dict[str, str | bool]] = {
        "open": {"base": "BTC", "notional": "4000"},
        "add": {"base": "BTC", "notional": "400", "add": True},
        "close": {"name": "BTC"},
        "part": {"name": "BTC", "fraction": "50%"},
        "emergency": {"name": "BTC", "emergency": True},
        "reconcile": {},
    }
    name = {"add": "open", "part": "close", "emergency": "close"}.get(command, command)
    if command == "reconcile" and when != "before":  # a leg to be hedged is its first order
        living.venue.world.adl("BTCUSDT", D("0.4"))
    answer = living.writer.executor.execute(name, asked[command])
    assert answer.exit_code in {3, 4, 5, 6, 8}, answer
    assert [code for code, _ in alerts(living)].count("key") == 1
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is not None
    living.close()


def test_a_leg_whose_hedge_a_dead_key_kept_back_halts_nothing(tmp_path: Path) -> None:
    """The key dies for orders at the hedge of a leg: the leg is told of, but the venue has judged no order,
    so nothing is halted; it is hedged as soon as the key is back.
    """
    living = held(tmp_path)
    away = Away(living, lambda: VenueRefused("dead", code=10003), reads=False)
    away.from_next_create = 120 * SECOND
    living.venue.world.adl("BTCUSDT", D("0.4"))
    living.writer.reconciler.run()
    assert away.unsent
    assert {"adl", "key", "unhedged"} == {code for code, _ in alerts(living)}
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT) is None
    living.clock.sleep(125 * SECOND)
    living.run("watch")
    short = -sum((item.size for item in living.exchange.positions()), D(0))
    assert abs(living.exchange.wallet().owned("BTC") - short) <= D("0.0011")
    assert [code for code, _ in alerts(living)].count("unhedged") == 1
    living.close()


def test_a_key_that_is_dead_for_a_job_run_by_hand_is_told(tmp_path: Path) -> None:
    """``jobs run``: told by the run itself."""
    living = held(tmp_path)
    name = living.office.specs[0].name
    Away(living, dead_key).at(timedelta(), 60 * SECOND)
    assert living.office.commands.execute("jobs_run", {"name": name}).exit_code == 4
    assert [code for code, _ in alerts(living)] == ["key"]
    living.close()


def test_a_ban_with_nothing_held_ends_when_the_venue_answers(tmp_path: Path) -> None:
    """Whoever holds nothing asks nothing, but for whether a ban is over."""
    living = make_living(tmp_path)
    living.writer.reconciler.run()
    away = Away(living, banned)
    back = away.at(timedelta(), 60 * SECOND)
    assert shut_out(living.store, banned())
    with pytest.raises(Unavailable):
        living.run("watch")
    assert "block_ban" in {reason.code for reason in refused(living)}
    living.clock.sleep(back - living.real.now())
    assert living.run("watch") == "nothing is held"
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.BAN) is None
    assert not refused(living)
    living.close()


def refused(living: Living) -> tuple[Reason, ...]:
    """Why nothing would be opened by what is in the database."""
    now = living.store.clock.now()
    return tuple(blocks(living.store.blocks.active(now), "BTC", now=now))
