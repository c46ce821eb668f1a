"""Where settings come from, which source wins, and that every problem is named at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.config import Flags, Mode, Settings, VenueName
from fundarb.config.schema import keys, sections
from fundarb.config.sources import GLOBALS, environment_names
from fundarb.core.money import Money

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]


def test_without_any_file_the_documented_defaults_hold(settle: Load) -> None:
    """Every default of the documentation is what an empty folder gives."""
    settings = settle()
    assert (settings.mode, settings.venue.name, settings.live) == (Mode.PAPER, VenueName.BYBIT, False)
    assert settings.venue_url == "https://api.bybit.com"
    assert settings.risk.drift_limit == Decimal("0.02")
    assert settings.risk.max_fees_per_day == Decimal("0.005")
    assert settings.execution.unwind_caps == (Decimal("0.002"), Decimal("0.006"), Decimal("0.02"))
    assert settings.strategy.horizon == timedelta(days=30)
    assert settings.paper.balance == (Money(Decimal(10000), "USDT"),)
    assert settings.paper.latency == timedelta(milliseconds=200)
    assert settings.reconcile.tolerance == Decimal("1e-8")
    assert settings.credentials is None


def test_flag_beats_environment_beats_env_file_beats_toml_beats_default(settle: Load) -> None:
    """Each source overrides the ones below it, and ``sources`` names the one that won."""
    toml = '[venue]\nname = "bybit-testnet"\n'
    assert settle().sources["venue.name"] == "default"
    assert settle(toml=toml).venue.name is VenueName.TESTNET
    with_file = settle(env="FUNDARB_VENUE=bybit-demo\n")
    assert (with_file.venue.name, with_file.sources["venue.name"]) == (VenueName.DEMO, ".env FUNDARB_VENUE")
    environ = {"FUNDARB_VENUE": "sandbox"}
    with_environment = settle(environ=environ)
    assert with_environment.sources["venue.name"] == "environment FUNDARB_VENUE"
    with_flag = settle(Flags(venue="bybit"), environ)
    assert (with_flag.venue.name, with_flag.sources["venue.name"]) == (VenueName.BYBIT, "flag --venue")


def test_every_key_has_an_environment_name_that_works(settle: Load) -> None:
    """For each setting but the mode, FUNDARB_<SECTION>_<KEY> with the default's own text gives the
    default.
    """
    texts = settle().texts
    for name, (section, key) in environment_names().items():
        text = texts[f"{section}.{key}"] if section else texts[key]
        if text:
            loaded = settle(environ={name: text})
            assert loaded.sources[f"{section}.{key}" if section else key] == f"environment {name}"
            assert loaded.texts == texts


def test_numbers_truths_and_lists_can_be_given_by_the_environment(settle: Load) -> None:
    """What is unquoted in a file is read from text."""
    settings = settle(
        environ={
            "FUNDARB_RISK_MAX_POSITIONS": "7",
            "FUNDARB_RECONCILE_REPAIR": "yes",
            "FUNDARB_EXECUTION_UNWIND_CAPS": "25bp, 1%",
            "FUNDARB_PAPER_BALANCE": "5000 USDT, 0.25 BTC",
        }
    )
    assert settings.risk.max_positions == 7
    assert settings.reconcile.repair is True
    assert settings.execution.unwind_caps == (Decimal("0.0025"), Decimal("0.01"))
    assert settings.paper.balance == (Money(Decimal(5000), "USDT"), Money(Decimal("0.25"), "BTC"))


def test_all_problems_are_listed_with_file_table_and_key(problems: Problems) -> None:
    """One run names every mistake of every source, each with its place."""
    toml = """
