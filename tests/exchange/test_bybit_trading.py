"""The private side over real ccxt and real HTTP: writes are classified, reads are complete or raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.account import VIP0_SPOT
from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, OrderStatus, Outcome, Side, WriteAnswer
from fundarb.errors import BadAnswer, ConfigError, InvariantBroken, NotSent, Rejected, Unavailable
from fundarb.exchange.bybit import SANDBOX_CREDENTIALS, BybitExchange, BybitSettings, connect
from tests.exchange.conftest import NOW, Gate, order_request, settings
from tests.exchange.server import TIME_MS, FakeVenue, Reply, Request, envelope, listing
from tests.exchange.test_strict import GARBAGE

CREATE, CANCEL = "/v5/order/create", "/v5/order/cancel"
LINK = "fa-k3f9-7Q2MX0WA4D-p003"
DAY = timedelta(days=1)


def order_row(**changes: object) -> dict[str, object]:
    """An order as the venue lists it."""
    row: dict[str, object] = {
        "orderId": "o1",
        "orderLinkId": LINK,
        "symbol": "BTCUSDT",
        "side": "Sell",
        "qty": "0.01",
        "price": "64000",
        "cumExecQty": "0",
        "avgPrice": "",
        "orderStatus": "New",
        "cancelType": "UNKNOWN",
        "rejectReason": "EC_NoError",
        "reduceOnly": False,
        "createdTime": str(TIME_MS),
        "updatedTime": str(TIME_MS),
    }
    return row | changes


def execution_row(number: int = 1, **changes: object) -> dict[str, object]:
    """An execution as the venue lists it."""
    row: dict[str, object] = {
        "execId": f"e{number}",
        "orderId": "o1",
        "orderLinkId": LINK,
        "symbol": "BTCUSDT",
        "side": "Sell",
        "execPrice": "64000",
        "execQty": "0.01",
        "execValue": "640",
        "execFee": "0.352",
        "feeCurrency": "USDT",
        "execType": "Trade",
        "execTime": str(TIME_MS + number),
        "isMaker": False,
    }
    return row | changes


def transaction_row(number: int = 1, **changes: object) -> dict[str, object]:
    """A row of the transaction log."""
    row: dict[str, object] = {
        "id": f"t{number}",
        "type": "SETTLEMENT",
        "currency": "USDT",
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Sell",
        "transactionTime": str(TIME_MS + number),
        "qty": "0.01",
        "size": "-0.01",
        "tradePrice": "64000",
        "funding": "0.064",
        "fee": "",
        "cashFlow": "0",
        "change": "0.064",
        "cashBalance": "1000.064",
        "feeRate": "-0.0001",
        "tradeId": "x",
        "orderId": "",
        "orderLinkId": "",
    }
    return row | changes


def position_row(symbol: str = "BTCUSDT", **changes: object) -> dict[str, object]:
    """A short of 0.01."""
    row: dict[str, object] = {
        "symbol": symbol,
        "side": "Sell",
        "size": "0.01",
        "avgPrice": "64000",
        "markPrice": "64010",
        "leverage": "2",
        "liqPrice": "",
        "unrealisedPnl": "-0.1",
        "positionMM": "3.2",
        "adlRankIndicator": 2,
        "isReduceOnly": False,
        "positionStatus": "Normal",
        "positionIdx": 0,
    }
    return row | changes


# ---------------------------------------------------------------------------------------------- create


def send(exchange: BybitExchange, **changes: object) -> WriteAnswer:
    """One create."""
    return exchange.create(order_request(**changes), signed_at=NOW)


def test_a_perp_order_goes_out_as_the_protocol_wants_it(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A limit with plain numbers, one-way, reduce-only only where asked."""
    venue.on(CREATE, envelope({"orderId": "77", "orderLinkId": LINK}))
    answer = send(exchange, reduce_only=True)
    assert answer == WriteAnswer(outcome=Outcome.ACCEPTED, order_id="77", code=0, message="OK")
    assert venue.to(CREATE)[0].document == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Sell",
        "orderType": "Limit",
        "qty": "0.01",
        "price": "64000",
        "timeInForce": "IOC",
        "orderLinkId": LINK,
        "positionIdx": 0,
        "reduceOnly": True,
    }


