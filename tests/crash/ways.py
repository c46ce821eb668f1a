"""The ways of the crash matrix: what is done before, what the victim does, and what a person does about it
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from fundarb.app.unattended import jobs_of
from fundarb.app.writer import Writer
from fundarb.config import Settings
from fundarb.core.records import CommandState
from fundarb.engine.compare import Choice
from fundarb.engine.desk import TradeRules
from tests.crash.scene import NOTIONAL, OUTCOMES, Scene
from tests.engine.world import LIMITS, SECOND, make_writer

D = Decimal
HOURS = 9 * 3600
BY_HAND = "perp_size:BTCUSDT"
Act = Callable[[Writer], object]


def nothing(writer: Writer) -> object:
    """The start alone."""
    return None


def go_in(writer: Writer) -> object:
    """Open."""
    return writer.trader.open("BTC", NOTIONAL)


def add(writer: Writer) -> object:
    """Grow what is held."""
    return writer.trader.open("BTC", NOTIONAL, add=True)


def get_out(writer: Writer) -> object:
    """Close everything; what is left below a lot goes to the dust."""
    return _close(writer)


def get_out_in_part(writer: Writer) -> object:
    """Close a third."""
    return _close(writer, D("0.33"))


def flee(writer: Writer) -> object:
    """Close everything at any price."""
    return _close(writer, emergency=True)


def _close(writer: Writer, fraction: Decimal = D(1), *, emergency: bool = False) -> object:
    held = writer.trader.held()
    return writer.trader.close(held[0].position_id, fraction, emergency=emergency) if held else None


def collect(writer: Writer) -> object:
    """Book what the venue did."""
    return writer.collector.collect()


def watch(writer: Writer) -> object:
    """The bot's look at its positions."""
    return jobs_of(Settings(home=writer.store.path.parent), writer).run("watch", {})


def mend(choice: Choice) -> Act:
    """A person's answer to a leg that was closed by hand, if it is still asked for."""

    def act(writer: Writer) -> object:
        found = writer.reconciler.run(repair=False)
        if BY_HAND not in {item.id for item in found.mismatches}:
            return None
        return writer.decider.decide(BY_HAND, choice)

    return act


def through_the_queue(writer: Writer) -> object:
    """A command row, taken and answered as the daemon does it."""
    store = writer.store
    number = store.commands.add("open", '{"base": "BTC", "notional": "4000"}')
    record = store.commands.claim()
    assert record is not None
    assert record.id == number
    answer = writer.executor.execute("open", {"base": "BTC", "notional": "4000"})
    state = CommandState.FAILED if answer.failed else CommandState.DONE
    store.commands.finish(number, state, exit_code=answer.exit_code, result=answer.text())
    return answer


@dataclass(frozen=True)
class Way:
    """What is done before (undisturbed), what the victim does, and what is done again after its death.

    ``skip`` orders pass before ``count`` of them meet the outcome.
    """

    name: str
    work: Act
    before: Callable[[Scene], None] = lambda scene: None
    after: Act = nothing
    skip: int = 0
    count: int = 1


def start(scene: Scene, work: Act) -> None:
    """A writer in this very process, from its lock to its end: it is not the one that dies."""
    writer, _ = make_writer(scene.venue, scene.clock, scene.path, TradeRules(limits=LIMITS))
    try:
        writer.reconciler.run()
        work(writer)
    finally:
        writer.lock.release()
        writer.store.close()


def held(scene: Scene) -> None:
    """A position."""
    start(scene, go_in)


def over_a_settlement(scene: Scene) -> None:
    """A position that has seen a settlement."""
    held(scene)
    scene.clock.sleep(HOURS * SECOND)


def deleveraged(scene: Scene) -> None:
    """The venue took 40 % of the short."""
    held(scene)
    scene.venue.world.adl("BTCUSDT", D("0.4"))


def robbed(scene: Scene) -> None:
    """The venue sold a tenth of the coins."""
    held(scene)
    scene.venue.world.auto_repay("BTC", D("0.1"))


def closed_by_hand(scene: Scene) -> None:
    """Somebody bought the whole short back."""
    held(scene)
    scene.venue.world.manual_close("BTCUSDT")


def thin(scene: Scene) -> None:
    """Most cash was withdrawn, the coins hardly count, and the price has risen: the margin would not bear
    more.
    """
    held(scene)
    free, world = scene.exchange.wallet().owned("USDT"), scene.venue.world
    world.collateral("BTC", on=True, ratio=D("0.05"))
    world.transfer("USDT", D(2100) - free)
    world.jump("BTCUSDT", D("1.45"))


OPEN = Way("open", go_in)
OPEN_SECOND = Way("open, second leg", go_in, skip=1)
CLOSE = Way("close", get_out, before=held)
COLLECT = Way("collect", collect, before=over_a_settlement)
TRADES = (
    OPEN,
    OPEN_SECOND,
    Way("add", add, before=held, skip=1),
    CLOSE,
    Way("close, second leg", get_out, before=held, skip=1),
    Way("close in part", get_out_in_part, before=held),
    Way("emergency close", flee, before=held),
    Way("deleveraged", nothing, before=deleveraged),
    Way("coins taken", nothing, before=robbed),
    Way("short restored", mend(Choice.REHEDGE), before=closed_by_hand, after=mend(Choice.REHEDGE)),
    Way("coins sold after the short", mend(Choice.UNWIND), before=closed_by_hand, after=mend(Choice.UNWIND)),
    Way("margin", watch, before=thin),
)
CASES = (
    *((way, outcome) for way in TRADES for outcome in OUTCOMES),
    (Way("open, one leg never", go_in, skip=1, count=12), "unfilled"),
    (Way("close, one leg never", get_out, before=held, skip=1, count=12), "unfilled"),
    (COLLECT, "filled"),
    (Way("queue", through_the_queue), "filled"),
)
QUICK = ((OPEN_SECOND, "partly"), (COLLECT, "filled"))
"""What a developer runs all day; the whole matrix is part of the proof."""
