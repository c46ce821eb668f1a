"""Amending an open order: asynchronous like everything, with the venue's codes, and never kinder than a new
order.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import OrderStatus, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.engine import Rules, Venue
from fundarb.venue.rows import OrderType
from tests.venue.test_account import ties
from tests.venue.test_orders import BUY, GTC, SELL, limit, market, sent
from tests.venue.toy import LINEAR, SECOND, SPOT, START, D, ToyFeed, venue

DELAY = timedelta(milliseconds=300)


def refusal(at: Venue, category: Category, order_id: str, **change: object) -> int | None:
    """The code of a refused amendment."""
    with pytest.raises(Rejected) as caught:
        at.amend(category, order_id=order_id, **change)  # type: ignore[arg-type]
    return caught.value.code


def test_until_it_arrives_the_order_fills_as_it_is() -> None:
    """The book crosses the old price while the amendment is on its way: filled there, and nothing is left to
    amend.
    """
    feed = ToyFeed()
    at = venue(feed, rules=Rules(match_delay=DELAY))
    at.place(limit(LINEAR, BUY, "1", "49900", time_in_force=GTC))
    at.advance(START + DELAY)
    (order,) = at.open_orders(LINEAR)
    at.amend(LINEAR, order_id=order.order_id, price=D(48_000))
    assert order.price == 49_900
    feed.prices["BTCUSDT"] = D(49_800)
    at.world.mark("BTCUSDT", D(49_800))
    at.advance(START + SECOND)
    assert (order.status, order.average_price) == (OrderStatus.FILLED, D(49_900))
    assert at.snapshot()["state"]["amendments"] == {}  # type: ignore[index]


def test_a_smaller_quantity_keeps_the_place_and_everything_else_meets_the_book_again() -> None:
    """The same price stays maker; a better price is a taker against the book of the moment it arrives."""
    feed = ToyFeed()
    at = venue(feed)
    order = sent(at, limit(LINEAR, SELL, "1", "51000", time_in_force=GTC))
    at.amend(LINEAR, order_id=order.order_id, quantity=D("0.4"))
    at.advance(at.now)
    assert (order.quantity, order.resting) == (D("0.4"), True)
    at.amend(LINEAR, order_id=order.order_id, price=D(49_995))
    at.advance(at.now)
    (row,) = at.fills_of(order)
    assert (order.status, row.maker, row.price) == (OrderStatus.FILLED, False, D(49_995))
    ties(at)


def test_a_post_only_order_moved_into_the_book_is_cancelled() -> None:
    """It would take: cancelled with the rule's own reason, as at its first meeting."""
    at = venue()
    order = sent(at, limit(LINEAR, BUY, "1", "49900", time_in_force=TimeInForce.POST_ONLY))
    at.amend(LINEAR, order_id=order.order_id, price=D(50_005))
    at.advance(at.now)
    assert (order.status, order.reject_reason) == (OrderStatus.CANCELLED, "EC_PostOnlyWillTakeLiquidity")


def test_refusals_of_amendments() -> None:
    """Unknown, finished, unchanged, beyond the balance, beyond the band: each with the code of its market."""
    at = venue(USDT="60000", BTC="1")
    filled = sent(at, limit(SPOT, BUY, "0.1", "50005"))
    gone = sent(at, limit(SPOT, BUY, "0.1", "49000"))
    perp_gone = sent(at, limit(LINEAR, BUY, "0.1", "49000"))
    assert refusal(at, SPOT, "nobody", price=D(1)) == 170213
    assert refusal(at, LINEAR, "nobody", price=D(1)) == 110001
    assert refusal(at, SPOT, filled.order_id, price=D(1)) == 170139
    assert refusal(at, SPOT, gone.order_id, price=D(1)) == 170142
    assert refusal(at, LINEAR, perp_gone.order_id, price=D(1)) == 110001
    resting = sent(at, limit(SPOT, BUY, "1", "49000", time_in_force=GTC))
    assert refusal(at, SPOT, resting.order_id, price=D(49_000)) == 10001
    assert refusal(at, SPOT, resting.order_id, quantity=D("1.5")) == 170131
    assert refusal(at, SPOT, resting.order_id, price=D(52_501)) == 170193
    assert at.wallet().coins["USDT"].locked == 49_000


def test_a_market_order_cannot_be_amended() -> None:
    """Between its acknowledgement and its match it has no price of its own to change."""
    at = venue(rules=Rules(match_delay=DELAY))
    ack = at.place(market(LINEAR, BUY, "1"))
    order = at.find_order(LINEAR, order_id=ack.order_id)
    assert order is not None
    assert order.order_type is OrderType.MARKET
    assert refusal(at, LINEAR, ack.order_id, price=D(50_000)) == 10001


def test_what_has_become_impossible_on_the_way_leaves_the_order() -> None:
    """Two amendments that the balance allows one by one, not together: the second is dropped, locks stay
    exact.
    """
    at = venue(rules=Rules(match_delay=DELAY))
    ids = [at.place(limit(SPOT, BUY, "0.5", "48000", time_in_force=GTC)).order_id for _ in range(2)]
    at.advance(START + SECOND)
    for order_id in ids:
        at.amend(SPOT, order_id=order_id, quantity=D("1.5"))
    at.advance(START + 2 * SECOND)
    quantities = sorted(order.quantity for order in at.open_orders(SPOT))
    assert quantities == [D("0.5"), D("1.5")]
    assert at.wallet().coins["USDT"].locked == 96_000


def test_amendments_survive_a_restart() -> None:
    """What was acknowledged is part of the state."""
    feed = ToyFeed()
    at = venue(feed, rules=Rules(match_delay=DELAY))
    ack = at.place(limit(LINEAR, BUY, "1", "49000", time_in_force=GTC))
    at.advance(START + SECOND)
    at.amend(LINEAR, order_id=ack.order_id, quantity=D("0.7"))
    twin = Venue.restore(feed, at.snapshot())
    twin.advance(START + 2 * SECOND)
    order = twin.find_order(LINEAR, order_id=ack.order_id)
    assert order is not None
    assert order.quantity == D("0.7")
