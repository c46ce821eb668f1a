"""Trading use cases: plans that send nothing, and commands that are executed here or handed to the daemon
that holds the lock.

Decides nothing about trading: it opens a writer and passes on what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fundarb.app.leftovers import cannot_begin, leftovers
from fundarb.app.writer import Writer, planning, writing
from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.core import risk
from fundarb.core.money import ONE, parse_ratio
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine import documents, unfinished
from fundarb.engine.answers import Answer
from fundarb.engine.commands import Arguments, after_recovery, plan_close, recovered, refused, traded
from fundarb.engine.control import call_off_opens
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.handover import Handover, Way
from fundarb.engine.set_aside import set_aside, told
from fundarb.errors import ConfigError, FundarbError, Unavailable
from fundarb.store.database import Store, exists
from fundarb.store.place import place_of

_HALTED = f"block_{BlockKind.HALT}"


def open_planned(settings: Settings, clock: Clock, *, base: str, notional: Decimal, add: bool) -> Answer:
    """What an open would do; sends and writes nothing."""
    with planning(settings, clock) as trader:
        plan = trader.plan_open(base, notional, add=add)
    halted = HaltFile(settings.home).seen(())
    reasons = plan.reasons if isinstance(plan, Refused) else ()
    if halted and not any(reason.code == _HALTED for reason in reasons):
        reasons = (*reasons, *risk.blocks(halted, base, now=clock.now()))
    if reasons or isinstance(plan, Refused):
        return refused(Refused(reasons, plan.warnings))
    return Answer(data=documents.plan(plan), warnings=plan.warnings)


def close_planned(settings: Settings, clock: Clock, *, name: str, fraction: str) -> Answer:
    """What a close would do, of one position or (empty name) of all."""
    with planning(settings, clock) as trader:
        return plan_close(trader, name, fraction=fraction)


def handed_over(
    settings: Settings,
    clock: Callable[[], Clock],
    *,
    machine: Clock,
    name: str,
    arguments: Arguments,
    wait: timedelta | None,
) -> Answer | None:
    """The answer of the daemon that holds the lock, or the number of the row it will find; None without.
    ``clock`` is asked for only with one: its events are of the venue's time, the waiting is of the
    ``machine``'s.
    """
    place = place_of(settings.db_url)
    if not place.exists() or place.holder() is None:
        return None
    with Store.open(settings.db_url, clock=clock()) as store:
        handover = Handover(store, machine)
        if handover.way(name) is not Way.ROW:
            return None
        handed = handover.send(name, arguments, wait=wait)
        return handed.answer or Answer(data={"command_id": handed.id})


def executed(
    settings: Settings, clock: Clock, *, name: str, arguments: Arguments, lock_wait: timedelta
) -> Answer:
    """The command, executed here as the writer. Books that could not be compared with the venue keep an open
    from being tried, never a close.
    """
    recover = name not in {"reconcile", "resolve"}  # which are the same walk
    with writing(settings, clock, role="command", lock_wait=lock_wait, recover=recover) as writer:
        if writer.desk.stop.requested:
            raise KeyboardInterrupt
        before = (*call_off_opens(writer.store, name, arguments=arguments), *recovered(writer.found))
        answer = _answered_already(writer, name, arguments=arguments) or writer.executor.execute(
            name, arguments
        )
        return replace(after_recovery(answer, writer.sent), warnings=(*before, *answer.warnings))


def _answered_already(writer: Writer, name: str, *, arguments: Arguments) -> Answer | None:
    """The answer that the recovery leaves no choice about; None where there is something to do."""
    unread = None if writer.found is None else writer.found.unread
    if name != "open" or unread is None:
        return _closed_already(writer, name, arguments=arguments)
    return cannot_begin(writer.store, unread, epoch=writer.lock.epoch, sent=writer.sent)


def _closed_already(writer: Writer, name: str, *, arguments: Arguments) -> Answer | None:
    """The answer to a close whose position the recovery has just closed; None where there is something to
    do.
    """
    wanted = str(arguments.get("name", "")).upper()
    for position in writer.over if name == "close" else ():
        if position.state is PositionState.CLOSED and wanted in {position.base, position.position_id}:
            text = f"{position.position_id} was left half closed; the recovery before this command closed it"
            answer = traded(writer.trader.ended(position.position_id))
            if parse_ratio(str(arguments.get("fraction", "100%"))) == ONE:
                set_aside(writer.store, position.base, reason="closed by hand")
            more = told(writer.store, position.base)
            return replace(answer, warnings=(Reason("closed_by_recovery", text), *answer.warnings, *more))
    return None


def interrupted(settings: Settings, clock: Clock, *, machine: Clock) -> str:
    """What a person should know whose Ctrl-C ended a command that trades, as the database tells it."""
    try:
        if not exists(settings.db_url):
            return "interrupted; nothing was sent"
        with Store.open(settings.db_url, clock=clock, readonly=True) as store:
            return unfinished.interrupted(store, clock.now(), machine=machine.now())
    except FundarbError as error:
        return f"interrupted; what is live cannot be read ({error}): run `fundarb reconcile` next"


def with_leftovers(settings: Settings, machine: Clock, *, error: Unavailable) -> Unavailable:
    """The venue does not answer: the same failure, naming what is unfinished from before."""
    if not exists(settings.db_url):
        return error
    try:
        with Store.open(settings.db_url, clock=machine, readonly=True) as store:
            found = leftovers(store)
    except ConfigError:  # of an older schema, it may be: the command that reaches the venue sees to it
        return error
    return error.reworded(f"{error}; {found}") if found else error
