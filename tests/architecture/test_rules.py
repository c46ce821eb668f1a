"""Rules of the house that no ready-made linter knows."""

import ast
from pathlib import Path

import pytest

from tests.architecture.source import broad_excepts, clock_reads, functions, mode_questions, module, modules

# The two places that may catch everything: file and function.
OUTERMOST = frozenset(
    {
        ("fundarb/cli/main.py", "main"),
        ("fundarb/daemon/worker.py", "Worker.run_job"),
        ("fundarb/notify/post.py", "Post.send"),
    }
)
CLOCK = "fundarb/clock.py"
COMPOSITION_ROOT = "app"


def test_every_module_says_what_it_owns() -> None:
    """Each file of the package starts with a docstring of at least one sentence."""
    assert [
        source.path for source in modules() if len((ast.get_docstring(source.tree) or "").split()) < 4
    ] == []


def test_only_three_places_catch_everything() -> None:
    """Broad excepts stand in the worker's job boundary, where the thread that tells people calls foreign
    code, and in the CLI's outermost frame, at most once each.
    """
    found = [(source.path, name) for source in modules() for _, name in broad_excepts(source.tree)]
    assert [place for place in found if place not in OUTERMOST] == []
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "clause",
    ["except:", "except Exception:", "except BaseException as error:", "except (ValueError, Exception):"],
)
def test_each_form_of_broad_except_is_seen(clause: str) -> None:
    """Bare, Exception, BaseException and a tuple that holds one of them are found, with the function they
    stand in.
    """
    text = f"class A:\n    def f(self):\n        try:\n            g()\n        {clause}\n            raise\n"
    assert list(broad_excepts(module(text).tree)) == [(5, "A.f")]


def test_suppress_of_everything_is_a_broad_except() -> None:
    """contextlib.suppress(Exception) counts, a narrow suppress does not."""
    assert list(broad_excepts(module("with contextlib.suppress(Exception):\n    f()").tree)) == [(1, "")]
    assert list(broad_excepts(module("with suppress(OSError):\n    f()").tree)) == []


def test_no_global_statement() -> None:
    """No function rebinds a name of its module or of the function around it by stealth."""
    found = [
        f"{source.path}:{node.lineno}"
        for source in modules()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    assert not found, "\n".join(found)


def test_only_the_clock_reads_time() -> None:
    """No module but clock.py imports time or asks datetime for now or today."""
    found = [
        f"{source.path}:{line} {what}"
        for source in modules()
        if source.path != CLOCK
        for line, what in clock_reads(source.tree)
    ]
    assert not found, "\n".join(found)
    clock = next(source for source in modules() if source.path == CLOCK)
    assert list(clock_reads(clock.tree))


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import sleep",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
        "Model(default=datetime.now)",
    ],
)
def test_each_reading_of_the_clock_is_seen(text: str) -> None:
    """The module time and the readings of datetime are found, called or handed over."""
    assert list(clock_reads(module(text).tree))


def test_nobody_but_the_composition_root_asks_for_the_mode() -> None:
    """Whether this is paper, live or a backtest is decided once, in app.py; everybody else is handed the
    right part.
    """
    found = [
        f"{source.path}:{line} compares with {what}"
        for source in modules()
        if source.room != COMPOSITION_ROOT
        for line, what in mode_questions(source.tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "if mode == 'paper': ...",
        "if 'live' != settings.mode: ...",
        "if mode in ('paper', 'backtest'): ...",
        "if settings.mode is Mode.PAPER: ...",
        "match mode:\n    case 'live': ...",
    ],
)
def test_each_question_for_the_mode_is_seen(text: str) -> None:
    """Equality, membership, identity with an enum member and a match case are found."""
    assert list(mode_questions(module(text).tree))


def test_every_test_states_its_claim(repo_root: Path) -> None:
    """Each test function carries a docstring that ends as a sentence."""
    silent = [
        f"{path.relative_to(repo_root)}:{node.lineno} {name}"
        for path in sorted((repo_root / "tests").rglob("test_*.py"))
        for name, node in functions(ast.parse(path.read_text(encoding="utf-8")))
        if node.name.startswith("test_") and not (ast.get_docstring(node) or "").rstrip().endswith(".")
    ]
    assert not silent, "\n".join(silent)
