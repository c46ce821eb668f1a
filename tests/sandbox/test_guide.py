"""The guide: its recipes are run as they stand, and its lists are those of the program."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from fundarb.core.instants import to_ms
from fundarb.markets.synthetic import synthetic
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.faults import FAULTS
from fundarb.sandbox.world import VERBS
from tests.sandbox.harness import Json, OverHttp, over_http

GUIDE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
START = datetime(2026, 1, 5, tzinfo=UTC)
RECIPES = GUIDE.partition("\n## Recipes\n")[2].partition("\n## ")[0]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
OPENED = "HEDGED"
FAILED = "failed with "
TELL = f"trap 'echo \"{FAILED}$?: $BASH_COMMAND\" >&2' ERR\n"
"""Whatever ends with another code than 0 is named."""


def block(text: str) -> str:
    """The commands of a part of the guide."""
    found = BLOCK.search(text)
    assert found is not None
    return found[1]


SET_UP = block(RECIPES)
STEPS = {
    part.partition("\n")[0]: block(part) for part in RECIPES.split("\n### ")[1:]
}  # by the heading of the recipe


def ran(text: str, real: OverHttp, home: Path) -> str:
    """What a recipe prints, errors included, in a shell of its own that names each command that failed."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FUNDARB_")}
    done = subprocess.run(
        ["bash", "-c", TELL + SET_UP + text],
        env={**plain, "PATH": tools, "PORT": real.url.rsplit(":", 1)[1], "FUNDARB_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "unexpected" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def coin(truth: Json, name: str = "SUI") -> Decimal:
    """How much of a coin is in the wallet."""
    return sum((Decimal(row["walletBalance"]) for row in truth["wallets"] if row["coin"] == name), Decimal(0))


def short(truth: Json) -> Decimal:
    """The size of the one perp position, zero if there is none."""
    return sum((Decimal(row["size"]) for row in truth["positions"]), Decimal(0))


def balanced(truth: Json) -> bool:
    """Whether both legs are there and of one size, to a lot of a tenth."""
    return bool(short(truth) and abs(coin(truth) - short(truth)) < Decimal("0.2"))


def kinds(truth: Json) -> set[str]:
    """The kinds of the perp executions."""
    return {row["execType"] for row in truth["executions"] if row["category"] == "linear"}


def creates(truth: Json) -> list[str]:
    """The outcomes of all creates."""
    return [row["outcome"] for row in truth["requests"] if row["path"] == "/v5/order/create"]


def pumped(truth: Json, said: str) -> bool:
    """The mark has risen by about 35 %, the book is even and known to be."""
    position = truth["positions"][0]
    rise = Decimal(position["markPrice"]) / Decimal(position["avgPrice"])
    return (
        balanced(truth) and "books and venue agree" in said and abs(rise - Decimal("1.35")) < Decimal("0.03")
    )


def banned(_truth: Json, said: str) -> bool:
    """First a page that says so, afterwards the time."""
    return said.index("access too frequent") < said.index("timeNano")


CHECKS: dict[str, Callable[[Json, str], bool]] = {
    "A pump of 35 % within the minute": pumped,
    "A delisting": lambda truth, said: not truth["positions"] and coin(truth) < 1 and "agree" in said,
    "Auto-deleveraging takes 40 % of the short": lambda truth, said: (
        balanced(truth) and "AdlTrade" in kinds(truth) and "repaired" in said
    ),
    "An outage": lambda truth, said: balanced(truth) and "Nothing was changed" in said and OPENED in said,
    "A lost answer": lambda truth, said: balanced(truth) and OPENED in said and "0, lost" in creates(truth),
    "A lost answer, and reads that lag": lambda truth, _: balanced(truth) and "0, lost" in creates(truth),
    "The second leg fills in parts": lambda truth, said: (
        balanced(truth)
        and OPENED in said
        and len([row for row in truth["orders"] if row["status"] == "Cancelled"]) == 3
    ),
    "Funding turns against us and settles hourly": lambda truth, said: (
        sum(row["execType"] == "Funding" and Decimal(row["execFee"]) > 0 for row in truth["executions"]) == 3
        and "3 settlements, received -" in said
    ),
    "Somebody closes the perp by hand": lambda truth, said: not truth["positions"] and "SUI" in said,
    "Ten minutes of ban": banned,
    "What really happened": lambda _, said: '"transaction_log"' in said,
}
"""What must be so after each recipe, by the venue's truth and by what was printed."""

ENDS = {
    "An outage": [("4", "fundarb scan"), ("4", "fundarb open SUI --notional 1000 --yes")],
    "Somebody closes the perp by hand": [("6", "fundarb reconcile")],
}
"""Which commands of a recipe do not succeed, and their exit codes; of every other recipe all do."""


def test_every_recipe_is_checked() -> None:
    """The checks are for the recipes that the guide has, all of them."""
    assert CHECKS.keys() == STEPS.keys()


LONG = (
    "Funding turns against us and settles hourly",
    "Somebody closes the perp by hand",
    "A delisting",
    "Auto-deleveraging takes 40 % of the short",
    "A lost answer, and reads that lag",
    "The second leg fills in parts",
    "An outage",
    "A pump of 35 % within the minute",
)
"""Recipes that call the bot several times: they belong to the proof."""


def test_every_long_recipe_exists() -> None:
    """What is left to the proof is a recipe that the guide has."""
    assert set(LONG) <= STEPS.keys()


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=pytest.mark.proof if name in LONG else ()) for name in STEPS]
)
def test_recipes_do_what_they_say(recipe: str, tmp_path: Path) -> None:
    """The block, typed as it stands, leaves the venue as the recipe promises."""
    with over_http(market=partial(synthetic, 1), start=START, balances={"USDT": Decimal(100_000)}) as real:
        said = ran(STEPS[recipe], real, tmp_path)
        assert CHECKS[recipe](real.truth(), said), said
        failed = re.findall(rf"^{FAILED}(\d+): (.*)$", said, re.MULTILINE)
        assert failed == ENDS.get(recipe, []), said


def table(title: str) -> set[str]:
    """The names in the first column of a section's table."""
    part = GUIDE.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))


def test_all_verbs_are_explained() -> None:
    """Every verb of the world and of the faults has its row, and no row is of a verb that is gone."""
    assert table("World") == VERBS.keys()
    assert table("Faults") == FAULTS.keys()


def test_all_paths_are_listed() -> None:
    """The paths in the guide are those that answer."""
    part = GUIDE.partition("\n## What it answers\n")[2].partition("\nAnything else")[0]
    listed = re.findall(r"`([a-z/-]+)`", part.partition("| --- | --- |")[2])
    assert sorted(f"/v5/{path}" for path in listed) == sorted(TABLE)


def test_the_guide_starts_where_its_recipes_do() -> None:
    """The start that the recipes are written for is the one that the guide names."""
    assert f"--start {START:%Y-%m-%dT%H:%M:%SZ}" in RECIPES
    assert to_ms(START) % 86_400_000 == 0
