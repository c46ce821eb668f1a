"""What orders cost and how long they are remembered: margin, leverage, retention, exact sums."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.errors import Rejected
from fundarb.venue.engine import Venue
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, sent
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, ToyFeed, perp, spot, venue


def test_open_orders_count_against_the_margin() -> None:
    """Resting perp orders reserve initial margin, so that the last affordable one is the last."""
    at = venue()
    spec = limit(LINEAR, SELL, "9", "52000", time_in_force=GTC)
    sent(at, spec)
    assert at.wallet().initial_margin > 46_000
    sent(at, spec)
    assert code_of(at, spec) == 110007
    assert at.cancel_all(LINEAR, "BTCUSDT")
    at.advance(at.now)
    assert at.wallet().initial_margin == 0


def test_a_contract_takes_no_orders_while_it_settles() -> None:
    """For a second from a settlement on every order and amend of the contract is 110063; spot goes on, and
    so does a contract that settles at another hour.
    """
    feed = ToyFeed(listed=(spot(), perp(), spot("ETHUSDT"), perp("ETHUSDT")))
    feed.prices["ETHUSDT"] = D(3000)
    at = venue(feed)
    at.world.interval("ETHUSDT", 12)
    spec = limit(LINEAR, SELL, "1", "52000", time_in_force=GTC)
    resting = sent(at, spec)  # a venue that begins at such an instant has not settled anything
    for seconds, refused in ((-1, False), (0, True), (D("0.999"), True), (1, False)):
        at.advance(START + 8 * HOUR + timedelta(seconds=float(seconds)))
        if refused:
            assert code_of(at, spec) == code_of(at, limit(LINEAR, BUY, "1", "1", reduce_only=True)) == 110063
            with pytest.raises(Rejected) as caught:
                at.amend(LINEAR, order_id=resting.order_id, quantity=D("0.5"))
            assert caught.value.code == 110063
        else:
            sent(at, spec)
        sent(at, limit(SPOT, BUY, "0.001", "50100"))
        sent(at, limit(LINEAR, SELL, "1", "2990", symbol="ETHUSDT"))


def test_pre_check_changes_nothing() -> None:
    """The wallet as it would be shows the margin of the order; the venue stays as it was."""
    at = venue()
    before = at.snapshot()
    now, then = at.check(limit(LINEAR, SELL, "1", "50000"))
    assert now.im_rate == 0 < then.im_rate
    assert at.snapshot() == before


def test_leverage_codes() -> None:
    """Unchanged 110043, above the tier 110013, off the step 10001; otherwise it counts for the margin."""
    at = venue()
    at.set_leverage("BTCUSDT", D(2))
    for leverage, code in ((D(2), 110043), (D(51), 110013), (D("2.005"), 10001), (D("0.5"), 10001)):
        with pytest.raises(Rejected) as caught:
            at.set_leverage("BTCUSDT", leverage)
        assert caught.value.code == code
    sent(at, limit(LINEAR, SELL, "1", "49900"))
    assert at.position("BTCUSDT").initial_margin == D(50_000) / 2 + D(50_000) * D("0.00055")


def test_closed_orders_are_remembered_as_the_venue_does() -> None:
    """Realtime keeps the latest 500 until a restart; the history drops unfilled orders after a day, not
    fills.
    """
    at = venue()
    filled = sent(at, limit(SPOT, BUY, "0.1", "50005"))
    for _ in range(501):
        sent(at, limit(SPOT, BUY, "0.1", "49000"))
    assert filled not in at.closed_orders(SPOT)
    assert len(at.closed_orders(SPOT)) == 500
    assert len(at.order_history(SPOT, START, until=at.now)) == 502
    at.advance(START + 25 * HOUR)
    assert at.order_history(SPOT, START, until=at.now) == (filled,)
    at.forget_recent()
    assert at.closed_orders(SPOT) == ()
    after = sent(at, limit(SPOT, BUY, "0.1", "50005"))
    again = Venue.restore(ToyFeed(), at.snapshot())
    assert again.closed_orders(SPOT) == at.closed_orders(SPOT) == (after,)


def test_precision_is_never_lost_on_a_fill() -> None:
    """Executions of an order sum exactly to its filled quantity, value and fees."""
    at = venue(ToyFeed(size=D("0.333")))
    order = sent(at, limit(LINEAR, SELL, "2.5", "49900"))
    rows = at.fills_of(order)
    assert sum(row.quantity for row in rows) == order.filled == D("2.5")
    assert sum(row.value for row in rows) == order.filled_value
    assert {"USDT": sum((row.fee for row in rows), Decimal(0))} == order.fees
