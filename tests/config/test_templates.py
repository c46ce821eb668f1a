"""The packaged templates: complete, equal to the defaults, and never written over anything."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.config import Settings
from fundarb.config.schema import Execution, Paper, Venue, keys
from fundarb.config.sources import environment_names
from fundarb.config.templates import template, write
from fundarb.core.money import Money
from fundarb.errors import ConfigError


def test_the_template_holds_every_setting_at_its_default(settle: Callable[..., Settings]) -> None:
    """fundarb.toml names each key once, and loading it changes nothing."""
    table = tomllib.loads(template("fundarb.toml"))
    assert [("", "mode"), *((s, k) for s, t in table.items() if isinstance(t, dict) for k in t)] == list(
        keys()
    )
    plain, loaded = settle(), settle(toml=template("fundarb.toml"))
    assert loaded.texts == plain.texts
    for name in ("venue", "account", "risk", "execution", "strategy", "reconcile", "paper", "notify"):
        assert getattr(loaded, name) == getattr(plain, name)


def test_every_setting_is_explained_in_the_template() -> None:
    """Each line with a value carries a comment, but those whose names say it all."""
    lines = [
        line for line in template("fundarb.toml").splitlines() if " = " in line and not line.startswith("#")
    ]
    silent = [line.split()[0] for line in lines if "#" not in line]
    assert silent == ["max_positions"]


def test_the_checkout_carries_the_same_files(repo_root: Path) -> None:
    """The files at the root of the checkout are the packaged templates."""
    for place, name in (("fundarb.toml",) * 2, ("jobs.toml",) * 2, (".env.example", "env.example")):
        assert (repo_root / place).read_text(encoding="utf-8") == template(name)


def test_the_env_example_names_real_settings() -> None:
    """Every FUNDARB_ name in .env.example exists."""
    named = {
        word.split("=")[0] for word in template("env.example").replace("#", " ").split() if "FUNDARB_" in word
    }
    known = {*environment_names(), "FUNDARB_HOME", "FUNDARB_DB", "FUNDARB_*", "FUNDARB_<SECTION>_<KEY>.", ""}
    assert {name for name in named if name not in known} == set()


def test_writing_keeps_what_is_there(tmp_path: Path) -> None:
    """New files appear, existing ones keep their content, and a second run does nothing."""
    folder = tmp_path / "new" / "deep"
    first = write(folder)
    assert set(first.written) == {"fundarb.toml", "jobs.toml", ".env.example"}
    assert stat.S_IMODE((folder / ".env.example").stat().st_mode) == 0o600
    (folder / "jobs.toml").unlink()
    (folder / "fundarb.toml").write_text("mine", encoding="utf-8")
    second = write(folder)
    assert (second.written, set(second.kept)) == (("jobs.toml",), {"fundarb.toml", ".env.example"})
    assert (folder / "fundarb.toml").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    """A file in the way of the folder is named."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(tmp_path / "file" / "folder")


def test_values_from_code_are_taken_as_they_are() -> None:
    """Tests and tools may give parsed values instead of text; a wrong type is still refused."""
    paper = Paper(balance=(Money(Decimal(5), "BTC"),), latency=timedelta(0))
    assert paper.balance == (Money(Decimal(5), "BTC"),)
    assert Execution(unwind_caps=(Decimal("0.001"), Decimal("0.002"))).unwind_caps[-1] == Decimal("0.002")
    for wrong in ({"hostname": 5}, {"read_timeout": 5}):
        with pytest.raises(ValueError, match="is not a"):
            Venue.model_validate(wrong)
