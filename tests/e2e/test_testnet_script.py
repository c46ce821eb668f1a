"""The opt-in walk over a venue with play money, tried where no key is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.stage import Stage


def ran(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The script, as make runs it."""
    command = [sys.executable, str(root / "scripts" / "testnet.py"), *words]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_without_a_key_it_is_skipped_and_says_so(repo_root: Path) -> None:
    """No key: nothing is asked, and the message names what is missing."""
    done = ran(repo_root)
    assert done.returncode == 0
    assert "skipped: bybit-testnet needs a key of your own in FUNDARB_TESTNET_KEY" in done.stdout


@pytest.mark.proof
def test_it_goes_in_and_out_again(repo_root: Path, stage: Stage) -> None:
    """Every step passes on the sandbox, and nothing is held at the end."""
    done = ran(repo_root, "--venue", "sandbox", "--venue-url", stage.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("passed\n")
