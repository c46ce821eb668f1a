"""What an entry would do to the margin, judged as if no coin counted as collateral."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fundarb.core.reasons import Refused
from fundarb.engine.outlook import Entry, bare_prices, outlook
from fundarb.engine.trade import OpenPlan
from tests.engine.test_trade import closed, codes, opened
from tests.engine.world import World

D = Decimal


def with_cash(world: World, cash: str) -> None:
    """So much USDT and no more."""
    world.venue.world.transfer("USDT", D(cash) - world.coins("USDT"))


def bare_limits(world: World) -> None:
    """No buffer and a high leverage: the balance rule alone would let large entries pass."""
    rules = world.writer.desk.rules
    object.__setattr__(rules, "limits", replace(rules.limits, usdt_buffer=D(0), leverage=D(10)))


@pytest.mark.parametrize("cost", ["50", "100"])
def test_the_golden_price_without_collateral(world: World, cost: str) -> None:
    """``(U + N·e)/(N·(1 + mmr))`` for N = 1, e = 100, U = 50, mmr = 1 %: 148.51, whatever the coins cost."""
    pair = world.writer.desk.market.instruments()
    found = replace(pair.perp["BTCUSDT"], max_leverage=D(50))
    btc = world.writer.trader.plan_open("BTC", D(1000))
    assert isinstance(btc, OpenPlan)
    entry = Entry(pair=replace(btc.pair, perp=found), contracts=D(1), price=D(100), coins=D(1), cost=D(cost))
    wallet = world.exchange.wallet()
    cash = replace(wallet.coins["USDT"], wallet=D(50) + entry.cost)
    ahead = outlook(entry, replace(wallet, coins={"USDT": cash}), held=(), reports={})
    assert ahead.bare is not None
    assert round(ahead.bare, 2) == D("148.51")
    assert ahead.liquidation == ahead.bare
    assert [item.liquidated for item in ahead.stress] == [False, True, True]
    assert [item.code for item in ahead.warnings()] == ["margin_stress"]
    assert not list(ahead.against())


def test_an_entry_that_a_jump_of_a_fifth_would_liquidate_is_refused(world: World) -> None:
    """What is left in cash does not bear a rise of 20 % without the coins: refused by name, nothing is sent;
    a smaller one that bears it is warned about the next shock.
    """
    bare_limits(world)
    with_cash(world, "11200")
    assert "margin_stress" in codes(world.writer.trader.open("BTC", D(10_000)))
    smaller = world.writer.trader.plan_open("BTC", D(8_000))
    assert isinstance(smaller, OpenPlan)
    assert "margin_stress" in {item.code for item in smaller.warnings}
    roomy = world.writer.trader.plan_open("BTC", D(3_000))
    assert isinstance(roomy, OpenPlan)
    assert [item.code for item in roomy.warnings] == ["net_apr_below_minimum"]


def test_what_is_held_counts(world: World) -> None:
    """An addition is judged with what is held: the price that liquidates falls with each step, and it is what
    the positions show afterwards, within a hundredth.
    """
    with_cash(world, "30000")
    alone = world.writer.trader.plan_open("BTC", D(5_000))
    opened(world, "5000")
    more = world.writer.trader.plan_open("BTC", D(5_000), add=True)
    assert isinstance(alone, OpenPlan)
    assert isinstance(more, OpenPlan)
    assert alone.outlook is not None
    assert more.outlook is not None
    assert alone.outlook.bare is not None
    assert more.outlook.bare is not None
    assert more.outlook.bare < alone.outlook.bare
    reports = {item.symbol: item for item in world.exchange.positions()}
    held = world.writer.store.positions.active()
    shown = bare_prices(world.exchange.wallet(), held, reports=reports)[held[0].position_id]
    assert abs(shown / alone.outlook.bare - 1) < D("0.01")
    assert (more.outlook.liquidation or D(10**9)) > more.outlook.bare
    closed(world)
    assert bare_prices(world.exchange.wallet(), (), reports={}) == {}


def test_no_margin_rule_holds_a_refusal_back(world: World) -> None:
    """All reasons at once: a coin that is held, an amount below the minimum, a limit and a block."""
    opened(world, "1000")
    refused = world.writer.trader.plan_open("BTC", D(-1))
    assert isinstance(refused, Refused)
    assert {"already_open", "bad_notional", "below_perp_minimum"} <= {item.code for item in refused.reasons}


def test_a_warning_tells_the_shock_of_all_from_the_price_of_one(world: World) -> None:
    """The stress moves every coin at once; the price beside it is of this short while the others stand still,
    and is said to be.
    """
    with_cash(world, "11200")
    bare_limits(world)
    plan = world.writer.trader.plan_open("BTC", D(8_000))
    assert isinstance(plan, OpenPlan)
    (said,) = [item.message for item in plan.warnings if item.code == "margin_stress"]
    assert plan.outlook is not None
    assert said.startswith(
        "a rise of all coins by 50 % at once would liquidate the account if no coin counted"
    )
    assert said.endswith(f"(this short alone: at {plan.outlook.bare:.6g}, now {plan.outlook.price:.6g})")


def test_a_price_below_nothing_is_not_shown(world: World) -> None:
    """An entry far beyond the account would be liquidated at any price: no number is made of that."""
    refused = world.writer.trader.open("BTC", D(1_000_000_000))
    assert isinstance(refused, Refused)
    (words,) = [reason.message for reason in refused.reasons if reason.code == "margin_stress"]
    assert words.endswith("if no coin counted as collateral")
