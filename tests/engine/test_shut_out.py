"""A key that the venue does not take, met by whoever can do without the answer: a person is told, whatever
becomes of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.orders import Leg, Outcome, WriteAnswer
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.engine.commands import Arguments
from fundarb.engine.orders import OrderDesk
from fundarb.engine.shut_out import shut_out
from fundarb.engine.trade import Trader
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange.strict import VenueRefused
from fundarb.store.database import Store
from tests.daemon.living import HOUR, SECOND, Living, make_living
from tests.engine.test_resolve import top_up
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal
EXPIRED = VenueRefused("this API key has expired", code=10003)
SIGNED = (
    *("account", "executions", "executions_of", "fee_rates", "fee_schedule", "key_info", "open_orders"),
    *("order_history", "order_realtime", "positions", "transactions", "wallet"),
)
"""The reads that a key signs."""


@dataclass
class Door:
    """One signed read, the ``turned``-th from now on (from 1), is refused for its key; so many after it come
    as a bad answer, and all others as they are.
    """

    turned: int
    then_bad: int = 0
    asked: int = 0

    def stand_before(self, exchange: object, patch: pytest.MonkeyPatch) -> None:
        """From now on."""
        for name in SIGNED:
            patch.setattr(exchange, name, self._asking(getattr(exchange, name)))

    def _asking(self, real: Callable[..., object]) -> Callable[..., object]:
        def ask(*args: object, **named: object) -> object:
            self.asked += 1
            if self.asked == self.turned:
                raise EXPIRED
            if self.turned < self.asked <= self.turned + self.then_bad:
                raise BadAnswer("half an answer")
            return real(*args, **named)

        return ask


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office without a schedule."""
    made = make_living(tmp_path, specs=())
    yield made
    made.close()


def told(store: Store) -> int:
    """How often a person was told that the key is not taken."""
    rows = store.events.after(0, 999, kind="alert_raised")
    return sum(json.loads(row.payload)["code"] == "key" for row in rows)


def ordered(living: Living, name: str, arguments: Arguments) -> int:
    """A person's command; its exit code."""
    return living.office.commands.execute(name, arguments).exit_code


def hold(living: Living) -> None:
    """One position, and books that were compared."""
    assert ordered(living, "open", {"base": "BTC", "notional": "4000"}) == 0
    living.run("reconcile")


def short_closed_by_hand(living: Living) -> None:
    """What is found must wait for a person."""
    hold(living)
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(SECOND)


@pytest.mark.parametrize(("turned", "then_bad"), [(1, 0), (1, 3), (2, 0)])
def test_a_reconcile_that_looks_whether_anything_changed_tells(
    living: Living, monkeypatch: pytest.MonkeyPatch, turned: int, then_bad: int
) -> None:
    """The quick look before the walk does without its answers: what turned it away is told all the same."""
    short_closed_by_hand(living)
    Door(turned, then_bad).stand_before(living.exchange, monkeypatch)
    with suppress(BadAnswer):
        living.run("reconcile")
    assert told(living.store) == 1


def test_a_walk_that_goes_on_without_the_log_tells(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad answer ends the comparison, and the key is refused in what is done without it: the result names
    the bad answer alone, a person is told of the key.
    """
    hold(living)
    transactions = living.exchange.transactions

    def bad(*_: object) -> object:
        monkeypatch.setattr(living.exchange, "transactions", transactions)
        Door(1).stand_before(living.exchange, monkeypatch)
        raise BadAnswer("half an answer")

    monkeypatch.setattr(living.exchange, "transactions", bad)
    result = living.writer.reconciler.run(patience=0 * SECOND)
    assert isinstance(result.unread, BadAnswer)
    assert told(living.store) == 1


@pytest.mark.parametrize("turned", [1, 3, 6])
def test_a_scan_that_passes_a_coin_over_tells(
    living: Living, monkeypatch: pytest.MonkeyPatch, turned: int
) -> None:
    """Fee rates that have a stand-in, and a plan that cannot be made: the job ends without an error, and the
    key is told.
    """
    Door(turned).stand_before(living.exchange, monkeypatch)
    living.run("scan_and_open")
    assert told(living.store) == 1


@pytest.mark.parametrize("turned", [1, 2])
def test_an_emergency_tells(living: Living, monkeypatch: pytest.MonkeyPatch, turned: int) -> None:
    """Sizes that an emergency can do without: it closes, and says why it did not see them."""
    hold(living)
    Door(turned).stand_before(living.exchange, monkeypatch)
    assert ordered(living, "close", {"name": "BTC", "emergency": True}) == 0
    assert told(living.store) == 1


def test_a_margin_that_cannot_be_reduced_tells(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The close that a thin margin asks for is turned away: the watch goes on to its end, and tells why."""
    hold(living)
    real = living.exchange.wallet
    monkeypatch.setattr(living.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D("0.75")))
    monkeypatch.setattr(Trader, "close", turned_away)
    living.clock.sleep(15 * SECOND)
    assert "BTC not reduced" in living.run("watch")
    assert told(living.store) == 1


