"""The judge of orders is judged: it finds an order that unhedges what was balanced, a leg that stays naked
without a word, and a call for help with nothing naked; it lets those pass that are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.records import PositionRecord
from fundarb.engine.alerts import halt
from fundarb.engine.guard import Draft
from fundarb.engine.orders import OrderDesk, Placed
from tests.proof.episode import Episode

D = Decimal


@pytest.fixture
def episode(tmp_path: Path) -> Iterator[Episode]:
    """A calm world with 900 USDT of BTC on both legs."""
    made = Episode(1, tmp_path)
    made.attempt("begin", made.recover)
    made.command("open", {"base": "BTC", "notional": "900"})
    yield made
    made.life.end()


def held(episode: Episode) -> PositionRecord:
    """The position as it is booked."""
    (found,) = episode.life.store.positions.active()
    return found


def trimmed(episode: Episode) -> object:
    """What the books say is too much is sold, whatever the wallet holds."""
    position = held(episode)
    too_much = (position.spot_owned - position.contracts).quantize(D("0.000001"), "ROUND_FLOOR")
    return sold(episode, too_much, purpose=Purpose.TRIM)


def sold(episode: Episode, coins: Decimal, *, purpose: Purpose = Purpose.EXIT) -> object:
    """So many coins are sold, whatever their short needs."""
    draft = Draft(
        position=held(episode),
        leg=Leg.SPOT,
        purpose=purpose,
        side=Side.SELL,
        quantity=coins,
        limit_price=D(49_950),
        reduce_only=False,
    )
    placed = OrderDesk(episode.life.writer.desk).place(draft)
    assert isinstance(placed, Placed), placed
    assert placed.filled
    return placed


@pytest.mark.parametrize(("coins", "wrong"), [("0", 0), ("0.1", 0), ("0.35", 1)])
def test_a_correction_that_unhedges_is_found(episode: Episode, coins: str, wrong: int) -> None:
    """The venue takes 40 % of the short, which is booked, and some coins, which is not: to sell 40 % of
    the coins by the books is right only as long as more than half of that is naked.
    """
    episode.venue.world.adl("BTCUSDT", D("0.4"))
    if D(coins):
        episode.venue.world.auto_repay("BTC", D(coins))
    episode.life.writer.collector.collect()
    episode.attempt("trim", lambda: trimmed(episode))
    assert len(episode.balance.wrong) == wrong, episode.balance.wrong


def test_what_the_client_cannot_know_is_not_held_against_it(episode: Episode) -> None:
    """Reads lag, or a stranger's contracts lie among ours: the same sale is not judged."""
    episode.venue.world.adl("BTCUSDT", D("0.4"))
    episode.venue.world.auto_repay("BTC", D("0.4"))
    episode.life.writer.collector.collect()
    episode.trouble.lag = timedelta(seconds=3)
    episode.attempt("trim", lambda: trimmed(episode))
    assert episode.balance.wrong == []


@pytest.mark.parametrize(("taken", "wrong"), [("0", 1), ("0.4", 0)])
def test_a_call_for_help_with_nothing_naked_is_found(episode: Episode, taken: str, wrong: int) -> None:
    """A halt because of a naked leg, and a position that waits for help, are right if one is naked at the
    venue.
    """
    if D(taken):
        episode.venue.world.adl("BTCUSDT", D(taken))
    store, subject = episode.life.store, held(episode).position_id
    episode.attempt("look", lambda: halt(store, "unhedged", subject=subject, message=f"{subject} is naked"))
    assert len(episode.balance.wrong) == wrong, episode.balance.wrong
    episode.attempt("look again", lambda: None)
    assert len(episode.balance.wrong) == wrong, "told once"
    assert episode.balance.at_the_end(store) == []
    store.database.execute_sql("UPDATE positions SET state = 'EXPOSED'")
    assert len(episode.balance.at_the_end(store)) == wrong


@pytest.fixture
def large(episode: Episode) -> Episode:
    """The same with 3,200 USDT, where a clip is 1,000."""
    episode.command("open", {"base": "BTC", "notional": "2300", "add": True})
    return episode


@pytest.mark.parametrize(("coins", "wrong"), [("0.017", 0), ("0.03", 1)])
def test_an_exit_that_unhedges_more_than_a_clip_is_found(large: Episode, coins: str, wrong: int) -> None:
    """850 USDT of coins may be sold alone, 1,500 may not."""
    large.attempt("sell", lambda: sold(large, D(coins)))
    assert len(large.balance.wrong) == wrong, large.balance.wrong


@pytest.mark.parametrize("read", [False, True])
def test_what_was_read_since_is_held_against_it(large: Episode, read: bool) -> None:
    """Somebody takes coins in the middle of a walk, and more are sold for a short that needs them: that is
    wrong as soon as the client has read wallet and positions again.
    """

    def walk() -> object:
        large.venue.world.auto_repay("BTC", D("0.3"))
        large.balance.disturbed(large.life.store)
        if read:
            large.life.exchange.wallet()
            large.life.exchange.positions()
        return sold(large, D("0.017"))

    large.attempt("sell", walk)
    assert len(large.balance.wrong) == int(read), large.balance.wrong


@pytest.mark.parametrize("told", [False, True])
def test_a_leg_that_stays_naked_without_a_word_is_found(large: Episode, told: bool) -> None:
    """More than a clip is naked while somebody is at work who could see it, and no alert names the coin."""

    def work() -> None:
        large.venue.world.adl("BTCUSDT", D("0.5"))
        large.balance.disturbed(large.life.store)
        if told:
            large.life.writer.collector.collect()
        large.clock.sleep(timedelta(seconds=11))

    large.attempt("work", work)
    assert len(large.balance.wrong) == int(not told), large.balance.wrong
