"""A paper account belongs to the market on which it was begun: another world's quotes are never booked."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fundarb.clock import Clock, SystemClock, VirtualClock
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Outcome, Side
from fundarb.errors import OtherAccount, Problem, Unavailable
from fundarb.exchange.bybit import BybitExchange, BybitSettings, connect
from fundarb.exchange.paper import QUOTES_KEPT, PaperAccount, PaperExchange
from fundarb.sandbox.server import Running, start_in_thread
from tests.exchange.server import FakeVenue, envelope
from tests.exchange.test_paper import Live, World
from tests.sandbox.harness import OPTIONS, START
from tests.venue.toy import D, ToyFeed


class Placed(Live):
    """A market that says which one it is (None: it does not answer)."""

    def __init__(self, feed: ToyFeed, clock: VirtualClock) -> None:
        super().__init__(feed, clock)
        self.name: str | None = "sandbox 7"
        self.follows = ""

    def world(self) -> str:
        """Which one."""
        if self.name is None:
            raise Unavailable("no answer")
        return self.name

    def stay_in(self, world: str, complaint: Callable[[str, str], Problem]) -> None:
        """Remembered."""
        assert complaint(world, "x").remedy
        self.follows = world

    def in_place(self) -> bool:
        """As long as it says so."""
        return self.name == self.follows


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A market that says which one it is."""
    return World(tmp_path, Placed)


def placed(world: World) -> Placed:
    """Its market."""
    assert isinstance(world.live, Placed)
    return world.live


def test_another_market_is_refused_before_anything_is_done(world: World) -> None:
    """An account with a position, and another world behind its address: whatever is asked first raises, says
    both and what mends it, and the file stays as it is; the right market goes on.
    """
    uid = world.hedged().account().uid
    before = world.path.read_bytes()
    placed(world).name = "sandbox 8"
    placed(world).calls.clear()
    asked: tuple[Callable[[PaperExchange], object], ...] = (
        lambda paper: paper.account(),
        lambda paper: paper.key_info(),
        lambda paper: paper.wallet(),
        lambda paper: paper.positions(),
    )
    for ask in asked:
        with pytest.raises(OtherAccount, match=r"begun on sandbox 7, but .* sandbox 8.*new database"):
            ask(world.open())
        with pytest.raises(OtherAccount):
            ask(world.open(readonly=True))
    assert placed(world).calls == []
    assert world.path.read_bytes() == before
    placed(world).name = "sandbox 7"
    assert world.open().account().uid == uid
    assert len(world.open().positions()) == 1


def test_it_stays_there_while_it_runs(world: World) -> None:
    """The market is told to hold every later answer against this world, and whether an order may leave is
    what it says.
    """
    paper = world.open()
    assert paper.account().uid.startswith("paper-")
    assert placed(world).follows == "sandbox 7"
    assert paper.sure()
    placed(world).name = "sandbox 8"
    assert not paper.sure()


def test_a_market_that_does_not_say_is_not_another_one(world: World) -> None:
    """An account goes on with it, but none is begun on one."""
    uid = world.open().account().uid
    placed(world).name = None
    assert world.open().account().uid == uid
    assert placed(world).follows == "sandbox 7"
    world.path.unlink()
    with pytest.raises(Unavailable):
        world.open().account()
    assert not world.path.exists()


def test_an_account_from_before_worlds_were_noted_takes_the_one_that_it_sees(world: World) -> None:
    """It goes on, and from then on belongs there."""
    world.hedged()
    content = json.loads(world.path.read_bytes())
    assert content.pop("market") == "sandbox 7"
    world.path.write_text(json.dumps(content))
    placed(world).name = "sandbox 9"
    paper = world.open()
    assert len(paper.positions()) == 1
    world.send(paper, "fa-2", Category.LINEAR, Side.BUY, "0.1")
    placed(world).name = "sandbox 7"
    with pytest.raises(OtherAccount):
        world.open().account()


# ------------------------------------------------------------------------------------------ over the wire


def sandbox(run: str, port: int = 0) -> Running:
    """One world; the same ``run`` is the same one."""
    return start_in_thread(replace(OPTIONS, run=run, port=port))


def quotes_of(url: str, clock: Clock | None = None) -> BybitExchange:
    """The public side of a sandbox, without a key."""
    return connect(BybitSettings(venue="sandbox", url=url), clock=clock or VirtualClock(START))


def paper_over(market: BybitExchange, path: Path, clock: Clock | None = None) -> PaperExchange:
    """A paper account that is fed by it."""
    account = PaperAccount(path=path, balances={"USDT": D(60_000)}, latency=timedelta())
    return PaperExchange(market, account, clock=clock or VirtualClock(START), gate=None)


def order(link: str) -> OrderRequest:
    """A small purchase far above the market."""
    return OrderRequest(
        link_id=link, category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY,
        quantity=D("0.01"), limit_price=D(100_000), reduce_only=False,
    )  # fmt: skip


def test_a_sandbox_started_anew_behind_the_same_address(tmp_path: Path) -> None:
    """It says which world it is without a signature: under a running account the next answer raises and an
    order never happened; a new process is refused; the same world on another port is welcome.
    """
    path, first, clock = tmp_path / "paper.json", sandbox("a"), VirtualClock(START)
    market = quotes_of(first.url, clock)
    paper = paper_over(market, path, clock)
    assert paper.create(order("fa-1"), signed_at=START).outcome is Outcome.ACCEPTED
    assert paper.sure()
    assert market.signed_requests == 0
    first.stop()
    second = sandbox("b", urlsplit(first.url).port or 0)
    try:
        clock.sleep(QUOTES_KEPT * 2)
        answer = paper.create(order("fa-2"), signed_at=clock.now())
        assert (answer.outcome, answer.sent) == (Outcome.REFUSED, False)
        with pytest.raises(OtherAccount, match="begun on sandbox"):
            paper.snapshot()
        assert not paper.sure()
        del paper
        with closing(quotes_of(second.url)) as other, pytest.raises(OtherAccount, match=r"paper\.json"):
            paper_over(other, path).account()
    finally:
        second.stop()
    again = sandbox("a")
    try:
        with closing(quotes_of(again.url)) as market:
            back = paper_over(market, path)
            assert [item.symbol for item in back.positions()] == ["BTCUSDT"]
            assert back.order_realtime(Category.LINEAR, "BTCUSDT", link_id="fa-2") is None
    finally:
        again.stop()


def test_a_real_venue_is_known_by_its_name(tmp_path: Path) -> None:
    """Mainnet and testnet are two markets; nobody is asked for that."""
    names = [
        connect(BybitSettings(venue=venue), clock=SystemClock(), cache_dir=tmp_path)
        for venue in ("bybit", "bybit-testnet")
    ]
    assert [market.world() for market in names] == ["bybit", "bybit-testnet"]
    assert [market.requests_made for market in names] == [0, 0]


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"uid": 7}', b'{"uid": ""}', b"<html>", envelope({})])
def test_a_sandbox_that_does_not_say(venue: FakeVenue, body: bytes) -> None:
    """Whatever else it answers is no world, and no reason to take it for another one."""
    venue.on("/sandbox/clock", body)
    with closing(quotes_of(venue.url)) as market, pytest.raises(Unavailable):
        market.world()
