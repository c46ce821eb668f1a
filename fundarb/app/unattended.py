"""The part of the composition root that serves unattended trading: the office of a daemon or a simulation,
the control commands, single jobs.

Introduces collaborators and nothing else. What a job decides stands in ``engine``, when it runs in
``daemon``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from fundarb.app.leftovers import cannot_begin
from fundarb.app.one_job import runner
from fundarb.app.reading import NOTHING_YET, looking, require_same_place, untraded
from fundarb.app.recovery import recovered
from fundarb.app.truth import hang_up, venue_truth
from fundarb.app.writer import Writer, trade_rules, writing
from fundarb.clock import Clock
from fundarb.config import JobSpec, Settings, load_jobs, secrets_of
from fundarb.config.secrets import stored_forms
from fundarb.config.templates import template
from fundarb.core.events import RecordedEvent, kinds
from fundarb.engine.account_view import AccountView
from fundarb.engine.answers import Answer
from fundarb.engine.audit import Audit, examine
from fundarb.engine.audit_book import BookRules
from fundarb.engine.commands import Arguments, after_recovery
from fundarb.engine.commands import recovered as walk_before
from fundarb.engine.control import Control, call_off_opens
from fundarb.engine.desk import ONE_READ
from fundarb.engine.halt_file import HaltFile, set_halt, set_pause
from fundarb.engine.handover import Handover, Holder, Way, holder_of
from fundarb.engine.jobs import JobParts, JobRules, Jobs
from fundarb.engine.jobs_all import all_jobs
from fundarb.engine.office import Office, Silent
from fundarb.engine.ports import Notifier
from fundarb.engine.scan import Scanner
from fundarb.engine.shelf import FundingShelf
from fundarb.engine.shut_out import met
from fundarb.engine.status import JobStatus, Status, job_statuses, status
from fundarb.engine.timetable import Timetable, published
from fundarb.errors import ConfigError, FundarbError, Locked, StateUnavailable, Unavailable
from fundarb.store.database import Store, exists
from fundarb.store.lock import WriterLock
from fundarb.store.place import place_of

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.core.reasons import Reason
    from fundarb.engine.reconcile import ReconcileResult
    from fundarb.notify.post import Post


Upcoming = Callable[[Store, Timetable], Mapping[str, datetime | None]]
"""When each job is due next, as far as a reader can tell (``daemon.triggers`` knows)."""


def job_specs(settings: Settings) -> tuple[JobSpec, ...]:
    """The jobs of jobs.toml, else of the packaged list; ``ConfigError`` with every mistake."""
    return load_jobs(settings, template("jobs.toml"))


def job_rules(settings: Settings) -> JobRules:
    """The settings that the jobs obey, in the core's terms."""
    strategy, risk = settings.strategy, settings.risk
    return JobRules(
        horizon=strategy.horizon,
        min_net_apr=strategy.min_net_apr,
        min_hold=strategy.min_hold,
        exit_confirm=strategy.exit_confirm,
        switch_gain=strategy.switch_gain,
        margin_warn=risk.margin_warn,
        margin_reduce=risk.margin_reduce,
        margin_target=risk.margin_warn,
        notional=risk.max_per_coin,
    )


def jobs_of(settings: Settings, writer: Writer) -> Jobs:
    """Every job at one writer's desk."""
    desk = writer.desk
    shelf = FundingShelf(desk.exchange, desk.clock)
    account = AccountView(desk.store, desk.exchange, clock=desk.clock)
    return all_jobs(
        JobParts(
            desk=desk,
            trader=writer.trader,
            collector=writer.collector,
            reconciler=writer.reconciler,
            hedger=writer.hedger,
            scanner=Scanner(
                desk.exchange, shelf, clock=desk.clock, settings=settings, met=partial(met, desk)
            ),
            shelf=shelf,
            account=account,
            rules=job_rules(settings),
            backups=settings.home / "backups",
        )
    )


def office_of(
    settings: Settings,
    writer: Writer,
    *,
    specs: tuple[JobSpec, ...] | None = None,
    notifier: Notifier | None = None,
) -> Office:
    """The office of a writer that has not recovered yet; ``specs`` replace those of jobs.toml."""
    specs = job_specs(settings) if specs is None else specs
    jobs = jobs_of(settings, writer)
    halt_file = HaltFile(settings.home)
    control = Control(
        writer.store,
        executor=writer.executor,
        reconcile=writer.reconciler.run,
        halt_file=halt_file,
        more={"jobs_run": runner(writer.store, jobs, specs=specs)},
    )
    return Office(
        desk=writer.desk,
        lock=writer.lock,
        jobs=jobs,
        commands=control,
        recover=lambda: recovered(writer),
        specs=specs,
        halt_file=halt_file,
        notifier=notifier or Silent(),
    )


# -------------------------------------------------------------------------------- for the drivers


