"""Whose answers these are: asked after a new connection and once a minute, never while somebody is in a
hurry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Category
from fundarb.errors import OtherAccount, Unavailable
from fundarb.exchange.bybit import BybitExchange
from fundarb.exchange.owner import Owner
from fundarb.exchange.wire import Traffic
from tests.exchange.server import FakeVenue, Reply, envelope, listing
from tests.exchange.test_bybit_trading import KEY

SECOND = timedelta(seconds=1)
WHOSE = "/v5/user/query-api"


@dataclass
class Bench:
    """An owner, what it looks at, and a venue that says who it is (None: it does not)."""

    uid: str | None = "7"
    asked: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    def __post_init__(self) -> None:
        """Of account 7."""
        self.owner = Owner(lambda: self.traffic, self.clock)
        self.owner.belong("7")

    def ask(self) -> None:
        """The venue is asked."""
        self.asked += 1
        if self.uid is None:
            raise Unavailable("no answer")
        self.owner.heard(self.uid)

    def look(self) -> None:
        """An answer came."""
        self.owner.look(self.ask)


@pytest.fixture
def bench() -> Bench:
    """A fresh one."""
    return Bench()


def test_it_is_asked_once_for_a_connection_and_once_a_minute(bench: Bench) -> None:
    """The first answer asks, further ones do not until a connection was opened or a minute is over."""
    for _ in range(3):
        bench.look()
    assert bench.asked == 1
    bench.traffic.opened += 1
    bench.look()
    bench.look()
    assert bench.asked == 2
    bench.clock.sleep(60 * SECOND)
    bench.look()
    assert bench.asked == 3


def test_another_account_is_refused_for_as_long_as_it_is_there(bench: Bench) -> None:
    """Each answer of another account raises, with both names, and nothing that adds exposure may leave."""
    bench.look()
    bench.uid = "8"
    bench.traffic.opened += 1
    for _ in range(3):
        with pytest.raises(OtherAccount, match="account 7, but the venue answers as 8"):
            bench.look()
    assert not bench.owner.sure()
    bench.uid = "7"
    bench.look()
    assert bench.owner.sure()


def test_a_venue_that_does_not_say_is_not_another_one(bench: Bench) -> None:
    """Its answers count, it is asked again after ten seconds, and until it says so nothing is added."""
    bench.uid = None
    for _ in range(5):
        bench.look()
    assert bench.asked == 1
    assert not bench.owner.sure()
    bench.uid = "7"
    bench.clock.sleep(10 * SECOND)
    bench.look()
    assert bench.owner.sure()


def test_a_lost_connection_ends_certainty_at_once(bench: Bench) -> None:
    """Before anybody asks anything: an order that adds exposure does not leave on a connection that replaces
    a dead one; one that merely is new is no reason, and an old confirmation is none either.
    """
    bench.look()
    bench.traffic.opened += 1
    assert bench.owner.sure()
    bench.traffic.lost += 1
    assert not bench.owner.sure()
    bench.look()
    assert bench.owner.sure()
    bench.clock.sleep(120 * SECOND)
    assert not bench.owner.sure()


def test_nobodys_answers_all_count() -> None:
    """Before a database has an owner nothing is asked, and nothing held back."""
    owner = Owner(Traffic, VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)))
    owner.look(pytest.fail)
    assert owner.sure()


def test_no_question_between_the_legs(exchange: BybitExchange, venue: FakeVenue) -> None:
    """What is asked in a hurry, and an order that is followed by its own id, is answered without a question
    about the account; what books or decides is not, and a history that shows nothing proves an absence.
    """
    venue.on(WHOSE, envelope(KEY | {"userID": 8}))
    for path in ("/v5/position/list", "/v5/order/realtime", "/v5/order/history", "/v5/execution/list"):
        venue.on(path, listing())
    exchange.belong("7")
    with exchange.urgent(SECOND * 5):
        exchange.positions()
    exchange.order_realtime(Category.SPOT, "BTCUSDT", link_id="x")
    exchange.executions_of(Category.SPOT, "BTCUSDT", link_id="x")
    assert not venue.to(WHOSE)
    with pytest.raises(OtherAccount):
        exchange.positions()
    with exchange.urgent(SECOND * 5), pytest.raises(OtherAccount):
        exchange.order_history(Category.SPOT, "BTCUSDT", link_id="x")
    assert len(venue.to(WHOSE)) == 2


def test_a_connection_that_the_venue_closed_is_noticed(exchange: BybitExchange, venue: FakeVenue) -> None:
    """The venue closes a connection that rests: the next answer counts only after the account was confirmed
    again.
    """
    venue.on(WHOSE, envelope(KEY | {"userID": 7}))
    venue.on("/v5/position/list", listing(), Reply(listing(), how="last"), listing())
    exchange.belong("7")
    exchange.positions()
    assert len(venue.to(WHOSE)) == 1
    exchange.positions()
    exchange.positions()
    assert len(venue.to(WHOSE)) == 2
    assert exchange.sure()
