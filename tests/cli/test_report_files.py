"""Where a report is written to: all of it or nothing, and a disk that is full is nobody's usage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.conftest import Shell


def report(shell: Shell, home: Path, target: Path) -> Result:
    """An empty report as CSV into a file."""
    return shell("report", "pnl", "--format", "csv", "-o", str(target), FUNDARB_HOME=str(home))


def test_a_full_disk_leaves_what_was_there(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails half way: exit 1 with the system's words, the old report whole, nothing beside it."""
    target = tmp_path / "pnl.csv"
    target.write_text("old")
    write = Path.write_text

    def full(self: Path, text: str, **kind: str) -> int:
        if self.parent == tmp_path:
            write(self, text[:5], **kind)
            raise OSError(28, "No space left on device", str(self))
        return write(self, text, **kind)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        found = report(shell, tmp_path / "home", target)
    assert found.exit_code == 1
    assert f"{target} cannot be written: No space left on device" in found.stderr
    assert "bug" not in found.stderr
    assert target.read_text() == "old"
    assert [path for path in tmp_path.iterdir() if path.is_file()] == [target]


def test_a_report_takes_the_place_of_the_old_one(shell: Shell, tmp_path: Path) -> None:
    """Also through a link, and with the old file's permissions."""
    target, link = tmp_path / "pnl.csv", tmp_path / "link.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert report(shell, tmp_path / "home", link).exit_code == 0
    assert target.read_text().startswith("key,funding,")
    assert target.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_what_is_no_file_is_written_into(shell: Shell, tmp_path: Path) -> None:
    """A named pipe gets the text and stays a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert report(shell, tmp_path / "home", pipe).exit_code == 0
        assert os.read(reader, 100).startswith(b"key,funding,")
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_place_that_is_none_is_a_usage_error(shell: Shell, tmp_path: Path) -> None:
    """A folder that does not exist: exit 2, and it is named."""
    found = report(shell, tmp_path / "home", tmp_path / "nowhere" / "pnl.csv")
    assert found.exit_code == 2
    assert "pnl.csv cannot be written: No such file or directory" in found.stderr
