"""``audit``: the invariants over the database and, if it can be reached, the venue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, run_command, single
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.core.reasons import Reason

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.audit import Audit

app = single()

_DETAILS = 15
"""The column in which details begin."""


@app.command(epilog="Example: fundarb audit --json")
def audit(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Check what must always hold: orders, fills, neutrality, the ledger's identity; exit 6 if anything does
    not.
    """

    def act(program: App) -> Outcome[Audit]:
        from fundarb.app import unattended

        found, why = unattended.run_audit(program)
        warnings = (Reason("venue_not_asked", f"only our books were checked: {why}"),) if why else ()
        broken = [check for check in found.checks if not check.ok]
        error = None
        if broken:
            reasons = tuple(Reason(f"invariant_{check.id}", check.details) for check in broken)
            verb = "does" if len(broken) == 1 else "do"
            message = f"{len(broken)} of {len(found.checks)} invariants {verb} not hold"
            error = Failure(kind="invariant_broken", message=message, reasons=reasons)
        return Outcome(
            data=audit_data(found),
            shown=found,
            warnings=warnings,
            code=Exit.MISMATCH if broken else Exit.DONE,
            error=error,
            told=True,
        )

    return run_command(ctx, "audit", action=act, render=render)


def audit_data(found: Audit) -> dict[str, Any]:
    """For scripts: what was judged, and apart from it what could not be."""
    return {
        "checks": [{"id": check.id, "ok": check.ok, "details": check.details} for check in found.checks],
        "not_judged": [{"id": number, "details": why} for number, why in found.not_judged.items()],
        "clean": found.clean,
    }


def render(session: Session, found: Audit) -> None:
    """One line a check; below them what was not judged, which is no passed check."""
    for check in found.checks:
        mark, style = ("ok  ", "green") if check.ok else ("FAIL", "bold red")
        details = session.folded(check.details, _DETAILS)
        session.out.print(f"{mark} {check.id:>8}  {details}", style=style, soft_wrap=True)
    for number, why in found.not_judged.items():
        details = session.folded(f"not judged here: {why}", _DETAILS)
        session.out.print(f"–    {number:>8}  {details}", style="dim", soft_wrap=True)
