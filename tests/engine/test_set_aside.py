"""A coin that a person got out of is not entered again until a person says so."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.answers import Answer
from fundarb.engine.status import status
from fundarb.errors import Unavailable
from tests.daemon.living import SECOND, Living, make_living
from tests.engine.test_jobs import decisions, wide_feed

D = Decimal


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office that holds BTC, opened by its own job."""
    made = make_living(tmp_path, specs=())
    made.run("scan_and_open")
    assert held(made) == {"BTC"}
    yield made
    made.close()


def order(living: Living, what: str, **arguments: str | bool) -> Answer:
    """Execute a command as the writer."""
    living.clock.flush()
    return living.office.commands.execute(what, arguments)


def held(living: Living) -> set[str]:
    """The coins of all positions."""
    return {item.base for item in living.store.positions.active()}


def why(living: Living, base: str = "BTC") -> str | None:
    """Why a coin is set aside; None if it is not."""
    block = living.store.blocks.get(base, BlockKind.PAUSE)
    return None if block is None else block.reason


def aside(living: Living, base: str = "BTC") -> bool:
    """Whether a coin is set aside."""
    return why(living, base) is not None


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("close", {"name": "BTC"}),
        ("close", {"all": True}),
        ("flatten", {"name": "btc"}),
    ],
)
def test_what_a_person_closed_is_not_opened_by_a_job(
    living: Living, command: str, arguments: dict[str, str | bool]
) -> None:
    """The answer says so, and names the command that ends it; so do the status, which calls it no sickness,
    and the job.
    """
    answer = order(living, command, **arguments)
    assert answer.exit_code == 0
    (said,) = [item for item in answer.warnings if item.code == "set_aside"]
    assert "fundarb resume BTC" in said.message
    living.run("scan_and_open")
    assert held(living) == set()
    assert decisions(living).count(("BTC", "refuse")) == 1
    now = living.store.clock.now()
    shown = status(living.store, (), machine=now, halt_file=living.office.halt_file)
    assert [(block.scope, block.kind) for block in shown.blocks] == [("BTC", BlockKind.PAUSE)]
    assert not [reason for reason in shown.degraded if reason.code.startswith("block_")]


def test_a_word_for_the_coin_lets_it_be_opened_again(living: Living) -> None:
    """``resume BTC`` ends it; ``resume`` of everything is not about this coin."""
    order(living, "close", name="BTC")
    assert order(living, "resume").exit_code == 0
    living.run("scan_and_open")
    assert held(living) == set()
    assert order(living, "resume", base="BTC").exit_code == 0
    living.run("scan_and_open")
    assert held(living) == {"BTC"}


def test_a_persons_own_open_passes_and_ends_it(living: Living) -> None:
    """Who opens the coin has changed his mind: planned and done alike, and jobs may have it again."""
    order(living, "close", name="BTC")
    plan = living.writer.trader.plan_open("BTC", D(500))
    assert not hasattr(plan, "reasons")
    assert aside(living)
    answer = order(living, "open", base="BTC", notional="500")
    assert answer.exit_code == 0, answer
    assert not aside(living)


def test_a_refused_open_ends_nothing(living: Living) -> None:
    """An open that comes to nothing leaves the coin where it was."""
    order(living, "close", name="BTC")
    assert order(living, "open", base="BTC", notional="50000000").exit_code == 3
    assert aside(living)


def test_other_blocks_of_the_coin_still_hold_for_a_person(living: Living) -> None:
    """Only the wish of before is overruled by a person's open, not a freeze."""
    order(living, "close", name="BTC")
    order(living, "pause")
    answer = order(living, "open", base="BTC", notional="500")
    assert answer.exit_code == 3
    assert [reason.code for reason in answer.reasons] == ["block_pause"]
    assert aside(living)


def test_a_part_is_no_word_about_the_coin(living: Living) -> None:
    """Who closes a half keeps the other one."""
    assert order(living, "close", name="BTC", fraction="50%").exit_code == 0
    assert not aside(living)


def test_a_close_that_was_refused_sets_nothing_aside(living: Living) -> None:
    """Coins that are gone for no known reason: nothing was closed, so nothing is said about the coin."""
    living.venue.world.manual_close("BTCUSDT")
    answer = order(living, "close", name="BTC", fraction="50%")
    assert answer.exit_code == 3
    assert not aside(living)


def test_a_venue_that_is_away_sets_nothing_aside(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close that could not begin leaves the position as it is wanted."""

    def gone() -> None:
        raise Unavailable("the venue is away")

    monkeypatch.setattr(living.exchange, "positions", gone)
    assert order(living, "close", name="BTC").exit_code == 4
    assert held(living) == {"BTC"}
    assert not aside(living)


def test_the_coin_is_set_aside_before_anything_is_sent(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed in the middle of a close leaves the wish behind, and no word that it was done."""
    seen = []
    create = living.exchange.create

    def sent(*args: object, **named: object) -> object:
        seen.append(why(living))
        return create(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(living.exchange, "create", sent)
    order(living, "close", name="BTC")
    assert set(seen) == {"a close by hand was begun"}
    assert why(living) == "closed by hand"


def test_flatten_of_all_is_ended_by_one_word(living: Living) -> None:
    """Everything is paused anyway: ``resume`` opens all of it again."""
    assert order(living, "flatten", name="").exit_code == 0
    assert not aside(living)
    order(living, "resume")
    living.run("scan_and_open")
    assert held(living) == {"BTC"}


def test_a_job_that_leaves_a_coin_may_come_back(living: Living) -> None:
    """The bot's own exits are no word of a person."""
    living.writer.trader.close("BTC")
    assert not aside(living)


@pytest.mark.parametrize("choice", ["unwind", "adopt"])
def test_a_leg_closed_by_hand_and_let_go_is_an_exit(living: Living, choice: str) -> None:
    """Whoever closes the short at the venue and answers that the coins follow is out of the coin."""
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(15 * SECOND)
    living.run("watch")
    (item,) = living.writer.reconciler.run().loud
    answer = order(living, "resolve", id=item.id, answer=choice)
    assert answer.exit_code == 0, answer
    assert held(living) == set()
    assert aside(living)
    living.run("scan_and_open")
    assert held(living) == set()


def test_a_leg_that_is_restored_is_no_exit(living: Living) -> None:
    """``rehedge`` says that the position is wanted."""
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(15 * SECOND)
    (item,) = living.writer.reconciler.run().loud
    assert order(living, "resolve", id=item.id, answer="rehedge").exit_code == 0
    (position,) = living.store.positions.active()
    assert position.state is PositionState.HEDGED
    assert not aside(living)


def test_coins_set_aside_do_not_hide_the_others(tmp_path: Path) -> None:
    """However many of the best coins a person left, the next ones are opened."""
    wide = make_living(tmp_path, specs=(), feed=wide_feed(7))
    try:
        wide.run("scan_and_open")
        first = held(wide)
        assert len(first) == 5
        order(wide, "close", all=True)
        wide.run("scan_and_open")
        assert held(wide) == {"BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC"} - first
    finally:
        wide.close()
