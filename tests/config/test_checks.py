"""What ``doctor`` finds on this machine when something is in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fundarb.config import Settings, envfile
from fundarb.config.checks import file_checks, mend_env_file
from fundarb.core.health import Level


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file where a parent folder should be fails with the way out."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    (check,) = file_checks(Settings(home=tmp_path / "file" / "home"), mend=True)
    assert (check.level, check.remedy) == (Level.FAIL, "set FUNDARB_HOME")


def test_a_cache_that_cannot_be_kept_is_said(tmp_path: Path) -> None:
    """A file where the cache folder should be costs requests at every scan: a warning with the way out."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    assert "cache" not in {check.id for check in file_checks(Settings(home=home), mend=False)}
    (home / "cache").write_text("", encoding="utf-8")
    (check,) = (check for check in file_checks(Settings(home=home), mend=False) if check.id == "cache")
    assert (check.level, check.ok) == (Level.WARN, True)
    assert str(home / "cache") in check.remedy


def test_a_used_env_file_is_reported(tmp_path: Path) -> None:
    """A ``.env`` that was accepted is listed as private."""
    checks = file_checks(Settings(home=tmp_path, env_file=tmp_path / ".env"), mend=False)
    assert checks[-1].id == "env_file"


def test_mending_a_file_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    """No ``.env`` and a private ``.env`` are both left alone."""
    assert mend_env_file(tmp_path / ".env") is False
    (tmp_path / ".env").write_text("", encoding="utf-8")
    (tmp_path / ".env").chmod(0o600)
    assert mend_env_file(tmp_path / ".env") is False


def test_somebody_elses_env_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user is refused, with the command that gives it back; a vanished one is named."""
    path = tmp_path / ".env"
    path.write_text("", encoding="utf-8")
    path.chmod(0o600)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    (problem,) = envfile.file_problems(path)
    assert "belongs to another user" in str(problem)
    (gone,) = envfile.file_problems(tmp_path / "gone")
    assert "cannot be read" in str(gone)
