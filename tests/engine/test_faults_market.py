"""Markets and margins that misbehave (families D and E): what must not be opened, what must be reduced, and
what is decided from garbage: nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Category, Level
from fundarb.core.reasons import Refused
from fundarb.core.records import BlockKind, PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.jobs_close import CloseWhenDue
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import Unavailable
from tests.daemon.living import HOUR, SECOND, Living, make_living
from tests.engine.test_trade import codes
from tests.venue.toy import ToyFeed, coin, perp, spot

D = Decimal
MINUTE = 60 * SECOND
NAMES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC")


def market(*names: str, **changes: Any) -> ToyFeed:
    """So many coins at 50,000 that all pay 4 bp."""
    changes.setdefault("rate", D("0.0004"))
    return ToyFeed(
        listed=tuple(item for name in names for item in (spot(f"{name}USDT"), perp(f"{name}USDT"))),
        prices=dict.fromkeys((f"{name}USDT" for name in names), D(50_000)),
        coin_rules={"USDT": coin("USDT", "1")} | {name: coin(name, "0.9") for name in names},
        **changes,
    )


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office over one coin."""
    made = make_living(tmp_path, specs=())
    yield made
    made.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Living]:
    """An office over two coins."""
    made = make_living(tmp_path, feed=market("BTC", "ETH"), specs=())
    yield made
    made.close()


def opened(living: Living, base: str = "BTC", notional: str = "1000") -> PositionRecord:
    result = living.writer.trader.open(base, D(notional))
    assert isinstance(result, TradeResult), result
    assert result.reached is Reached.DONE, result.reasons
    return result.position


def refusal(living: Living, base: str = "BTC", *, add: bool = False) -> set[str]:
    return codes(living.writer.trader.open(base, D(500), add=add))


def alerts(living: Living) -> list[str]:
    return [json.loads(e.payload)["code"] for e in living.store.events.after(0, 9999, kind="alert_raised")]


def decisions(living: Living) -> list[str]:
    found = living.store.events.after(0, 9999, kind="decision_made")
    return [json.loads(item.payload)["decision"] for item in found]


# ------------------------------------------------------------------------------------- E01, E02, E10


def test_e01_a_spell_of_negative_funding_is_sat_out(living: Living) -> None:
    """E01: −5 bp for two days after months of +4: the expected value of holding on stays positive, so nothing
    is closed and nothing opened again.
    """
    living.feed.rate = D("0.0004")
    opened(living)
    living.run("close_when_due")
    for step in range(6):
        living.venue.world.funding_rate("BTCUSDT", D("-0.0005") if step < 2 else D("0.0004"))
        living.clock.sleep(8 * HOUR)
        living.run("collect_funding")
        living.run("close_when_due")
    assert len(living.store.positions.active()) == 1
    assert "close" not in decisions(living)


def test_e01_a_lasting_loss_is_left_once(living: Living) -> None:
    """E01: −5 bp for good: closed once, after the minimum hold and its confirmations; not opened again."""
    living.run("scan_and_open")
    living.feed.rate = D("-0.0005")
    for _ in range(30):
        living.clock.sleep(8 * HOUR)
        living.run("collect_funding")
        living.run("close_when_due")
        living.run("scan_and_open")
    assert living.store.positions.active() == ()
    assert len(living.store.positions.all()) == 1
    assert decisions(living).count("close") == 1


def test_e10_a_promise_that_is_never_kept_is_not_believed(living: Living) -> None:
    """E10: the ticker predicts 30 % a year, the settlement pays nothing, ten times: at most one position is
    ever opened for it.
    """
    living.feed.rate = D(0)
    living.clock.sleep(30 * 24 * HOUR)
    for _ in range(10):
        living.venue.world.funding_rate("BTCUSDT", D("0.000274"))
        living.run("scan_and_open")
        living.clock.sleep(7 * HOUR)
        living.run("scan_and_open")
        living.venue.world.funding_rate("BTCUSDT", D(0))
        living.clock.sleep(HOUR)
        living.run("collect_funding")
        living.run("close_when_due")
    assert len(living.store.positions.all()) <= 1


