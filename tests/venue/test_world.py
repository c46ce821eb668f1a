"""The world's verbs: what each does, that it lasts, and that a wrong argument changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fundarb.core.market import Category, FundingRate, Level
from fundarb.core.orders import ExecKind, OrderStatus, Side
from fundarb.venue.engine import Venue
from fundarb.venue.feed import Point
from fundarb.venue.rows import Directive, OrderMatch
from tests.venue.test_account import short, ties
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, sent
from tests.venue.toy import HOUR, LINEAR, SECOND, SPOT, START, D, ToyFeed, perp, spot, venue


def test_mark_moves_margin_but_not_quotes() -> None:
    """A fixed mark changes P&L and bands until it is let go."""
    at, _ = short()
    at.world.mark("BTCUSDT", D(60_000))
    point = at.point(LINEAR, "BTCUSDT")
    assert (point.mark, point.last, point.ask) == (D(60_000), D(50_000), D(50_005))
    assert at.position("BTCUSDT").unrealised == D(49_995) - 60_000
    at.world.mark("BTCUSDT", None)
    assert at.point(LINEAR, "BTCUSDT").mark == 50_000


def test_jump_moves_spot_and_perp_of_a_coin() -> None:
    """+35 % on both legs, books included; other coins stay; factors multiply."""
    listed = (spot(), perp(), spot("ETHUSDT"), perp("ETHUSDT"))
    at = venue(ToyFeed(listed=listed, prices={"BTCUSDT": D(50_000), "ETHUSDT": D(3000)}))
    at.world.jump("BTCUSDT", D("1.35"))
    at.world.jump("BTCUSDT", D(2))
    for category in (SPOT, LINEAR):
        assert at.point(category, "BTCUSDT").mark == D(135_000)
        assert at.points(category)["BTCUSDT"].last == D(135_000)
        assert at.points(category)["ETHUSDT"].last == 3000
        book = at.book(category, "BTCUSDT")
        assert (book.bids[0].price, book.asks[0].price) == (at.point(category, "BTCUSDT").bid, D("135013.5"))


def test_jump_of_a_multiplied_contract_moves_its_coin() -> None:
    """1000PEPEUSDT and PEPEUSDT are one coin."""
    listed = (spot("PEPEUSDT", tick_size=D("1e-9")), perp("1000PEPEUSDT", tick_size=D("1e-6")))
    at = venue(
        ToyFeed(listed=listed, prices={"PEPEUSDT": D("0.00001"), "1000PEPEUSDT": D("0.01")}, gap=D("2e-9"))
    )
    at.world.jump("1000PEPEUSDT", D(2))
    assert at.point(SPOT, "PEPEUSDT").last == D("0.00002")
    assert at.point(LINEAR, "1000PEPEUSDT").last == D("0.02")


def test_a_fixed_book_is_what_orders_meet() -> None:
    """Orders consume the world's book; one side may be missing; release brings the market's back."""
    at = venue()
    at.world.book(
        SPOT,
        "BTCUSDT",
        bids=(Level(D(49_000), D(1)),),
        asks=(Level(D(51_000), D("0.2")), Level(D(50_900), D("0.1"))),
    )
    order = sent(at, limit(SPOT, BUY, "0.2", "51000"))
    assert [row.price for row in at.fills_of(order)] == [D(50_900), D(51_000)]
    assert at.point(SPOT, "BTCUSDT").ask_size == D("0.1")
    at.world.book(SPOT, "BTCUSDT", bids=(), asks=())
    assert at.point(SPOT, "BTCUSDT").bid is None
    assert sent(at, limit(SPOT, BUY, "0.2", "51000")).filled == 0
    at.world.book(SPOT, "BTCUSDT")
    assert at.point(SPOT, "BTCUSDT").bid == 49_995


def test_a_crossed_book_is_shown_as_it_is() -> None:
    """E06: bid above ask reaches the client."""
    at = venue()
    at.world.book(LINEAR, "BTCUSDT", bids=(Level(D(50_100), D(1)),), asks=(Level(D(50_000), D(1)),))
    assert at.book(LINEAR, "BTCUSDT").crossed


def test_frozen_quotes_stand_still() -> None:
    """The feed is asked for the instant of the freeze until it is released."""

    class Moving(ToyFeed):
        def point(self, category, symbol, at):  # type: ignore[no-untyped-def]
            self.prices[symbol] = D(50_000) + (at - START) // SECOND
            return super().point(category, symbol, at)

    at = venue(Moving())
    at.world.freeze("BTCUSDT", on=True)
    at.advance(START + 600 * SECOND)
    assert at.point(SPOT, "BTCUSDT").last == at.points(LINEAR)["BTCUSDT"].last == 50_000
    at.world.freeze("BTCUSDT", on=False)
    assert at.point(SPOT, "BTCUSDT").last == 50_600


class Sloping(ToyFeed):
    """A price that grows by a tenth each minute, by formula."""

    def point(self, category: Category, symbol: str, at: datetime) -> Point:
        """The toy's price, later dearer."""
        point = super().point(category, symbol, at)
        factor = 1 + (at - START) / timedelta(minutes=10)
        return point._replace(index=point.index * D(str(factor)))


