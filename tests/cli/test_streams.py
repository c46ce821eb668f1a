"""Outputs as they come: closed, full, without a reader, of another encoding. A result is never lost without a
word, a message never stops what it is about, and the exit code is that of what was done.
"""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fundarb.cli import main as frame
from fundarb.cli.common import Outcome, finish
from fundarb.cli.daemon import tell_events
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.cli.session import Options, Session
from fundarb.clock import SystemClock
from fundarb.core.events import AlertRaised
from fundarb.core.reasons import Reason
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.cli.conftest import Shell


class Failing(io.RawIOBase):
    """Takes nothing."""

    def __init__(self, number: int) -> None:
        """Fail with this number of the system."""
        self.number = number

    def writable(self) -> bool:
        """As far as anybody knows."""
        return True

    def write(self, data: Any) -> int:
        """Fail."""
        del data
        raise OSError(self.number, errno.errorcode[self.number])


def failing(number: int) -> io.TextIOWrapper:
    """A standard stream that takes nothing."""
    return io.TextIOWrapper(io.BufferedWriter(Failing(number)), encoding="utf-8")


def taking(encoding: str) -> tuple[io.TextIOWrapper, io.BytesIO]:
    """A standard stream of an encoding, and what arrives there."""
    arrived = io.BytesIO()
    return io.TextIOWrapper(arrived, encoding=encoding), arrived


LIVE = Outcome(
    data={"position_id": "p-1", "state": "EXPOSED"},
    shown="p-1 EXPOSED – 2 legs",
    warnings=(Reason("w", "careful"),),
    code=Exit.UNCERTAIN,
    error=Failure(kind="outcome_uncertain", message="something may be live"),
    acted=True,
)
"""What a command has to say that traded."""


def shown(session: Session, text: str) -> None:
    """How it is shown."""
    session.out.print(text)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[Session, Outcome[str]], int]:
    """A command that ends with an outcome, within the outermost frame; the exit code."""

    def run(session: Session, outcome: Outcome[str]) -> int:
        monkeypatch.setattr(frame, "_called", lambda *_: finish(session, outcome, render=shown))
        return frame.main([], session=session)

    return run


@pytest.mark.parametrize("json_wanted", [False, True])
@pytest.mark.parametrize(("code", "ends"), [(Exit.UNCERTAIN, 5), (Exit.DONE, 1)])
def test_what_was_done_is_told_though_stdout_is_full(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    told: Callable[[Session, Outcome[str]], int],
    *,
    json_wanted: bool,
    code: Exit,
    ends: int,
) -> None:
    """The answer of a command that acted goes to stderr, one document, then why in words; what it ended with
    stays the exit code, and success is none where nobody could read it.
    """
    monkeypatch.setattr(sys, "stdout", failing(errno.ENOSPC))
    session = Session(options=Options(json=json_wanted), environ={})
    error = LIVE.error if code else None
    assert told(session, replace(LIVE, code=code, error=error)) == ends
    first, *others, why = capsys.readouterr().err.splitlines()
    reason = "the output cannot be written: ENOSPC"
    if json_wanted:
        assert json.loads(first)["data"] == LIVE.data
    else:
        assert (first, others[0]) == (LIVE.shown, "warning: careful")
    assert why == f"Error: {reason}"
    assert not [line for line in others if "bug" in line]


def test_a_listing_that_cannot_be_written_is_not_poured_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    told: Callable[[Session, Outcome[str]], int],
) -> None:
    """Who only asked asks again: one sentence."""
    monkeypatch.setattr(sys, "stdout", failing(errno.EDQUOT))
    assert told(Session(environ={}), Outcome(data={}, shown="rows")) == 1
    assert capsys.readouterr().err == "Error: the output cannot be written: EDQUOT\n"


def test_a_reader_that_goes_away_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    told: Callable[[Session, Outcome[str]], int],
) -> None:
    """``fundarb close BTC --yes | head -0`` still ends with 5, and says on stderr why."""
    monkeypatch.setattr(sys, "stdout", failing(errno.EPIPE))
    assert told(Session(environ={}), LIVE) == 5
    assert capsys.readouterr().err.splitlines() == ["warning: careful", "Error: something may be live"]


