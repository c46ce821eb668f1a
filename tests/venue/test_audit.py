"""The audit after every event: whatever part of the books is bent, the next event raises; and it costs
little.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import pytest

from fundarb.errors import InvariantBroken
from fundarb.venue.engine import Venue
from tests.venue.test_orders import BUY, GTC, SELL, limit, sent
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, venue


def hedged() -> Venue:
    """A venue with a hedge, a resting order and a settlement behind it."""
    at = venue()
    sent(at, limit(SPOT, BUY, "0.5", "50100"))
    sent(at, limit(LINEAR, SELL, "0.5", "49900"))
    sent(at, limit(SPOT, BUY, "0.1", "48000", time_in_force=GTC))
    at.advance(START + 9 * HOUR)
    return at


BENT: list[tuple[str, Callable[[Venue], object]]] = [
    ("a size", lambda at: setattr(at._account.position("BTCUSDT"), "size", D("-0.4"))),
    ("a cost", lambda at: setattr(at._account.position("BTCUSDT"), "cost", D(1))),
    ("a wallet", lambda at: setattr(at._account.coin("USDT"), "wallet", D(1))),
    ("a lock", lambda at: setattr(at._account.coin("USDT"), "locked", D(1))),
    ("an order's lock", lambda at: setattr(at.open_orders(SPOT)[0], "locked", D(1))),
    ("a fee without an execution", lambda at: at._account.book.fills.pop()),
    ("a row of the log", lambda at: at._account.book.log.append(at._account.book.log[-1])),
    ("a counter account", lambda at: at._account.book.truth.update({"fees|USDT": D(3)})),
]


@pytest.mark.parametrize(("what", "bend"), BENT)
def test_whatever_is_bent_is_noticed_by_the_next_event(what: str, bend: Callable[[Venue], object]) -> None:
    """The next trade of the same coin and contract raises."""
    at = hedged()
    bend(at)
    with pytest.raises(InvariantBroken):
        sent(at, limit(LINEAR, SELL, "0.1", "49900"))
    assert what


@pytest.mark.parametrize(("what", "bend"), BENT)
def test_a_bent_snapshot_is_not_restored(what: str, bend: Callable[[Venue], object]) -> None:
    """The same contradictions in a file are a ``ValueError`` when it is read."""
    at = hedged()
    bend(at)
    with pytest.raises(ValueError, match="tie"):
        Venue.restore(at._market.feed, at.snapshot())
    assert what


def test_forgetting_old_rows_keeps_the_books_tied() -> None:
    """After a prune the sums begin from what the forgotten rows came to, also over a restart."""
    at = hedged()
    at.prune(at.now)
    sent(at, limit(LINEAR, SELL, "0.1", "49900"))
    twin = Venue.restore(at._market.feed, at.snapshot())
    sent(twin, limit(LINEAR, BUY, "0.6", "50100", reduce_only=True))
    assert twin.held() == {}


def test_the_audit_is_cheap() -> None:
    """An audit with nothing new costs microseconds, however long the histories are."""
    at = hedged()
    at.cancel_all(SPOT)
    at.world.interval("BTCUSDT", 1)
    at.advance(START + 40 * 24 * HOUR)
    assert len(at.all_transactions()) > 900
    began = process_time()
    for _ in range(1000):
        at._audit.check()
    assert process_time() - began < 0.2
