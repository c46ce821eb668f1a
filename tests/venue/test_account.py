"""Money: funding and its two opposite signs, interest, margin, liquidation, ADL, delisting, and the log
that always ties.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import SettledFunding
from fundarb.core.money import cash
from fundarb.core.orders import ExecKind, Side
from fundarb.venue.engine import Venue
from fundarb.venue.feed import CoinRules, CollateralTier, Happening, HappeningKind, RiskTier
from fundarb.venue.margin import tiered
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, sent
from tests.venue.toy import HOUR, LINEAR, SECOND, SPOT, START, D, ToyFeed, coin, perp, spot, venue


def ties(at: Venue) -> None:
    """The chain of every coin ties and ends in its wallet; all accounts of a coin sum to zero."""
    balance: dict[str, Decimal] = defaultdict(Decimal)
    for row in at.all_transactions():
        assert row.change == row.cash_flow + row.funding - row.fee
        balance[row.coin] += row.change
        assert row.balance == balance[row.coin]
    coins = at.wallet().coins
    for name, amount in balance.items():
        assert (coins[name].wallet if name in coins else D(0)) == amount
    state = at.snapshot()["state"]
    assert isinstance(state, dict)
    total: dict[str, Decimal] = defaultdict(Decimal)
    for key, amount in state["account"]["truth"].items():
        total[key.partition("|")[2]] += D(amount)
    assert set(total.values()) <= {D(0)}


def short(size: str = "1", feed: ToyFeed | None = None, **balances: str) -> tuple[Venue, ToyFeed]:
    """A venue with a short position."""
    feed = feed or ToyFeed()
    at = venue(feed, None, **balances)
    sent(at, limit(LINEAR, SELL, size, "49000"))
    return at, feed


# ---------------------------------------------------------------------------------------------- funding


@pytest.mark.parametrize(
    ("rate", "side", "received"), [("0.0001", SELL, 5), ("0.0001", BUY, -5), ("-0.0005", SELL, -25)]
)
def test_funding_has_opposite_signs_in_its_two_sources(rate: str, side: Side, received: int) -> None:
    """Size × mark × rate at the instant: the log's funding is + when received, the execution's fee + when
    paid.
    """
    at = venue(ToyFeed(rate=D(rate)))
    sent(at, limit(LINEAR, side, "1", "50005" if side is BUY else "49995"))
    at.advance(START + 8 * HOUR)
    (row,) = [row for row in at.all_transactions() if row.kind == "SETTLEMENT"]
    (fill,) = [row for row in at.all_fills() if row.kind is ExecKind.FUNDING]
    assert row.funding == row.change == received
    assert fill.fee == -received
    assert (fill.price, fill.quantity, fill.time) == (D(50_000), D(1), START + 8 * HOUR)
    assert row.time == fill.time
    assert row.trade_id == fill.exec_id
    ties(at)


def test_a_holding_that_a_fill_turns_round_begins_with_its_own_fee() -> None:
    """The result of the short and the fee of its close belong to the holding that ended; all of it to the
    account's total.
    """
    at = venue(USDT="100000")
    sent(at, limit(LINEAR, SELL, "0.1", "49000"))
    before = at.position("BTCUSDT")
    order = sent(at, limit(LINEAR, BUY, "0.3", "51000"))
    after, (fill,) = at.position("BTCUSDT"), at.fills_of(order)
    assert (before.size, after.size) == (D("-0.1"), D("0.2"))
    assert after.realised == -cash(fill.fee * 2 / 3)
    assert before.entry_price is not None
    pnl = (before.entry_price - fill.price) * D("0.1")
    assert after.realised_total - before.realised_total == pnl - fill.fee
    ties(at)


def test_funding_needs_a_position_at_the_instant() -> None:
    """Closed a second before: nothing; opened a second after: nothing until the next settlement."""
    at, _ = short()
    at.advance(START + 8 * HOUR - SECOND)
    sent(at, limit(LINEAR, BUY, "1", "51000", reduce_only=True))
    at.advance(START + 8 * HOUR + SECOND)
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    at.advance(START + 15 * HOUR)
    assert [row for row in at.all_transactions() if row.kind == "SETTLEMENT"] == []
    at.advance(START + 16 * HOUR)
    assert len([row for row in at.all_transactions() if row.kind == "SETTLEMENT"]) == 1


def test_one_long_step_does_what_many_short_ones_do() -> None:
    """Advancing a day at once or minute by minute gives the same transaction log."""
    long, _ = short()
    many, _ = short()
    long.advance(START + 24 * HOUR)
    for minute in range(1, 24 * 60 + 1):
        many.advance(START + timedelta(minutes=minute))
    assert long.all_transactions() == many.all_transactions()
    assert long.all_fills() == many.all_fills()


def test_time_never_goes_back() -> None:
    """An instant in the past is the present."""
    at = venue()
    at.advance(START + HOUR)
    at.advance(START)
    assert at.now == START + HOUR


# ------------------------------------------------------------------------------- margin and interest


def test_account_margin_in_cross_mode() -> None:
    """Margin balance counts coins at their ratio and unrealised losses in full."""
    at, feed = short("1", USDT="10000", BTC="1")
    feed.prices["BTCUSDT"] = D(55_000)
    at.advance(START + SECOND)
    wallet = at.wallet()
    loss = 55_000 - D(49_995)
    fee = D(49_995) * D("0.00055")
    assert wallet.coins["USDT"].equity == 10_000 - loss - fee
    assert wallet.margin_balance == 10_000 - loss - fee + 55_000 * D("0.95")
    closing = 55_000 * D("0.00055")
    assert wallet.initial_margin == 5500 + closing
    assert wallet.maintenance_margin == 550 + closing
    assert wallet.mm_rate == wallet.maintenance_margin / wallet.margin_balance
    assert wallet.available == wallet.margin_balance - wallet.initial_margin


def test_margin_needs_no_balance_without_positions() -> None:
    """An account without needs has rates of zero, even with nothing in it."""
    at = venue(USDT="0")
    assert at.wallet().im_rate == at.wallet().mm_rate == 0


def test_collateral_tiers_are_marginal() -> None:
    """10 coins at 0.9 up to 4, 0.5 up to 8, nothing beyond."""
    rules = CoinRules(
        coin="X",
        tiers=(
            CollateralTier(limit=D(4), ratio=D("0.9")),
            CollateralTier(limit=D(8), ratio=D("0.5")),
            CollateralTier(limit=None, ratio=D(0)),
        ),
    )
    assert tiered(rules, D(10)) == D("3.6") + 2
    assert tiered(rules, D(3)) == D("2.7")


def test_a_losing_short_borrows_and_pays_interest_by_the_hour() -> None:
    """Negative USDT equity is borrowed automatically; at five past each hour interest is charged on it."""
    at, feed = short("1", USDT="1000", BTC="2")
    feed.prices["BTCUSDT"] = D(60_000)
    at.advance(START + SECOND)
    owed = at.wallet().coins["USDT"].borrowed
    assert owed == 60_000 - D(49_995) - 1000 + D(49_995) * D("0.00055")
    at.advance(START + timedelta(minutes=5))
    (row,) = [row for row in at.all_transactions() if row.kind == "INTEREST"]
    assert row.change == -(owed * D("0.00001")).quantize(D("1e-8"))
    at.advance(START + timedelta(hours=3))
    assert len([row for row in at.all_transactions() if row.kind == "INTEREST"]) == 3
    ties(at)


def test_the_free_allowance_covers_unrealised_losses_only() -> None:
    """With an allowance above the loss no interest is charged on an unrealised loss, but on a spot loan it
    is.
    """
    feed = ToyFeed()
    feed.coin_rules["USDT"] = CoinRules(
        coin="USDT", tiers=coin("USDT", "1").tiers, hourly_borrow_rate=D("0.00001"), free_borrow=D(50_000)
    )
    at = venue(feed, USDT="1000", BTC="2")
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    feed.prices["BTCUSDT"] = D(60_000)
    at.advance(START + HOUR)
    assert [row for row in at.all_transactions() if row.kind == "INTEREST"] == []
    at.world.borrow("USDT", D(50_000))
    at.advance(START + 2 * HOUR)
    assert [row.kind for row in at.all_transactions()][-1] == "INTEREST"


def test_spot_margin_borrows_what_is_short() -> None:
    """IsLeverage 1 buys beyond the balance; the debt shows as spotBorrow, equity stays what it was worth."""
    at = venue(USDT="30000")
    order = limit(SPOT, BUY, "1", "50005")
    assert code_of(at, order) == 170131
    sent(at, limit(SPOT, BUY, "1", "50005", leverage=True))
    usdt = at.wallet().coins["USDT"]
    assert (usdt.wallet, usdt.spot_borrowed, usdt.equity) == (D(0), D(20_005), D(-20_005))
    assert at.wallet().coins["BTC"].balance().owned == D("0.999")
    ties(at)


def test_buying_spot_may_not_eat_the_margin_of_the_perps() -> None:
    """Turning cash into collateral costs the haircut; what is not available cannot be spent."""
    feed = ToyFeed()
    feed.coin_rules["BTC"] = coin("BTC", "0")
    at = venue(feed, USDT="20000")
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    assert code_of(at, limit(SPOT, BUY, "0.35", "50005")) == 170131
    sent(at, limit(SPOT, BUY, "0.25", "50005"))


# ---------------------------------------------------------------------------------------------- forced acts


def test_liquidation_takes_the_position_and_cancels_orders() -> None:
    """At 100 % maintenance orders are cancelled first, then the short is taken over above the mark
    (BustTrade).
    """
    at, feed = short("1", USDT="8000")
    resting = sent(at, limit(SPOT, BUY, "0.01", "47600", time_in_force=GTC))
    feed.prices["BTCUSDT"] = D(57_900)
    at.advance(START + timedelta(minutes=30))
    (bust,) = [row for row in at.all_fills() if row.kind is ExecKind.BUST]
    assert resting.cancel_type == "CancelByPrepareLiq"
    assert bust.price > 57_900
    assert (bust.side, bust.link_id, bust.create_type) == (BUY, "", "CreateByLiq")
    assert at.held() == {}
    assert any(row.kind == "LIQUIDATION" for row in at.all_transactions())
    ties(at)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param({"USDT": "8000"}, id="cash"),
        pytest.param({"USDT": "2000", "BTC": "1"}, id="hedged, and the loss a debt"),
        pytest.param({"USDT": "60000"}, id="in a higher tier"),
    ],
)
def test_the_liquidation_price_is_where_the_account_breaks(held: dict[str, str]) -> None:
    """At the estimate the maintenance rate of the account is one: with the debt and in the tier of there."""
    tiers = tuple(
        RiskTier(limit=D(limit), mm_rate=D(rate), im_rate=D("0.05"), max_leverage=D(20), mm_deduction=D(off))
        for limit, rate, off in (
            ("52000", "0.01", "0"),
            ("70000", "0.02", "520"),
            ("1000000", "0.05", "2620"),
        )
    )
    at, _ = short("1", ToyFeed(listed=(spot(), replace(perp(), tiers=tiers))), **held)
    price = at.position("BTCUSDT").liquidation_price
    assert price is not None
    at.world.mark("BTCUSDT", price * D("0.9999"))
    assert D("0.98") < at.wallet().mm_rate < 1
    at.world.mark("BTCUSDT", price * D("1.0001"))
    assert at.held() == {}


def test_debts_without_positions_are_paid_by_selling_coins() -> None:
    """A loan that the collateral no longer covers ends in a forced sale of the spot coins."""
    at = venue(USDT="100", BTC="1")
    at.world.borrow("USDT", D(40_000))
    at.world.transfer("USDT", D(-100))
    sent(at, limit(SPOT, BUY, "0.7", "50005", leverage=True))
    at.world.jump("BTCUSDT", D("0.45"))
    assert any(row.kind == "SPOT_REPAYMENT_SELL" for row in at.all_transactions())
    assert "BTC" not in at.wallet().coins
    ties(at)


def test_adl_shrinks_the_short_and_leaves_the_spot() -> None:
    """ADL of 40 %: an AdlTrade without link id, a maintenance margin beyond the mark, free of charge."""
    at, _ = short("1", USDT="50000", BTC="1")
    at.world.adl("BTCUSDT", D("0.4"))
    fill = at.all_fills()[-1]
    assert (fill.kind, fill.quantity, fill.price, fill.fee) == (ExecKind.ADL, D("0.4"), D(50_500), D(0))
    assert fill.link_id == ""
    assert at.position("BTCUSDT").size == D("-0.6")
    assert at.wallet().coins["BTC"].wallet == 1
    ties(at)


def test_delisting_settles_at_the_mean_index_without_an_order() -> None:
    """At deliveryTime orders are cancelled, the position is delivered, the contract closes and stops
    quoting.
    """
    at, feed = short("1")
    resting = sent(at, limit(LINEAR, BUY, "1", "48000", time_in_force=GTC))
    at.world.delist("BTCUSDT", START + 2 * HOUR)
    assert getattr(at.instruments(LINEAR)["BTCUSDT"], "delivery_time", None) == START + 2 * HOUR
    feed.prices["BTCUSDT"] = D(52_000)
    at.advance(START + 3 * HOUR)
    fill = at.all_fills()[-1]
    assert (fill.kind, fill.price, fill.time) == (ExecKind.DELIVERY, D(52_000), START + 2 * HOUR)
    assert resting.cancel_type == "CancelBySettle"
    assert at.held() == {}
    assert "BTCUSDT" not in at.points(LINEAR)
    assert at.instruments(LINEAR)["BTCUSDT"].status == "Closed"
    assert "BTCUSDT" not in at.fundings()
    assert code_of(at, limit(LINEAR, SELL, "1", "49000")) == 110074
    ties(at)


@pytest.mark.parametrize(("minutes", "moved"), [(1, 2), (10, 11), (45, 30)])
def test_a_jump_before_a_delisting_moves_only_its_share_of_the_mean(minutes: int, moved: int) -> None:
    """Of thirty samples, one a minute, only those after the jump know of it."""
    at, _ = short("1")
    at.world.delist("BTCUSDT", START + 2 * HOUR)
    at.advance(START + 2 * HOUR - minutes * timedelta(minutes=1))
    at.world.jump("BTCUSDT", D("1.03"))
    at.world.jump("BTCUSDT", D("1.02") / D("1.03"))
    at.advance(START + 2 * HOUR)
    expected = (D(50_000) * (30 - moved) + D(51_000) * moved) / 30
    assert abs(at.all_fills()[-1].price - expected) <= D("0.05")


def test_the_feed_s_script_is_performed_in_its_order() -> None:
    """Halt, resume, a collateral cut and a delisting happen when the clock passes them, not before."""
    script = (
        Happening(at=START + HOUR, kind=HappeningKind.HALT, category=SPOT, symbol="BTCUSDT"),
        Happening(at=START + 2 * HOUR, kind=HappeningKind.RESUME, category=SPOT, symbol="BTCUSDT"),
        Happening(
            at=START + 3 * HOUR, kind=HappeningKind.COLLATERAL, category=SPOT, symbol="BTC", value=D(0)
        ),
        Happening(
            at=START + 3 * HOUR,
            kind=HappeningKind.DELIST_ANNOUNCED,
            category=LINEAR,
            symbol="BTCUSDT",
            when=START + 5 * HOUR,
        ),
        Happening(at=START + 4 * HOUR, kind=HappeningKind.NOTE, category=LINEAR, symbol="BTCUSDT"),
    )
    at = venue(ToyFeed(script=script), BTC="1", USDT="100")
    assert at.next_due() == START + timedelta(minutes=5)
    at.advance(START + HOUR)
    assert code_of(at, limit(SPOT, SELL, "0.1", "49000")) == 170151
    at.advance(START + 2 * HOUR)
    sent(at, limit(SPOT, SELL, "0.1", "49000"))
    assert at.wallet().coins["BTC"].collateral
    at.advance(START + 3 * HOUR)
    assert not at.wallet().coins["BTC"].collateral
    assert at.delivery("BTCUSDT") == START + 5 * HOUR
    at.advance(START + 5 * HOUR)
    assert "BTCUSDT" not in at.points(LINEAR)


def test_a_late_settlement_is_booked_for_the_size_held_then() -> None:
    """A rate that becomes known after the position was closed pays for what was held at its instant, once."""
    feed = ToyFeed(interval=7000 * HOUR)
    at = venue(feed)
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    at.advance(START + 8 * HOUR + SECOND)
    sent(at, limit(LINEAR, BUY, "1", "51000", reduce_only=True))
    row = SettledFunding(symbol="BTCUSDT", rate=D("0.0001"), time=START + 8 * HOUR)
    assert at.settle_late(row)
    assert [item.funding for item in at.all_transactions() if item.kind == "SETTLEMENT"] == [D(5)]
    ties(at)
