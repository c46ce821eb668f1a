"""A writer at work: the lock held, the account verified, recovered, and every trading use case introduced to
the others.

Start-up is recovery: whoever opens a writer gets one whose uncertain orders have been resolved as far as the
venue answers and whose books have been compared with it.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fundarb.app import venues
from fundarb.app.ids import RandomIds, SeededIds
from fundarb.app.leftovers import books_lost, with_leftovers
from fundarb.app.signals import finishing_clips
from fundarb.clock import Clock, SystemClock
from fundarb.config import Settings
from fundarb.config.schema import Mode, VenueName
from fundarb.core.events import LimitsInForce, WriterStarted, WriterStopped
from fundarb.core.keys import key_problems, key_remedy
from fundarb.core.records import PositionRecord
from fundarb.core.risk import RiskLimits
from fundarb.engine.alerts import halt
from fundarb.engine.announced import announced
from fundarb.engine.answers import KEY_TROUBLE
from fundarb.engine.collect import Collector
from fundarb.engine.commands import Executor
from fundarb.engine.control import end_leftovers, obey_at_once
from fundarb.engine.decide import Decider
from fundarb.engine.desk import ONE_READ, Desk, StopRequest, TradeRules
from fundarb.engine.elsewhere import look_for_lost, opened_elsewhere
from fundarb.engine.fees import FeeBook
from fundarb.engine.guard import Gate, GateDesk, GateSlot
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.hedge import Hedger
from fundarb.engine.held import settlement_of
from fundarb.engine.kept_pairs import KeptPairs
from fundarb.engine.legs import Legs
from fundarb.engine.market import MarketView
from fundarb.engine.meanwhile import Meanwhile
from fundarb.engine.outcome import left
from fundarb.engine.ports import Exchange, Ids
from fundarb.engine.preflight import Preflight
from fundarb.engine.reconcile import Reconciler, ReconcileResult
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import look_out, met, shut_out
from fundarb.engine.trade import Trader
from fundarb.errors import (
    ConfigError,
    IllegalTransition,
    InvariantBroken,
    Problem,
    StateUnavailable,
    Unavailable,
)
from fundarb.store.database import Store, exists
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from fundarb.store.restore import adopt_copy

_SOON: Final = timedelta(seconds=1)
_KEY_SEEN: Final = "writer.key"
"""By which key the account was last found to be the database's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Everything that writes, for as long as the lock is held. ``found`` is what the recovery found, ``over``
    the positions that it ended, ``sent`` how many orders left for it.
    """

    store: Store
    lock: WriterLock
    exchange: Exchange
    desk: Desk
    collector: Collector
    resolver: Resolver
    hedger: Hedger
    fees: FeeBook
    preflight: Preflight
    trader: Trader
    reconciler: Reconciler
    decider: Decider
    executor: Executor
    found: ReconcileResult | None = None
    over: tuple[PositionRecord, ...] = ()
    sent: int = 0


def trade_rules(settings: Settings) -> TradeRules:
    """The settings that trading obeys, in the core's terms."""
    risk, execution, account = settings.risk, settings.execution, settings.account
    return TradeRules(
        limits=RiskLimits(
            max_gross=risk.max_gross,
            max_per_coin=risk.max_per_coin,
            max_positions=risk.max_positions,
            max_quote_age=risk.max_quote_age,
            max_clock_offset=risk.max_clock_offset,
            max_loss_per_day=risk.max_loss_per_day,
            max_fees_per_day=risk.max_fees_per_day,
            max_clip=execution.max_clip,
            price_cap=execution.price_cap,
            collar=execution.collar,
            orders_per_minute=execution.orders_per_minute,
            max_open_intents=execution.max_open_intents,
            unwinds_per_hour=execution.unwinds_per_hour,
            cool_down=execution.cool_down,
            t_hedge=execution.t_hedge,
            leverage=account.leverage,
            usdt_buffer=account.usdt_buffer,
        ),
        drift_limit=risk.drift_limit,
        unwind_caps=execution.unwind_caps,
        top_ups=execution.top_ups,
        recv_window=settings.venue.recv_window,
        tolerance=settings.reconcile.tolerance,
        repair=settings.reconcile.repair,
        manual_close=settings.reconcile.manual_close,
        horizon=settings.strategy.horizon,
        min_net_apr=settings.strategy.min_net_apr,
    )


