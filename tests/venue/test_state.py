"""A venue on disk and in the ears of its subscribers: snapshots, pruning, notices, core types."""

from __future__ import annotations

import json

import pytest

from fundarb.core.market import Category
from fundarb.errors import Rejected
from fundarb.venue.engine import Venue
from fundarb.venue.rows import Fill, Notice, Order, Topic
from tests.venue.test_account import short
from tests.venue.test_orders import BUY, GTC, SELL, limit, sent
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, ToyFeed, perp, spot, venue


def test_a_snapshot_is_the_whole_venue() -> None:
    """Restored through JSON the venue is the same and goes on the same, byte for byte."""
    at, feed = short("1", USDT="50000", BTC="1")
    sent(at, limit(SPOT, SELL, "0.5", "52000", time_in_force=GTC, link_id="rest"))
    at.world.filters(LINEAR, "BTCUSDT", fields={"qtyStep": "0.01"})
    at.world.interval("BTCUSDT", 1)
    at.world.fees(SPOT, taker=D("0.0018"))
    at.place(limit(LINEAR, BUY, "0.1", "50100", reduce_only=True))
    text = json.dumps(at.snapshot())
    twin = Venue.restore(feed, json.loads(text))
    assert json.dumps(twin.snapshot()) == text
    for one in (at, twin):
        one.advance(START + 9 * HOUR)
        one.cancel(SPOT, "BTCUSDT", link_id="rest")
        one.advance(START + 10 * HOUR)
    assert twin.snapshot() == at.snapshot()
    assert twin.all_transactions() == at.all_transactions()


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 2},
        {"state": {}},
        {"state": None},
        {"rules": {"match_delay": "soon"}},
    ],
)
def test_a_broken_snapshot_is_refused(damage: dict[str, object]) -> None:
    """A state that does not fit raises ValueError."""
    at, feed = short()
    with pytest.raises(ValueError, match=r"\w"):
        Venue.restore(feed, {**at.snapshot(), **damage})


def test_a_forged_balance_is_noticed() -> None:
    """A wallet that its log does not explain is refused at the door."""
    at, feed = short()
    saved = json.loads(json.dumps(at.snapshot()))
    saved["state"]["account"]["coins"]["USDT"]["wallet"] = "1000000"
    with pytest.raises(ValueError, match="USDT"):
        Venue.restore(feed, saved)


def test_pruning_keeps_balances_and_ties() -> None:
    """Old rows and closed orders go, the wallet and the restored chain stay."""
    at, feed = short()
    at.advance(START + 100 * HOUR)
    before = at.wallet()
    at.prune(START + 50 * HOUR)
    assert at.wallet() == before
    assert all(row.time >= START + 50 * HOUR for row in at.all_transactions())
    assert all(row.time >= START + 50 * HOUR for row in at.all_fills())
    assert at.all_orders() == ()
    assert Venue.restore(feed, json.loads(json.dumps(at.snapshot()))).wallet() == before


def test_subscribers_hear_everything_in_order() -> None:
    """An order is announced, executed, final; wallet and position follow; later events do not change the
    copies.
    """
    at = venue()
    heard: list[Notice] = []
    at.subscribe(heard.append)
    sent(at, limit(LINEAR, SELL, "1.5", "49900"))
    topics = [notice.topic for notice in heard]
    assert topics == [
        Topic.ORDER,
        Topic.EXECUTION,
        Topic.EXECUTION,
        Topic.ORDER,
        Topic.POSITION,
        Topic.WALLET,
    ]
    first, last = heard[0].payload, heard[3].payload
    assert isinstance(first, Order)
    assert isinstance(last, Order)
    assert (first.filled, last.filled) == (D(0), D("1.5"))
    fill = heard[1].payload
    assert isinstance(fill, Fill)
    assert fill.leaves == D("0.5")


def test_reports_as_core_types() -> None:
    """Positions are signed, wallet rates are fractions, orders and fills keep their ids."""
    at, _ = short("1", USDT="50000", BTC="1")
    (position,) = at.positions()
    report = position.report()
    assert (report.symbol, report.size, report.average_price) == ("BTCUSDT", D(-1), D(49_995))
    wallet = at.wallet().report()
    assert wallet.free("BTC") == 1
    order = at.all_orders()[0]
    assert at.all_fills()[0].execution().order_id == order.report().order_id == order.order_id


def test_categories_do_not_mix() -> None:
    """BTCUSDT exists twice: orders and fills of one market never show in the other."""
    at = venue()
    bought = sent(at, limit(SPOT, BUY, "1", "50005", link_id="same"))
    sold = sent(at, limit(LINEAR, SELL, "1", "49000", link_id="same"))
    assert at.find_order(SPOT, link_id="same") is bought
    assert at.find_order(LINEAR, link_id="same") is sold
    assert at.find_order(LINEAR, order_id=bought.order_id) is None
    assert {row.category for row in at.fills(LINEAR, START, until=at.now)} == {LINEAR}
    assert len(at.fills(SPOT, START, until=at.now)) == 1


def test_unknown_symbols_are_refused_by_market() -> None:
    """Reads of an unknown symbol carry the market's own code."""
    at = venue(ToyFeed(listed=(spot(), perp())))
    for category, code in ((Category.SPOT, 170121), (Category.LINEAR, 10001)):
        with pytest.raises(Rejected) as caught:
            at.point(category, "NOUSDT")
        assert caught.value.code == code
