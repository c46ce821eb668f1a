"""Whoever does without an answer of the venue tells a person if it was because nobody is let in: a ban, or a
key that is not taken, must not get lost in a stand-in.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

from tests.architecture.source import called, functions, module, modules, own_nodes

FAILURES = frozenset({"Unavailable", "BadAnswer", "FundarbError"})
TELLS = frozenset({"met", "_met", "_failed", "_pass_over", "_unread", "shut_out", "unread"})
"""What a handler calls that hands the failure on to ``engine.shut_out``."""
PUBLIC = "public data alone: no key signs it, and the adapter knows of a ban"
READER = "reads for somebody who looks, and is told by the answer"
CLOCK_GONE = "a virtual clock that went away with its venue"
NEED_NOT: Mapping[str, str] = {
    "coin_prices.prices_now": PUBLIC,
    "control.Control.execute": "the walk that it asks for tells by itself",
    "doctor.AccountDoctor._fees": READER,
    "doctor.AccountDoctor.checks": READER,
    "doctor.PublicDoctor._instruments_check": READER,
    "doctor.PublicDoctor.checks": READER,
    "funding.FundingBook._expect_of": PUBLIC,
    "market.MarketView.books_or_quotes": PUBLIC,
    "market.MarketView.pair_of": PUBLIC,
    "report.Reporter._measured": READER,
    "resolve.Resolver._tell": CLOCK_GONE,
    "resolve.Resolver._until": CLOCK_GONE,
    "scan.Scanner._with_books": PUBLIC,
    "shelf.FundingShelf.refresh": PUBLIC,
    "shut_out.look_out": CLOCK_GONE,
}
"""The places that end such a failure in silence, and why they may."""


def swallowed(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each place that ends a failure of the venue without telling: line and function around it."""
    for name, node in [("", tree), *functions(tree)]:
        for child in own_nodes(node):
            if isinstance(child, ast.Call) and called(child) == "suppress" and any(map(names, child.args)):
                yield child.lineno, name
            if isinstance(child, ast.ExceptHandler) and names(child.type) and not tells(child):
                yield child.lineno, name


def names(kind: ast.expr | None) -> bool:
    """Whether a clause catches what a failed read raises."""
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(isinstance(part, ast.Name) and part.id in FAILURES for part in parts)


def tells(handler: ast.ExceptHandler) -> bool:
    """Whether a handler hands the failure on, to whoever tells or to its caller."""
    calls = (node for node in ast.walk(handler) if isinstance(node, ast.Call))
    return isinstance(handler.body[-1], ast.Raise) or any(called(call) in TELLS for call in calls)


def test_what_turns_us_away_is_told() -> None:
    """In the engine every handler of a failed read tells, raises, or is one of the few that need not."""
    found = {
        f"{source.name.removeprefix('fundarb.engine.')}.{name}"
        for source in modules()
        if source.room == "engine"
        for _, name in swallowed(source.tree)
    }
    assert found == set(NEED_NOT)


@pytest.mark.parametrize(
    "text",
    [
        "with suppress(Unavailable): f()",
        "with contextlib.suppress(OSError, Unavailable): f()",
        "try: f()\nexcept Unavailable: pass",
        "try: f()\nexcept (BadAnswer, OSError) as error: g(str(error))",
        "try: f()\nexcept FundarbError:\n    if g: raise\n    h()",
    ],
)
def test_each_form_of_silence_is_seen(text: str) -> None:
    """A suppress, a handler that goes on, and one that raises only now and then."""
    assert [name for _, name in swallowed(module(text).tree)] == [""]


@pytest.mark.parametrize(
    "text",
    [
        "with suppress(OSError): f()",
        "try: f()\nexcept Unavailable as error: met(desk, error)",
        "try: f()\nexcept Unavailable as error: return self._failed(error)",
        "try: f()\nexcept Unavailable as error: raise OutOfSight(str(error)) from error",
        "try: f()\nexcept OSError: pass",
    ],
)
def test_what_tells_is_no_silence(text: str) -> None:
    """A handler that tells or raises, and what is no failure of the venue."""
    body = text.replace("\n", "\n    ")
    assert list(swallowed(module(f"def f():\n    {body}").tree)) == []