@contextmanager
def office(
    settings: Settings,
    clock: Clock,
    *,
    specs: tuple[JobSpec, ...] | None = None,
    seed: int | None = None,
    lock_wait: timedelta = timedelta(),
) -> Iterator[Office]:
    """An office with the lock held and the notifier running; ``Locked`` if another process is the writer.
    ``seed`` makes its ids repeatable.
    """
    specs = job_specs(settings) if specs is None else specs
    with (
        notifying(settings) as notifier,
        writing(settings, clock, role="daemon", lock_wait=lock_wait, seed=seed, recover=False) as writer,
    ):
        made = office_of(settings, writer, specs=specs, notifier=notifier)
        unsubscribe = writer.store.events.subscribe(lambda _recorded, event: notifier.tell(event))
        try:
            yield made
        finally:
            unsubscribe()
            hang_up(writer.exchange)


@contextmanager
def notifying(settings: Settings) -> Iterator[Notifier]:
    """Whoever tells people, with its thread; nobody where no channel is configured."""
    if not settings.notify_urls:
        yield Silent()
        return
    post = post_of(settings)
    try:
        yield post
    finally:
        post.close()


def post_of(settings: Settings) -> Post:
    """The configured channels behind a queue of their own; its thread runs until ``close``."""
    from fundarb.config.secrets import Redactor
    from fundarb.notify.channels import channels, check
    from fundarb.notify.post import Post

    urls = [url.get_secret_value() for url in settings.notify_urls]
    check(settings.notify.urls, urls)
    title = "fundarb " + "/".join(settings.identity)
    return Post(channels(settings.notify.urls, urls), title=title, redact=Redactor(secrets_of(settings)))


def test_channels(app: App) -> dict[str, bool]:
    """A test message through each configured channel; which of them took it."""
    if not app.settings.notify_urls:
        return {}
    post = post_of(app.settings)
    try:
        return post.send("a test message: this channel works")
    finally:
        post.close()


# -------------------------------------------------------------------------------- for the commands


def command(
    app: App, name: str, *, arguments: Arguments, wait: timedelta | None, lock_wait: timedelta
) -> Answer:
    """``jobs_run``, ``resume`` or ``flatten``: as the writer, or through whoever is (the table "Who may
    write").
    """
    settings = app.settings
    app.acted = True
    with Store.open(settings.db_url, clock=app.clock) as store:
        handover = Handover(store, app.machine)
        if handover.way(name) is Way.ROW:
            handed = handover.send(name, arguments, wait=wait)
            return handed.answer or Answer(data={"command_id": handed.id})
    with writing(settings, app.clock, role="command", lock_wait=lock_wait) as writer:
        try:
            if name == "jobs_run" and writer.found is not None and writer.found.unread is not None:
                unread, epoch = writer.found.unread, writer.lock.epoch
                return cannot_begin(writer.store, unread, epoch=epoch, sent=writer.sent)
            called_off = call_off_opens(writer.store, name, arguments=arguments)
            before = (*called_off, *_said_before(name, writer.found))
            answer = office_of(settings, writer).commands.execute(name, arguments)
            return replace(after_recovery(answer, writer.sent), warnings=(*before, *answer.warnings))
        finally:
            hang_up(writer.exchange)


def _said_before(name: str, found: ReconcileResult | None) -> tuple[Reason, ...]:
    """What the recovery before a command found and did; a resume or a job shows what differs itself."""
    return walk_before(found) if name == "flatten" or found is None else found.taken


def pause(app: App, reason: str, *, wait: timedelta | None) -> Answer:
    """No opens until somebody resumes; needs no venue."""
    return _block(app, "pause", reason=reason, wait=wait)


def halt(app: App, reason: str, *, wait: timedelta | None) -> Answer:
    """No opens until a person has looked; needs no venue. Where no row reaches anybody (a daemon that is
    silent, a database that cannot be written) the HALT file does.
    """
    try:
        return _block(app, "halt", reason=reason, wait=wait)
    except (StateUnavailable, Locked, ConfigError) as error:
        raise _filed(app, error) from error


def _filed(app: App, error: FundarbError) -> FundarbError:
    """The wish to halt could not be written into the database: the same failure, with what the file does."""
    file = HaltFile(app.settings.home)
    try:
        file.create()
    except OSError as worse:
        told = f"nor could the file {file.path} be made ({worse.strerror}): nothing is halted"
    else:
        told = f"the file {file.path} was made instead: whoever runs opens nothing from now on"
    if isinstance(error, ConfigError):
        return type(error)(*error.problems, told)
    return type(error)(f"{error}; {told}")


def _block(app: App, name: str, *, reason: str, wait: timedelta | None) -> Answer:
    arguments: Mapping[str, str | bool] = {"reason": reason}
    app.acted = True
    with Store.open(app.settings.db_url, clock=app.any_clock()) as store:
        handover = Handover(store, app.machine)
        if handover.way(name) is Way.ROW:
            return _block_row(app, handover, name=name, arguments=arguments, wait=wait)
        lock = WriterLock(store, clock=app.machine)
        lock.acquire("command", timedelta(seconds=5))
        try:
            (set_halt if name == "halt" else set_pause)(store, reason or "asked for by a person")
            control = store.blocks.control(store.clock.now())
            return Answer(data={"control": control.value})
        finally:
            lock.release()


