"""The words of the core: instants, market facts, orders, account facts, records, reasons and events."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core import events
from fundarb.core.account import CoinBalance, Transaction, Wallet
from fundarb.core.events import Event, Severity
from fundarb.core.health import Check
from fundarb.core.health import Level as Level_
from fundarb.core.instants import floor_hour, from_ms, iso, to_ms
from fundarb.core.market import Book, Category, Level, MarketSnapshot, average_price, depth_at
from fundarb.core.orders import (
    ExecKind,
    Execution,
    Leg,
    LinkId,
    OrderStatus,
    Purpose,
    Side,
    link_id,
    parse_link_id,
)
from fundarb.core.reasons import Approved, Reason, Refused, verdict
from fundarb.core.records import (
    GLOBAL_SCOPE,
    Block,
    BlockKind,
    Goal,
    IntentRecord,
    PositionRecord,
    WriterRecord,
)
from fundarb.core.states import IntentState, PositionState
from tests.core.make import NOW, D, book, perp, perp_quote, spot, spot_quote

# ------------------------------------------------------------ about instants


@given(st.integers(0, 4 * 10**12))
def test_milliseconds_come_back(milliseconds: int) -> None:
    """The wire's milliseconds survive the way through an instant."""
    assert to_ms(from_ms(milliseconds)) == milliseconds
    assert from_ms(milliseconds).tzinfo is UTC


def test_instants_are_truncated_to_milliseconds() -> None:
    """What lies below a millisecond is cut off, not rounded."""
    assert to_ms(datetime(1970, 1, 1, 0, 0, 0, 1999, tzinfo=UTC)) == 1


def test_instants_in_text() -> None:
    """UTC with a Z, to the second, or to the millisecond where it matters."""
    east = datetime(2026, 11, 22, 10, 0, tzinfo=timezone(timedelta(hours=1)))
    assert iso(east) == "2026-11-22T09:00:00Z"
    assert iso(NOW + timedelta(milliseconds=5)) == "2026-11-22T09:00:00.005Z"
    assert iso(NOW + timedelta(microseconds=5)) == "2026-11-22T09:00:00Z"


def test_full_hours() -> None:
    """The hour at or before an instant."""
    assert floor_hour(NOW) == NOW
    assert floor_hour(NOW + timedelta(minutes=59, seconds=59)) == NOW


# ------------------------------------------------------------ about markets


def test_instruments_know_their_market() -> None:
    """Category, trading status and perpetuity follow from the venue's words."""
    assert spot().category is Category.SPOT
    assert perp().category is Category.LINEAR
    assert spot().trading
    assert not perp(status="PreLaunch").trading
    assert perp().perpetual
    assert not perp(contract_type="LinearFutures").perpetual


def test_quotes_have_a_mid_and_a_relative_spread() -> None:
    """Mid is the middle, the spread a fraction of it."""
    quote = spot_quote(bid=D(99), ask=D(101))
    assert (quote.mid, quote.spread) == (D(100), D("0.02"))


def test_a_snapshot_is_as_old_as_its_older_half() -> None:
    """Spot and perp answers come at two moments; the older one counts."""
    older = NOW - timedelta(seconds=1)
    for halves in ((older, NOW), (NOW, older)):
        assert MarketSnapshot(spot={}, perp={}, spot_as_of=halves[0], perp_as_of=halves[1]).as_of == older


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [
        ([("99", "1")], [("101", "1")], False),
        ([("100", "1")], [("100", "1")], True),
        ([("101", "1")], [("99", "1")], True),
        ([], [("99", "1")], True),
        ([("99", "1")], [], True),
    ],
)
def test_crossed_and_empty_books(bids: list[Any], asks: list[Any], crossed: bool) -> None:
    """A book decides something only with both sides and bid below ask."""
    assert book(Category.SPOT, "X", bids, asks).crossed is crossed


LEVELS = (Level(D(100), D(1)), Level(D(101), D(2)), Level(D(103), D(4)))


def test_depth_up_to_a_price() -> None:
    """Everything at or better than the cap counts, in either direction."""
    assert depth_at(LEVELS, D(101), buying=True) == 100 + 202
    assert depth_at(LEVELS, D(99), buying=True) == 0
    assert depth_at(LEVELS, D(1000), buying=True) == 100 + 202 + 412
    assert depth_at(tuple(reversed(LEVELS)), D(101), buying=False) == 412 + 202


def test_average_prices() -> None:
    """The volume-weighted price of what is taken; None beyond what there is."""
    assert average_price(LEVELS, D(1)) == 100
    assert average_price(LEVELS, D(3)) == D(302) / 3
    assert average_price(LEVELS, D(7)) == D(714) / 7
    assert average_price(LEVELS, D("7.01")) is None


def test_a_book_has_a_mid() -> None:
    """The middle of the best prices."""
    assert Book(category=Category.SPOT, symbol="X", bids=LEVELS, asks=LEVELS[1:], as_of=NOW).mid == D("100.5")
    assert perp_quote().funding is not None


