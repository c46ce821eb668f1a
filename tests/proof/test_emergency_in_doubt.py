"""An emergency's walk begins no clip beside an order of the same position whose fate is unknown."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from fundarb.core.orders import OrderRequest, WriteAnswer
from fundarb.core.states import PositionState
from fundarb.exchange.inprocess import Loss
from tests.proof.episode import Episode

D = Decimal


def test_an_emergency_waits_for_what_is_in_doubt(tmp_path: Path) -> None:
    """A correction between two walks of one emergency may end in doubt: the second walk sends nothing then,
    and says so; it does not run into the rule that a leg has one open order.
    """
    episode = Episode(1, tmp_path)
    episode.attempt("begin", episode.recover)
    episode.command("open", {"base": "BTC", "notional": "3300"})
    life = episode.life
    create = life.exchange.create

    def then_deaf(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        episode.trouble.reads = 1.0
        return create(request, signed_at=signed_at)

    life.exchange.lose(Loss.REQUEST)
    life.exchange.create = then_deaf  # type: ignore[method-assign]
    episode.command("close", {"name": "BTC", "fraction": "50%"})
    episode.trouble.reads = 0
    (position,) = life.store.positions.active()
    written = len(life.store.intents.of_position(position.position_id))
    assert position.state is PositionState.UNCERTAIN

    legs = life.writer.trader._legs
    progress = legs.exit(position.position_id, D(0), clip=D(1), cap=D("0.02"), urgent=True)

    assert progress.uncertain
    assert len(life.store.intents.of_position(position.position_id)) == written
    life.end()
