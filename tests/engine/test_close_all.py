"""What a close of everything answers when not all of it goes the same way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from fundarb.core.reasons import Reason, Refused
from fundarb.engine.commands import Executor
from fundarb.engine.trade import Trader
from fundarb.errors import ConfigError, FundarbError, OutcomeUncertain, Problem, Rejected, Unavailable
from tests.engine.world import World


class Closing:
    """A trader whose closes end in a given way, one after the other; those without are done."""

    def __init__(self, world: World, ends: list[Refused | FundarbError | None]) -> None:
        self._world = world
        self._ends = ends

    def held(self) -> tuple[Any, ...]:
        """Two positions."""
        return tuple(SimpleNamespace(position_id=name) for name in ("p-1", "p-2"))

    def is_over(self, _: str) -> bool:
        """Nothing is, before its turn."""
        return False

    def close(self, *_: Any, **__: Any) -> Any:
        """One."""
        end = self._ends.pop(0)
        if isinstance(end, FundarbError):
            raise end
        return end or self._world.writer.trader.close("BTC")


REFUSED = Refused((Reason("rest_too_small", "too small"),))
DOUBT, AWAY = OutcomeUncertain("no answer"), Unavailable("gone")


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([DOUBT, AWAY], 5),
        ([AWAY, DOUBT], 5),
        ([DOUBT, REFUSED], 5),
        ([AWAY, REFUSED], 4),
        ([Rejected("no"), ConfigError(Problem("a", "b", "c"))], 3),
        ([REFUSED, REFUSED], 3),
        ([None, REFUSED], 8),
        ([None, AWAY], 8),
        ([None, DOUBT], 5),
    ],
)
def test_the_most_pressing_failure_is_the_answer(
    world: World, ends: list[Refused | FundarbError | None], code: int
) -> None:
    """A doubt comes before all else, whatever its number; and what was closed beside a refusal was sent."""
    world.writer.trader.open("BTC", world.writer.desk.rules.tolerance + 1000)
    executor = Executor(
        world.writer.store,
        trader=cast("Trader", Closing(world, list(ends))),
        reconciler=world.writer.reconciler,
        decider=cast("Any", None),
        to_know=lambda _: (),
        met=lambda _: None,
    )
    answer = executor.execute("close", {"all": True})
    assert answer.exit_code == code
    assert len(answer.reasons) == sum(end is not None for end in ends)