# ------------------------------------------------------------ about orders


def test_sides_legs_and_purposes() -> None:
    """Opposites, signs, categories and what counts as new exposure."""
    assert [(side.opposite, side.sign) for side in Side] == [(Side.SELL, 1), (Side.BUY, -1)]
    assert [(leg.other, leg.category) for leg in Leg] == [
        (Leg.PERP, Category.SPOT),
        (Leg.SPOT, Category.LINEAR),
    ]
    assert [purpose for purpose in Purpose if purpose.adds_exposure] == [Purpose.ENTER]


def test_final_order_states() -> None:
    """Exactly five states are the end of an order; an unknown word is not one of them."""
    assert {status for status in OrderStatus if status.final} == {
        OrderStatus.REJECTED,
        OrderStatus.PARTIALLY_FILLED_CANCELED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.DEACTIVATED,
    }


def test_executions_that_move_a_quantity() -> None:
    """Funding and unknown kinds move nothing."""
    assert {kind for kind in ExecKind if not kind.trades} == {ExecKind.FUNDING, ExecKind.OTHER}


def test_execution_keys_carry_market_and_symbol() -> None:
    """An execution id alone is not unique across markets."""
    fill = Execution(
        exec_id="e-1",
        order_id="o",
        link_id="",
        category=Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.SELL,
        price=D(1),
        quantity=D(1),
        value=D(1),
        fee=D(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=NOW,
    )
    assert fill.key == "exec:linear:BTCUSDT:e-1"


@given(
    tag=st.from_regex(r"[0-9a-z]{4}", fullmatch=True),
    plan=st.from_regex(r"[0-9A-Z]{10}", fullmatch=True),
    leg=st.sampled_from(list(Leg)),
    seq=st.integers(1, 999),
)
def test_link_ids_come_back(tag: str, plan: str, leg: Leg, seq: int) -> None:
    """Every valid id has 23 characters and parses to what it was made of."""
    text = link_id(tag, plan, leg=leg, seq=seq)
    assert len(text) == 23
    assert parse_link_id(text) == LinkId(tag, plan, leg, seq)


def test_the_documented_link_id() -> None:
    """The example that everybody knows."""
    assert link_id("k3f9", "7Q2MX0WA4D", leg=Leg.PERP, seq=3) == "fa-k3f9-7Q2MX0WA4D-p003"


@pytest.mark.parametrize(
    ("tag", "plan", "seq"),
    [("K3F9", "7Q2MX0WA4D", 1), ("k3f", "7Q2MX0WA4D", 1), ("k3f9", "short", 1), ("k3f9", "7Q2MX0WA4D", 0),
     ("k3f9", "7Q2MX0WA4D", 1_000_000), ("k3f9", "7Q2MX0WA4٣", 1)],
)  # fmt: skip
def test_malformed_link_ids_are_refused(tag: str, plan: str, seq: int) -> None:
    """A part that does not fit its form never reaches the wire."""
    with pytest.raises(ValueError, match="not a valid link id"):
        link_id(tag, plan, leg=Leg.SPOT, seq=seq)


@pytest.mark.parametrize("text", ["", "x", "fa-k3f9-7Q2MX0WA4D-p0033", "FA-k3f9-7Q2MX0WA4D-p003", "fa-k3f9"])
def test_foreign_ids_are_not_ours(text: str) -> None:
    """Anything of another form is a stranger's."""
    assert parse_link_id(text) is None


# ------------------------------------------------------------ about accounts


def balance(wallet: str, *, locked: str = "0", borrow: str = "0") -> CoinBalance:
    """A coin of which some is locked and some borrowed."""
    return CoinBalance(
        coin="ETH",
        wallet=D(wallet),
        locked=D(locked),
        borrowed=D(borrow),
        spot_borrowed=D(borrow),
        accrued_interest=D(0),
        equity=D(wallet),
        usd_value=None,
        unrealised_pnl=D(0),
        collateral=True,
    )


@pytest.mark.parametrize(
    ("coin", "owned", "free"),
    [
        (balance("3", locked="1"), 3, 2),
        (balance("3", borrow="2"), 1, 1),
        (balance("3", borrow="2", locked="2"), 1, 0),
    ],
)
def test_owned_and_free_coins(coin: CoinBalance, owned: int, free: int) -> None:
    """Borrowed coins are not ours, locked ones not free, and free is never negative."""
    wallet = Wallet(
        total_equity=D(0),
        margin_balance=None,
        available=None,
        initial_margin_rate=None,
        maintenance_margin_rate=None,
        coins={"ETH": coin},
    )
    assert (wallet.owned("ETH"), wallet.free("ETH")) == (D(owned), D(free))
    assert (wallet.owned("BTC"), wallet.free("BTC")) == (D(0), D(0))


def test_transaction_keys_tell_repeated_ids_apart() -> None:
    """The venue repeats ids: type, coin, trade and time belong to the key."""
    row = Transaction(
        id="1",
        kind="SETTLEMENT",
        coin="USDT",
        category="linear",
        symbol="BTCUSDT",
        side=None,
        time=NOW,
        quantity=D(1),
        size=D(-1),
        price=None,
        funding=D(1),
        fee=D(0),
        cash_flow=D(0),
        change=D(1),
        balance=D(2),
        fee_rate=None,
        trade_id="t",
        order_id="",
        link_id="",
    )
    assert row.key == f"tx:1:SETTLEMENT:USDT:t:{to_ms(NOW)}"


# ------------------------------------------------------------ about records


def position() -> PositionRecord:
    """A planned position."""
    return PositionRecord(
        position_id="p-7Q2MX0WA4D",
        base="BTC",
        spot_symbol="BTCUSDT",
        perp_symbol="BTCUSDT",
        multiplier=D(1),
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=D(1000),
        target_contracts=D(1),
        spot_owned=D(0),
        contracts=D(0),
        leverage=D(2),
        decision_spot_mid=D(100),
        decision_perp_mid=D(100),
        created_at=NOW,
    )


def test_a_position_names_its_plan() -> None:
    """The plan id is the position id without its prefix."""
    assert position().plan_id == "7Q2MX0WA4D"


def test_an_intent_is_the_order_it_became() -> None:
    """The request that leaves is exactly what was written."""
    intent = IntentRecord(
        link_id="fa-k3f9-7Q2MX0WA4D-p003",
        position_id="p-7Q2MX0WA4D",
        leg=Leg.PERP,
        seq=3,
        purpose=Purpose.ENTER,
        category=Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.SELL,
        quantity=D("0.010"),
        limit_price=D("99.9"),
        reduce_only=False,
        state=IntentState.SENDING,
        epoch=1,
        signed_at=NOW,
        created_at=NOW,
    )
    request = intent.request
    assert (request.link_id, request.category, request.symbol, request.side, request.reduce_only) == (
        intent.link_id,
        Category.LINEAR,
        "BTCUSDT",
        Side.SELL,
        False,
    )
    assert (str(request.quantity), str(request.limit_price)) == ("0.010", "99.9")


@pytest.mark.parametrize(
    ("until", "active"),
    [(None, True), (NOW + timedelta(seconds=1), True), (NOW, False), (NOW - timedelta(1), False)],
)
def test_blocks_end_at_their_time(until: datetime | None, active: bool) -> None:
    """A block without an end holds until somebody lifts it."""
    held = Block(scope=GLOBAL_SCOPE, kind=BlockKind.PAUSE, reason="", since=NOW, until=until)
    assert held.active(NOW) is active


def test_a_writer_lives_by_its_heartbeat() -> None:
    """A heartbeat at the limit is too old."""
    writer = WriterRecord(pid=1, epoch=1, role="daemon", since=NOW, heartbeat=NOW)
    limit = timedelta(seconds=10)
    assert writer.alive(NOW + limit - timedelta(seconds=1), limit)
    assert not writer.alive(NOW + limit, limit)


# ------------------------------------------------------------ about reasons and events


def test_a_verdict_refuses_with_every_reason() -> None:
    """No reason approves, with warnings kept; one reason refuses."""
    why, hint = Reason("code", "a sentence"), Reason("hint", "worth a look")
    assert verdict([], [hint]) == Approved((hint,))
    assert verdict([why], [hint]) == Refused((why,), (hint,))
    assert str(why) == "a sentence"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleThing(Event):
    """One field of each kind."""

    amount: Decimal
    at: datetime
    count: int
    sure: bool
    nothing: None
    leg: Leg


def test_events_are_flat_and_exact() -> None:
    """The kind is the class name in snake case; the payload is JSON with plain decimals and ISO instants."""
    sample = SampleThing(amount=D("1E+2"), at=NOW, count=3, sure=True, nothing=None, leg=Leg.SPOT)
    assert sample.kind == "sample_thing"
    assert sample.severity is Severity.INFO
    assert json.loads(json.dumps(sample.payload())) == {
        "amount": "100",
        "at": "2026-11-22T09:00:00Z",
        "count": 3,
        "sure": True,
        "nothing": None,
        "leg": "spot",
    }


def test_a_check_is_fine_unless_something_is_broken() -> None:
    """A warning is worth a look and no failure."""
    assert [level for level in Level_ if Check("id", level, "").ok] == [Level_.OK, Level_.WARN]


def test_event_kinds_are_unique() -> None:
    """No two facts share a name, so that a stored kind says what it is."""
    classes = [item for item in vars(events).values() if isinstance(item, type) and issubclass(item, Event)]
    names = [object.__new__(item).kind for item in classes]
    assert len(set(names)) == len(names) > 20
    assert "funding_paid" in names