# ------------------------------------------------------------------------------------- E03: frozen quotes


def test_e03_a_frozen_market_is_not_entered(living: Living) -> None:
    """E03: quotes that stand still for ten minutes: no open, the coin is blocked for stale data; once they
    move again it is opened.
    """
    living.venue.world.freeze("BTCUSDT", on=True)
    living.real.sleep(10 * MINUTE)
    assert "frozen_quotes" in refusal(living)
    block = living.store.blocks.get("BTC", BlockKind.STALE_DATA)
    assert block is not None
    assert living.venue.all_orders() == ()
    living.venue.world.freeze("BTCUSDT", on=False)
    living.real.sleep(2 * MINUTE)
    opened(living)


@pytest.mark.parametrize("emergency", [False, True])
def test_e03_a_frozen_market_is_left(living: Living, *, emergency: bool) -> None:
    """E03: reductions are never held back by quotes that stand still."""
    position = opened(living)
    living.venue.world.freeze("BTCUSDT", on=True)
    living.real.sleep(10 * MINUTE)
    result = living.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(result, TradeResult)
    assert result.position.position_id == position.position_id
    assert result.position.state is PositionState.CLOSED


def test_e03_a_frozen_leg_between_decision_and_clip_stops_the_entry(living: Living) -> None:
    """E03: the book stands still when the clip begins: nothing is sent, the plan is aborted."""
    write = living.writer.trader._write_plan

    def freeze(planned: Any) -> PositionRecord:
        living.venue.world.freeze("BTCUSDT", on=True)
        living.real.sleep(2 * MINUTE)
        return write(planned)

    living.writer.trader._write_plan = freeze  # type: ignore[method-assign,assignment]
    result = living.writer.trader.open("BTC", D(1000))
    assert isinstance(result, TradeResult)
    assert result.position.state is PositionState.ABORTED
    assert {reason.code for reason in result.reasons} >= {"frozen_quotes"}
    assert living.venue.all_orders() == ()


