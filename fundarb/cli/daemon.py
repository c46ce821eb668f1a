"""``daemon``: unattended trading on the schedule of jobs.toml, or the same jobs on a virtual clock."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single
from fundarb.cli.exits import Exit
from fundarb.cli.figures import count
from fundarb.cli.options import instant
from fundarb.core.money import parse_duration
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.cli.session import Session
    from fundarb.config import Settings
    from fundarb.core.events import Event, RecordedEvent
    from fundarb.core.reasons import Reason
    from fundarb.daemon.signals import Signals
    from fundarb.engine.office import Office
    from fundarb.store.database import Store

app = single()


@app.command(epilog="Example: fundarb daemon --simulate 7d --seed 3")
def daemon(
    ctx: typer.Context,
    simulate: Annotated[
        str, typer.Option(metavar="DURATION", help="Live through so much virtual time in a sandbox, and end.")
    ] = "",
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --simulate: recorded prices instead of the synthetic market."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="With --simulate: which synthetic market, which ids. [1]"),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="TIME", help="With --simulate: where the virtual clock begins."),
    ] = None,
    _json: JsonFlag = False,
) -> int:
    """Trade unattended until SIGTERM or Ctrl-C, on the schedule of jobs.toml."""
    session = session_of(ctx)
    session.schema = "daemon"
    session.simulated = bool(simulate)
    if simulate:
        return _simulate(session, Wish(_duration(simulate), replay, 1 if seed is None else seed, start))
    given = {"--replay": replay, "--seed": seed, "--start": start}
    alone = [flag for flag, value in given.items() if value is not None]
    if alone:
        raise ConfigError(*(Problem(flag, "goes with --simulate", "add --simulate 7d") for flag in alone))
    return _serve(session)


# ------------------------------------------------------------------------------------------ the real thing


def _serve(session: Session) -> int:
    from fundarb.daemon.signals import Signals

    signals = Signals()
    with signals.caught():  # before anything else is loaded: a daemon may be stopped while it starts
        ended, held, alone = _served(session, signals)
    data = {"ended": _name(ended), "positions_open": held}
    outcome = Outcome(data=data, shown=data, warnings=alone, code=_code(ended), acted=True)
    return finish(session, outcome, render=_show_end)


def _name(ended: int) -> str:
    """What ended a run: a signal's name, or "end" where none came."""
    return signal.Signals(ended).name if ended else "end"


def _code(ended: int) -> Exit:
    """How a run ends that a signal ended, or none (0)."""
    return Exit.INTERRUPTED if ended == signal.SIGINT else Exit.DONE


def _served(session: Session, signals: Signals) -> tuple[int, int, tuple[Reason, ...]]:
    """The signal that ended it, how many positions stay open, and which of them nobody should leave alone."""
    from fundarb.app import build, unattended
    from fundarb.daemon.health import WorkClock
    from fundarb.daemon.service import Service
    from fundarb.engine.unfinished import left_behind

    clock = WorkClock(session.clock)
    settings = session.app.settings
    program = build(settings, clock=clock)
    if program.clock is not clock:
        raise ConfigError(
            Problem("--venue-url", "this sandbox keeps virtual time", "add --simulate 7d, or start it anew")
        )
    with unattended.office(settings, clock) as office:
        tell_events(session, office.desk.store, alerts=True)

        def started() -> None:
            session.say(f"daemon at work on {program.place}; SIGTERM or Ctrl-C ends it in order")
            if not settings.notify_urls:
                session.say("no channel in [notify] urls: alerts are told here alone", style="yellow")

        service = Service(office, clock=session.clock, work_clock=clock, signals=signals)
        ended, store = service.run(started), office.desk.store
        return ended, len(store.positions.active()), left_behind(store)


def _show_end(session: Session, data: dict[str, Any]) -> None:
    session.say(f"ended by {data['ended']}; {_stay(data['positions_open'])}")


def _stay(held: int) -> str:
    return f"{count(held, 'position')} {'stays' if held == 1 else 'stay'} open"


def tell_events(session: Session, store: Store, *, alerts: bool = False) -> None:
    """With ``-v`` each event is a line on stderr; without it the ``alerts`` are, where a person relies on
    them.
    """
    from fundarb.cli.events import line
    from fundarb.core.events import Severity

    def tell(recorded: RecordedEvent, event: Event) -> None:
        alert = alerts and event.severity is Severity.ALERT
        if alert or session.options.verbose:
            session.say(line(recorded), style="red" if alert else "")

    store.events.subscribe(tell)


