"""A real venue with play money, through the program as a user runs it: reads, one smallest position in and
out.

Opt-in: without a key in ``FUNDARB_TESTNET_KEY``, ``FUNDARB_TESTNET_SECRET`` and ``FUNDARB_TESTNET_UID`` it
says so and ends well. It trades on the venue that it is told (testnet unless said otherwise), never on the
exchange itself. Run it with ``make testnet``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VENUES = ("bybit-testnet", "bybit-demo", "sandbox")
LARGEST = 400
"""The most USDT of one leg that a smallest order may take."""


class FailedError(Exception):
    """A step did not end as it must."""


class User:
    """Runs command lines in a home of its own and prints what came of each."""

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        """Settings file and key are those of this run alone."""
        self._home = home
        self._globals = ["--venue", options.venue, "--mode", "live", "--live"]
        if options.venue_url:
            self._globals += ["--venue-url", options.venue_url]
        uid = os.environ.get("FUNDARB_TESTNET_UID", "")
        (home / "fundarb.toml").write_text(f'mode = "live"\n[account]\nuid = "{uid}"\n' if uid else "")
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FUNDARB_", "BYBIT_"))
        } | {"FUNDARB_HOME": str(home / "home")}
        if uid:
            self._environment |= {
                "BYBIT_API_KEY": os.environ["FUNDARB_TESTNET_KEY"],
                "BYBIT_API_SECRET": os.environ["FUNDARB_TESTNET_SECRET"],
            }

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """One command with ``--json``: its exit code and its envelope."""
        command = [sys.executable, "-m", "fundarb", *self._globals, *words, "--json"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._home,
            env=self._environment,
            check=False,
            timeout=300,
        )
        try:
            envelope: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            envelope = {"error": {"message": done.stderr.strip() or done.stdout.strip()}, "data": None}
        error = envelope["error"]
        print(
            f"{' '.join(words):<44} exit {done.returncode}{'  ' + error['message'] if error else ''}",
            flush=True,
        )
        return done.returncode, envelope

    def must(self, *words: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """The same; any other exit code ends the run."""
        code, envelope = self.run(*words)
        if code not in codes:
            message = f"{' '.join(words)} ended with {code}"
            raise FailedError(message)
        return envelope


def smallest(user: User, base: str) -> str:
    """The smallest notional that both markets take, found by planning only."""
    notional = 10
    while notional <= LARGEST:
        code, _ = user.run("open", base, "--notional", str(notional), "--dry-run")
        if code == 0:
            return str(notional)
        notional *= 2
    message = f"no order of at most {LARGEST} USDT is taken in {base}"
    raise FailedError(message)


def walk(user: User, base: str) -> None:
    """Reads first; then in, a look from every side, and out, whatever happens in between."""
    user.must("config", "check")
    user.must("doctor", codes=(0, 6))
    user.must("scan", "--notional", "100", "--top", "3")
    user.must("reconcile")
    notional = smallest(user, base)
    try:
        user.must("open", base, "--notional", notional, "--yes")
        user.must("positions")
        user.must("reconcile")
    finally:
        user.run("close", base, "--yes")
    user.must("reconcile")
    user.must("report", "pnl")
    user.must("audit")
    held = user.must("positions")["data"]["positions"]
    if held:
        message = f"still held: {held}"
        raise FailedError(message)


def main() -> int:
    """0: all went well, or nothing was asked for; 1: a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--venue", choices=VENUES, default="bybit-testnet")
    parser.add_argument("--venue-url", default="", help="of a sandbox")
    parser.add_argument("--base", default="BTC")
    options = parser.parse_args()
    names = ("FUNDARB_TESTNET_KEY", "FUNDARB_TESTNET_SECRET", "FUNDARB_TESTNET_UID")
    missing = [name for name in names if not os.environ.get(name)]
    if missing and options.venue != "sandbox":
        print(f"skipped: {options.venue} needs a key of your own in {', '.join(missing)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="fundarb-") as folder:
        try:
            walk(User(Path(folder), options), options.base)
        except FailedError as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