@contextmanager
def writing(
    settings: Settings,
    clock: Clock,
    *,
    role: str,
    lock_wait: timedelta,
    seed: int | None = None,
    recover: bool = True,
) -> Iterator[Writer]:
    """A writer, from the lock to its release. ``Locked`` if somebody else holds it for longer than
    ``lock_wait``.

    ``ConfigError`` if the database belongs to another venue, mode or account; ``Unavailable`` if the account
    cannot be read: then nothing was changed, and the message names what an earlier writer left unfinished.
    A command finishes the step under way when it is interrupted. With a ``seed`` the same writer of the same
    database draws the same ids.
    """
    with Store.open(settings.db_url, clock=clock) as store:
        _check_place(settings, store)
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire(role, lock_wait)
        stop, sent, epoch = StopRequest(), deque[str](), lock.epoch
        try:
            with _ending(store, lock), finishing_clips(stop) if role == "command" else nullcontext():
                ids = RandomIds() if seed is None else SeededIds(seed, epoch)
                writer = _assemble(settings, clock, store=store, lock=lock, ids=ids, stop=stop)
                sent = writer.desk.sent
                yield _recovered(writer) if recover else writer
                look_out(store, writer.exchange)
                with suppress(Unavailable):  # a virtual clock that went away with its venue
                    store.events.record(WriterStopped(epoch=epoch, reason="done"))
        except StateUnavailable as error:
            raise books_lost(store, error, sent=sent, epoch=epoch) from error


@contextmanager
def _ending(store: Store, lock: WriterLock) -> Iterator[None]:
    """Gives the lock back; a failure that ends the work is written down before, as far as it can be."""
    try:
        yield
    except Unavailable as error:
        shut_out(store, error)
        raise with_leftovers(store, error, epoch=lock.epoch) from error
    except (InvariantBroken, IllegalTransition) as error:
        halt(store, error.kind, subject=str(error), message=f"{type(error).__name__}: {error}")
        raise
    finally:
        lock.release()


def _recovered(writer: Writer) -> Writer:
    """The writer after its first walk; whether the venue lets us in is known by then."""
    positions, began = writer.store.positions, writer.desk.clock.now()
    before = positions.active()
    found = writer.reconciler.run()
    now = (positions.get(item.position_id) for item in before)
    if found.unread is None:
        look_for_lost(writer.desk, found)
    else:
        shut_out(writer.store, found.unread)
    orders = writer.store.intents.between(began, writer.desk.clock.now() + _SOON)
    return replace(
        writer,
        found=found,
        over=tuple(item for item in now if item.state.final),
        sent=sum(item.epoch == writer.lock.epoch and left(item) for item in orders),
    )


class _Nobody:
    """Stands for the writer where nothing is written: no order passes a gate with it."""

    @property
    def epoch(self) -> int:
        """No epoch."""
        return 0

    def still_ours(self) -> bool:
        """Never."""
        return False


@contextmanager
def planning(settings: Settings, clock: Clock) -> Iterator[Trader]:
    """A trader that can plan and nothing else: the database is only read, and may not exist yet."""
    with TemporaryDirectory(prefix="fundarb-") as folder:
        url = settings.db_url if exists(settings.db_url) else url_of(Path(folder) / "plan.sqlite3")
        readonly = url == settings.db_url
        with Store.open(url, clock=clock, readonly=readonly) as store:
            exchange = venues.exchange(settings, clock, gate=None)
            _check_place(settings, store)
            if store.identity.read() is not None:
                venue, mode, instance = settings.identity
                uid = exchange.account().uid
                store.identity.check(venue=venue, mode=mode, instance=instance, uid=uid)
            rules, market = trade_rules(settings), MarketView(exchange, clock)
            desk = Desk(store, exchange, clock, RandomIds(), _Nobody(), rules, market)
            yield _traders(desk, Collector(store, exchange, clock=clock, market=exchange)).trader


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traders:
    """The use cases that send orders."""

    resolver: Resolver
    fees: FeeBook
    hedger: Hedger
    preflight: Preflight
    trader: Trader


def _traders(desk: Desk, collector: Collector) -> _Traders:
    resolver = Resolver(desk, collector)
    fees = FeeBook(desk.exchange, desk.clock)
    hedger = Hedger(desk, resolver=resolver, fees=fees)
    resolver.meanwhile = Meanwhile(desk, collector=collector, hedger=hedger).look
    preflight = Preflight(desk, fees)
    trader = Trader(
        desk,
        legs=Legs(desk, hedger=hedger, resolver=resolver),
        hedger=hedger,
        preflight=preflight,
    )
    return _Traders(resolver=resolver, fees=fees, hedger=hedger, preflight=preflight, trader=trader)


def _assemble(
    settings: Settings, clock: Clock, *, store: Store, lock: WriterLock, ids: Ids, stop: StopRequest
) -> Writer:
    """A writer whose database is this account's and whose books are open; it has not recovered yet."""
    slot = GateSlot()
    exchange = venues.exchange(settings, clock, gate=slot)
    _identify(settings, store, exchange=exchange, ids=ids)
    rules, market = trade_rules(settings), MarketView(exchange, clock)
    halt_file = HaltFile(settings.home)
    desk = Desk(
        store,
        exchange,
        clock,
        ids,
        lock,
        rules,
        market,
        stop,
        before_entry=lambda: halt_file.obey(store),
    )
    writer = introduce(desk, lock, slot=slot)
    writer.collector.open_books()
    note_limits(store, rules)
    halt_file.obey(store)
    end_leftovers(store, SystemClock().now())
    obey_at_once(store)
    return writer