# ------------------------------------------------------------------------------------------- simulation


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be simulated."""

    duration: timedelta
    replay: Path | None
    seed: int
    start: datetime | None


def _simulate(session: Session, wish: Wish) -> int:
    from fundarb.daemon.signals import Signals

    signals = Signals()
    with ExitStack() as stack:
        stack.enter_context(signals.caught())
        settings = _world(session, wish, stack=stack)
        data = _live_through(session, settings, wish=wish, signals=signals)
        if session.settings.db_url != settings.db_url:
            data["db"] = settings.db_url
        data["ended"] = _name(signals.first)
        code = _code(signals.first)
        outcome = Outcome(data=data, shown=data, as_of=data["until"], code=code, acted=True)
        return finish(session, outcome, render=_show_simulation)


def _world(session: Session, wish: Wish, *, stack: ExitStack) -> Settings:
    """The sandbox that was named, else one of our own with files of its own."""
    from fundarb.app import worlds
    from fundarb.app.sandboxes import SandboxPlan

    given = session.settings
    if given.venue.name.value == "sandbox":
        if wish.replay is not None or wish.start is not None:
            raise ConfigError(
                Problem(
                    "--replay", "the sandbox that runs already has its market", "give it to sandbox serve"
                )
            )
        return given
    begin = wish.start or (worlds.REPLAY_START if wish.replay else worlds.START)
    plan = SandboxPlan(port=0, seed=wish.seed, replay=wish.replay, virtual=True, start=begin)
    url = stack.enter_context(worlds.world(plan))
    stamp = session.clock.now().strftime("%Y%m%dT%H%M%S")
    home = given.home / "simulations" / f"{stamp}-seed{wish.seed}"
    return worlds.settings_in(url, home, like=given, environ=session.environ)


def _live_through(session: Session, settings: Settings, *, wish: Wish, signals: Signals) -> dict[str, Any]:
    from fundarb.app import build, unattended
    from fundarb.daemon.simulate import MergedClock, Simulation, within

    machine = session.clock
    program = build(settings, clock=machine)
    if program.clock is machine:
        raise ConfigError(
            Problem("--simulate", "the sandbox runs on the real clock", "start it with --clock virtual")
        )
    clock = MergedClock(program.clock)
    begin = clock.now()
    within(program.end_of_time(), start=begin, duration=wish.duration)
    with (
        closing(program),
        unattended.office(settings, clock, seed=wish.seed) as office,
        session.progress("simulating") as advance,
    ):
        tell_events(session, office.desk.store)
        signals.tell(partial(_stop, office))
        simulation = Simulation(office, clock=clock, machine=machine)
        simulation.run(
            wish.duration, progress=lambda done, whole: advance(int(done.total_seconds()), _seconds(whole))
        )
        return _summary(office, begin, end=clock.now())


def _stop(office: Office) -> None:
    """Finish the step under way and begin no other."""
    office.desk.stop.requested = True


def _summary(office: Office, begin: datetime, *, end: datetime) -> dict[str, Any]:
    from fundarb.engine.report import Reporter
    from fundarb.engine.report_rows import ReportQuery

    store, venue = office.desk.store, office.desk.exchange
    report = Reporter(store, office.desk.clock, market=venue, trading=venue).pnl(ReportQuery(since=begin))
    return {
        "from": begin,
        "until": end,
        "positions_open": len(store.positions.active()),
        "positions": len(store.positions.all()),
        "equity_start": report.tie_out.equity_start,
        "equity_end": report.tie_out.equity_end,
        "net": report.total.net,
        "control": store.blocks.control(end),
    }


def _show_simulation(session: Session, data: dict[str, Any]) -> None:
    from fundarb.cli.money_view import amount

    out = session.out
    out.print(f"lived through {data['from']:%Y-%m-%d %H:%M} to {data['until']:%Y-%m-%d %H:%M} (UTC)")
    held = count(data["positions"], "position")
    out.print(f"{held}, {data['positions_open']} of them open; {data['control']}")
    if data["net"] is not None and data["equity_end"] is not None:
        out.print(f"equity {amount(data['equity_end'])} USDT ({amount(data['net'], sign=True)})")
    if data["ended"] != "end":
        session.say(f"ended by {data['ended']} before its time was over; {_stay(data['positions_open'])}")
    if "db" in data:
        session.say(f"look at it with: fundarb --venue sandbox --mode live --live --db {data['db']} report")


def _seconds(duration: timedelta) -> int:
    return max(int(duration.total_seconds()), 1)


def _duration(text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise ConfigError(Problem("--simulate", str(error))) from error
    if not found:
        raise ConfigError(Problem("--simulate", f"{text} is no time at all"))
    return found
