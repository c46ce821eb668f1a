"""The frame of the command line: exit codes, envelopes, streams, secrets, and how every way of failing
looks.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from fundarb.cli import document, terminal
from fundarb.cli.common import Outcome, finish
from fundarb.cli.document import Envelope, Failure
from fundarb.cli.exits import Exit
from fundarb.cli.failure import lines
from fundarb.cli.logs import configure
from fundarb.cli.main import cli, main
from fundarb.cli.session import Options, Session
from fundarb.clock import VirtualClock
from fundarb.core.exact_json import jsonable
from fundarb.core.market import Category
from fundarb.core.money import Money
from fundarb.core.reasons import Reason
from fundarb.errors import (
    BadAnswer,
    ConfigError,
    FundarbError,
    IllegalTransition,
    InvariantBroken,
    Locked,
    NotSent,
    OutcomeUncertain,
    Problem,
    Rejected,
    Unavailable,
)
from tests.cli.conftest import Shell

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
CANARY = "canary-7f3a9c-secret"


class Failing:
    """An app whose every use fails in one way."""

    def __init__(self, error: BaseException) -> None:
        """Fail so."""
        self.error = error

    @property
    def scanner(self) -> NoReturn:
        """Fails."""
        raise self.error

    def time(self) -> datetime:
        """The time of the test."""
        return NOW

    def interrupted(self) -> str:
        """Nothing was begun."""
        return "interrupted"

    def close(self) -> None:
        """Nothing is open."""


def failing(error: BaseException, *words: str, **environ: str) -> Result:
    """``fundarb scan`` over an app that fails."""
    session = Session(environ={**os.environ, **environ}, clock=VirtualClock(NOW))
    session.__dict__["app"] = Failing(error)
    return CliRunner().invoke(cli, [*words, "scan"], obj=session)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (ConfigError("a", Problem("b", "c", "d")), 2, "config_error"),
        (Unavailable("away"), 4, "unavailable"),
        (BadAnswer("garbage"), 4, "bad_answer"),
        (Rejected("no", code=110007), 3, "rejected"),
        (NotSent("held"), 3, "not_sent"),
        (OutcomeUncertain("maybe"), 5, "outcome_uncertain"),
        (Locked("pid 5"), 7, "locked"),
        (InvariantBroken("impossible"), 6, "invariant_broken"),
        (IllegalTransition("bug"), 1, "illegal_transition"),
        (FundarbError("other"), 1, "error"),
        (KeyError("bug"), 1, "error"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_each_error_has_its_exit_code_and_kind(error: BaseException, code: int, kind: str) -> None:
    """As text the message stands on stderr alone; with --json an envelope stands on stdout; the code is the
    same.
    """
    text = failing(error)
    assert (text.exit_code, text.stdout) == (code, "")
    assert "Traceback" not in text.stderr
    envelope = json.loads(failing(error, "--json").stdout)
    assert (envelope["schema"], envelope["as_of"]) == ("fundarb.scan/1", "2026-11-22T09:00:00Z")
    assert envelope["data"] is None
    assert envelope["error"]["kind"] == kind
    assert set(envelope["error"]) == {"kind", "message", "reasons"}


def test_all_problems_of_a_configuration_are_printed() -> None:
    """Three problems are three lines and three reasons."""
    error = ConfigError("one", Problem("fundarb.toml [risk] a", "two", "mend it"), "three")
    assert "3 problems" in failing(error).stderr
    assert "fundarb.toml [risk] a: two; mend it" in failing(error).stderr
    assert len(json.loads(failing(error, "--json").stdout)["error"]["reasons"]) == 3


def test_uncertain_says_what_to_do_next() -> None:
    """After a doubtful outcome a person is sent to reconcile."""
    assert "fundarb reconcile" in failing(OutcomeUncertain("maybe")).stderr


def test_a_bug_shows_its_traceback_only_when_asked() -> None:
    """-vv prints where it happened, without it nothing technical is shown."""
    assert "-vv" in failing(KeyError("x")).stderr
    assert "Traceback" in failing(KeyError("x"), "-vv").stderr


@pytest.mark.parametrize("words", [(), ("--json",), ("-vv",), ("-vv", "--json"), ("-q",)])
def test_no_secret_is_printed_whatever_fails(words: tuple[str, ...]) -> None:
    """A key that got into an exception is masked on both streams, tracebacks and envelopes included."""
    environ = {"BYBIT_API_KEY": "k" * 18, "BYBIT_API_SECRET": CANARY}
    for error in (KeyError(CANARY), Unavailable(f"GET /x?key={CANARY}"), ConfigError(f"bad {CANARY}")):
        result = failing(error, *words, **environ)
        assert CANARY not in result.output
        assert "***" in result.output


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "words",
    [
        ("config", "show"),
        ("config", "check"),
        ("init", "x"),
        ("scan", "--recorded"),
        ("scan", "--notional", "2000"),
    ],
)
def test_json_is_accepted_before_and_after_every_command(
    shell: Shell, words: tuple[str, ...], place: str
) -> None:
    """One JSON object on one line of stdout, wherever ``--json`` stands."""
    given = ("--json", *words) if place == "before" else (*words, "--json")
    result = shell(*given)
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["schema"].startswith("fundarb.")


def test_json_is_accepted_in_the_middle_of_a_group(shell: Shell) -> None:
    """``fundarb config --json show`` is understood too."""
    assert json.loads(shell("config", "--json", "show").stdout)["schema"] == "fundarb.config_show/1"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("scam",), "No such command 'scam'. Did you mean 'scan'?"),
        (("config",), ""),
        (("config", "shwo"), "Did you mean 'show'?"),
        (("--nope", "scan"), "No such option: --nope"),
        (("scan", "extra"), "unexpected extra argument"),
        (("--config",), "requires an argument"),
    ],
)
def test_a_command_line_that_cannot_be_understood_is_exit_2(
    shell: Shell, words: tuple[str, ...], sentence: str
) -> None:
    """Usage and the mistake on stderr, and with --json an envelope of kind config_error."""
    result = shell(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    envelope = json.loads(shell(*words, "--json").stdout)
    assert envelope["error"]["kind"] == "config_error"


def test_json_after_two_dashes_is_an_argument(shell: Shell) -> None:
    """What follows ``--`` is no option."""
    assert shell("init", "--", "--json").stdout.startswith("written")


def test_a_full_disk_is_no_bug(tmp_path: Path, repo_root: Path) -> None:
    """Output that cannot be written is said with the system's words, and is not called a bug of ours."""
    program = "import sys; from fundarb.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, "scan", "--recorded"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(repo_root)},
        )
    assert done.returncode == 1
    assert "cannot be written: No space left on device" in done.stderr
    assert "bug" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("words", "offered"), [((), "scan"), (("config",), "check")])