def test_a_frozen_contract_is_delivered_at_what_was_shown() -> None:
    """Ten minutes before its end the quotes stand still: the mean is of twenty growing prices and ten equal
    ones.
    """
    at = venue(Sloping())
    sent(at, limit(LINEAR, SELL, "0.01", "49000"))
    at.world.delist("BTCUSDT", START + HOUR)
    shown = []
    for minute in range(1, 61):
        at.advance(START + timedelta(minutes=minute) - timedelta(microseconds=1))
        if minute == 50:
            at.world.freeze("BTCUSDT", on=True)
        shown.append(at.point(LINEAR, "BTCUSDT").index)
    at.advance(START + HOUR)
    fill = at.all_fills()[-1]
    assert fill.kind is ExecKind.DELIVERY
    assert abs(fill.price / (sum(shown[-30:], D(0)) / 30) - 1) < D("1e-6")


def test_ticker_patches_accumulate_and_come_off() -> None:
    """Raw fields for the wire, nothing else changes."""
    at = venue()
    at.world.ticker_patch(SPOT, "BTCUSDT", fields={"bid1Price": "NaN"})
    at.world.ticker_patch(SPOT, "BTCUSDT", fields={"lastPrice": "0"})
    assert at.ticker_patch(SPOT, "BTCUSDT") == {"bid1Price": "NaN", "lastPrice": "0"}
    assert at.ticker_patch(LINEAR, "BTCUSDT") == {}
    at.world.ticker_patch(SPOT, "BTCUSDT", fields={})
    assert at.ticker_patches() == {}


class CappedFeed(ToyFeed):
    """Rates of at most a thousandth."""

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """With the cap."""
        return replace(super().funding(symbol, at), cap=D("0.001"))


def test_a_changed_cap_bounds_the_running_and_the_settled_rate() -> None:
    """The bounds in the instrument list hold: for what runs, what is settled and what may be set."""
    at = venue(ToyFeed(rate=D("0.0005")))
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    at.world.filters(LINEAR, "BTCUSDT", fields={"upperFundingRate": "0.0003", "lowerFundingRate": "-0.0002"})
    running = at.funding("BTCUSDT")
    assert at.fundings()["BTCUSDT"] == running
    assert (running.rate, running.cap) == (D("0.0003"), D("0.0003"))
    at.advance(START + 8 * HOUR)
    assert [row.funding for row in at.all_transactions() if row.kind == "SETTLEMENT"] == [15]
    with pytest.raises(ValueError, match="beyond the cap"):
        at.world.funding_rate("BTCUSDT", D("0.0004"))


def test_a_longer_interval_scales_the_rate_up_to_its_cap() -> None:
    """Three intervals in one are three times the rate, and never more than the cap of the contract."""
    at = venue(CappedFeed(rate=D("0.0005")))
    at.world.interval("BTCUSDT", 24)
    assert at.funding("BTCUSDT").rate == D("0.001")


