"""One seeded episode: a trader, a bot, strangers, a moody venue and sudden deaths, then calm; and what must
hold all the while and at the end.

Everything is thrown by one die, so a seed is a whole story that can be told again to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

from fundarb import crash
from fundarb.app.ids import SeededIds
from fundarb.app.unattended import jobs_of
from fundarb.app.writer import Writer, introduce
from fundarb.config import Settings
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import GLOBAL_SCOPE
from fundarb.core.risk import RiskLimits
from fundarb.crash import Point
from fundarb.engine.alerts import was_told
from fundarb.engine.commands import Arguments
from fundarb.engine.desk import Desk
from fundarb.engine.guard import GateSlot
from fundarb.engine.jobs import Jobs
from fundarb.engine.market import MarketView
from fundarb.engine.shut_out import let_in, shut_out
from fundarb.errors import (
    FundarbError,
    IllegalTransition,
    InvariantBroken,
    Rejected,
    StateUnavailable,
    Unavailable,
)
from fundarb.exchange.local import VenueClock
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from fundarb.venue.engine import Venue
from tests.proof.balance import Balance
from tests.proof.market import BASES, PERPS, rough_venue
from tests.proof.meddling import Meddler
from tests.proof.naked import Fates
from tests.proof.persons import Person, rules_of
from tests.proof.trouble import Died, Door, Trouble, TroubledExchange, Witness, WitnessedGate
from tests.proof.walks import walks_of

D = Decimal
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
WATCH = timedelta(seconds=15)
LIMITS = RiskLimits(max_gross=D(20_000), max_per_coin=D(8_000), max_clip=D(1_000), orders_per_minute=60)
_BUGS = (IllegalTransition, InvariantBroken)
_JOBS = ("watch", "watch", "reconcile", "collect_funding", "close_when_due", "snapshot")
_NAPS = (1, 5, 40, 600, 3600, 4 * 3600)


@dataclass
class Life:
    """One process: from taking the lock to its end."""

    store: Store
    lock: WriterLock
    exchange: TroubledExchange
    writer: Writer
    jobs: Jobs

    def strike_down(self) -> None:
        """The process is gone: nothing of it reaches database or venue any more."""
        self.store.close()
        self.lock._lock.release()
        self.exchange.dead = True

    def strike(self) -> None:
        """The process dies at this very line."""
        self.strike_down()
        raise Died

    def end(self) -> None:
        """An end in order, unless it is dead."""
        if not self.exchange.dead:
            with suppress(StateUnavailable):  # the lock itself is let go all the same
                self.lock.release()
            self.store.close()


@dataclass
class Episode:
    """A world with one account and one database, and the story so far."""

    seed: int
    folder: Path
    venue: Venue = field(default_factory=rough_venue)
    witness: Witness = field(default_factory=Witness)
    trouble: Trouble = field(default_factory=Trouble)
    story: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """The coins in which strangers traded."""
    repaid: set[str] = field(default_factory=set)
    """The coins of which the venue took some, which is no fill."""
    fates: Fates = field(default_factory=Fates)
    lives: int = 0

    def __post_init__(self) -> None:
        """The first life begins away from a settlement."""
        self.limits, self.trouble.pause = walks_of(self.seed, LIMITS)
        self.balance = Balance(self.venue, self.limits.max_clip)
        self.die = Random(self.seed)
        acts = (self.touched, self.repaid, self._tell)
        self.meddler = Meddler(self.venue, self.balance, self.die, *acts)
        self.clock = VenueClock(self.venue)
        self.clock.sleep(MINUTE)
        self.settings = Settings(home=self.folder)
        self.life = self._born()
        self.person = Person(self)

    @property
    def strangers(self) -> bool:
        """Whether strangers traded."""
        return bool(self.touched)

    # ------------------------------------------------------------------------------------------ lives

    def _born(self) -> Life:
        """A new process on the same database; it has not recovered yet."""
        self.lives += 1
        path = self.folder / "fundarb.sqlite3"
        slot = GateSlot()
        store = Store.open(url_of(path), clock=self.clock)
        gate = WitnessedGate(slot, store, self.witness)
        exchange = TroubledExchange(self.venue, gate, clock=self.clock, die=self.die)
        exchange.trouble = self.trouble
        self.fates.watch(exchange, self.clock)
        self.balance.watch(exchange)
        self.meddler.watch(exchange)
        lock = WriterLock(store, clock=self.clock)
        lock.acquire("command")
        ids = SeededIds(self.seed, store.writer.epoch())
        if store.identity.read() is None:
            uid = self.venue.uid
            store.identity.create(venue="sandbox", mode="live", instance="default", uid=uid, tag=ids.tag())
        market = MarketView(exchange, self.clock)
        desk = Desk(store, exchange, self.clock, ids, lock, rules_of(self.seed, self.limits), market)
        writer = introduce(desk, lock, slot=slot)
        return Life(store, lock, exchange, writer, jobs_of(self.settings, writer))

    def restart(self) -> None:
        """The process ends and another one begins; start-up is recovery, as often as the venue lets it."""
        self.life.exchange.fail_at = 0
        crash.disarm()
        self.life.end()
        self.life = self._born()
        for _ in range(20):
            if self.attempt("recover", self.recover):
                return
            self.clock.sleep(SECOND)

    def recover(self) -> str:
        """What every start does."""
        store = self.life.store
        self.life.writer.collector.open_books()
        found = self.life.writer.reconciler.run()
        if found.unread is None:
            let_in(store)
        else:
            shut_out(store, found.unread)
        return f"{len(found.resolved)} resolved, {[item.id for item in found.mismatches]}"

    def attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Something the client does; it may fail in every way that is not a bug, or die of it."""
        done = False
        self.balance.begin(self.life.store)
        try:
            said = self._framed(act)
            done = True
        except Died:
            pass
        except Exception as error:
            if not self.life.exchange.dead:
                if isinstance(error, _BUGS) or not isinstance(error, FundarbError):
                    raise AssertionError("\n".join(self.story)) from error
                self._tell(f"{what}: {error.kind} {error}")
                if isinstance(error, StateUnavailable):
                    self.life.strike_down()
        else:
            self._tell(f"{what}: {said}")
        if self.life.exchange.dead:
            self.fates.died()
            self._tell(f"{what}: died")
            self.restart()
        else:
            self._look_at_the_door(what)
            self.balance.after(self.life.exchange)
        return done

    def _framed(self, act: Callable[[], object]) -> object:
        """What stands around every act of a process looks whether a failure means that it is shut out."""
        try:
            return act()
        except Unavailable as error:
            shut_out(self.life.store, error)
            raise

    def _look_at_the_door(self, what: str) -> None:
        """Whoever was turned away has told a person by the end of what it did, or somebody before it had."""
        door = self.trouble.door
        if door is not None and door.met:
            if not self._told_of(door):
                self.witness.wrong.append(f"{what}: turned away ({door.alert}), and nobody was told")
            door.met = False

    def _told_of(self, door: Door) -> bool:
        """Whether an alert stands, or stood until the door opened again, since it fell shut."""
        store = self.life.store
        if door.told or door.until is None or was_told(store, door.alert, subject=GLOBAL_SCOPE):
            return door.told or was_told(store, door.alert, subject=GLOBAL_SCOPE)
        rows = store.events.after(0, 100_000, kind="alert_raised", since=door.until - door.lasts)
        return any(json.loads(row.payload)["code"] == door.alert for row in rows)

    def _tell(self, text: str) -> None:
        self.story.append(f"{self.venue.now:%d %H:%M:%S} {text}")

    def throw_with(self, die: Random) -> None:
        """From now on everything is thrown by this die."""
        self.die = self.life.exchange.die = self.meddler.die = die

    @property
    def slow(self) -> int:
        """How many times longer reads lag: in every tenth story longer than absence takes to prove."""
        return 3 if self.seed % 10 == 6 else 1

    # ------------------------------------------------------------------------------------------ the story

    def play(self, steps: int) -> None:
        """So many throws, with the wire's witness asked after each."""
        self.attempt("begin", self.recover)
        acts = (self.trade, self.trade, self.work, self.nap, self.world, self.mood, self.doom)
        for _ in range(steps):
            self.die.choice((*acts, *self.person.acts))()
            wrong = [*self.witness.wrong, *self.balance.wrong]
            assert not wrong, "\n".join([*wrong, *self.story])

    def trade(self) -> None:
        """A person's command."""
        die = self.die
        base = die.choice(BASES)
        notional = str(die.choice((120, 700, 1500, 3300)))
        held = [item.base for item in self.life.store.positions.active()]
        choice = die.randrange(6)
        if choice < 2 or not held:
            self.command("open", {"base": base, "notional": notional})
        elif choice == 2:
            self.command("open", {"base": die.choice(held), "notional": notional, "add": True})
        elif choice == 3:
            fraction = die.choice(("10%", "35%", "50%", "99%"))
            self.command("close", {"name": die.choice(held), "fraction": fraction})
        elif choice == 4:
            self.command("close", {"name": die.choice(held), "emergency": die.random() < 0.3})
        else:
            self.command("reconcile", {"repair": die.random() < 0.5})

    def command(self, name: str, arguments: Arguments) -> None:
        """A command, with its exit code and words in the story."""

        def act() -> str:
            answer = self.life.writer.executor.execute(name, arguments)
            return f"{answer.exit_code} {answer.message}"

        self.attempt(f"{name} {dict(arguments)}", act)

    def work(self) -> None:
        """A job of the bot."""
        name = self.die.choice(_JOBS)
        self.attempt(f"job {name}", lambda: self.life.jobs.run(name, {}).message)

    def nap(self) -> None:
        """Time passes; the bot looks at its positions soon after it began, and at its end."""
        nap = timedelta(seconds=self.die.choice(_NAPS))
        look = min(nap, WATCH)
        for part in (look, nap - look):
            self.clock.sleep(part)
            self.attempt("job watch", lambda: self.life.jobs.run("watch", {}).message)

    def mood(self) -> None:
        """The venue becomes better or worse."""
        die = self.die
        bad = die.random() < 0.6
        self.trouble.reads = die.choice((0.0, 0.0, 0.01, 0.1)) if bad else 0
        self.trouble.creates = die.choice((0.0, 0.3, 0.7)) if bad else 0
        self.trouble.lag = self.slow * timedelta(seconds=die.choice((0, 0, 3, 20))) if bad else timedelta()
        self.trouble.doubled = bad and die.random() < 0.3
        if self.seed % 8 == 4:
            self.trouble.door = self._door() if die.random() < 0.4 else None
        if self.seed % 11 == 7 or self.person.hands:
            self.meddler.often = die.choice((0.0, 0.05, 0.3))
        self._tell(f"mood {self.trouble}")

    def _door(self) -> Door:
        """In every eighth story: a ban, or a key that the venue takes no more, from some call on."""
        die = self.die
        code, lasts = die.choice((None, 10003, 10005)), die.choice((5, 60, 600, 3600))
        return Door(code, calls=die.randrange(25), lasts=timedelta(seconds=lasts))

    def doom(self) -> None:
        """The process will die at some point of its way, or ends in order."""
        if self.die.random() < 0.2:
            self._tell("restart")
            self.restart()
            return
        point, hits = self.die.choice(list(Point)), self.die.randint(1, 3)
        crash.arm(point.value, hits, strike=self.life.strike)
        self._tell(f"doom {point.value}:{hits}")

    def world(self) -> None:
        """Prices move, rates turn, the venue forces, strangers trade."""
        die, world = self.die, self.venue.world
        base = die.choice(BASES)
        symbol = PERPS[base]
        if self.seed % 9 == 3 and die.random() < 0.4:
            self._margin_event(base)
            return
        if self.seed % 13 == 7 and die.random() < 0.3:
            for one in BASES:
                self._margin_event(one)
            return
        size = next((view.size for view in self.venue.positions() if view.symbol == symbol), D(0))
        moves: list[Callable[[], object]] = [
            lambda: world.jump(symbol, die.choice((D("0.93"), D("0.99"), D("1.01"), D("1.08")))),
            lambda: world.funding_rate(symbol, die.choice((D("-0.0005"), D("0.0004")))),
            lambda: world.interval(symbol, die.choice((1, 4, 8))),
            lambda: world.fees(Category.SPOT, taker=die.choice((D(0), D("0.001"), D("0.0018")))),
            lambda: world.fees(Category.SPOT, mnt=die.random() < 0.5),
            lambda: world.transfer("USDT", die.choice((D(-500), D(2000)))),
            lambda: world.adl(symbol, die.choice((D("0.1"), D("0.4"), D(1)))) if size else None,
        ]
        if die.random() < 0.3:
            moves = [
                lambda: world.manual_close(symbol) if size else None,
                lambda: self._stranger(symbol, size),
                lambda: world.auto_repay(base, D("0.1")),
            ]
        number = die.randrange(len(moves))
        try:
            moves[number]()
        except (ValueError, Rejected) as error:
            self._tell(f"world {symbol} {number}/{len(moves)}: {error}")
            return
        if len(moves) == 3:
            self.touched.add(base)
        self._tell(f"world {symbol} {number}/{len(moves)}")

    def _margin_event(self, base: str) -> None:
        """In every ninth story the venue takes of both legs before anybody can look; in every thirteenth of
        all positions at once.
        """
        world, short = self.venue.world, self.die.choice(("0.1", "0.4", "0.5", "1"))
        coins = self.die.choice((short, short, "0.2", "0.9"))
        try:
            world.adl(PERPS[base], D(short))
            self.repaid.add(base)
            world.auto_repay(base, D(coins))
        except (ValueError, Rejected) as error:
            self._tell(f"margin event {base}: {error}")
            return
        self._tell(f"margin event {base}: {short} of the short, {coins} of the coins")

    def _stranger(self, symbol: str, size: Decimal) -> None:
        """Somebody adds to, or takes a little from, what is held in a symbol."""
        side = self.die.choice((Side.BUY, Side.SELL))
        amount = {"BTCUSDT": D("0.002"), "1000PEPEUSDT": D(10_000), "ADAUSDT": D(200)}[symbol]
        if size or self.die.random() < 0.2:
            self.venue.world.manual_order(Category.LINEAR, symbol, side=side, quantity=amount)
            if side is Side.SELL or amount > -size:
                self.balance.mingled.update(base for base in BASES if PERPS[base] == symbol)

    # ------------------------------------------------------------------------------------------ calm

    def heal(self) -> None:
        """No trouble any more, a fresh process, time, answers; at last a point of the equity curve, as a
        daemon takes one every few minutes, so that the identity is judged over all that was.
        """
        self.trouble.reads = self.trouble.creates = 0
        self.trouble.lag, self.trouble.doubled = timedelta(), False
        self.trouble.door = None
        self.meddler.leave()
        self.clock.sleep(MINUTE)
        self.restart()
        for _ in range(4):
            self.clock.sleep(3 * MINUTE)
            self.attempt("reconcile", self.recover)
        self.person.settle()
        self.attempt("job snapshot", lambda: self.life.jobs.run("snapshot", {}).message)