def test_without_a_command_the_help_is_shown(shell: Shell, words: tuple[str, ...], offered: str) -> None:
    """``fundarb`` or a group alone prints its help once, no list of problems; as JSON one sentence."""
    result = shell(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"\n  {offered} " in result.stderr
    assert result.stderr.count("Usage:") == 1
    assert "problems" not in result.stderr
    assert shell.json(*words)["error"]["message"] == "Missing command."


def test_what_is_wrong_with_a_value_is_said_without_the_words_of_a_library(shell: Shell) -> None:
    """A choice or a number that does not fit is explained in a sentence of our own."""
    assert "'luck' is not one of" in shell("scan", "--sort", "luck").stderr
    assert "Value error" not in shell("scan", "--sort", "luck").stderr
    assert "must be at least 1" in shell("scan", "--top", "0").stderr
    assert "must be a whole number" in shell("scan", "--top", "many").stderr


def test_the_version_is_printed(shell: Shell) -> None:
    """``--version`` names the program and its number."""
    assert shell("--version").stdout.startswith("fundarb 0.")


def test_nothing_is_asked_without_a_terminal() -> None:
    """A question without a terminal and without --yes is a usage error; --yes answers it."""
    session = Session()
    assert session.confirm("Sure?", yes=True)
    with pytest.raises(ConfigError, match="add --yes"):
        session.confirm("Sure?", yes=False)


def test_progress_is_silent_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """A progress bar writes nothing where nobody watches."""
    with Session().progress("working") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """No descriptor."""
        raise OSError


@pytest.mark.parametrize(
    ("options", "environ", "coloured"),
    [
        (Options(), {}, True),
        (Options(no_color=True), {}, False),
        (Options(), {"NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, options: Options, environ: dict[str, str], *, coloured: bool
) -> None:
    """On a terminal results are coloured, unless --no-color or NO_COLOR says otherwise."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    session = Session(options=options, environ={"COLUMNS": "80", **environ})
    session.out.print("x", style="red")
    assert ("\x1b[31m" in stream.getvalue()) is coloured


def test_progress_is_shown_on_a_terminal_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar appears on stderr while a person watches."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    with Session(environ={"COLUMNS": "80"}).progress("working") as advance:
        advance(1, 2)
    assert "working" in stream.getvalue()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, repo_root: Path) -> None:
    """``fundarb scan --recorded --all | head -1`` ends quietly with 0."""
    program = "import sys; from fundarb.cli.main import main; sys.exit(main())"
    script = f'{sys.executable} -c "{program}" scan --recorded --all | head -1; exit ${{PIPESTATUS[0]}}'
    environ = {**os.environ, "PYTHONPATH": str(repo_root), "FUNDARB_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, check=False)
    assert (
        done.returncode,
        done.stderr.replace("This market is invented. `fundarb scan` asks Bybit.\n", ""),
    ) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_a_broken_pipe_inside_a_command_is_no_error() -> None:
    """BrokenPipeError anywhere in a command ends with 0 and without a word."""
    result = failing(BrokenPipeError())
    assert (result.exit_code, result.output) == (0, "")


def test_main_returns_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The entry point returns the exit code for ``sys.exit``."""
    assert main(["--version"]) == 0
    assert main(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_outcomes_with_a_result_and_an_error_show_both(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 8 carries data and reasons: in JSON both, as text the result on stdout and the reasons on
    stderr.
    """
    outcome = Outcome(
        data={"state": "EXPOSED"},
        shown="EXPOSED",
        as_of=NOW,
        warnings=(Reason("w", "careful"),),
        code=Exit.INCOMPLETE,
        error=Failure(
            kind="incomplete", message="half", reasons=(Reason("a", "one leg"), Reason("b", "only"))
        ),
    )
    session = Session(environ={})
    assert finish(session, outcome, render=lambda run, text: run.out.print(text)) == 8
    out, err = capsys.readouterr()
    assert out == "EXPOSED\n"
    assert err.splitlines() == ["warning: careful", "Error: half", "  one leg", "  only"]
    session.options.json = True
    assert finish(session, outcome, render=lambda run, text: None) == 8
    envelope = json.loads(capsys.readouterr().out)
    assert (envelope["data"], envelope["error"]["kind"]) == ({"state": "EXPOSED"}, "incomplete")
    assert envelope["warnings"] == [{"code": "w", "message": "careful"}]


def test_quiet_keeps_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """-q drops remarks and keeps errors."""
    session = Session(options=Options(quiet=True), environ={})
    session.say("remark")
    session.say("broken", style="red")
    assert capsys.readouterr().err == "broken\n"


def test_exact_values_become_json() -> None:
    """Decimals in plain notation, times in UTC, durations in seconds, enums by value, money with its coin."""
    value = {
        "d": Decimal("1E-8"),
        "n": Decimal("-0.00"),
        "t": NOW,
        "s": timedelta(milliseconds=1500),
        "e": Category.SPOT,
        "x": Exit.LOCKED,
        "m": Money(Decimal(5), "USDT"),
        "p": Path("/a"),
        "l": (1, None, True),
    }
    assert jsonable(value) == {
        "d": "0.00000001",
        "n": "0",
        "t": "2026-11-22T09:00:00Z",
        "s": "1.5",
        "e": "spot",
        "x": 7,
        "m": {"amount": "5", "coin": "USDT"},
        "p": "/a",
        "l": [1, None, True],
    }


@pytest.mark.parametrize("value", [0.5, object(), {"a": 1.0}])
def test_values_without_an_exact_form_are_refused(value: object) -> None:
    """A float never reaches the output."""
    with pytest.raises(TypeError):
        jsonable(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20))
def test_decimals_survive_json(value: Decimal) -> None:
    """Reading a written Decimal gives the same number, without an exponent."""
    written = jsonable(value)
    assert Decimal(written) == value
    assert "E" not in written.upper()


def test_an_envelope_is_one_line() -> None:
    """Newlines in messages stay inside the JSON string."""
    envelope = Envelope(schema="s", as_of=NOW, venue=None, mode=None, error=Failure(kind="k", message="a\nb"))
    assert len(document.text(envelope).splitlines()) == 1


def test_logging_is_masked_and_chatty_loggers_are_held(capsys: pytest.CaptureFixture[str]) -> None:
    """Even at -vv ccxt's logger, which prints headers, stays at WARNING, and secrets in log lines are
    masked.
    """
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    session = Session(options=Options(verbose=2), environ={"BYBIT_API_SECRET": CANARY})
    try:
        configure(2, quiet=False, stream=terminal.RedactingStream(terminal.stderr, session.redact))
        logging.getLogger("ccxt.base.exchange").debug("X-BAPI-SIGN")
        logging.getLogger("fundarb").debug("secret %s", CANARY)
    finally:
        root.handlers[:] = before[1]
        root.setLevel(before[0])
        logging.captureWarnings(capture=False)
    text = capsys.readouterr().err
    assert "secret ***" in text
    assert "X-BAPI" not in text


@pytest.mark.parametrize(
    ("verbose", "quiet", "level"),
    [(0, False, "WARNING"), (1, False, "INFO"), (5, False, "DEBUG"), (2, True, "ERROR")],
)
def test_verbosity_sets_the_level(verbose: int, *, quiet: bool, level: str) -> None:
    """-v is INFO, -vv and more DEBUG, -q ERROR."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    try:
        configure(verbose, quiet=quiet, stream=terminal.RedactingStream(terminal.stderr, str))
        assert logging.getLevelName(root.level) == level
    finally:
        root.handlers[:] = before[1]
        root.setLevel(before[0])
        logging.captureWarnings(capture=False)


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> None:
    """With a terminal on both sides the question is put and the answer counts."""
    stream = Terminal("y\n" if answer else "n\n")
    monkeypatch.setattr(sys, "stdin", stream)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert Session(environ={}).confirm("Sure?", yes=False) is answer


def test_silencing_a_stream_without_descriptor_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced stdout has nothing to be pointed elsewhere."""
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=_no_descriptor))
    terminal.silence(sys.stdout)


def _no_descriptor() -> int:
    raise OSError


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (Failure(kind="locked", message="busy", reasons=(Reason("locked", "busy"),)), ["Error: busy"]),
        (
            Failure(kind="refused", message="refused: a; b", reasons=(Reason("x", "a"), Reason("y", "b"))),
            ["Error: refused:", "  a", "  b"],
        ),
        (
            Failure(kind="refused", message="half: a", reasons=(Reason("x", "a"), Reason("y", "b"))),
            ["Error: half: a", "  b"],
        ),
        (Failure(kind="config_error", message="a\nb"), ["Error: 2 problems:", "  a", "  b"]),
    ],
)
def test_every_failure_has_one_form(what: Failure, shown: list[str]) -> None:
    """A sentence behind ``Error:``, and below it what it does not say; nothing is said twice."""
    assert list(lines(what)) == shown


@pytest.mark.parametrize(
    ("forbidden", "until", "advice"),
    [
        (False, None, "Nothing was changed. Try again; `fundarb doctor` says what can be reached."),
        (True, NOW, f"Nothing was changed. Wait until {NOW:%H:%M:%S} UTC: no request is sent before."),
        (True, None, "Nothing was changed."),
    ],
)
def test_nobody_is_told_to_try_what_cannot_help(
    *, forbidden: bool, until: datetime | None, advice: str
) -> None:
    """A venue that is away is asked again, a ban waited for; a country that is not served is neither, and the
    message itself says what there is to do. The same where it names what is unfinished.
    """
    error = Unavailable("HTTP 403: why")
    error.forbidden, error.until = forbidden, until
    for told in (error, error.reworded("HTTP 403: why; and more")):
        assert failing(told).stderr.splitlines() == [f"Error: {told}", advice]


def test_it_runs_as_a_module(tmp_path: Path, repo_root: Path) -> None:
    """``python -m fundarb`` is the console script."""
    done = subprocess.run(
        [sys.executable, "-m", "fundarb", "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "fundarb")


def test_no_summary_of_a_group_is_cut(shell: Shell) -> None:
    """What a group's help says about its commands fits its lines."""
    for group in ("config", "jobs", "notify", "sandbox"):
        assert "..." not in shell(group, "--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_of_somebody_else_is_no_bug(number: int) -> None:
    """A read-only disk or a folder of another user: exit 2 with the file and the remedy."""
    found = failing(OSError(number, "not here", "/ro/x.lock"))
    assert found.exit_code == 2
    assert found.stderr == "Error: /ro/x.lock: cannot be used: not here; choose another place\n"


def test_a_file_that_cannot_be_written_is_named() -> None:
    """A full disk under a file of ours is not blamed on the output."""
    error = OSError(28, "No space left on device", "/tmp/x/y.db")
    assert failing(error).stderr == "Error: /tmp/x/y.db cannot be written: No space left on device\n"
