"""What a demo month costs: wall time of ``fundarb demo`` with its sandbox beside it, and the memory of
both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.table import Row

DAYS = 30
PROGRAM = """
import resource, sys
from fundarb.cli.main import main
code = main(["--json", "demo", "--days", sys.argv[1]])
own = resource.getrusage(resource.RUSAGE_SELF)
sandbox = resource.getrusage(resource.RUSAGE_CHILDREN)
times = [item.ru_utime + item.ru_stime for item in (own, sandbox)]
print(*times, own.ru_maxrss, sandbox.ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def run() -> Sequence[Row]:
    """One month, once: it is long enough to be a figure."""
    return measured(DAYS, seconds=60)


def measured(days: int, *, seconds: float | None) -> Sequence[Row]:
    """A demo of that many days, in so many seconds at most."""
    with tempfile.TemporaryDirectory() as home:
        begin = time.perf_counter()
        found = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(days)],
            env={**os.environ, "FUNDARB_HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.perf_counter() - begin
    if found.returncode:
        raise RuntimeError(f"the demo ended with {found.returncode}: {found.stderr[-500:]}")
    data = json.loads(found.stdout)["data"]
    if not data["audit"]["clean"]:
        raise RuntimeError(f"the audit of the demo fails: {data['audit']}")
    own, sandbox, memory, beside = (float(word) for word in found.stderr.split()[-4:])
    unit = 1024 if sys.platform.startswith("linux") else 1024 * 1024
    trades = len(data["pnl"]["rows"])
    return [
        Row(
            name=f"demo of {days} days",
            figure=took,
            unit="s",
            target=seconds,
            note=f"{trades} rows of P&L, {len(data['funding']['rows'])} settlements, audit clean",
        ),
        Row(name="… CPU of the daemon's side", figure=own, unit="s"),
        Row(name="… CPU of the sandbox", figure=sandbox, unit="s"),
        Row(name="… memory of the daemon's side", figure=memory / unit, unit="MB", target=220),
        Row(name="… memory of the sandbox", figure=beside / unit, unit="MB", target=300),
    ]
