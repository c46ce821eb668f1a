"""A better coin takes the place of the weakest one that is held: only for a gain, only after the minimum
hold, only if it can be opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.config import Settings
from fundarb.core.exits import worth_switching
from fundarb.core.market import Category, FundingRate, SettledFunding
from fundarb.core.records import Block, BlockKind
from tests.daemon.living import HOUR, Living, make_living
from tests.engine.test_jobs import alerts, decisions
from tests.venue.toy import ToyFeed, coin, perp, spot

D = Decimal
DAY = timedelta(days=1)
NAMES = ("BTC", "ETH", "SOL")


@dataclass
class Rates(ToyFeed):
    """Coins that pay differently; rates by perp, for all times alike."""

    rates: dict[str, Decimal] = field(default_factory=dict)

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The coin's own rate."""
        return replace(super().funding(symbol, at), rate=self.rates[symbol])

    def settlements(self, symbol: str, since: datetime, until: datetime) -> tuple[SettledFunding, ...]:
        """The coin's own rates."""
        rows = super().settlements(symbol, since, until)
        return tuple(replace(row, rate=self.rates[symbol]) for row in rows)


Start = Callable[..., Living]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    """An office that holds one coin of three, BTC, which paid best when it was opened."""

    def made(**strategy: str) -> Living:
        feed = Rates(
            listed=tuple(item for name in NAMES for item in (spot(f"{name}USDT"), perp(f"{name}USDT"))),
            prices=dict.fromkeys((f"{name}USDT" for name in NAMES), D(50_000)),
            rates={"BTCUSDT": D("0.0004"), "ETHUSDT": D("0.0002"), "SOLUSDT": D("0.0002")},
            coin_rules={"USDT": coin("USDT", "1")} | {name: coin(name, "0.9") for name in NAMES},
        )
        settings = Settings.model_validate({"home": tmp_path, "strategy": strategy})
        living = make_living(tmp_path, feed=feed, specs=(), settings=settings)
        request.addfinalizer(living.close)
        rules = living.office.desk.rules
        object.__setattr__(rules, "limits", replace(rules.limits, max_positions=1))
        living.run("scan_and_open")
        assert held(living) == {"BTC"}
        return living

    return made


def held(living: Living) -> set[str]:
    """The coins that are held."""
    return {item.base for item in living.store.positions.active()}


def pay(living: Living, **rates: str) -> None:
    """From now on, and as if always, these coins pay so much."""
    assert isinstance(living.feed, Rates)
    living.feed.rates |= {f"{name}USDT": D(rate) for name, rate in rates.items()}


def test_a_clearly_better_coin_takes_the_place(start: Start) -> None:
    """After the minimum hold ETH pays three times as much: BTC is closed for it, once, with its reason."""
    living = start()
    living.clock.sleep(4 * DAY)
    pay(living, ETH="0.0012")
    said = living.run("scan_and_open")
    assert said == "BTC closed for ETH; opened ETH"
    assert held(living) == {"ETH"}
    assert ("BTC", "switch") in decisions(living)
    told = [json.loads(item.payload) for item in living.store.events.last(9, kind="decision_made")]
    assert any("ETH offers" in item["reason"] for item in told)
    assert "as many as allowed" in living.run("scan_and_open")


def test_a_young_position_stays(start: Start) -> None:
    """Before the minimum hold nothing is left, whatever is offered, and nothing is asked."""
    living = start()
    living.clock.sleep(2 * DAY)
    pay(living, ETH="0.0012")
    living.exchange.snapshot = None  # type: ignore[assignment,method-assign]
    assert "as many as allowed" in living.run("scan_and_open")
    assert held(living) == {"BTC"}


@pytest.mark.parametrize(("gain", "switched"), [("20%", True), ("200%", False)])
def test_the_gain_that_is_wanted_decides(start: Start, gain: str, *, switched: bool) -> None:
    """ETH is worth nearly twice as much after its costs: enough for one setting and not for the other."""
    living = start(switch_gain=gain)
    living.clock.sleep(4 * DAY)
    pay(living, ETH="0.0009")
    living.run("scan_and_open")
    assert held(living) == ({"ETH"} if switched else {"BTC"})


def test_it_is_looked_at_three_times_a_day(start: Start) -> None:
    """Between two looks a full book asks the venue for nothing."""
    living = start()
    living.clock.sleep(4 * DAY)
    living.run("scan_and_open")
    pay(living, ETH="0.0012")
    living.clock.sleep(7 * HOUR)
    living.run("scan_and_open")
    assert held(living) == {"BTC"}
    living.clock.sleep(HOUR)
    living.run("scan_and_open")
    assert held(living) == {"ETH"}


def test_a_slightly_better_coin_is_not_worth_its_costs(start: Start) -> None:
    """ETH pays a quarter more: its round trip and the gain that is wanted keep BTC where it is."""
    living = start()
    living.clock.sleep(4 * DAY)
    pay(living, ETH="0.0005")
    assert "as many as allowed" in living.run("scan_and_open")
    assert decisions(living).count(("BTC", "switch")) == 0


@pytest.mark.parametrize("kind", [BlockKind.FREEZE, BlockKind.PAUSE])
def test_nothing_is_left_for_a_coin_that_cannot_be_opened(start: Start, kind: BlockKind) -> None:
    """ETH is frozen, or a person got out of it: the place is not made free for it."""
    living = start()
    living.clock.sleep(4 * DAY)
    pay(living, ETH="0.0012")
    now = living.store.clock.now()
    living.store.blocks.set(Block(scope="ETH", kind=kind, reason="looked at", since=now))
    living.run("scan_and_open")
    assert held(living) == {"BTC"}
    assert ("ETH", "refuse") in decisions(living)


def test_a_place_that_cannot_be_made_free_is_told(start: Start) -> None:
    """Both markets of BTC are halted: nothing is opened, the job says what is held, a person is told."""
    living = start()
    living.clock.sleep(4 * DAY)
    pay(living, ETH="0.0012")
    for category in Category:
        living.venue.world.halt(category, "BTCUSDT", on=True)
    report = living.office.jobs.run("scan_and_open", {})
    assert report.result == "incomplete"
    assert report.message.startswith("BTC not closed for ETH: ")
    assert held(living) == {"BTC"}
    assert alerts(living).count("not_closed") == 1


@given(
    held=st.decimals(D("-0.1"), D("0.1"), places=6),
    offered=st.decimals(D("-0.1"), D("0.1"), places=6),
    gain=st.decimals(0, 3, places=2),
)
def test_switching_back_and_forth_never_pays_both_ways(
    held: Decimal, offered: Decimal, gain: Decimal
) -> None:
    """What is worth a switch is never worth the switch back, and never costs money by itself."""
    if worth_switching(held, offered, gain=gain):
        assert offered > max(held, D(0))
        assert not worth_switching(offered, held, gain=gain)
