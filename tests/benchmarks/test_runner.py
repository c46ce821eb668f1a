"""The benchmark runner: what it shows, what it writes, how it judges."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.table import Row, document, number, rendered

FAST = Row(name="ranking", figure=41.27, unit="ms", target=60, note="over json alone", ratio=2.5)
SLOW = Row(name="help", figure=0.31, unit="s", target=0.15)
PLAIN = Row(name="json alone", figure=16.5, unit="ms")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345.6, "12,346"), (41.27, "41.3"), (2.5, "2.50"), (0.31, "0.31"), (0.00042, "0.00042")],
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    """Three significant figures, thousands separated, no exponent."""
    assert number(value) == text


def test_a_promise_is_kept_missed_or_not_made() -> None:
    """A figure up to its target keeps the promise, one above misses it, no target promises nothing."""
    assert (FAST.kept, SLOW.kept, PLAIN.kept) == (True, False, None)
    assert Row(name="edge", figure=60, unit="ms", target=60).kept is True


def test_the_table_is_aligned_and_says_what_was_missed() -> None:
    """Every row starts its columns where the head does, and a missed promise is spelled out."""
    head, _, fast, slow, plain = rendered([FAST, SLOW, PLAIN]).splitlines()
    assert fast.index("ms") == plain.index("ms") == head.index("unit")
    assert "ok" in fast
    assert "MISSED" in slow
    assert "≤" not in plain


def test_the_document_carries_every_figure() -> None:
    """The JSON rows hold every field of the row, the verdict and the name of the module."""
    (row,) = document({"scan": [FAST]})
    assert row == {
        "module": "scan",
        "name": "ranking",
        "figure": 41.27,
        "unit": "ms",
        "target": 60,
        "note": "over json alone",
        "ratio": 2.5,
        "kept": True,
    }


def test_an_unknown_benchmark_is_named(repo_root: Path) -> None:
    """Asking for a benchmark that does not exist ends with 2 and says which one."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"],
        cwd=repo_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no such benchmark: nonsense" in done.stderr


def test_the_report_is_json(tmp_path: Path) -> None:
    """Figures, targets and missing targets survive being written and read."""
    place = tmp_path / "bench.json"
    place.write_text(json.dumps(document({"a": [FAST, PLAIN]})), encoding="utf-8")
    assert [row["target"] for row in json.loads(place.read_text(encoding="utf-8"))] == [60, None]
