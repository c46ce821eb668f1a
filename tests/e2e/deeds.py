"""What a user does while something goes wrong, on either way, and the grid of cases over it.

Every deed takes two clips of two orders: ``nth`` 1 to 4 is a leg of a clip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from fundarb.core.instants import from_ms
from fundarb.engine.audit_book import OUTCOMES, BookRules, Stretch, doubts, too_long
from tests.e2e.stage import LOT, Ran, Stage

OPEN = ("open", "BTC", "--notional", "900", "--yes")
LIMITS = '[risk]\nmax_per_coin = "5000"\nmax_gross = "10000"\n'
NTH = (1, 2, 3, 4)
NAKED = "naked_long"
D = Decimal
RULES = BookRules(
    drift_limit=D("0.02"),
    largest_naked=D(0),
    t_hedge=timedelta(seconds=5),
    t_recover=timedelta(seconds=33.5),
)
"""As the settings are by default."""


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


def due(stage: Stage) -> list[str]:
    """What a person must have been told of the naked legs of a deed in BTC: by the venue's fills one was
    naked for longer than ``t_hedge`` and what was in doubt of it, or than ``t_recover``.
    """
    coins = short = D(0)
    since: datetime | None = None
    stretches = []
    for row in stage.truth()["executions"]:
        at, sign = from_ms(int(row["execTime"])), 1 if row["side"] == "Buy" else -1
        if row["category"] == "spot":
            coins += sign * D(row["execQty"]) - (D(row["execFee"]) if row["feeCurrency"] == "BTC" else 0)
        else:
            short -= sign * D(row["execQty"])
        if abs(coins - short) > 2 * LOT:
            since = since or at
        elif since is not None:
            stretches.append(Stretch(since, at))
            since = None
    return [NAKED] if any(too_long(stretches, lambda: _doubts(stage), rules=RULES)) else []


def _doubts(stage: Stage) -> tuple[Stretch, ...]:
    """When it was not known what became of an order: from its signature to the last word about it."""
    with stage.store() as store:
        rows = [row for held in store.positions.all() for row in store.intents.of_position(held.position_id)]
        words = [event for kind in OUTCOMES for event in store.events.after(0, 10_000, kind=kind)]
        said = [(str(json.loads(word.payload)["link_id"]), word.at) for word in words]
        return doubts(rows, said, now=from_ms(int(stage.truth()["now"])))


def finished(stage: Stage, deed: Deed) -> None:
    """All is well at last: the common end, and a deed that was given up for a cause succeeds when repeated.

    A leg that stayed naked for longer than it may is told once, nothing else is told.
    """
    stage.heal()
    if deed.flat and stage.short():
        again = deed.do(stage)
        assert again.code == 0, again.out
    stage.healed(*due(stage))
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    assert not (deed.flat and stage.short())
