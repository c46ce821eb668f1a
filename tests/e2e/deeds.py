"""What a user does while something goes wrong, on either way, and the grid of cases over it.

Every deed takes two clips of two orders: ``nth`` 1 to 4 is a leg of a clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from tests.e2e.stage import LOT, Ran, Stage

OPEN = ("open", "BTC", "--notional", "900", "--yes")
LIMITS = '[risk]\nmax_per_coin = "5000"\nmax_gross = "10000"\n'
NTH = (1, 2, 3, 4)
NAKED = "naked_long"


@dataclass(frozen=True)
class Deed:
    """Command lines: what is there before, and what is done; ``flat``: nothing is held after it."""

    name: str
    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = (OPEN,)
    flat: bool = False

    def __str__(self) -> str:
        """Its name, in the name of the test."""
        return self.name

    def prepare(self, stage: Stage) -> None:
        """What is there before, under limits with room for all of it."""
        (stage.home / "fundarb.toml").write_text(LIMITS, encoding="utf-8")
        for words in self.before:
            ran = stage.json(*words)
            assert ran.code == 0, ran.out

    def do(self, stage: Stage) -> Ran:
        """The deed itself."""
        return stage.json(*self.words)


ENTRY = Deed("entry", OPEN, before=())
ADDITION = Deed("addition", (*OPEN, "--add"))
PART = Deed("part", ("close", "BTC", "--fraction", "90%", "--yes"))
EXIT = Deed("exit", ("close", "BTC", "--yes"), flat=True)
EMERGENCY = Deed("emergency", ("close", "BTC", "--emergency", "--yes"), flat=True)
DEEDS = (ENTRY, EXIT, ADDITION, EMERGENCY, PART)


def grid(step: int, *axes: Iterable[Any]) -> list[Any]:
    """All combinations; every ``step``-th belongs to the suite, the others to the proof."""
    return [
        pytest.param(
            *case, id="-".join(map(str, case)), marks=() if number % step == 0 else pytest.mark.proof
        )
        for number, case in enumerate(product(*axes))
    ]


def states(ran: Ran) -> list[str]:
    """What became of the orders."""
    return [order["state"] for order in ran.data["orders"]]


def finished(stage: Stage, deed: Deed) -> None:
    """All is well at last: the common end, and a deed that was given up for a cause succeeds when repeated.

    A leg that stayed naked for longer than ``t_hedge`` is told once, nothing else is told.
    """
    stage.heal()
    if deed.flat and stage.short():
        again = deed.do(stage)
        assert again.code == 0, again.out
    told = stage.alerts()
    assert told in ([], [NAKED])
    stage.healed(*told)
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    assert not (deed.flat and stage.short())
