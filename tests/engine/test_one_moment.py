"""A point of the equity curve is of one moment: what was read before something was booked is not valued with
the books of after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import Wallet
from fundarb.engine import equity_points
from tests.daemon.living import HOUR, SECOND, Living, make_living

D = Decimal
WALK = 601 * SECOND
"""After so long every job reads anew, and the whole walk is made."""


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """A position, and books that hold all of the account."""
    made = make_living(tmp_path, specs=())
    made.run("scan_and_open")
    made.clock.sleep(HOUR)
    made.run("watch")
    made.run("snapshot")
    yield made
    made.close()


def paid_in(living: Living) -> None:
    """Somebody pays into the account."""
    living.venue.world.transfer("USDT", D(500))


def ties(living: Living) -> None:
    """The next point stands for what the account is now, and explains itself."""
    living.run("snapshot")
    point, start = equity_points.newest(living.store), equity_points.opening(living.store)
    assert point is not None
    assert start is not None
    assert (point.tied, point.gap) == (True, D(0))
    assert abs(equity_points.tie_out(living.store, start, end=point).unexplained) < D("1e-6")


@pytest.mark.parametrize("job", ["collect_funding", "reconcile"])
def test_what_came_between_two_jobs_of_a_moment_is_in_the_wallet_too(living: Living, job: str) -> None:
    """One has read the wallet, the other one books what came after it."""
    living.clock.sleep(WALK)
    living.run("watch")
    paid_in(living)
    before = living.store.ledger.read.last_id()
    living.run(job)
    assert living.store.ledger.read.last_id() > before
    ties(living)


@pytest.mark.parametrize("job", ["watch", "collect_funding", "reconcile"])
def test_what_came_while_a_job_read_is_in_the_wallet_too(
    living: Living, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    """Something has moved the wallet, and more comes before the log is read for it."""
    living.clock.sleep(WALK)
    paid_in(living)
    real = living.exchange.wallet

    def read() -> Wallet:
        found = real()
        monkeypatch.setattr(living.exchange, "wallet", real)
        paid_in(living)
        return found

    monkeypatch.setattr(living.exchange, "wallet", read)
    before = living.store.ledger.read.last_id()
    living.run(job)
    assert living.store.ledger.read.last_id() == before + 2
    ties(living)