def introduce(desk: Desk, lock: WriterLock, *, slot: GateSlot) -> Writer:
    """Make every trading use case of one desk and put its gate in; sends and writes nothing."""
    desk.market.stand_in(KeptPairs(desk.store))
    gate = GateDesk(
        desk.store, desk.writer, desk.clock, desk.rules, desk.market, desk.written, desk.exchange.sure
    )
    slot.put(Gate(gate))
    coming = partial(settlement_of, desk)
    collector = Collector(desk.store, desk.exchange, clock=desk.clock, market=desk.exchange, coming=coming)
    made = _traders(desk, collector)
    reconciler = Reconciler(desk, collector=collector, resolver=made.resolver, hedger=made.hedger)
    decider = Decider(desk, reconciler=reconciler, resolver=made.resolver)
    executor = Executor(
        desk.store,
        trader=made.trader,
        reconciler=reconciler,
        decider=decider,
        to_know=lambda found: (*opened_elsewhere(desk, found), *announced(desk)),
        met=partial(met, desk),
    )
    return Writer(
        store=desk.store,
        lock=lock,
        exchange=desk.exchange,
        desk=desk,
        collector=collector,
        resolver=made.resolver,
        hedger=made.hedger,
        fees=made.fees,
        preflight=made.preflight,
        trader=made.trader,
        reconciler=reconciler,
        decider=decider,
        executor=executor,
    )


def note_limits(store: Store, rules: TradeRules) -> None:
    """Record the limits that are obeyed from now on, where they changed: an audit judges what was done by
    those of its own time.
    """
    event = LimitsInForce(
        max_clip=rules.limits.max_clip,
        collar=rules.limits.collar,
        orders_per_minute=rules.limits.orders_per_minute,
        leverage=rules.limits.leverage,
        drift_limit=rules.drift_limit,
        recv_window=rules.recv_window,
        t_hedge=rules.t_hedge,
        t_recover=rules.t_recover + ONE_READ * rules.patience,
    )
    known = store.events.last(1, kind=event.kind)
    if not known or json.loads(known[0].payload) != event.payload():
        store.events.record(event)


def _check_place(settings: Settings, store: Store) -> None:
    """A database of another venue, mode or instance is refused before anybody is asked anything."""
    found = store.identity.read()
    if found is not None:
        venue, mode, instance = settings.identity
        store.identity.check(venue=venue, mode=mode, instance=instance, uid=found.uid)


def _confirm_key(settings: Settings, exchange: Exchange) -> None:
    """On a real venue the key must belong to the account that the settings name, and be fit to trade with."""
    if settings.mode is Mode.PAPER or settings.venue.name is VenueName.SANDBOX:
        return
    found = key_problems(exchange.key_info(), uid=settings.account.uid)
    if found:
        raise ConfigError(*(Problem("API key", item.message, key_remedy([item])) for item in found))


def _uid(settings: Settings, store: Store, *, exchange: Exchange) -> str:
    """Whose account the venue says this is. Where it does not say, it is the database's own if this very key
    was found to be that account's before: a close must not wait for it.
    """
    try:
        uid = exchange.account().uid
        _confirm_key(settings, exchange)
    except Unavailable as error:
        known = store.identity.read()
        if error.code in KEY_TROUBLE or known is None or store.meta.get(_KEY_SEEN) != _fingerprint(settings):
            raise
        return known.uid
    return uid


def _fingerprint(settings: Settings) -> str:
    """What tells a key from another one without naming it."""
    key = settings.credentials.key.get_secret_value() if settings.credentials is not None else ""
    return hashlib.sha256(f"{settings.venue_url}\n{key}".encode()).hexdigest()[:16]


def _identify(settings: Settings, store: Store, *, exchange: Exchange, ids: Ids) -> None:
    """The database must be this account's: written at the first start, checked at every later one. From then
    on the venue must stay that account's for as long as we write.
    """
    venue, mode, instance = settings.identity
    uid = _uid(settings, store, exchange=exchange)
    if store.identity.read() is None:
        store.identity.create(venue=venue, mode=mode, instance=instance, uid=uid, tag=ids.tag())
    else:
        store.identity.check(venue=venue, mode=mode, instance=instance, uid=uid)
        adopt_copy(store, ids.tag())  # a backup that was put in place by hand
    exchange.belong(uid)
    store.meta.set(_KEY_SEEN, _fingerprint(settings))
    writer = store.writer.read()
    if writer is not None:
        store.events.record(WriterStarted(pid=writer.pid, epoch=writer.epoch, role=writer.role))