mode = "life"
max_gross = "1"
[risk]
max_gros = "5000"
max_gross = 5000
drift_limit = 0.02
max_positions = "five"
margin_warn = "80%"
max_quote_age = "5 parsecs"
[execution]
max_positions = 3
unwind_caps = ["60bp", "20bp"]
[nonsense]
a = 1
"""
    found = problems(
        environ={"FUNDARB_LIFE": "1", "FUNDARB_RISK_MAX_GROSSS": "1", "FUNDARB_ACCOUNT_LEVERAGE": "eleven"},
        toml=toml,
    )
    text = "\n".join(found)
    for place in (
        "fundarb.toml mode",
        "fundarb.toml max_gross",
        "fundarb.toml [risk] max_gros: is unknown; did you mean max_gross?",
        "fundarb.toml [risk] max_gross",
        "fundarb.toml [risk] drift_limit",
        "fundarb.toml [risk] max_positions",
        "fundarb.toml [risk] max_quote_age",
        "fundarb.toml [execution] max_positions: is unknown; it belongs into [risk]",
        "fundarb.toml [execution] unwind_caps",
        "fundarb.toml [nonsense]",
        "environment FUNDARB_LIFE: is not a setting; did you mean FUNDARB_LIVE?",
        "environment FUNDARB_RISK_MAX_GROSSS: is not a setting; did you mean FUNDARB_RISK_MAX_GROSS?",
        "environment FUNDARB_ACCOUNT_LEVERAGE",
        "fundarb.toml [risk] margin_warn: must be below [risk] margin_reduce",
    ):
        assert place in text
    assert len(found) == 14


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("risk", "drift_limit = 2", "a bare number is never a ratio"),
        ("risk", "drift_limit = 0.02", "a bare number is never a ratio"),
        ("risk", 'drift_limit = "0.02"', "not a ratio with its unit"),
        ("risk", 'drift_limit = "2 percent"', "not a ratio with its unit"),
        ("risk", 'drift_limit = "0%"', "must be more than 0%"),
        ("risk", 'drift_limit = "21%"', "may be at most 20%"),
        ("risk", "max_quote_age = 5", "not a duration with its unit"),
        ("risk", 'max_quote_age = "5"', "not a duration with its unit"),
        ("risk", 'max_quote_age = "-5s"', "not a duration with its unit"),
        ("risk", "max_gross = 5000", "exact number in quotes"),
        ("risk", "max_gross = 5000.5", "exact number in quotes"),
        ("risk", 'max_gross = "NaN"', "is not a number"),
        ("risk", 'max_gross = "-1"', "must be more than 0"),
        ("risk", 'max_positions = "5"', "whole number without quotes"),
        ("risk", "max_positions = 5.0", "whole number without quotes"),
        ("risk", "max_positions = true", "whole number without quotes"),
        ("account", 'leverage = "11"', "may be at most 10"),
        ("account", 'leverage = "0.5"', "must be at least 1"),
        ("account", 'instance = "My Bot"', "should match pattern"),
        ("venue", 'hostname = "api.bybit.example"', "not one of Bybit's hosts"),
        ("venue", 'name = "binance"', "is not one of"),
        ("venue", 'recv_window = "9s"', "may be at most 5s"),
        ("reconcile", 'repair = "yes"', "is not true or false"),
        ("reconcile", 'manual_close = "shrug"', "is not one of"),
        ("paper", 'latency = "2s"', "may be at most 1s"),
        ("paper", 'balance = "10000"', "amount with its coin"),
        ("paper", 'balance = "-5 USDT"', "cannot be negative"),
        ("paper", 'balance = "1 USDT, 2 USDT"', "each coin may be given once"),
        ("notify", 'urls = ["https://hooks.example/secret"]', "must list the names"),
        ("notify", 'urls = ["MISSING_URL"]', "MISSING_URL is not set"),
        ("execution", 'unwind_caps = "20"', "not a ratio with its unit"),
        ("execution", "unwind_caps = []", "is not a list of ratios"),
        ("execution", "unwind_caps = [20]", "is not a list of ratios"),
    ],
)
def test_each_kind_of_wrong_value_is_said(problems: Problems, section: str, line: str, words: str) -> None:
    """A wrong value is refused with one sentence that says what would be right."""
    (found,) = problems(toml=f"[{section}]\n{line}\n")
    assert words in found
    assert f"fundarb.toml [{section}] {line.partition(' ')[0]}" in found


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (
            '[risk]\nmax_per_coin = "6000"',
            "fundarb.toml [risk] max_per_coin: may not be above [risk] max_gross (its default)",
        ),
        (
            '[execution]\nmax_clip = "1001"',
            "fundarb.toml [execution] max_clip: may not be above [risk] max_per_coin (its default)",
        ),
        (
            '[risk]\nmargin_reduce = "50%"',
            "[risk] margin_warn (its default): must be below fundarb.toml [risk] margin_reduce",
        ),
        ('[execution]\nprice_cap = "3%"', "fundarb.toml [execution] price_cap: may not be above the last of"),
        (
            '[execution]\ncollar = "10bp"',
            "[execution] price_cap (its default): may not be above fundarb.toml [execution] collar",
        ),
        (
            '[strategy]\nmin_hold = "31d"',
            "fundarb.toml [strategy] min_hold: may not be longer than [strategy] horizon",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(problems: Problems, toml: str, words: str) -> None:
    """Each rule between two settings is checked, with both named."""
    assert any(words in problem for problem in problems(toml=toml))


def test_equal_limits_do_not_contradict(settle: Load) -> None:
    """A clip as large as the cap of a coin, and a coin as large as the gross cap, are allowed."""
    settings = settle(toml='[risk]\nmax_per_coin = "500"\nmax_gross = "500"')
    assert settings.risk.max_per_coin == settings.execution.max_clip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[risk\n", "is not TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"risk = 5\n", "must be a table"),
        (b"[[job]]\nname = 1\n", "is unknown"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    problems: Problems, folder: Path, content: bytes, words: str
) -> None:
    """Broken TOML, other encodings and other shapes are refused with the file's name."""
    (folder / "fundarb.toml").write_bytes(content)
    (found,) = problems()
    assert "fundarb.toml" in found
    assert words in found


