"""``events``: the audit trail, with a growing id."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single
from fundarb.cli.options import instant
from fundarb.errors import ConfigError, Problem, StateUnavailable

if TYPE_CHECKING:
    from fundarb.cli.session import Session
    from fundarb.core.events import RecordedEvent

app = single()

_POLL = timedelta(milliseconds=500)
_PAGE = 500
_HANG = " " * 8
"""Where a line goes on that is too long for the screen: under its time."""


@app.command(epilog="Example: fundarb events -f --kind position_changed")
def events(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more, until Ctrl-C.")] = False,
    since: Annotated[
        datetime | None, typer.Option(parser=instant, metavar="T", help="From here on, UTC.")
    ] = None,
    kind: Annotated[str, typer.Option(metavar="K", help="Only this kind: leg_filled, alert_raised, …")] = "",
    last: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many at most.")] = 50,
    _json: JsonFlag = False,
) -> int:
    """Show what happened, oldest first."""
    from fundarb.app import unattended

    session = session_of(ctx)
    session.schema = "events"
    known = unattended.event_kinds()
    if kind and kind not in known:
        raise ConfigError(Problem("--kind", f"there is no kind {kind!r}", f"one of {', '.join(known)}"))
    found = unattended.latest_events(session.app, last, kind=kind or None, since=since)
    code = _print(session, found)
    number = found[-1].id if found else unattended.newest_event(session.app)
    while follow:
        session.clock.sleep(_POLL)
        found = unattended.events(session.app, after=number, limit=_PAGE, kind=kind or None)
        if found:
            number = found[-1].id
            _print(session, found)
        elif unattended.newest_event(session.app) < number:
            raise StateUnavailable("the database was replaced or removed: its events begin anew; start again")
    return code


def _print(session: Session, found: tuple[RecordedEvent, ...]) -> int:
    outcome = Outcome(data={"events": [event_data(item) for item in found]}, shown=found)
    return finish(session, outcome, render=_show)


def _show(session: Session, found: tuple[RecordedEvent, ...]) -> None:
    styles = {"alert": "bold red", "warning": "yellow"}
    for item in found:
        text = line(item)
        if session.narrow:  # a pipe gets one line for each event, however long
            text = fill(text, session.out.width, subsequent_indent=_HANG, break_on_hyphens=False, tabsize=1)
        session.out.print(text, style=styles.get(item.severity.value), soft_wrap=True)


def event_data(item: RecordedEvent) -> dict[str, Any]:
    """One event for scripts."""
    return {
        "id": item.id,
        "at": item.at,
        "kind": item.kind,
        "severity": item.severity.value,
        "payload": json.loads(item.payload),
    }


def line(item: RecordedEvent) -> str:
    """One event on a line."""
    fields = json.loads(item.payload)
    text = "  ".join(f"{name}={value}" for name, value in fields.items() if value not in {None, ""})
    return f"{item.id:>6}  {item.at:%Y-%m-%d %H:%M:%S}  {item.kind:<18} {text}"