def test_funding_rate_override_settles_and_is_remembered() -> None:
    """The forced rate is paid and stands in the history, before it the feed's rates do."""
    at, _ = short()
    at.advance(START + 9 * HOUR)
    at.world.funding_rate("BTCUSDT", D("-0.0005"))
    assert at.funding("BTCUSDT").rate == at.fundings()["BTCUSDT"].rate == D("-0.0005")
    at.advance(START + 17 * HOUR)
    at.world.funding_rate("BTCUSDT", None)
    at.advance(START + 25 * HOUR)
    rates = [(row.time, row.rate) for row in at.settled_funding("BTCUSDT", START - HOUR, until=at.now)]
    assert rates == [
        (START, D("0.0001")),
        (START + 8 * HOUR, D("0.0001")),
        (START + 16 * HOUR, D("-0.0005")),
        (START + 24 * HOUR, D("0.0001")),
    ]
    assert [row.funding for row in at.all_transactions() if row.kind == "SETTLEMENT"] == [D(5), D(-25), D(5)]


def test_interval_switch_is_followed_at_once() -> None:
    """8 h → 1 h: the next time, the number of settlements and the rate per interval change; the list still
    says 480.
    """
    at, _ = short()
    at.advance(START + timedelta(minutes=90))
    at.world.interval("BTCUSDT", 1)
    running = at.funding("BTCUSDT")
    assert (running.interval, running.next_time, running.rate) == (HOUR, START + 2 * HOUR, D("0.0000125"))
    at.advance(START + 8 * HOUR)
    rows = [row for row in at.all_transactions() if row.kind == "SETTLEMENT"]
    assert [row.time for row in rows] == [START + k * HOUR for k in range(2, 9)]
    assert len(at.settled_funding("BTCUSDT", START, until=at.now)) == 7
    assert getattr(at.instruments(LINEAR)["BTCUSDT"], "listed_interval", None) == 8 * HOUR


def test_settle_pays_now() -> None:
    """A forced settlement at the running rate; the regular one still comes."""
    at, _ = short()
    at.advance(START + HOUR)
    at.world.settle("BTCUSDT")
    assert at.all_fills()[-1].kind is ExecKind.FUNDING
    at.advance(START + 8 * HOUR)
    assert len(at.settled_funding("BTCUSDT", START, until=at.now)) == 2
    ties(at)


def test_halt_refuses_new_orders_and_cancels_unmatched_ones() -> None:
    """110066 while halted; an order that was waiting for its match is cancelled; release makes it good."""
    at, _ = short()
    order = at.place(limit(LINEAR, SELL, "1", "49000"))
    at.world.halt(LINEAR, "BTCUSDT", on=True)
    at.advance(at.now)
    found = at.find_order(LINEAR, order_id=order.order_id)
    assert found is not None
    assert found.status is OrderStatus.CANCELLED
    assert at.halted(LINEAR, "BTCUSDT")
    assert code_of(at, limit(LINEAR, SELL, "1", "49000")) == 110066
    at.world.halt(LINEAR, "BTCUSDT", on=False)
    assert sent(at, limit(LINEAR, SELL, "1", "49000")).filled == 1


def test_filters_change_at_run_time() -> None:
    """A coarser step and a new minimum refuse what was fine before; unknown names and values are refused."""
    at = venue()
    at.world.filters(SPOT, "BTCUSDT", fields={"basePrecision": "0.01", "minOrderAmt": "100"})
    assert code_of(at, limit(SPOT, BUY, "0.015", "50005")) == 170137
    at.world.filters(
        LINEAR, "BTCUSDT", fields={"status": "PreLaunch", "fundingInterval": "60", "upperFundingRate": "-0.1"}
    )
    assert not at.instruments(LINEAR)["BTCUSDT"].trading
    for fields in ({"nonsense": "1"}, {"qtyStep": "0"}, {"qtyStep": "-1"}, {"qtyStep": "much"}):
        before = at.snapshot()
        with pytest.raises(ValueError, match="fields"):
            at.world.filters(LINEAR, "BTCUSDT", fields=fields)
        assert at.snapshot() == before


def test_fees_of_a_market_and_of_a_symbol() -> None:
    """0.18 % on all spot, zero on one symbol."""
    at = venue(ToyFeed(listed=(spot(), spot("ETHUSDT"), perp())))
    at.world.fees(SPOT, taker=D("0.0018"))
    at.world.fees(SPOT, taker=D(0), maker=D(0), symbol="ETHUSDT")
    assert at.fee_rates(SPOT, "BTCUSDT").taker == D("0.0018")
    assert at.fee_rates(SPOT, "BTCUSDT").maker == D("0.001")
    assert at.fee_rates(SPOT, "ETHUSDT").taker == 0
    assert sent(at, limit(SPOT, BUY, "1", "50005")).fees == {"BTC": D("0.0018")}


