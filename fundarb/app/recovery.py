"""What every start of an unattended writer begins with.

Start-up is recovery: the same walk as ``reconcile``, waited for.
"""

from __future__ import annotations

from fundarb.app.writer import Writer
from fundarb.engine.activity import Activity, at_rest, now_busy_with
from fundarb.engine.commands import not_compared
from fundarb.engine.elsewhere import look_for_lost
from fundarb.engine.jobs import JobReport


def recovered(writer: Writer) -> JobReport:
    """The walk that every start begins with; ``Unavailable`` while something may be naked that nobody knows
    of. Where only the books could not be compared work begins, but for opens.
    """
    now_busy_with(writer.store, Activity.RECOVERING)
    result = writer.reconciler.run()
    if result.unread is not None and result.unsafe:
        writer.reconciler.forbid_opens()  # a daemon that has recovered once goes on with its work
        raise result.unread
    found = [item.id for item in result.loud]
    text = f"{len(result.resolved)} orders resolved, {len(result.repaired)} positions repaired"
    at_rest(writer.store)
    look_for_lost(writer.desk, result)
    if result.unread is not None:
        writer.reconciler.forbid_opens()
        found.append(not_compared(result.unread))
    if found:
        return JobReport(result="mismatch", message=f"{text}; {', '.join(found)}", notable=True)
    return JobReport(message=text, notable=True)
