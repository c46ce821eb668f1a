"""How fast the command line answers: wall time of a fresh process, in the middle of several."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.table import Row

RUNS = 7
PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"


def run() -> Sequence[Row]:
    """Help of the program and of a command, a whole recorded scan, beside a Python that does nothing."""
    nothing = wall(["-c", "pass"])
    rows = [Row(name="python that does nothing", figure=nothing, unit="s")]
    for name, words, target in (
        ("fundarb --help", ["--help"], 0.15),
        ("fundarb scan --help", ["scan", "--help"], 0.3),
        ("fundarb scan --recorded", ["scan", "--recorded"], None),
        ("fundarb config show", ["config", "show"], None),
    ):
        figure = wall(["-c", PROGRAM, *words])
        rows.append(
            Row(
                name=name,
                figure=figure,
                unit="s",
                target=target,
                ratio=figure / nothing,
                note="over a Python that does nothing",
            )
        )
    return rows


def wall(arguments: list[str]) -> float:
    """The wall time of a fresh process, in the middle of several."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "FUNDARB_HOME": home, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - for a child
        return statistics.median(once([sys.executable, *arguments], environ) for _ in range(RUNS))


def once(command: list[str], environ: dict[str, str]) -> float:
    """One process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started