def test_collateral_switched_off_counts_nothing() -> None:
    """D04: the coins stay, their margin value goes; a ratio gives part of it back."""
    at, _ = short("0.1", USDT="10000", BTC="1")
    full = at.wallet().margin_balance
    at.world.collateral("BTC", on=False)
    assert at.wallet().margin_balance == full - 50_000 * D("0.95")
    at.world.collateral("BTC", on=True, ratio=D("0.5"))
    assert at.wallet().margin_balance == full - 50_000 * D("0.45")


def test_auto_repay_sells_coins_without_an_execution() -> None:
    """D05: ten percent of the coins leave by the log alone."""
    at = venue(BTC="1", USDT="10")
    at.world.auto_repay("BTC", D("0.1"))
    assert at.wallet().coins["BTC"].wallet == D("0.9")
    assert at.all_fills() == ()
    assert [row.kind for row in at.all_transactions()[-2:]] == ["SPOT_REPAYMENT_SELL"] * 2
    ties(at)


def test_usd_price_moves_values_and_the_usdc_pair() -> None:
    """E11: USDT at 0.97 USD: the account is worth 3 % less, USDC costs more USDT."""
    at = venue(
        ToyFeed(
            listed=(spot(), spot("USDCUSDT", tick_size=D("0.0001"))),
            prices={"BTCUSDT": D(50_000), "USDCUSDT": D(1)},
            gap=D("0.0002"),
        )
    )
    at.world.usd(D("0.97"))
    assert at.wallet().total_equity == 97_000
    assert at.point(SPOT, "USDCUSDT").last == D("1.0309")
    assert round(at.usd_price("USDC"), 6) == 1


def test_transfers_are_external_and_bounded() -> None:
    """Deposits and withdrawals stand in the log; more than what is free cannot leave."""
    at = venue()
    at.world.transfer("USDT", D(-40_000))
    at.world.transfer("BTC", D("0.5"))
    assert [row.kind for row in at.all_transactions()[1:]] == ["TRANSFER_OUT", "TRANSFER_IN"]
    with pytest.raises(ValueError, match="free"):
        at.world.transfer("USDT", D(-70_000))
    ties(at)