def test_a_spot_order_never_borrows(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Spot orders say so, and know neither reduce-only nor position mode."""
    venue.on(CREATE, envelope({"orderId": "77"}))
    send(exchange, category=Category.SPOT, side=Side.BUY)
    document = venue.to(CREATE)[0].document
    assert document["isLeverage"] == 0
    assert not {"reduceOnly", "positionIdx"} & document.keys()


@pytest.mark.parametrize(
    ("reply", "outcome", "code"),
    [
        (envelope({}, code=110007), Outcome.REFUSED, 110007),
        (envelope({}, code=10002), Outcome.REFUSED, 10002),
        (envelope({}, code=10006), Outcome.REFUSED, 10006),
        (envelope({}, code=110072), Outcome.EXISTS, 110072),
        (envelope({}, code=170141), Outcome.EXISTS, 170141),
        (envelope({}, code=10000), Outcome.UNCERTAIN, 10000),
        (envelope({}, code=10016), Outcome.UNCERTAIN, 10016),
        (envelope({}, code=170146), Outcome.UNCERTAIN, 170146),
        (Reply(envelope({}, code=10003), status=401), Outcome.REFUSED, 10003),
        (envelope({"orderLinkId": LINK}), Outcome.UNCERTAIN, 0),
        (envelope({"orderId": "", "orderLinkId": LINK}), Outcome.UNCERTAIN, 0),
        (envelope({"orderId": None}), Outcome.UNCERTAIN, 0),
        (envelope({"orderId": 5}), Outcome.UNCERTAIN, 0),
        (envelope({"orderId": "1", "orderLinkId": "another"}), Outcome.UNCERTAIN, 0),
        (Reply(envelope({"orderId": "1"}), status=502), Outcome.UNCERTAIN, None),
        (Reply(envelope({}, code=110007), status=500), Outcome.UNCERTAIN, None),
        (Reply(b"<html>", status=403), Outcome.UNCERTAIN, None),
        (Reply(b"<html>", status=429), Outcome.UNCERTAIN, None),
        (Reply(envelope({}, code=10006, message="Too many visits"), status=403), Outcome.REFUSED, 10006),
        (Reply(b"", status=301, headers={"Location": "/x"}), Outcome.UNCERTAIN, None),
        (Reply(how="reset"), Outcome.UNCERTAIN, None),
        (Reply(how="close"), Outcome.UNCERTAIN, None),
        (Reply(envelope({"orderId": "1"}), how="cut"), Outcome.UNCERTAIN, None),
        *[(body, Outcome.UNCERTAIN, None) for body in GARBAGE.values()],
    ],
)
def test_each_answer_to_a_create_has_its_class(
    exchange: BybitExchange, venue: FakeVenue, reply: Reply | bytes, outcome: Outcome, code: int | None
) -> None:
    """By number and by what was seen on the wire; the order left once, whatever came back."""
    venue.on(CREATE, reply)
    answer = send(exchange)
    assert (answer.outcome, answer.code, answer.sent) == (outcome, code, True)
    assert not answer.extend_table
    assert len(venue.to(CREATE)) == 1


def test_a_create_without_an_answer_is_uncertain_after_its_deadline(
    venue: FakeVenue, clock: VirtualClock, gate: Gate
) -> None:
    """A write waits its own time, no longer, and is not sent again."""
    venue.on(CREATE, Reply(how="hang"))
    patience = settings(venue, write_timeout=timedelta(milliseconds=200))
    answer = send(connect(patience, clock=clock, credentials=SANDBOX_CREDENTIALS, gate=gate))
    assert answer.outcome is Outcome.UNCERTAIN
    assert answer.message == f"no answer from 127.0.0.1:{venue.port} within the deadline"
    assert len(venue.to(CREATE)) == 1


def test_an_unknown_code_asks_for_the_table(exchange: BybitExchange, venue: FakeVenue) -> None:
    """What nobody has classified is uncertain and said to be new."""
    venue.on(CREATE, envelope({}, code=987654))
    answer = send(exchange)
    assert (answer.outcome, answer.extend_table) == (Outcome.UNCERTAIN, True)


def test_no_connection_means_refused_and_not_sent(clock: VirtualClock, gate: Gate) -> None:
    """Nothing is listening: definitely not executed."""
    venue = FakeVenue()
    venue.close()
    adapter = connect(settings(venue), clock=clock, credentials=SANDBOX_CREDENTIALS, gate=gate)
    answer = send(adapter)
    assert (answer.outcome, answer.sent, answer.code) == (Outcome.REFUSED, False, None)
    assert gate.asked == []


def test_what_the_gate_holds_back_is_refused_and_not_sent(
    exchange: BybitExchange, venue: FakeVenue, gate: Gate
) -> None:
    """Our own no is an answer, not an exception."""
    gate.error = NotSent("the epoch is not ours any more")
    answer = send(exchange)
    assert (answer.outcome, answer.sent) == (Outcome.REFUSED, False)
    assert "epoch" in answer.message
    assert venue.requests == []


def test_a_gate_that_breaks_sends_nothing_and_says_so(
    exchange: BybitExchange, venue: FakeVenue, gate: Gate
) -> None:
    """A disk error inside the gate is not mistaken for an answer of the venue."""
    gate.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        send(exchange)
    assert venue.requests == []


def test_a_gate_may_ask_the_venue_while_a_create_waits(
    exchange: BybitExchange, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    """A read inside the gate's question does not disturb the create around it."""
    venue.on(CREATE, envelope({"orderId": "77"}))
    monkeypatch.setattr(gate, "admit", lambda *_: exchange.server_time())
    assert send(exchange).outcome is Outcome.ACCEPTED
    assert [request.path for request in venue.requests] == ["/v5/market/time", CREATE]


def test_an_adapter_without_a_gate_sends_no_order(venue: FakeVenue, clock: VirtualClock) -> None:
    """No row, no request: a missing gate is a broken invariant."""
    adapter = connect(settings(venue), clock=clock, credentials=SANDBOX_CREDENTIALS)
    with pytest.raises(InvariantBroken):
        send(adapter)
    assert venue.requests == []


def test_without_a_key_nothing_private_is_possible(public: BybitExchange, venue: FakeVenue) -> None:
    """Every private call names what is missing, and no signed request is made."""
    for call in (public.positions, public.wallet, public.key_info, public.account):
        with pytest.raises(ConfigError, match="BYBIT_API_KEY"):
            call()
    with pytest.raises(ConfigError):
        public.cancel(Category.LINEAR, "BTCUSDT", link_id=LINK)
    assert public.signed_requests == 0
    assert venue.requests == []


def test_an_ip_limit_stops_every_request_for_ten_minutes(
    exchange: BybitExchange, venue: FakeVenue, clock: VirtualClock
) -> None:
    """After 403 nothing is sent, reads raise at once, creates are refused unsent; then life goes on."""
    venue.on(CREATE, Reply(b"access too frequent", status=403))
    venue.on("/v5/order/realtime", listing())
    assert send(exchange).outcome is Outcome.UNCERTAIN
    before = len(venue.requests)
    ends = [exchange.banned_until]
    with pytest.raises(Unavailable, match="IP limit"):
        exchange.server_time()
    held = send(exchange)
    assert (held.outcome, held.sent) == (Outcome.REFUSED, False)
    assert len(venue.requests) == before
    clock.sleep(timedelta(minutes=10))
    ends.append(exchange.banned_until)
    assert ends == [clock.now(), None]
    assert exchange.order_realtime(Category.LINEAR, "BTCUSDT", link_id=LINK) is None


def test_a_cancel_is_classified_too(exchange: BybitExchange, venue: FakeVenue) -> None:
    """By our link id; asked of no gate; a cancel needs no order id to be believed."""
    venue.on(CANCEL, envelope({}), envelope({}, code=110001), Reply(how="reset"))
    answers = [exchange.cancel(Category.SPOT, "BTCUSDT", link_id=LINK) for _ in range(3)]
    assert [answer.outcome for answer in answers] == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNCERTAIN]
    assert venue.to(CANCEL)[0].document == {"category": "spot", "symbol": "BTCUSDT", "orderLinkId": LINK}