def test_e03_a_picture_with_a_fresh_date_is_seen_too(pair: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """E03: the quotes of one coin stand still under a fresh date while the other coin moves: the watch blocks
    it and tells a person once; it lifts the block when they move again.
    """
    opened(pair)
    pair.run("watch")
    for step in range(8):
        pair.feed.prices["ETHUSDT"] = D(50_000 + step)
        pair.real.sleep(MINUTE)
        pair.run("watch")
    assert pair.store.blocks.get("BTC", BlockKind.STALE_DATA) is not None
    assert alerts(pair).count("frozen_quotes") == 1
    assert "block_stale_data" in refusal(pair, add=True)
    pair.feed.prices["BTCUSDT"] = D(50_001)
    pair.real.sleep(MINUTE)
    pair.run("watch")
    assert pair.store.blocks.get("BTC", BlockKind.STALE_DATA) is None


@pytest.mark.parametrize("by_hand", [True, False], ids=["resume", "time"])
def test_e03_a_coin_that_is_held_no_more_is_free_again(pair: Living, by_hand: bool) -> None:
    """E03: closed while its quotes stood still, a coin is looked at no more: it is free again after a while,
    and at once when a person says so.
    """
    opened(pair)
    for step in range(8):
        pair.feed.prices["ETHUSDT"] = D(50_000 + step)
        pair.real.sleep(MINUTE)
        pair.run("watch")
    assert "block_stale_data" in refusal(pair, add=True)
    assert isinstance(pair.writer.trader.close("BTC"), TradeResult)
    assert "block_stale_data" in refusal(pair)
    if by_hand:
        assert pair.office.commands.execute("resume", {"base": "BTC"}).exit_code == 0
    else:
        pair.real.sleep(HOUR)
    opened(pair)


def test_e03_tickers_of_long_ago_open_nothing(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """E03: the whole list of tickers carries a time of ten minutes ago: stale, however lately it was read."""
    real = living.exchange.snapshot
    past = 10 * MINUTE

    def old() -> Any:
        found = real()
        return replace(found, spot_as_of=found.spot_as_of - past, perp_as_of=found.perp_as_of - past)

    monkeypatch.setattr(living.exchange, "snapshot", old)
    assert "stale_quotes" in refusal(living)


# ------------------------------------------------------------------------------ E04, E05, E06: garbage


GARBAGE = ["0", "-1", "50000000000000", "0.00005"]


@pytest.mark.parametrize("price", GARBAGE)
@pytest.mark.parametrize("category", list(Category))
def test_e04_garbage_prices_decide_nothing(living: Living, category: Category, price: str) -> None:
    """E04: zero, negative, a billion times too much or too little on one market: no open, and what is held is
    neither closed nor judged by it.
    """
    position = opened(living)
    fields = {"bid1Price": price, "ask1Price": price, "lastPrice": price}
    if category is Category.LINEAR:
        fields |= {"markPrice": price, "indexPrice": price}
    living.venue.world.ticker_patch(category, "BTCUSDT", fields=fields)
    assert refusal(living, add=True)
    orders = len(living.venue.all_orders())
    for job in ("watch", "close_when_due", "scan_and_open", "watch"):
        living.clock.sleep(MINUTE)
        try:
            living.run(job)
        except Unavailable:
            continue
    assert len(living.venue.all_orders()) == orders
    assert living.store.positions.get(position.position_id).state is PositionState.HEDGED


def test_e04_one_unreadable_ticker_leaves_the_margin_protected(
    pair: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E04: one coin's ticker is garbage while the margin runs out: the other coin, and this one by its books,
    are reduced all the same.
    """
    for base in ("BTC", "ETH"):
        opened(pair, base)
    before = {item.base: item.contracts for item in pair.store.positions.active()}
    pair.venue.world.ticker_patch(Category.SPOT, "BTCUSDT", fields={"bid1Price": "0", "ask1Price": "0"})
    real = pair.exchange.wallet
    monkeypatch.setattr(pair.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D("0.8")))
    pair.clock.sleep(MINUTE)
    try:
        pair.run("watch")
    except Unavailable as error:
        assert "BTC" in str(error)  # noqa: PT017 - the job reports what it could not look at
    after = {item.base: item.contracts for item in pair.store.positions.active()}
    assert all(after.get(base, D(0)) < before[base] for base in before)


@pytest.mark.parametrize("late", [Category.SPOT, Category.LINEAR])
def test_e05_quotes_of_two_moments_open_nothing(living: Living, late: Category) -> None:
    """E05: one market is shown 5 % away from the other, as in a move between two readings: no entry."""
    fields = {"bid1Price": "47490", "ask1Price": "47510", "lastPrice": "47500"}
    if late is Category.LINEAR:
        fields |= {"markPrice": "47500", "indexPrice": "47500"}
    living.venue.world.ticker_patch(late, "BTCUSDT", fields=fields)
    assert {"basis_implausible", "quotes_apart", "look_alike"} & refusal(living)
    assert living.venue.all_orders() == ()


def test_e05_quotes_that_their_own_books_contradict_open_nothing(living: Living) -> None:
    """E05: both quotes are of before a 2 % move, the books of after it."""
    for category in Category:
        fields = {"bid1Price": "48990", "ask1Price": "49010", "lastPrice": "49000"}
        if category is Category.LINEAR:
            fields |= {"markPrice": "49000", "indexPrice": "49000"}
        living.venue.world.ticker_patch(category, "BTCUSDT", fields=fields)
    assert refusal(living) == {"quotes_apart"}


@pytest.mark.parametrize("category", list(Category))
def test_e06_an_empty_book_is_refused_before_anything_is_written(living: Living, category: Category) -> None:
    """E06: no asks on one leg: refused, no plan, no order."""
    living.venue.world.book(category, "BTCUSDT", bids=(Level(D(49_990), D(5)),), asks=())
    assert refusal(living)
    assert living.store.positions.all() == ()


# --------------------------------------------------------------------------------------- E07: the exit


def due(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the rule says that holding costs."""
    real = CloseWhenDue._decide

    def leave(job: CloseWhenDue, position: Any, running: Any) -> Any:
        return replace(real(job, position, running), leave=True)

    monkeypatch.setattr(CloseWhenDue, "_decide", leave)


def widened(living: Living, price: str) -> None:
    """The perp's book moves away from spot."""
    mid = D(price)
    living.venue.world.book(
        Category.LINEAR,
        "BTCUSDT",
        bids=(Level(mid - 5, D(5)),),
        asks=(Level(mid + 5, D(5)),),
    )


def test_e07_a_patient_exit_waits_for_a_bad_basis(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """E07: an exit that is due finds a basis that would cost 0.6 %: it waits, says what it would cost, and
    goes when the basis is back.
    """
    opened(living)
    due(living, monkeypatch)
    widened(living, "50300")
    for _ in range(3):
        living.clock.sleep(MINUTE)
        living.run("close_when_due")
    assert len(living.store.positions.active()) == 1
    assert decisions(living).count("wait") == 1
    text = living.store.events.after(0, 9999, kind="decision_made")[-1].payload
    assert "bp" in text
    widened(living, "50000")
    living.clock.sleep(MINUTE)
    living.run("close_when_due")
    assert living.store.positions.active() == ()


def test_e07_patience_ends(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """E07: a basis that stays bad is paid in the end; what it cost stands in the books."""
    opened(living)
    due(living, monkeypatch)
    widened(living, "50300")
    for _ in range(5):
        living.clock.sleep(8 * HOUR)
        living.run("close_when_due")
    assert living.store.positions.active() == ()
    trades = [row for row in living.store.ledger.read.journals() if row.fact == "Trade"]
    assert all(row.slippage is not None for row in trades)


def test_e07_an_urgent_exit_does_not_wait(living: Living) -> None:
    """E07: a person's close goes at once at the same basis."""
    opened(living)
    widened(living, "50300")
    result = living.writer.trader.close("BTC")
    assert isinstance(result, TradeResult)
    assert result.position.state is PositionState.CLOSED
    assert [warning.code for warning in result.warnings] == ["exit_basis"]


# ----------------------------------------------------------------------------------------- E11, E12


def test_e11_usdt_off_its_dollar(living: Living) -> None:
    """E11: USDT at 0.97: no opens, one alert; what is held stays."""
    opened(living)
    living.venue.world.usd(D("0.97"))
    assert "usdt_depegged" in refusal(living, add=True)
    for _ in range(3):
        living.clock.sleep(MINUTE)
        living.run("watch")
        living.run("scan_and_open")
    assert alerts(living).count("usdt_depegged") == 1
    assert len(living.store.positions.active()) == 1


def test_e12_everything_looks_great_at_once(tmp_path: Path) -> None:
    """E12: seven coins at 400 % a year: the caps hold, at the venue too."""
    made = make_living(tmp_path, feed=market(*NAMES, rate=D("0.004")), specs=())
    for _ in range(4):
        made.run("scan_and_open")
        made.clock.sleep(MINUTE)
    limits = made.office.desk.rules.limits
    held = made.store.positions.active()
    assert len(held) <= limits.max_positions
    assert made.store.positions.gross() <= limits.max_gross
    assert all(item.notional <= limits.max_per_coin for item in held)
    shorts = sum((abs(item.size) * item.mark_price for item in made.exchange.positions()), D(0))
    assert shorts <= limits.max_gross
    made.close()


# ------------------------------------------------------------------------------- D03, D04, D07: danger


def poor(living: Living, left: str) -> None:
    """All USDT but so much leaves the account."""
    living.venue.world.transfer("USDT", D(left) - living.exchange.wallet().owned("USDT"))


def test_d03_a_jump_of_a_third_in_a_minute(tmp_path: Path) -> None:
    """D03: +35 % in four looks with little cash beside coins that hardly count: both legs shrink together
    before the limit; nothing is ever liquidated.
    """
    feed = market("BTC")
    feed.coin_rules["BTC"] = coin("BTC", "0.05")
    made = make_living(tmp_path, feed=feed, specs=())
    position = opened(made, notional="5000")
    poor(made, "2400")
    made.run("reconcile")
    made.run("watch")
    for step in (54_000, 58_500, 63_000, 67_500):
        made.feed.prices["BTCUSDT"] = D(step)
        made.real.sleep(15 * SECOND)
        made.run("watch")
        wallet = made.exchange.wallet()
        assert wallet.maintenance_margin_rate is not None
        assert wallet.maintenance_margin_rate < D("0.7")
        now = made.store.positions.get(position.position_id)
        assert abs(now.spot_owned - now.contracts) <= D("0.002")
    after = made.store.positions.get(position.position_id)
    assert after.contracts < position.contracts
    assert "reduce" in decisions(made)
    assert all(row.kind.value == "Trade" for row in made.store.executions.of_position(position.position_id))
    assert alerts(made).count("margin") == 1
    made.close()


def test_d03_a_rich_account_is_left_alone(living: Living) -> None:
    """D03: the same jump with cash beside it: nothing is reduced."""
    position = opened(living)
    for step in (54_000, 58_500, 63_000, 67_500):
        living.feed.prices["BTCUSDT"] = D(step)
        living.real.sleep(15 * SECOND)
        living.run("watch")
    assert living.store.positions.get(position.position_id).contracts == position.contracts


def test_d04_collateral_is_switched_off(living: Living) -> None:
    """D04: the coin stops counting: p* without it is named to a person once, the coin is frozen, both legs
    are reduced because the cash alone would not bear a shock; with the coin back nothing more happens.
    """
    position = opened(living, notional="5000")
    poor(living, "900")
    living.run("reconcile")
    living.run("watch")
    assert living.store.positions.get(position.position_id).contracts == position.contracts
    living.venue.world.collateral("BTC", on=False)
    living.real.sleep(MINUTE)
    assert "reduced" in living.run("watch")
    after = living.store.positions.get(position.position_id)
    assert after.contracts < position.contracts
    assert after.state is PositionState.HEDGED
    assert abs(after.spot_owned - after.contracts) <= D("0.001")
    assert "block_freeze" in refusal(living, add=True)
    assert alerts(living).count("collateral_off") == 1
    living.real.sleep(MINUTE)
    living.run("watch")
    assert alerts(living).count("collateral_off") == 1


def test_d04_the_coin_that_stopped_counting_is_the_one_named(tmp_path: Path) -> None:
    """D04: with one short gone at the venue, a loss of collateral of the last coin is told of, frozen and
    named with that coin's own price.
    """
    made = make_living(tmp_path, feed=market("BTC", "ETH", "SOL"), specs=())
    for base in ("BTC", "ETH", "SOL"):
        opened(made, base)
    made.run("watch")
    first, *_, last = made.store.positions.active()
    made.venue.world.manual_close(first.perp_symbol)
    made.venue.world.collateral(last.base, on=False)
    made.real.sleep(MINUTE)
    made.run("watch")
    (told,) = (
        json.loads(item.payload)
        for item in made.store.events.after(0, 9999, kind="alert_raised")
        if json.loads(item.payload)["code"] == "collateral_off"
    )
    assert told["subject"] == last.base
    block = made.store.blocks.get(last.base, BlockKind.FREEZE)
    assert block is not None
    assert "does not count as collateral" in block.reason
    made.close()


def test_d04_a_coin_that_never_was_collateral_is_no_news(tmp_path: Path) -> None:
    """D04: a coin without a collateral ratio is held like any other."""
    feed = market("BTC")
    del feed.coin_rules["BTC"]
    made = make_living(tmp_path, feed=feed, specs=())
    opened(made)
    for _ in range(3):
        made.real.sleep(MINUTE)
        made.run("watch")
    assert alerts(made) == []
    made.close()


def test_d07_a_delisting_is_left_before_it_happens(living: Living) -> None:
    """D07: announced while held: closed before it, frozen, not opened again; after it, with the market gone,
    restarts, watches and scans work.
    """
    opened(living)
    living.venue.world.delist("BTCUSDT", living.venue.now + 2 * HOUR)
    living.clock.sleep(MINUTE)
    living.run("watch")
    assert living.store.positions.active() == ()
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    living.run("scan_and_open")
    assert living.store.positions.active() == ()
    living.clock.sleep(3 * HOUR)
    for job in ("reconcile", "watch", "collect_funding", "close_when_due", "scan_and_open", "snapshot"):
        living.run(job)
    assert living.writer.reconciler.run().clean
    assert isinstance(living.writer.trader.open("BTC", D(500)), Refused)
    assert living.office.commands.execute("resume", {"base": "BTC"}).exit_code == 0
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is None


def test_d07_a_delisting_that_is_withdrawn(living: Living) -> None:
    """D07: announced, then taken back while the position is still held, its markets halted: the coin is free
    again; closed before it was taken back, it is free a day later.
    """
    opened(living)
    living.venue.world.delist("BTCUSDT", living.venue.now + 2 * HOUR)
    for category in Category:
        living.venue.world.halt(category, "BTCUSDT", on=True)
    living.clock.sleep(MINUTE)
    living.run("watch")
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    living.venue.world.relist("BTCUSDT")
    living.clock.sleep(MINUTE)
    living.run("watch")
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is None
    for category in Category:
        living.venue.world.halt(category, "BTCUSDT", on=False)
    living.venue.world.delist("BTCUSDT", living.venue.now + 2 * HOUR)
    living.clock.sleep(MINUTE)
    living.run("watch")
    assert living.store.positions.active() == ()
    living.venue.world.relist("BTCUSDT")
    assert "block_freeze" in refusal(living)
    living.real.sleep(25 * HOUR)
    opened(living)


def test_d07_a_delisting_that_nobody_saw(living: Living) -> None:
    """D07: the process was away while the perp was delivered: the coins are sold by the spot market alone,
    with an alert; restarts work with the perp gone.
    """
    position = opened(living)
    living.venue.world.delist("BTCUSDT", living.venue.now + 2 * HOUR)
    living.real.sleep(3 * HOUR)
    for _ in range(3):
        living.real.sleep(timedelta(minutes=1))
        living.writer.reconciler.run()
    assert living.exchange.positions() == ()
    assert living.exchange.wallet().owned("BTC") < D("0.0002")
    assert living.store.positions.get(position.position_id).state is PositionState.CLOSED
    assert alerts(living)
    assert living.writer.reconciler.run().clean


def test_the_day_is_over_before_its_hour_is(living: Living) -> None:
    """Fees of a churning hour count when the next open is decided, not at the next snapshot."""
    limits = replace(living.office.desk.rules.limits, max_per_coin=D(20_000), max_gross=D(50_000))
    object.__setattr__(living.office.desk.rules, "limits", limits)
    living.run("snapshot")
    living.real.sleep(HOUR)
    living.run("snapshot")
    for _ in range(12):
        opened(living, notional="18000")
        assert isinstance(living.writer.trader.close("BTC"), TradeResult)
        living.real.sleep(2 * MINUTE)
    living.run("scan_and_open")
    block = living.store.blocks.get("*", BlockKind.COOL_DOWN)
    assert block is not None
    assert "fees" in block.reason
    assert living.store.positions.active() == ()


def test_all_reasons_of_a_refusal_are_told(living: Living) -> None:
    """A coin that is open already, under a pause: both reasons at once."""
    opened(living)
    living.office.commands.execute("pause", {})
    assert refusal(living) >= {"already_open", "block_pause"}
