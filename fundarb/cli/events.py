"""``events``: the audit trail, with a growing id."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single

if TYPE_CHECKING:
    from fundarb.cli.session import Session
    from fundarb.core.events import RecordedEvent

app = single()

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M"]
_POLL = timedelta(milliseconds=500)
_PAGE = 500


@app.command(epilog="Example: fundarb events -f --kind position_changed")
def events(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more, until Ctrl-C.")] = False,
    since: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, metavar="T", help="From here on, UTC.")
    ] = None,
    kind: Annotated[str, typer.Option(metavar="K", help="Only this kind: leg_filled, alert_raised, …")] = "",
    last: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many at most.")] = 50,
    _json: JsonFlag = False,
) -> int:
    """Show what happened, oldest first."""
    from fundarb.app import unattended

    session = session_of(ctx)
    session.schema = "events"
    begin = since.replace(tzinfo=UTC) if since is not None else None
    found = unattended.latest_events(session.app, last, kind=kind or None, since=begin)
    code = _print(session, found)
    number = found[-1].id if found else unattended.newest_event(session.app)
    while follow:
        session.clock.sleep(_POLL)
        found = unattended.events(session.app, after=number, limit=_PAGE, kind=kind or None)
        if found:
            number = found[-1].id
            _print(session, found)
    return code


def _print(session: Session, found: tuple[RecordedEvent, ...]) -> int:
    outcome = Outcome(data={"events": [event_data(item) for item in found]}, shown=found)
    return finish(session, outcome, render=_show)


def _show(session: Session, found: tuple[RecordedEvent, ...]) -> None:
    styles = {"alert": "bold red", "warning": "yellow"}
    for item in found:
        session.out.print(line(item), style=styles.get(item.severity.value), soft_wrap=True)


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
