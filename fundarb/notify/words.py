"""Events in words: which of them a person is told, and in which sentence. Pure; sends nothing."""

from __future__ import annotations

from collections.abc import Mapping

from fundarb.core.events import Event, Severity

TOLD = frozenset({"position_unwound", "day_closed", "writer_started"})
"""Kinds that go to people although they are no alerts."""
_TOLD_STATES = frozenset({"HEDGED", "CLOSED", "EXPOSED", "UNCERTAIN"})
"""Where a position's way ends, for now."""


def is_told(event: Event) -> bool:
    """Whether an event is worth a message."""
    if event.severity is Severity.ALERT or event.kind in TOLD:
        return True
    if event.kind == "position_changed":
        fields = event.payload()
        added_or_reduced = (fields["old"], fields["new"]) == ("CHANGING", "HEDGED")
        return fields["new"] in _TOLD_STATES and not added_or_reduced
    return event.kind == "block_set" and event.payload()["scope"] == "*"


def sentence(event: Event) -> str:
    """An event for a person."""
    fields = event.payload()
    if event.kind == "alert_raised":
        return f"{fields['message']} [{fields['code']}]"
    if event.kind == "position_changed":
        return f"{fields['base']}: {fields['old']} → {fields['new']} ({fields['position_id']})"
    if event.kind == "block_set":
        return f"no opens ({fields['block']}): {fields['reason']}"
    if event.kind == "day_closed":
        return _day(fields)
    return f"{event.kind}: " + ", ".join(f"{name} {value}" for name, value in fields.items())


def _day(fields: Mapping[str, object]) -> str:
    part = "" if fields["coverage"] == "complete" else f"; {fields['coverage']}: not all of it is known"
    return (
        f"{fields['day']}: result {_usdt(fields['profit'])} "
        f"(funding {_known(fields['funding'])}, fees {_known(fields['fees'])}), "
        f"equity {_usdt(fields['equity'])}, {fields['positions_open']} positions open, "
        f"{fields['control']}{part}"
    )


def _known(amount: object) -> str:
    return "not known" if amount is None else str(amount)


def _usdt(amount: object) -> str:
    return _known(amount) if amount is None else f"{amount} USDT"
