"""The drawings of the state tables are those of the tables."""

from pathlib import Path

import pytest

from fundarb.core.states import INTENT, POSITION
from scripts.state_diagrams import diagram, drawn


def test_the_readme_shows_the_state_tables(repo_root: Path) -> None:
    """Both diagrams in the README are exactly what the tables say."""
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    assert drawn(text) == text, "run: python -m scripts.state_diagrams write"


@pytest.mark.parametrize("table", [POSITION, INTENT])
def test_a_diagram_has_every_transition_and_nothing_else(table: object) -> None:
    """Each pair of the table is an arrow with its trigger; states without a way out are ends."""
    assert isinstance(table, dict)
    text = diagram(table)
    for state, ways in table.items():
        for trigger, target in ways.items():
            assert any(
                line.strip().startswith(f"{state} --> {target}: ") and trigger in line
                for line in text.splitlines()
            )
        assert (f"    {state} --> [*]" in text) is (not ways)
    triggers = sum(len(ways) for ways in table.values())
    assert sum(line.count(",") + 1 for line in text.splitlines() if ": " in line) == triggers


def test_a_missing_marker_is_said() -> None:
    """A README without the markers is refused, not quietly left without diagrams."""
    with pytest.raises(ValueError, match="position states: begin"):
        drawn("# nothing")
