"""``notify test``: a test message through each configured channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, family, run_command
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.core.reasons import Reason

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session

app = family("Messages to people.")


@app.command("test", epilog="Example: fundarb notify test")
def send(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Send a test message.

    Through each channel of [notify] urls; exit 6 if one does not take it.
    """

    def act(program: App) -> Outcome[dict[str, bool]]:
        from fundarb.app import unattended

        found = unattended.test_channels(program)
        failed = [name for name, took in found.items() if not took]
        error = None
        if failed:
            reasons = tuple(Reason("channel_failed", f"{name} did not take the message") for name in failed)
            error = Failure(
                kind="mismatch", message=f"{len(failed)} of {len(found)} channels failed", reasons=reasons
            )
        data = {"channels": [{"name": name, "ok": took} for name, took in found.items()]}
        code = Exit.MISMATCH if failed else Exit.DONE
        return Outcome(data=data, shown=found, code=code, error=error, acted=True)

    return run_command(ctx, "notify", action=act, render=_show)


def _show(session: Session, found: dict[str, Any]) -> None:
    if not found:
        session.out.print("no channel is configured: name variables in [notify] urls")
    for name, took in found.items():
        session.out.print(f"{name}: {'sent' if took else 'failed'}", style="green" if took else "red")