def test_somebody_else_trades_by_hand() -> None:
    """Foreign orders carry no link id, fill at once, and do not use up armed directives."""
    at = venue()
    at.force(OrderMatch(), Directive(reject_reason="EC_Others"))
    order = at.world.manual_order(LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.5"))
    assert (order.link_id, order.status, at.held()) == ("", OrderStatus.FILLED, {"BTCUSDT": D("0.5")})
    at.world.manual_close("BTCUSDT")
    assert at.held() == {}
    assert at.world.manual_order(SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.5")).filled == D("0.5")
    assert sent(at, limit(SPOT, BUY, "1", "50005")).status is OrderStatus.REJECTED


def test_the_key_is_kept_for_the_server() -> None:
    """Only what is given changes."""
    at = venue()
    at.world.key(permissions={"Spot": ["SpotTrade"]}, read_only=True)
    at.world.key(expire=START, addresses=["192.0.2.1"])
    assert (at.key.expires, at.key.read_only, at.key.addresses) == (START, True, ["192.0.2.1"])
    assert at.key.permissions == {"Spot": ["SpotTrade"]}


def test_liquidate_takes_a_healthy_position() -> None:
    """The verb does what the margin would."""
    at, _ = short()
    at.world.liquidate("BTCUSDT")
    assert at.all_fills()[-1].kind is ExecKind.BUST
    ties(at)


WRONG: list[tuple[str, Callable[[Venue], object]]] = [
    ("mark of an unknown symbol", lambda at: at.world.mark("NOUSDT", D(1))),
    ("mark of zero", lambda at: at.world.mark("BTCUSDT", D(0))),
    ("jump by zero", lambda at: at.world.jump("BTCUSDT", D(0))),
    ("jump of an unknown symbol", lambda at: at.world.jump("NOUSDT", D(2))),
    ("book of a negative price", lambda at: at.world.book(SPOT, "BTCUSDT", bids=(Level(D(-1), D(1)),))),
    ("freeze of an unknown symbol", lambda at: at.world.freeze("NOUSDT", on=True)),
    ("rate that is no fraction", lambda at: at.world.funding_rate("BTCUSDT", D(1))),
    ("interval of three hours", lambda at: at.world.interval("BTCUSDT", 3)),
    ("adl without a position", lambda at: at.world.adl("BTCUSDT", D("0.5"))),
    ("liquidate without a position", lambda at: at.world.liquidate("BTCUSDT")),
    ("delist in the past", lambda at: at.world.delist("BTCUSDT", START - SECOND)),
    ("fee of 100 %", lambda at: at.world.fees(SPOT, taker=D(1))),
    ("collateral ratio above one", lambda at: at.world.collateral("BTC", on=True, ratio=D(2))),
    ("borrow nothing", lambda at: at.world.borrow("USDT", D(0))),
    ("repay with nothing", lambda at: at.world.auto_repay("BTC", D("0.1"))),
    ("repay a negative fraction", lambda at: at.world.auto_repay("USDT", D(-1))),
    ("usd of zero", lambda at: at.world.usd(D(0))),
    ("transfer of dust", lambda at: at.world.transfer("USDT", D("1e-9"))),
    ("manual close without a position", lambda at: at.world.manual_close("BTCUSDT")),
    (
        "manual order of an unknown symbol",
        lambda at: at.world.manual_order(SPOT, "NOUSDT", side=BUY, quantity=D(1)),
    ),
]


@pytest.mark.parametrize(("what", "act"), WRONG)
def test_a_wrong_argument_changes_nothing(what: str, act: Callable[[Venue], object]) -> None:
    """Every verb checks before it acts."""
    at = venue()
    before = at.snapshot()
    with pytest.raises(ValueError, match=":"):
        act(at)
    assert at.snapshot() == before, what


AFTERWARDS: list[Callable[[Venue], object]] = [
    lambda at: at.world.mark("BTCUSDT", D(1)),
    lambda at: at.world.funding_rate("BTCUSDT", D("0.001")),
    lambda at: at.world.interval("BTCUSDT", 1),
    lambda at: at.world.settle("BTCUSDT"),
    lambda at: at.world.delist("BTCUSDT", at.now + HOUR),
    lambda at: at.world.jump("1000PEPEUSDT", D(2)),
]


@pytest.mark.parametrize("act", AFTERWARDS)
def test_a_delivered_contract_is_left_alone(act: Callable[[Venue], object]) -> None:
    """What has ended has no prices, no funding and no other end; its coin goes on in spot."""
    prices = {"BTCUSDT": D(50_000), "1000PEPEUSDT": D(10)}
    at = venue(ToyFeed(listed=(spot(), perp(), perp("1000PEPEUSDT")), prices=prices))
    for symbol in ("BTCUSDT", "1000PEPEUSDT"):
        at.world.delist(symbol, at.now)
    at.advance(at.now + SECOND)
    before = at.snapshot()
    with pytest.raises(ValueError, match="has been delivered"):
        act(at)
    assert at.snapshot() == before
    price = at.point(SPOT, "BTCUSDT").last
    at.world.jump("BTCUSDT", D(2))
    assert at.point(SPOT, "BTCUSDT").last == 2 * price


def test_adl_fraction_is_checked() -> None:
    """Outside (0, 1] nothing happens."""
    at, _ = short()
    for fraction in (D(0), D("1.1")):
        with pytest.raises(ValueError, match="fraction"):
            at.world.adl("BTCUSDT", fraction)
    assert at.held() == {"BTCUSDT": D(-1)}


def test_resting_orders_meet_a_price_that_jumps() -> None:
    """A jump through a resting order's price fills it at its own price."""
    at = venue()
    order = sent(at, limit(LINEAR, SELL, "1", "51000", time_in_force=GTC))
    at.world.jump("BTCUSDT", D("1.1"))
    assert (order.status, order.average_price) == (OrderStatus.FILLED, D(51_000))
    assert sent(at, limit(LINEAR, SELL, "1", "51000")).filled == 1