def test_a_named_file_must_exist(problems: Problems, folder: Path) -> None:
    """--config, --jobs and --env-file name files; a missing one is a problem, not a default."""
    found = problems(Flags(config=folder / "a.toml", jobs=folder / "b.toml", env_file=folder / "c"))
    assert len(found) == 3
    assert all("does not exist" in problem for problem in found)


def test_files_are_found_in_the_home_folder_too(settle: Load, folder: Path) -> None:
    """Where the working folder has none, the files of the home folder hold."""
    (folder / "home").mkdir()
    (folder / "home" / "fundarb.toml").write_text('[risk]\nmax_gross = "1234"\n', encoding="utf-8")
    assert settle().risk.max_gross == Decimal(1234)
    assert settle(toml="").risk.max_gross == Decimal(5000)


def test_two_names_of_one_setting_must_agree(problems: Problems, settle: Load) -> None:
    """FUNDARB_VENUE and FUNDARB_VENUE_NAME may both be set only to the same value."""
    assert (
        settle(environ={"FUNDARB_VENUE": "sandbox", "FUNDARB_VENUE_NAME": "sandbox"}).venue.name == "sandbox"
    )
    (found,) = problems(environ={"FUNDARB_VENUE": "bybit", "FUNDARB_VENUE_NAME": "sandbox"})
    assert "contradicts" in found


def test_other_names_in_the_environment_and_in_env_are_ignored(settle: Load) -> None:
    """Foreign names in ``.env`` or the environment disturb nothing; the names that tests use are known."""
    environ = {"FUNDARB_CRASH": "x:1", "PATH": "/bin", "BYBIT": "1"}
    assert settle(environ=environ, env="DJANGO_SECRET=1\nPATH=/bin\n").mode is Mode.PAPER


def test_every_global_option_has_an_environment_name(settle: Load, folder: Path) -> None:
    """The names that stand for flags are taken like the flags themselves."""
    (folder / "my.toml").write_text("[risk]\nmax_positions = 9\n", encoding="utf-8")
    (folder / "my.jobs").write_text("", encoding="utf-8")
    settings = settle(
        environ={
            "FUNDARB_CONFIG": "my.toml",
            "FUNDARB_JOBS": "my.jobs",
            "FUNDARB_VENUE": "sandbox",
            "FUNDARB_VENUE_URL": "http://localhost:9001/",
            "FUNDARB_DB": "sqlite:///state.db",
            "FUNDARB_MODE": "live",
            "FUNDARB_LIVE": "yes",
        }
    )
    assert settings.risk.max_positions == 9
    assert settings.jobs_file == folder / "my.jobs"
    assert settings.venue_url == "http://localhost:9001"
    assert settings.db_url == f"sqlite:///{folder}/state.db"
    assert (settings.mode, settings.live) == (Mode.LIVE, True)
    assert set(GLOBALS.values()) == {"config", "jobs", "env_file", "venue_url", "live", "db", "home"}


def test_settings_cannot_be_changed(settle: Load) -> None:
    """Settings and their sections are frozen."""
    settings = settle()
    for owner, name in ((settings, "mode"), (settings.risk, "max_gross")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(owner, name, None)


def test_every_setting_is_described() -> None:
    """Each key carries a sentence for the documentation, but the venue's name, whose values speak."""
    silent = [
        f"{section}.{key}"
        for section, key in keys()
        if section and not sections()[section].model_fields[key].description
    ]
    assert silent == ["venue.name"]