def _block_row(
    app: App, handover: Handover, *, name: str, arguments: Arguments, wait: timedelta | None
) -> Answer:
    """The wish as a row; a halt that finds nobody listening makes the file first, which works without
    anybody's answer.
    """
    listening, file = handover.listening(), HaltFile(app.settings.home)
    filed = name == "halt" and not listening
    if filed:
        file.create()
    handed = handover.send(name, arguments, wait=wait if listening else None)
    if handed.answer is not None:
        return handed.answer
    told: dict[str, object] = {"command_id": handed.id}
    return Answer(data=told | ({"halt_file": str(file.path)} if filed else {}))


def run_audit(app: App) -> tuple[Audit, str]:
    """The invariants over the database and, if it answers, the venue; why it did not, else empty."""
    settings = app.settings
    if not untraded(settings):
        place_of(settings.db_url).require_sound()
    with looking(settings, app.known_clock()) as store:
        why, truth = NOTHING_YET if untraded(settings) else app.away, None
        try:
            require_same_place(settings, store)
            truth = None if why else venue_truth(settings, app.clock, store=store)
        except (ConfigError, Unavailable) as error:
            why = str(error)
        secrets = stored_forms(secrets_of(settings))
        return examine(store, book_rules(settings), truth=truth, secrets=secrets), why


def book_rules(settings: Settings) -> BookRules:
    """What a book may look like: one clip naked (at prices that may have moved within the collar), for as
    long as a hedge may take, or as an order may be in doubt.
    """
    execution, rules = settings.execution, trade_rules(settings)
    return BookRules(
        drift_limit=rules.drift_limit,
        largest_naked=execution.max_clip * (1 + execution.collar),
        t_hedge=rules.t_hedge,
        t_recover=rules.t_recover + ONE_READ * rules.patience,
        lease=rules.recv_window,
    )


def run_status(app: App, upcoming: Upcoming) -> Status:
    """How the bot is; ``upcoming`` tells when the jobs are due. Without a database it is off and healthy."""
    with looking(app.settings, app.any_clock()) as store:
        jobs = _jobs(app, store, upcoming=upcoming)
        halt_file = HaltFile(app.settings.home)
        return status(store, jobs, machine=app.machine.now(), halt_file=halt_file)


def list_jobs(app: App, upcoming: Upcoming) -> tuple[JobStatus, ...]:
    """Every job, when it is due and how it went; without a database nothing has run yet."""
    with looking(app.settings, app.any_clock()) as store:
        return _jobs(app, store, upcoming=upcoming)


def known_jobs(app: App) -> tuple[JobSpec, ...]:
    """The jobs that ``jobs run`` may name."""
    with looking(app.settings, app.any_clock()) as store:
        return _timetable(app, store).specs


def _jobs(app: App, store: Store, *, upcoming: Upcoming) -> tuple[JobStatus, ...]:
    timetable = _timetable(app, store)
    return job_statuses(store, timetable.specs, upcoming=upcoming(store, timetable))


def _timetable(app: App, store: Store) -> Timetable:
    """What a daemon that holds the lock goes by, else what one would that is started here."""
    alive = holder_of(store, app.machine.now()) in {Holder.DAEMON, Holder.SILENT_DAEMON}
    return (published(store) if alive else None) or Timetable(job_specs(app.settings))


def event_kinds() -> tuple[str, ...]:
    """Every kind of event that anything here may record."""
    return kinds()


def events(
    app: App, *, after: int = 0, limit: int = 200, kind: str | None = None, since: datetime | None = None
) -> tuple[RecordedEvent, ...]:
    """Events with a higher id than ``after``, oldest first."""
    if not exists(app.settings.db_url):
        return ()
    with Store.open(app.settings.db_url, clock=app.any_clock(), readonly=True) as store:
        return store.events.after(after, limit, kind=kind, since=since)


def latest_events(
    app: App, count: int, *, kind: str | None = None, since: datetime | None = None
) -> tuple[RecordedEvent, ...]:
    """The newest events, oldest of them first; with ``since`` the first ones from there on."""
    if not exists(app.settings.db_url):
        return ()
    with Store.open(app.settings.db_url, clock=app.any_clock(), readonly=True) as store:
        if since is not None:
            return store.events.after(0, count, kind=kind, since=since)
        return store.events.last(count, kind=kind)


def newest_event(app: App) -> int:
    """The id of the newest event, zero without any."""
    if not exists(app.settings.db_url):
        return 0
    with Store.open(app.settings.db_url, clock=app.any_clock(), readonly=True) as store:
        return store.events.newest_id()
