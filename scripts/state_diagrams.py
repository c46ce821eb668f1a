"""Draws the two state tables of ``core.states`` into the README, between its markers, and tells whether they
are up to date.

``python -m scripts.state_diagrams write|check``. The tables are the source; nobody edits the drawings.
"""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from fundarb.core.states import INTENT, POSITION

README = Path(__file__).resolve().parent.parent / "README.md"
TABLES = {"position": POSITION, "intent": INTENT}


def diagram(table: Mapping[Any, Mapping[Any, StrEnum]]) -> str:
    """A table as a Mermaid state diagram: the first state is where things are born, states without a way out
    are final.
    """
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", f"    [*] --> {next(iter(table))}"]
    for state, ways in table.items():
        together: dict[StrEnum, list[str]] = {}
        for trigger, target in ways.items():
            together.setdefault(target, []).append(trigger)
        lines += [f"    {state} --> {target}: {', '.join(triggers)}" for target, triggers in together.items()]
        lines += [f"    {state} --> [*]"] if not ways else []
    return "\n".join([*lines, "```"])


def drawn(text: str) -> str:
    """The text with both diagrams between their markers; ``ValueError`` if a marker is missing."""
    for name, table in cast("dict[str, Any]", TABLES).items():
        start, end = f"<!-- {name} states: begin -->", f"<!-- {name} states: end -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"README.md has no {start} … {end}")
        text = f"{before}{start}\n{diagram(table)}\n{end}{after}"
    return text


def main() -> int:
    """Write the diagrams, or check them: 1 if they differ."""
    text = README.read_text(encoding="utf-8")
    new = drawn(text)
    if sys.argv[1:] == ["write"]:
        README.write_text(new, encoding="utf-8")
    elif new != text:
        print("README.md differs from core/states.py: run `python -m scripts.state_diagrams write`.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
