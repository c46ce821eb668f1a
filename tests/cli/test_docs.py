"""Every command and every setting is documented: in the README, and in help with an example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.testing import CliRunner

from fundarb.cli.exits import Exit
from fundarb.cli.main import cli, load
from fundarb.cli.registry import COMMANDS
from fundarb.config.sources import GLOBALS
from scripts.readme import filled
from tests.cli.conftest import GOLDEN


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, with its words."""
    for entry in COMMANDS:
        command = load(entry)
        if isinstance(command, TyperGroup):
            for name, inner in command.commands.items():
                yield f"{entry.name} {name}", inner
        else:
            yield entry.name, command


NAMES = [name for name, _ in commands()]


@pytest.fixture(scope="module")
def readme(repo_root: Path) -> str:
    """The README."""
    return (repo_root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """Help explains the command in a sentence, shows an example of it, and explains each option."""
    result = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Example: fundarb" in text
    example = text.partition("Example: ")[2]
    assert all(word in example for word in name.split())
    command = dict(commands())[name]
    assert len((command.help or "").split()) >= 3
    silent = [param.name for param in command.params if param.param_type_name == "option" and not param.help]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_json(name: str) -> None:
    """Each command that prints a result accepts ``--json`` after its name; servers print none."""
    options = {word for param in dict(commands())[name].params for word in param.opts}
    assert "--json" in options or name == "sandbox serve"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_in_the_readme(readme: str, name: str) -> None:
    """The table of commands names each of them."""
    assert re.search(rf"`{name}\b", readme)


def test_the_summaries_of_the_root_help_fit_on_a_line() -> None:
    """``fundarb --help`` lists each command with one line."""
    lines = CliRunner().invoke(cli, ["--help"]).stdout.splitlines()
    for entry in COMMANDS:
        assert any(line.split() == [entry.name, *entry.summary.split()] for line in lines), entry.name


def test_every_setting_is_in_the_readme(readme: str) -> None:
    """The table of settings is the one that the schema gives, and each output the one that is kept."""
    assert filled(readme) == readme, "run: python -m scripts.readme"


def test_every_exit_code_is_in_the_readme(readme: str) -> None:
    """The table of exit codes has all of them."""
    assert {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", readme)} == {int(code) for code in Exit}


def test_every_global_option_is_in_the_readme(readme: str) -> None:
    """Global options and the home folder's variable are named."""
    options = {f"--{name.replace('_', '-')}" for name in GLOBALS.values() if name != "home"}
    for word in (*options, "--venue", "--mode", "--json", "--no-color", "FUNDARB_HOME", "FUNDARB_LIVE"):
        assert f"`{word}" in readme, word


def test_the_readme_shows_real_output(readme: str) -> None:
    """The scan, the explanation and the month in the README are what the program prints."""
    for name in ("scan-80.txt", "scan-why-pepe-120.txt", "demo-80.txt"):
        shown = [line.rstrip() for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]
        assert "\n".join(shown) in readme


def test_the_scan_flags_are_in_the_readme(readme: str) -> None:
    """Each documented flag of ``scan`` is named in the table of commands."""
    (line,) = [line for line in readme.splitlines() if line.startswith("| `scan`")]
    scan = dict(commands())["scan"]
    flags = {param.opts[0] for param in scan.params} - {"--json", "--recorded"}
    assert {flag for flag in flags if f"`{flag}`" not in line} == set()
