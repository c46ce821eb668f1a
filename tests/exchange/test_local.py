"""The venue in process behind the exchange port: the gate, the lease, lost requests and answers, look-ups,
quotes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Category, Level
from fundarb.core.orders import OrderRequest, OrderStatus, Outcome, Side
from fundarb.engine.ports import Exchange
from fundarb.errors import NotSent, Rejected
from fundarb.exchange.local import LocalExchange, Loss, VenueClock
from fundarb.venue.engine import Rules
from tests.venue.toy import HOUR, LINEAR, SECOND, SPOT, START, D, ToyFeed, perp, spot, venue


class Gate:
    """Remembers who asked; refuses when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[OrderRequest, datetime]] = []
        self.closed = False

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """As the wire gate."""
        self.asked.append((request, signed_at))
        if self.closed:
            raise NotSent("not the writer")


def request(
    link: str,
    *,
    category: Category = SPOT,
    side: Side = Side.BUY,
    quantity: str = "0.5",
    price: str = "50100",
) -> OrderRequest:
    """An IOC order with a cap."""
    return OrderRequest(
        link_id=link,
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=D(quantity),
        limit_price=D(price),
    )


def local(
    feed: ToyFeed | None = None, *, latency: timedelta = timedelta()
) -> tuple[LocalExchange, Gate, VirtualClock]:
    """An exchange over a toy market and a virtual clock."""
    gate, clock = Gate(), VirtualClock(START)
    return LocalExchange(venue(feed), gate, clock=clock, latency=latency), gate, clock


def test_it_is_an_exchange() -> None:
    """The adapter satisfies the engine's port."""
    exchange: Exchange = local()[0]
    assert exchange.requests_made == 0


def test_an_order_passes_the_gate_and_is_found_everywhere() -> None:
    """Accepted with an id, filled at the next look, the same in realtime, history, executions and wallet."""
    exchange, gate, clock = local()
    answer = exchange.create(request("fa-1"), signed_at=clock.now())
    assert (answer.outcome, answer.sent) == (Outcome.ACCEPTED, True)
    report = exchange.order_realtime(SPOT, "BTCUSDT", link_id="fa-1")
    assert report is not None
    assert (report.order_id, report.status, report.filled) == (answer.order_id, OrderStatus.FILLED, D("0.5"))
    assert exchange.order_history(SPOT, "BTCUSDT", link_id="fa-1") == report
    (row,) = exchange.executions_of(SPOT, "BTCUSDT", link_id="fa-1")
    assert (row.fee, row.fee_coin) == (D("0.0005"), "BTC")
    assert exchange.executions(SPOT, START, until=clock.now()) == (row,)
    assert exchange.wallet().free("BTC") == D("0.4995")
    assert exchange.open_orders(SPOT) == ()
    assert [item.link_id for item, _ in gate.asked] == ["fa-1"]
    assert len(exchange.transactions(START, clock.now())) == 3


def test_what_the_gate_holds_back_never_reaches_the_venue() -> None:
    """REFUSED and not sent; the venue has no order."""
    exchange, gate, clock = local()
    gate.closed = True
    answer = exchange.create(request("fa-1"), signed_at=clock.now())
    assert (answer.outcome, answer.sent) == (Outcome.REFUSED, False)
    assert exchange.venue.all_orders() == ()


@pytest.mark.parametrize(("loss", "exists"), [(Loss.REQUEST, False), (Loss.ANSWER, True)])
def test_a_lost_request_and_a_lost_answer_look_the_same(loss: Loss, exists: bool) -> None:
    """Both are UNCERTAIN; only the look-up tells them apart."""
    exchange, _, clock = local()
    exchange.lose(loss)
    answer = exchange.create(request("fa-1"), signed_at=clock.now())
    assert (answer.outcome, answer.sent, answer.order_id) == (Outcome.UNCERTAIN, True, "")
    assert (exchange.order_realtime(SPOT, "BTCUSDT", link_id="fa-1") is not None) == exists
    assert exchange.create(request("fa-2"), signed_at=clock.now()).outcome is Outcome.ACCEPTED


def test_the_lease_expires_on_the_way() -> None:
    """A create that needs longer than recv_window is refused by the venue, nothing is admitted."""
    exchange, _, clock = local(latency=timedelta(seconds=3))
    answer = exchange.create(request("fa-1"), signed_at=clock.now())
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, 10002)
    assert exchange.venue.all_orders() == ()
    assert clock.now() == START + timedelta(seconds=3)


def test_refusals_are_classified_by_their_code() -> None:
    """A balance refusal is REFUSED, a duplicate link id EXISTS."""
    exchange, _, clock = local()
    poor = exchange.create(request("fa-1", quantity="5"), signed_at=clock.now())
    assert (poor.outcome, poor.code) == (Outcome.REFUSED, 170131)
    exchange.create(request("fa-2"), signed_at=clock.now())
    again = exchange.create(request("fa-2"), signed_at=clock.now())
    assert (again.outcome, again.code) == (Outcome.EXISTS, 170141)


