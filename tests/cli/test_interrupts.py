"""Ctrl-C and SIGTERM that come too late: the answer has been given, and nothing of it changes any more."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fundarb.cli import main as frame
from fundarb.cli.exits import Exit
from fundarb.cli.session import Session

AFTER = """
import os, sys
from fundarb.cli.main import main
class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number={number}):
        kill(me, number)
late = Late()
code = main()
{now}
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("now", ["", "os.kill(os.getpid(), {number})"])
def test_after_the_answer_nobody_is_interrupted(tmp_path: Path, number: int, now: str) -> None:
    """A signal between the answer and the end of the process, or while the interpreter takes itself down,
    changes neither the exit code nor what was said.
    """
    program = AFTER.format(number=int(number), now=now.format(number=int(number)))
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fundarb ")


def test_a_second_one_while_the_first_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever will not wait for the sentence gets the exit code without it."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(frame, "_failed", interrupted)
    assert frame.main(["no such command"], session=Session()) == Exit.INTERRUPTED
