"""``init``, ``config`` and ``doctor``."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.clock import SystemClock
from fundarb.store.sqlite import APPLICATION_ID
from scripts.demo_market import Row
from tests.cli.conftest import Serve, Shell
from tests.factories import Reply

CANARY = "canary-91b7-secret"


def test_init_writes_once_and_keeps_afterwards(shell: Shell, tmp_path: Path) -> None:
    """The first run writes three files, the second keeps them; both end with 0."""
    first = shell.json("init", str(tmp_path / "new"))["data"]
    assert set(first["written"]) == {"fundarb.toml", "jobs.toml", ".env.example"}
    second = shell("init", str(tmp_path / "new"))
    assert second.exit_code == 0
    assert second.stdout.count("kept") == 3
    assert shell("init", str(tmp_path / "other")).stdout.count("written") == 3


def test_init_works_with_a_broken_configuration(shell: Shell, tmp_path: Path) -> None:
    """A broken file in the way does not stop it, nor is it touched."""
    Path("fundarb.toml").write_text("broken", encoding="utf-8")
    assert shell("init").exit_code == 0
    assert Path("fundarb.toml").read_text(encoding="utf-8") == "broken"
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert shell("init", str(tmp_path / "file" / "x")).exit_code == 2


def test_what_init_writes_is_accepted(shell: Shell) -> None:
    """The written settings and jobs pass ``config check``."""
    shell("init")
    found = shell.json("config", "check")["data"]
    assert (found["ok"], found["jobs"]) == (True, 9)
    assert found["files"]["config"].endswith("fundarb.toml")
    assert "in order" in shell("config", "check").stdout


def test_config_show_names_each_source_and_masks_secrets(shell: Shell) -> None:
    """Every setting with its value and origin; no secret, though all are set."""
    Path("fundarb.toml").write_text('[risk]\nmax_gross = "4000"\n', encoding="utf-8")
    environ = {
        "BYBIT_API_KEY": f"{CANARY}-key",
        "BYBIT_API_SECRET": CANARY,
        "FUNDARB_DB": f"postgresql://me:{CANARY}@db/x",
        "FUNDARB_MODE": "paper",
    }
    result = shell("--json", "config", "show", **environ)
    data = json.loads(result.stdout)["data"]
    sources = {item["name"]: (item["value"], item["source"]) for item in data["settings"]}
    assert sources["risk.max_gross"] == ("4000", "fundarb.toml [risk] max_gross")
    assert sources["mode"] == ("paper", "environment FUNDARB_MODE")
    assert sources["risk.max_positions"] == ("5", "default")
    assert data["database"] == "postgresql://me:***@db/x"
    assert data["key"] == {"given": True, "source": "environment BYBIT_API_KEY"}
    text = shell("config", "show", **environ).output
    assert "drift_limit" in text
    assert CANARY not in text + result.output


def test_config_check_lists_the_problems_of_both_files(shell: Shell) -> None:
    """Settings and jobs are checked in one go; exit 2."""
    Path("fundarb.toml").write_text("[risk]\nmax_gross = 1\n", encoding="utf-8")
    Path("jobs.toml").write_text(
        '[[job]]\nname = "a"\nrun = "b"\ntrigger = "cron"\nminute = "99"\n', encoding="utf-8"
    )
    result = shell("config", "check")
    assert result.exit_code == 2
    for place in ("fundarb.toml [risk] max_gross", "jobs.toml job 1 (a) run", "jobs.toml job 1 (a) minute"):
        assert place in result.stderr
    Path("fundarb.toml").unlink()
    assert shell("config", "check").exit_code == 2
    Path("jobs.toml").unlink()
    Path("fundarb.toml").write_text("x = 1\n", encoding="utf-8")
    assert len(shell.json("config", "check")["error"]["reasons"]) == 1


def test_every_command_works_without_any_file(shell: Shell) -> None:
    """In an empty folder the settings are the defaults."""
    assert "no files: all defaults" in shell("config", "check").stdout


# ------------------------------------------------------------------------------------------- doctor


def levels(envelope: dict[str, object]) -> dict[str, str]:
    """Level by check."""
    data = envelope["data"]
    assert isinstance(data, dict)
    return {check["id"]: check["level"] for check in data["checks"]}


def test_doctor_finds_a_healthy_venue_in_order(shell: Shell, serve: Serve) -> None:
    """Every check of a healthy installation is ok; exit 0."""
    shell.clock = SystemClock()
    place = serve()
    result = shell("--json", *place.words, "doctor")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    wanted = {"configuration", "home", "jobs", "disk", "database", "reachability", "clock", "instruments"}
    assert set(levels(found)) >= wanted | {"key", "account_mode", "fees"}
    assert set(levels(found).values()) == {"ok"}
    assert found["data"]["clean"] is True


def test_doctor_finds_nothing_to_mend_after_a_first_scan(shell: Shell, serve: Serve) -> None:
    """What a scan leaves on a new machine is as private as doctor wants it."""
    shell.clock = SystemClock()
    place = serve()
    assert shell(*place.words, "scan").exit_code == 0
    assert set(levels(shell.json(*place.words, "doctor")).values()) == {"ok"}


def test_doctor_says_how_to_reach_what_it_could_not(shell: Shell) -> None:
    """A sandbox is started; for a real venue the network and the host are looked at."""
    words = ("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "doctor")
    (check,) = [c for c in shell.json(*words)["data"]["checks"] if c["id"] == "reachability"]
    assert "fundarb sandbox serve" in check["remedy"]
    assert "hostname" not in check["remedy"]


def test_doctor_says_each_failure_with_its_remedy(shell: Shell, serve: Serve) -> None:
    """Nobody there: the check fails with what to look at, and the exit code is 6."""
    result = shell("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "doctor")
    assert result.exit_code == 6
    assert "→" in result.stdout
    found = shell.json("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "doctor")
    assert found["error"]["kind"] == "mismatch"
    assert levels(found)["reachability"] == "fail"


@pytest.mark.parametrize("seconds", [5, -5])
def test_doctor_fails_on_a_clock_that_is_off(shell: Shell, serve: Serve, seconds: int) -> None:
    """Five seconds either way fail, with the way to set a clock."""
    result = shell(*serve(skew=timedelta(seconds=seconds)).words, "doctor")
    assert result.exit_code == 6
    assert "5 s" in result.stdout.replace("5.", "5 s")
    assert "NTP" in result.stdout


def test_doctor_refreshes_and_mends_with_fix(shell: Shell, serve: Serve) -> None:
    """--fix closes what is open to others, makes the home folder and reads the instruments anew."""
    Path(".env").write_text("", encoding="utf-8")
    Path(".env").chmod(0o644)
    place = serve()
    assert shell(*place.words, "doctor").exit_code == 6
    found = shell.json(*place.words, "doctor", "--fix")
    assert Path(".env").stat().st_mode & 0o077 == 0
    fixed = {check["id"] for check in found["data"]["checks"] if check["fixed"]}
    assert {"env_file", "home", "instruments"} <= fixed
    home = Path(os.environ["FUNDARB_HOME"])
    home.chmod(0o755)
    (home / "bybit.db").write_text("", encoding="utf-8")
    (home / "bybit.db").chmod(0o644)
    assert levels(shell.json(*place.words, "doctor"))["files"] == "warn"
    assert shell(*place.words, "doctor", "--fix").stdout.count("(mended)") >= 2
    assert home.stat().st_mode & 0o777 == 0o700


def test_doctor_reports_a_broken_configuration_as_a_finding(shell: Shell) -> None:
    """Every problem of the settings is a failed check; what needs settings is left out."""
    Path("fundarb.toml").write_text("[risk]\nmax_gross = 1\nnope = 2\n", encoding="utf-8")
    result = shell("--json", "doctor")
    assert result.exit_code == 6
    checks = json.loads(result.stdout)["data"]["checks"]
    assert [check["id"] for check in checks] == ["configuration", "configuration"]


def test_doctor_looks_at_jobs_home_and_instruments(shell: Shell, serve: Serve) -> None:
    """Broken jobs, a home that is a file and an empty instrument list each fail by name."""
    Path("jobs.toml").write_text("[[job]]\n", encoding="utf-8")
    Path("home-file").write_text("", encoding="utf-8")

    def empty(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        if path.endswith("instruments-info"):
            answer["result"]["list"] = []
        return None

    found = shell("--json", *serve(fault=empty).words, "doctor", FUNDARB_HOME="home-file")
    failed = {key for key, level in levels(json.loads(found.stdout)).items() if level == "fail"}
    assert failed == {"jobs", "home", "instruments"}


def test_doctor_looks_at_the_database(shell: Shell, serve: Serve) -> None:
    """A file that is no database, one of an older schema and a URL of another kind: each is found, the first
    and the last fail.
    """
    place = serve()
    Path("bad.db").write_bytes(b"no database at all")
    bad = shell.json(*place.words, "--db", "sqlite:///bad.db", "doctor")
    assert levels(bad)["database"] == "fail"
    assert bad["error"]["kind"] == "mismatch"
    with closing(sqlite3.connect("old.db")) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("CREATE TABLE meta (key TEXT)")
    old = shell.json(*place.words, "--db", "sqlite:///old.db", "doctor")
    assert levels(old)["database"] == "warn"


def test_an_empty_jobs_file_is_no_schedule(shell: Shell) -> None:
    """A jobs.toml without a job is a mistake that is said, not a bot that only watches."""
    Path("jobs.toml").write_text("# later\n", encoding="utf-8")
    for words in (("config", "check"), ("jobs", "list")):
        result = shell(*words)
        assert result.exit_code == 2
        assert "jobs.toml: names no job" in result.stderr