def test_reads_can_lag() -> None:
    """For a while after the fill no read knows of the order; then all do."""
    exchange, _, clock = local()
    exchange.read_lag = timedelta(seconds=20)
    exchange.create(request("fa-1"), signed_at=clock.now())
    assert exchange.order_realtime(SPOT, "BTCUSDT", link_id="fa-1") is None
    assert exchange.order_history(SPOT, "BTCUSDT", link_id="fa-1") is None
    assert exchange.executions_of(SPOT, "BTCUSDT", link_id="fa-1") == ()
    clock.sleep(timedelta(seconds=20))
    assert exchange.order_realtime(SPOT, "BTCUSDT", link_id="fa-1") is not None
    assert len(exchange.executions_of(SPOT, "BTCUSDT", link_id="fa-1")) == 1


def test_cancel_by_link_id() -> None:
    """An open order is cancelled; an unknown one is refused."""
    clock = VirtualClock(START)
    exchange = LocalExchange(venue(rules=Rules(match_delay=SECOND)), None, clock=clock)
    assert exchange.cancel(SPOT, "BTCUSDT", link_id="fa-9").outcome is Outcome.REFUSED
    exchange.create(request("fa-1"), signed_at=clock.now())
    assert exchange.cancel(SPOT, "BTCUSDT", link_id="fa-1").outcome is Outcome.ACCEPTED
    assert len(exchange.open_orders(SPOT)) == 1
    clock.sleep(SECOND)
    report = exchange.order_realtime(SPOT, "BTCUSDT", link_id="fa-1")
    assert report is not None
    assert report.status.final


def test_positions_funding_and_settled_rates() -> None:
    """A short earns at the settlement; the history tells the rate; the clock alone moves time."""
    exchange, _, clock = local()
    exchange.prepare_symbol("BTCUSDT", D(2))
    exchange.prepare_symbol("BTCUSDT", D(2))
    exchange.create(request("fa-1", category=LINEAR, side=Side.SELL, price="49900"), signed_at=clock.now())
    (position,) = exchange.positions()
    assert (position.size, position.leverage) == (D("-0.5"), D(2))
    clock.sleep(8 * HOUR)
    assert [row.fee for row in exchange.executions(LINEAR, START + SECOND, until=clock.now())] == [D("-2.5")]
    assert [row.rate for row in exchange.settled_funding("BTCUSDT")][-1] == D("0.0001")
    assert len(exchange.settled_funding("BTCUSDT", since=START)) == 1
    with pytest.raises(Rejected):
        exchange.prepare_symbol("BTCUSDT", D(100))


def test_the_snapshot_shows_the_market_and_names_what_cannot_be_read() -> None:
    """Quotes of both markets; an empty side, a forced NaN and a zero price are unreadable, not zero."""
    feed = ToyFeed(
        listed=(spot(), perp(), spot("AUSDT"), spot("BUSDT"), spot("CUSDT")),
        prices={name: D(50_000) for name in ("BTCUSDT", "AUSDT", "BUSDT", "CUSDT")},
    )
    exchange, _, _ = local(feed)
    exchange.venue.world.book(SPOT, "AUSDT", bids=(), asks=(Level(D(1), D(1)),))
    exchange.venue.world.ticker_patch(SPOT, "BUSDT", fields={"bid1Price": "NaN"})
    exchange.venue.world.ticker_patch(SPOT, "CUSDT", fields={"lastPrice": "0"})
    snapshot = exchange.snapshot()
    assert set(snapshot.spot) == {"BTCUSDT"}
    assert set(snapshot.unreadable) == {"AUSDT", "BUSDT", "CUSDT"}
    quote = snapshot.perp["BTCUSDT"]
    assert (quote.bid, quote.ask, quote.mark) == (D(49_995), D(50_005), D(50_000))
    assert quote.funding is not None
    assert quote.funding.next_time == START + 8 * HOUR
    assert snapshot.spot["BTCUSDT"].usd_index == 50_000


def test_closed_instruments_are_gone() -> None:
    """After its delisting a contract is in no list."""
    exchange, _, clock = local()
    exchange.venue.world.delist("BTCUSDT", START + HOUR)
    assert exchange.instruments().perp["BTCUSDT"].delivery_time == START + HOUR
    clock.sleep(HOUR)
    assert exchange.instruments(refresh=True).perp == {}
    assert exchange.snapshot().perp == {}
    assert set(exchange.instruments().spot) == {"BTCUSDT"}


def test_account_and_key() -> None:
    """Whose account it is, one-way cross margin, permissions to trade only."""
    exchange, _, clock = local()
    assert exchange.account().uid == exchange.key_info().uid == "toy"
    assert exchange.account().margin_mode == "REGULAR_MARGIN"
    assert set(exchange.key_info().permissions) == {"ContractTrade", "Spot"}
    assert exchange.stamp() == clock.now() == exchange.server_time()
    assert exchange.fee_rates(LINEAR, "BTCUSDT").taker == D("0.00055")
    assert exchange.fee_schedule(LINEAR)["BTCUSDT"] == exchange.fee_rates(LINEAR, "BTCUSDT")
    assert not exchange.book(SPOT, "BTCUSDT").crossed


def test_a_clock_that_is_the_venue() -> None:
    """Sleeping on it lets everything due happen; it never goes back."""
    at = venue()
    clock = VenueClock(at)
    exchange = LocalExchange(at, None, clock=clock)
    exchange.create(request("fa-1", category=LINEAR, side=Side.SELL, price="49900"), signed_at=clock.now())
    clock.sleep(8 * HOUR)
    clock.sleep(-HOUR)
    assert clock.now() == at.now == START + 8 * HOUR
    assert clock.monotonic() == 8 * HOUR
    assert any(row.kind == "SETTLEMENT" for row in at.all_transactions())