def test_a_cancel_without_a_known_clock_is_not_sent(clock: VirtualClock) -> None:
    """If the venue's time cannot be read, nothing is signed."""
    venue = FakeVenue()
    adapter = connect(settings(venue), clock=clock, credentials=SANDBOX_CREDENTIALS)
    answer = adapter.cancel(Category.SPOT, "BTCUSDT", link_id=LINK)
    assert (answer.outcome, answer.sent) == (Outcome.REFUSED, False)
    assert venue.to(CANCEL) == []
    venue.close()


def test_a_refused_timestamp_makes_the_next_one_measured(exchange: BybitExchange, venue: FakeVenue) -> None:
    """10002 costs one measurement, never a wider lease."""
    venue.on(CREATE, envelope({}, code=10002))
    exchange.stamp()
    assert len(venue.to("/v5/market/time")) == 1
    send(exchange)
    exchange.stamp()
    assert len(venue.to("/v5/market/time")) == 2


# ---------------------------------------------------------------------------------------------- reads


def test_a_read_is_repeated_after_a_wrong_timestamp(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Refused for its time, measured, asked again."""
    venue.on("/v5/position/list", envelope({}, code=10002), listing(position_row()), listing())
    assert len(exchange.positions()) == 1
    assert len(venue.to("/v5/market/time")) == 2


@pytest.mark.parametrize(
    "first", [GARBAGE["html"], Reply(how="reset"), Reply(status=502), envelope({}, code=10006)]
)
def test_a_read_survives_a_passing_fault(
    exchange: BybitExchange, venue: FakeVenue, first: Reply | bytes
) -> None:
    """One bad answer is not the end of a read."""
    venue.on("/v5/position/list", first, listing())
    assert exchange.positions() == ()


def test_a_read_gives_up_after_its_attempts(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Bounded: three tries, then the last error."""
    venue.on("/v5/position/list", GARBAGE["html"])
    with pytest.raises(BadAnswer, match="HTML"):
        exchange.positions()
    assert len(venue.to("/v5/position/list")) == 3


def test_a_refused_read_is_not_repeated(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A dead key stays dead; the code is kept."""
    venue.on("/v5/position/list", envelope({}, code=33004, message="expired"))
    with pytest.raises(Unavailable, match="33004: expired") as caught:
        exchange.positions()
    assert caught.value.code == 33004
    assert len(venue.to("/v5/position/list")) == 1


def test_positions_of_both_settle_coins_over_all_pages(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A short is negative, flat rows are left out, every page is read."""

    def answer(request: Request) -> Reply:
        if request.params["settleCoin"] == "USDC":
            return Reply(listing(position_row("BTCPERP", side="Buy", size="2")))
        if "cursor" not in request.params:
            return Reply(listing(position_row(), position_row("ETHUSDT", side="", size="0"), cursor="next"))
        return Reply(listing(position_row("SOLUSDT", size="5")))

    venue.on("/v5/position/list", answer)
    found = {report.symbol: report.size for report in exchange.positions()}
    assert found == {"BTCUSDT": Decimal("-0.01"), "SOLUSDT": Decimal(-5), "BTCPERP": Decimal(2)}


def test_a_cursor_that_runs_in_a_circle_is_refused(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A list that never ends is not complete."""
    venue.on("/v5/execution/list", listing(execution_row(), cursor="again"))
    with pytest.raises(BadAnswer, match="circle"):
        exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)


def test_an_empty_last_page_ends_the_list(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Some lists answer a cursor with their last rows, whose page is empty."""
    venue.on("/v5/execution/list", listing(execution_row(), cursor="last"), listing(cursor="last"))
    assert len(exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)) == 1


def test_a_list_without_an_end_is_refused(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Ever new cursors are bounded."""
    pages = iter(range(10_000))
    venue.on("/v5/execution/list", lambda _: Reply(listing(cursor=f"c{next(pages)}")))
    with pytest.raises(BadAnswer, match="more than 400 pages"):
        exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)


def test_a_page_that_fails_fails_the_whole_list(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Half of a list is never returned."""
    good = Reply(listing(execution_row(), cursor="two"))
    venue.on("/v5/execution/list", lambda request: Reply(status=500) if "cursor" in request.params else good)
    with pytest.raises(Unavailable):
        exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)


def test_executions_of_a_long_time_are_read_in_windows(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Seventeen days are three windows of at most seven, without gap or overlap, oldest first."""
    venue.on("/v5/execution/list", listing())
    since, until = NOW - 17 * DAY, NOW
    exchange.executions(Category.LINEAR, since, until=until)
    asked = [(int(r.params["startTime"]), int(r.params["endTime"])) for r in venue.to("/v5/execution/list")]
    assert len(asked) == 3
    assert (asked[0][0], asked[-1][1]) == (to_ms(since), to_ms(until))
    assert all(end - start < 7 * 24 * 3600 * 1000 for start, end in asked)
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(asked))


def test_a_row_that_comes_twice_is_one_row(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Pages that overlap change nothing; order is by time."""
    venue.on(
        "/v5/execution/list",
        listing(execution_row(3), execution_row(2), cursor="two"),
        listing(execution_row(2), execution_row(1)),
    )
    found = exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)
    assert [execution.exec_id for execution in found] == ["e1", "e2", "e3"]


def test_two_different_rows_under_one_key_are_a_contradiction(
    exchange: BybitExchange, venue: FakeVenue
) -> None:
    """The same execution with two quantities is not believed."""
    venue.on("/v5/execution/list", listing(execution_row(1), execution_row(1, execQty="0.02")))
    with pytest.raises(BadAnswer, match="two different rows"):
        exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)


def test_all_kinds_of_executions_come_through(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Funding, ADL and words of the future are rows like others."""
    kinds = ["Trade", "Funding", "AdlTrade", "CorporateAction"]
    venue.on(
        "/v5/execution/list", listing(*[execution_row(i, execType=kind) for i, kind in enumerate(kinds)])
    )
    found = exchange.executions(Category.LINEAR, NOW - DAY, until=NOW)
    assert [row.kind for row in found] == [ExecKind.TRADE, ExecKind.FUNDING, ExecKind.ADL, ExecKind.OTHER]
    assert found[3].raw_kind == "CorporateAction"
    assert "execType" not in venue.to("/v5/execution/list")[0].params


def test_executions_of_one_order_are_its_own(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A row of another order in the answer is refused, not booked."""
    venue.on("/v5/execution/list", listing(execution_row()))
    found = exchange.executions_of(Category.LINEAR, "BTCUSDT", link_id=LINK)
    assert [(row.quantity, row.fee, row.fee_coin) for row in found] == [
        (Decimal("0.01"), Decimal("0.352"), "USDT")
    ]
    venue.on("/v5/execution/list", listing(execution_row(orderLinkId="foreign")))
    with pytest.raises(BadAnswer, match="asked for"):
        exchange.executions_of(Category.LINEAR, "BTCUSDT", link_id=LINK)


def test_the_transaction_log_is_complete_and_in_order(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Oldest first; rows of one millisecond in the order of events, which is the reverse of the wire."""
    newest, older = transaction_row(5), [transaction_row(4, id=name, tradeId=name) for name in ("b", "a")]
    venue.on("/v5/account/transaction-log", listing(newest, *older))
    found = exchange.transactions(NOW - DAY, NOW)
    assert [row.id for row in found] == ["a", "b", "t5"]
    assert (found[2].funding, found[2].fee, found[2].side) == (Decimal("0.064"), Decimal(0), Side.SELL)


def test_an_order_is_found_by_its_link_id_or_not_at_all(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Missing is None, found is a report, an answer about something else is refused."""
    venue.on(
        "/v5/order/realtime",
        listing(),
        listing(order_row(cumExecQty="0.01", orderStatus="Filled", avgPrice="1")),
    )
    venue.on("/v5/order/history", listing(order_row(orderLinkId="other")))
    assert exchange.order_realtime(Category.LINEAR, "BTCUSDT", link_id=LINK) is None
    report = exchange.order_realtime(Category.LINEAR, "BTCUSDT", link_id=LINK)
    assert report is not None
    assert (report.status, report.filled) == (OrderStatus.FILLED, Decimal("0.01"))
    with pytest.raises(BadAnswer, match="asked for"):
        exchange.order_history(Category.LINEAR, "BTCUSDT", link_id=LINK)


def test_two_orders_with_one_link_id_are_not_chosen_between(
    exchange: BybitExchange, venue: FakeVenue
) -> None:
    """The venue promises that they are unique; an answer with two is not believed."""
    venue.on("/v5/order/realtime", listing(order_row(), order_row(orderId="o2")))
    with pytest.raises(BadAnswer, match="2 orders"):
        exchange.order_realtime(Category.LINEAR, "BTCUSDT", link_id=LINK)


def test_open_orders_name_what_the_venue_requires(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Linear asks for both settle coins, spot for nothing; orders that have ended are left out."""
    venue.on("/v5/order/realtime", listing(order_row(), order_row(orderId="o2", orderStatus="Cancelled")))
    assert [report.order_id for report in exchange.open_orders(Category.LINEAR)] == ["o1"]
    assert [r.params.get("settleCoin") for r in venue.to("/v5/order/realtime")] == ["USDT", "USDC"]
    exchange.open_orders(Category.SPOT)
    assert "settleCoin" not in venue.to("/v5/order/realtime")[-1].params


# ---------------------------------------------------------------------------------------------- account


KEY = {
    "userID": 42,
    "readOnly": 0,
    "permissions": {"Spot": ["SpotTrade"]},
    "ips": ["*"],
    "expiredAt": "",
    "uta": 1,
}
INFO = {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 6}


def test_the_account_is_who_the_key_says(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Uid from the key, modes from the account, deductions from the settings; the uid is asked once."""
    venue.on("/v5/user/query-api", envelope(KEY))
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/account/user-setting-config", envelope({"smsef": True, "fmsef": "0", "deltaEnable": "1"}))
    account = exchange.account()
    assert exchange.account() == account
    assert (account.uid, account.margin_mode, account.unified_status) == ("42", "REGULAR_MARGIN", 6)
    assert (account.spot_fee_deduction, account.linear_fee_deduction) == (True, False)
    assert account.delta_neutral_mode is True
    assert len(venue.to("/v5/user/query-api")) == 1


def test_an_account_whose_settings_are_unreadable_is_not_guessed(
    exchange: BybitExchange, venue: FakeVenue
) -> None:
    """A wrong type is a bad answer, not False."""
    venue.on("/v5/user/query-api", envelope(KEY))
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/account/user-setting-config", envelope({"smsef": ["yes"]}))
    with pytest.raises(BadAnswer, match="smsef"):
        exchange.account()


def test_an_endpoint_that_demo_lacks_is_done_without(exchange: BybitExchange, venue: FakeVenue) -> None:
    """10032 means "not on demo", anything else is an error."""
    venue.on("/v5/user/query-api", envelope(KEY))
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/account/user-setting-config", envelope({}, code=10032), envelope({}, code=10005))
    assert exchange.account().delta_neutral_mode is None
    with pytest.raises(Unavailable, match="10005"):
        exchange.account()


def test_demo_is_not_asked_for_what_it_lacks(exchange: BybitExchange, venue: FakeVenue) -> None:
    """The settings say which venue is the demo: no user settings, no fee rates."""
    venue.on("/v5/user/query-api", envelope(KEY))
    venue.on("/v5/account/info", envelope(INFO))
    exchange._gateway.settings = replace(exchange._gateway.settings, venue="bybit-demo")
    assert exchange.account().delta_neutral_mode is None
    assert exchange.fee_rates(Category.SPOT, "BTCUSDT") == VIP0_SPOT
    assert not BybitSettings().demo


# ---------------------------------------------------------------------------------------------- set-up


def prepared(exchange: BybitExchange, leverage: str = "2") -> None:
    """Ask for a symbol that is ready to trade."""
    exchange.prepare_symbol("BTCUSDT", Decimal(leverage))


def test_a_symbol_that_is_set_up_is_left_alone(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Two reads, no write."""
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/position/list", listing(position_row(size="0", side="", leverage="2")))
    prepared(exchange)
    assert not [request for request in venue.requests if request.method == "POST"]


def test_leverage_and_mode_are_set_and_seen(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Both are set where they differ, and read back."""
    venue.on("/v5/account/info", envelope(INFO))
    flat = {"size": "0", "side": ""}
    venue.on(
        "/v5/position/list",
        listing(
            position_row(positionIdx=1, leverage="10", **flat),
            position_row(positionIdx=2, leverage="10", **flat),
        ),
        listing(position_row(leverage="2", **flat)),
    )
    venue.on("/v5/position/switch-mode", envelope({}))
    venue.on("/v5/position/set-leverage", envelope({}, code=110043))
    prepared(exchange)
    assert venue.to("/v5/position/switch-mode")[0].document == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "mode": 0,
    }
    assert venue.to("/v5/position/set-leverage")[0].document["sellLeverage"] == "2"


@pytest.mark.parametrize("mode", ["ISOLATED_MARGIN", "PORTFOLIO_MARGIN"])
def test_another_margin_mode_is_refused(exchange: BybitExchange, venue: FakeVenue, mode: str) -> None:
    """The account's mode is the user's: it is named, not changed."""
    venue.on("/v5/account/info", envelope(INFO | {"marginMode": mode}))
    with pytest.raises(Rejected, match=mode):
        prepared(exchange)


def test_a_mode_that_cannot_be_switched_is_refused(exchange: BybitExchange, venue: FakeVenue) -> None:
    """A position in hedge mode blocks the switch; the symbol cannot be used."""
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/position/list", listing(position_row(positionIdx=2)))
    venue.on("/v5/position/switch-mode", envelope({}, code=110024, message="position exists"))
    with pytest.raises(Rejected, match="hedge mode") as caught:
        prepared(exchange)
    assert caught.value.code == 110024


@pytest.mark.parametrize(("reply", "error"), [(envelope({}), Unavailable), (Reply(how="reset"), Unavailable)])
def test_a_setting_that_does_not_show_is_not_believed(
    exchange: BybitExchange, venue: FakeVenue, reply: Reply | bytes, error: type[Exception]
) -> None:
    """Accepted or uncertain: what counts is what is read afterwards."""
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/position/list", listing(position_row(leverage="10")))
    venue.on("/v5/position/set-leverage", reply)
    with pytest.raises(error, match="not set up as asked: leverage 10"):
        prepared(exchange)


def test_a_setting_that_was_not_sent_is_unavailable(
    exchange: BybitExchange, venue: FakeVenue, clock: VirtualClock
) -> None:
    """During a ban nothing is set; that is no refusal of the venue."""
    venue.on("/v5/account/info", envelope(INFO))

    def answer(_: Request) -> Reply:
        exchange._gateway.budget.ban()
        return Reply(listing(position_row(leverage="10")))

    venue.on("/v5/position/list", answer)
    with pytest.raises(Unavailable, match="cannot be set to 2"):
        prepared(exchange)


def test_a_symbol_without_a_row_is_not_taken_for_one_way(exchange: BybitExchange, venue: FakeVenue) -> None:
    """The venue answers flat positions by symbol; an empty list says nothing."""
    venue.on("/v5/account/info", envelope(INFO))
    venue.on("/v5/position/list", listing())
    with pytest.raises(BadAnswer, match="no row"):
        prepared(exchange)


# ---------------------------------------------------------------------------------------------- recorded


def test_recorded_answers_come_through(
    exchange: BybitExchange, venue: FakeVenue, recorded: Callable[[str], bytes]
) -> None:
    """What the real venue once answered becomes core types."""
    venue.on("/v5/account/wallet-balance", recorded("account-wallet-balance.unified-cross-seven-coins"))
    venue.on("/v5/position/list", recorded("position-list.linear-long-short-flat"))
    venue.on("/v5/user/query-api", recorded("user-query-api.read-only-2026"))
    wallet = exchange.wallet()
    assert wallet.total_equity == Decimal("92255.96988644")
    assert wallet.coins["USDC"].equity == Decimal("5848.53933918")
    assert {report.symbol: report.size for report in exchange.positions()} == {
        "BTCUSDT": Decimal("0.5"),
        "ETHUSDT": Decimal("-5.0"),
    }
    key = exchange.key_info()
    assert (key.uid, key.read_only, key.expires, key.master) == ("1448939", True, None, True)
    assert key.permissions["ContractTrade"] == ("Order", "Position")
    assert from_ms(TIME_MS) == NOW


def test_counters_tell_requests_and_signatures(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Everything is counted, signed requests apart."""
    venue.on("/v5/position/list", listing())
    exchange.positions()
    made: Any = (exchange.requests_made, exchange.signed_requests)
    assert made == (len(venue.requests), 2)
    assert exchange.url == venue.url