@pytest.mark.parametrize("words", [("nonsense", "--json"), ("--json", "config", "shwo")])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_an_error_whose_envelope_nobody_takes_is_said_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], number: int
) -> None:
    """Neither a traceback nor silence, and the error's own exit code."""
    monkeypatch.setattr(sys, "stdout", failing(number))
    assert frame.main(words, session=Session(environ={})) == 2
    said = capsys.readouterr().err
    assert said.startswith("Error: No such command")
    assert "Traceback" not in said


def test_messages_that_cannot_be_written_stop_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log of a daemon is on a full disk, or its reader gone: the alert is told within a commit of the
    trading thread, and that commit stands.
    """
    for number in (errno.ENOSPC, errno.EPIPE):
        monkeypatch.setattr(sys, "stderr", failing(number))
        with Store.open(url_of(tmp_path / "a.db"), clock=SystemClock()) as store:
            tell_events(Session(environ={}), store, alerts=True)
            store.events.record(AlertRaised(code="x", subject="y", message="z"))
            assert store.events.last(1)[0].kind == "alert_raised"
        assert frame.main(["nonsense"], session=Session(environ={})) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_character_that_an_encoding_lacks_costs_no_answer(
    monkeypatch: pytest.MonkeyPatch, told: Callable[[Session, Outcome[str]], int], encoding: str
) -> None:
    """Text shows its number; documents are UTF-8 as everywhere, so that what reads them can."""
    done = replace(LIVE, data={"note": "– ÷"}, code=Exit.DONE, error=None)
    for wanted in (False, True):
        stream, arrived = taking(encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        assert told(Session(options=Options(json=wanted), environ={}), done) == 0
        if wanted:
            assert json.loads(arrived.getvalue().decode())["data"] == done.data
        else:
            assert arrived.getvalue() == b"p-1 EXPOSED \\u2013 2 legs\n"


def test_a_path_that_is_no_text_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file's name of bytes that are no UTF-8 is said by their numbers, also within JSON."""
    name = os.fsdecode(b"\xff.db")
    for words in (["--json"], []):
        assert frame.main([*words, "restore", name, "--yes"], session=Session(environ={}, cwd=tmp_path)) == 2
    captured = capsys.readouterr()
    assert "\\udcff.db: there is no such backup" in captured.err
    assert "\udcff.db" in json.loads(captured.out)["error"]["message"]


CLOSED = """
import os, sys
from fundarb.cli.main import main
codes = [main(["--json", "--version"]), main(["nonsense"]), main(["open", "BTC", "--notional", "100"])]
taken = os.open("codes", os.O_WRONLY | os.O_CREAT)
os.write(taken, repr((*codes, taken > 2)).encode())
sys.exit(codes[0])
"""


def test_streams_that_were_closed_at_the_start(tmp_path: Path, repo_root: Path) -> None:
    """Every exit code is as ever, and no file that is opened later gets the number of a stream, in which a
    library's words would end.
    """
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, CLOSED],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repo_root), "FUNDARB_HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    assert (tmp_path / "codes").read_text() == "(<Exit.BUG: 1>, <Exit.USAGE: 2>, <Exit.USAGE: 2>, True)"


def test_a_closed_stdout_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was printed: that is no success, and no bug."""
    monkeypatch.setattr(sys, "stdout", None)
    assert frame.main(["--version"], session=Session(environ={})) == 1
    assert capsys.readouterr().err == "Error: the output cannot be written: it is closed\n"


def test_a_closed_stdin_answers_no_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As without a terminal: ``--yes`` is asked for."""
    monkeypatch.setattr(sys, "stdin", None)
    session = Session(environ={"FUNDARB_HOME": str(tmp_path)})
    assert frame.main(["open", "BTC", "--notional", "100"], session=session) == 2
    assert capsys.readouterr().err.endswith("no terminal to ask on; add --yes\n")


@pytest.mark.parametrize(("said", "meant"), [("0", ""), ("nonsense", ""), ("40", "80"), ("1", "80")])
def test_no_figure_is_cut_on_a_narrow_screen(shell: Shell, said: str, meant: str) -> None:
    """Below 80 columns lines are as for 80; a width of nothing is no width."""
    words = ("scan", "--recorded", "--top", "3")
    found = shell(*words, COLUMNS=said).stdout
    assert found == shell(*words, COLUMNS=meant).stdout
    assert len(found.splitlines()) > 3
    assert "…" not in found
