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
    from fundarb.engine.audit import AuditCheck

app = single()


@app.command(epilog="Example: fundarb audit --json")
def audit(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Check what must always hold: orders, fills, neutrality, the ledger's identity; exit 6 if anything does
    not.
    """

    def act(program: App) -> Outcome[tuple[AuditCheck, ...]]:
        from fundarb.app import unattended

        found, why = unattended.run_audit(program)
        warnings = (Reason("venue_not_asked", f"only our books were checked: {why}"),) if why else ()
        broken = [check for check in found if not check.ok]
        error = None
        if broken:
            reasons = tuple(Reason(f"invariant_{check.id}", check.details) for check in broken)
            message = f"{len(broken)} of {len(found)} invariants do not hold"
            error = Failure(kind="invariant_broken", message=message, reasons=reasons)
        return Outcome(
            data=audit_data(found),
            shown=found,
            warnings=warnings,
            code=Exit.MISMATCH if broken else Exit.DONE,
            error=error,
        )

    return run_command(ctx, "audit", action=act, render=render)


def audit_data(found: tuple[AuditCheck, ...]) -> dict[str, Any]:
    """For scripts."""
    return {
        "checks": [{"id": check.id, "ok": check.ok, "details": check.details} for check in found],
        "clean": all(check.ok for check in found),
    }


def render(session: Session, found: tuple[AuditCheck, ...]) -> None:
    """One line a check."""
    for check in found:
        mark, style = ("ok  ", "green") if check.ok else ("FAIL", "bold red")
        session.out.print(f"{mark} {check.id:>3}  {check.details}", style=style, soft_wrap=True)
