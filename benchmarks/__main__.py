"""``python -m benchmarks [name ...]``: runs the benchmark modules, prints one table each and writes
build/bench.json.
"""

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import Row, document, rendered

FOLDER = Path(__file__).resolve().parent
OUTPUT = FOLDER.parent / "build" / "bench.json"


def found() -> list[str]:
    """The names of all benchmark modules, without the prefix, in order."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def measured(name: str) -> Sequence[Row]:
    """The rows of one module."""
    rows: list[Row] = importlib.import_module(f"benchmarks.bench_{name}").run()
    return rows


def main() -> int:
    """Runs what was asked for; 1 if a promise is not kept and ``--strict`` was given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"which to run: {', '.join(found()) or 'none yet'}"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 if a promise is not kept")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(found()))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    results: dict[str, Sequence[Row]] = {}
    for name in arguments.names or found():
        results[name] = measured(name)
        print(f"\n{name}\n{rendered(results[name])}", flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "rows": document(results),
    }
    OUTPUT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    missed = [row.name for rows in results.values() for row in rows if row.kept is False]
    print(
        f"\nWritten to {OUTPUT.relative_to(FOLDER.parent)}; promises missed: {', '.join(missed) or 'none'}."
    )
    return int(bool(missed) and arguments.strict)


if __name__ == "__main__":
    sys.exit(main())