def test_a_position_that_cannot_be_left_tells(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close that the exit rule asks for is turned away: the job names what it missed, and tells why."""
    hold(living)
    monkeypatch.setattr(Trader, "close", turned_away)
    living.feed.rate = D("-0.0005")
    with suppress(Unavailable):
        for _ in range(15):
            living.clock.sleep(8 * HOUR)
            living.run("collect_funding")
            living.run("close_when_due")
    assert told(living.store) == 1


def turned_away(*_: object, **__: object) -> object:
    """What a use case ends with whose first signed read is refused."""
    raise EXPIRED


def test_looking_after_others_tells(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the other positions while an order is in doubt, and can wait."""
    hold(living)
    Door(1).stand_before(living.exchange, monkeypatch)
    meanwhile = living.writer.resolver.meanwhile
    assert meanwhile is not None
    meanwhile("another")
    assert told(living.store) == 1


def test_an_order_said_to_exist_that_cannot_be_looked_up_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at once, which the resolver repeats later."""
    position = opened(world, "5000").position
    taken = WriteAnswer(outcome=Outcome.EXISTS, code=110072, message="duplicate")
    monkeypatch.setattr(world.exchange, "create", lambda *_, **__: taken)
    Door(1).stand_before(world.exchange, monkeypatch)
    OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert told(world.writer.store) == 1


def test_fees_that_have_a_stand_in_tell(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction reckons with the public schedule where the account's rates cannot be read."""
    position = opened(world, "5000").position
    pair = world.writer.desk.market.pair_of(position)
    books = world.writer.desk.market.books(pair)
    world.clock.sleep(2 * HOUR)
    Door(1).stand_before(world.exchange, monkeypatch)
    assert world.writer.hedger.frame(pair, books).fee == D("0.001")
    assert told(world.writer.store) == 1


def test_a_walk_that_comes_to_its_end_lets_in_again(living: Living) -> None:
    """A whole walk, whoever asks for it, has read what is signed: the block is lifted, and the next time is
    an incident of its own.
    """
    for times in (1, 2):
        assert shut_out(living.store, EXPIRED)
        assert told(living.store) == times
        assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is not None
        assert ordered(living, "reconcile", {}) == 0
        assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is None


def test_whoever_only_reads_tells_nobody(living: Living) -> None:
    """A plan that is only shown may meet the same: it is that command's answer, and nothing is written."""
    with Store.open(living.store.url, clock=living.clock, readonly=True) as store:
        assert shut_out(store, EXPIRED)
    assert told(living.store) == 0


def test_a_key_that_reads_and_may_not_trade_gives_one_alert_an_hour(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every correction of a naked leg is refused for want of permission, and every read succeeds: the block
    stays, and a person is told once an hour, not at every look.
    """
    hold(living)
    monkeypatch.setattr(
        living.exchange,
        "create",
        lambda *_, **__: WriteAnswer(outcome=Outcome.REFUSED, code=10005, message="permission denied"),
    )
    living.venue.world.adl("BTCUSDT", D("0.4"))
    for _ in range(40):
        living.clock.sleep(15 * SECOND)
        with suppress(Unavailable):
            living.run("watch")
    told = [json.loads(one.payload) for one in living.store.events.after(0, 10_000, kind="alert_raised")]
    assert [one["code"] for one in told].count("key") == 1
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is not None
    living.clock.sleep(2 * HOUR)
    with suppress(Unavailable):
        living.run("watch")
    told = [json.loads(one.payload) for one in living.store.events.after(0, 10_000, kind="alert_raised")]
    assert [one["code"] for one in told].count("key") == 2
    monkeypatch.undo()
    living.clock.sleep(60 * SECOND)
    living.run("watch")  # which hedges: an order is taken, so the key may trade
    living.run("watch")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is None


def test_a_person_says_that_the_key_may_trade(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to hedge no order shows that the key has its right again; `resume` opens the door."""
    with monkeypatch.context() as refused:
        refused.setattr(
            living.exchange,
            "create",
            lambda *_, **__: WriteAnswer(outcome=Outcome.REFUSED, code=10005, message="permission denied"),
        )
        assert ordered(living, "open", {"base": "BTC", "notional": "4000"}) != 0
    living.run("watch")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is not None
    assert ordered(living, "resume", {}) == 0
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.KEY) is None
    assert ordered(living, "open", {"base": "BTC", "notional": "4000"}) == 0
