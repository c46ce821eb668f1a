"""The part of the composition root that serves unattended trading: the office of a daemon or a simulation,
the control commands, single jobs.

Introduces collaborators and nothing else. What a job decides stands in ``engine``, when it runs in
``daemon``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fundarb.app.reading import NOTHING_YET, looking, require_same_place, untraded
from fundarb.app.recovery import recovered
from fundarb.app.truth import hang_up, venue_truth
from fundarb.app.writer import Writer, writing
from fundarb.clock import Clock, SystemClock
from fundarb.config import JobSpec, Settings, load_jobs, secrets_of
from fundarb.config.secrets import stored_forms
from fundarb.config.templates import template
from fundarb.core.events import JobFinished, RecordedEvent, kinds
from fundarb.engine.account_view import AccountView
from fundarb.engine.answers import Answer
from fundarb.engine.audit import Audit, examine
from fundarb.engine.audit_book import BookRules
from fundarb.engine.commands import Arguments
from fundarb.engine.control import Control
from fundarb.engine.halt_file import HaltFile, set_halt, set_pause
from fundarb.engine.handover import Handover, Holder, Way, holder_of
from fundarb.engine.jobs import JobParts, JobRules, Jobs
from fundarb.engine.jobs_all import all_jobs
from fundarb.engine.office import Office, Silent
from fundarb.engine.ports import Ids, Notifier
from fundarb.engine.scan import Scanner
from fundarb.engine.shelf import FundingShelf
from fundarb.engine.status import JobStatus, Status, job_statuses, status
from fundarb.engine.timetable import Timetable, published
from fundarb.errors import ConfigError, FundarbError, Problem, Unavailable
from fundarb.store.database import Store, exists
from fundarb.store.lock import WriterLock

if TYPE_CHECKING:
    from fundarb.app import App
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
        margin_warn=risk.margin_warn,
        margin_reduce=risk.margin_reduce,
        margin_target=risk.margin_warn,
        notional=risk.max_per_coin,
    )


def jobs_of(settings: Settings, writer: Writer) -> Jobs:
    """Every job at one writer's desk."""
    desk = writer.desk
    shelf = FundingShelf(desk.exchange, desk.clock)
    account = AccountView(desk.exchange, desk.clock)
    writer.store.events.subscribe(account.heard)
    return all_jobs(
        JobParts(
            desk=desk,
            trader=writer.trader,
            collector=writer.collector,
            reconciler=writer.reconciler,
            hedger=writer.hedger,
            scanner=Scanner(desk.exchange, shelf, clock=desk.clock, settings=settings),
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
        more={"jobs_run": _runner(writer.store, jobs, specs=specs)},
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


def _runner(store: Store, jobs: Jobs, *, specs: tuple[JobSpec, ...]) -> Callable[[Arguments], Answer]:
    """The command ``jobs run NAME``: one run now, recorded like any other."""

    def run(arguments: Arguments) -> Answer:
        name = str(arguments.get("name", ""))
        spec = next((item for item in specs if item.name == name), None)
        if spec is None:
            raise unknown_job(name, specs)
        number = store.jobs.started(spec.name, store.clock.now())
        try:
            report = jobs.run(spec.run, spec.args)
        except FundarbError as error:
            store.jobs.finished(number, "failed", message=f"{error.kind}: {error}", at=store.clock.now())
            raise
        store.jobs.finished(number, report.result, message=report.message, at=store.clock.now())
        store.events.record(JobFinished(job=spec.name, result=report.result, message=report.message))
        return Answer(data={"name": spec.name, "result": report.result, "message": report.message})

    return run


def unknown_job(name: str, specs: tuple[JobSpec, ...]) -> ConfigError:
    """There is no such job; which there are."""
    known = ", ".join(spec.name for spec in specs)
    return ConfigError(Problem("jobs", f"there is no job {name!r}", f"one of {known}"))


# -------------------------------------------------------------------------------- for the drivers


@contextmanager
def office(
    settings: Settings,
    clock: Clock,
    *,
    specs: tuple[JobSpec, ...] | None = None,
    ids: Ids | None = None,
    lock_wait: timedelta = timedelta(),
) -> Iterator[Office]:
    """An office with the lock held and the notifier running; ``Locked`` if another process is the writer."""
    specs = job_specs(settings) if specs is None else specs
    with (
        notifying(settings) as notifier,
        writing(settings, clock, role="daemon", lock_wait=lock_wait, ids=ids, recover=False) as writer,
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
        handover = Handover(store, app.clock)
        if handover.way(name) is Way.ROW:
            handed = handover.send(name, arguments, wait=wait)
            return handed.answer or Answer(data={"command_id": handed.id})
    with writing(settings, app.clock, role="command", lock_wait=lock_wait) as writer:
        try:
            if name == "jobs_run" and writer.found is not None and writer.found.unread is not None:
                raise writer.found.unread
            return office_of(settings, writer).commands.execute(name, arguments)
        finally:
            hang_up(writer.exchange)


def pause(app: App, reason: str, *, wait: timedelta | None) -> Answer:
    """No opens until somebody resumes; needs no venue."""
    return _block(app, "pause", reason=reason, wait=wait)


def halt(app: App, reason: str, *, wait: timedelta | None) -> Answer:
    """No opens until a person has looked; needs no venue. A daemon that is silent gets the HALT file."""
    return _block(app, "halt", reason=reason, wait=wait)


def _block(app: App, name: str, *, reason: str, wait: timedelta | None) -> Answer:
    arguments: Mapping[str, str | bool] = {"reason": reason}
    app.acted = True
    with Store.open(app.settings.db_url, clock=app.clock) as store:
        handover = Handover(store, app.clock)
        if handover.way(name) is Way.ROW:
            return _block_row(app, handover, name=name, arguments=arguments, wait=wait)
        lock = WriterLock(store.path, store, clock=app.clock)
        lock.acquire("command", timedelta(seconds=5))
        try:
            (set_halt if name == "halt" else set_pause)(store, reason or "asked for by a person")
            control = store.blocks.control(app.clock.now())
            return Answer(data={"control": control.value})
        finally:
            lock.release()


def _block_row(
    app: App, handover: Handover, *, name: str, arguments: Arguments, wait: timedelta | None
) -> Answer:
    """The wish as a row; a halt that finds nobody listening leaves the file, too."""
    listening = handover.listening()
    if name == "halt" and not listening:
        HaltFile(app.settings.home).create()
    handed = handover.send(name, arguments, wait=wait if listening else None)
    return handed.answer or Answer(data={"command_id": handed.id})


def run_audit(app: App) -> tuple[Audit, str]:
    """The invariants over the database and, where it can be reached, the venue; why it could not, else
    empty.
    """
    settings = app.settings
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
    long as an uncertain leg may stay unknown.
    """
    execution = settings.execution
    return BookRules(
        drift_limit=settings.risk.drift_limit,
        largest_naked=execution.max_clip * (1 + execution.collar),
        longest_naked=execution.t_hedge + settings.venue.recv_window + LONGEST_DOUBT,
        lease=settings.venue.recv_window,
    )


LONGEST_DOUBT = timedelta(seconds=40)
"""Three misses over 30 s, the grace of a lease and one read."""


def run_status(app: App, upcoming: Upcoming) -> Status:
    """How the bot is; ``upcoming`` tells when the jobs are due. Without a database it is off and healthy."""
    with looking(app.settings, _any_clock(app)) as store:
        return status(store, _jobs(app, store, upcoming=upcoming))


def list_jobs(app: App, upcoming: Upcoming) -> tuple[JobStatus, ...]:
    """Every job, when it is due and how it went; without a database nothing has run yet."""
    with looking(app.settings, _any_clock(app)) as store:
        return _jobs(app, store, upcoming=upcoming)


def known_jobs(app: App) -> tuple[JobSpec, ...]:
    """The jobs that ``jobs run`` may name."""
    with looking(app.settings, _any_clock(app)) as store:
        return _timetable(app, store).specs


def _jobs(app: App, store: Store, *, upcoming: Upcoming) -> tuple[JobStatus, ...]:
    timetable = _timetable(app, store)
    return job_statuses(store, timetable.specs, upcoming=upcoming(store, timetable))


def _timetable(app: App, store: Store) -> Timetable:
    """What a daemon that holds the lock goes by, else what one would that is started here."""
    alive = holder_of(store, store.clock.now()) in {Holder.DAEMON, Holder.SILENT_DAEMON}
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
    with Store.open(app.settings.db_url, clock=_any_clock(app), readonly=True) as store:
        return store.events.after(after, limit, kind=kind, since=since)


def latest_events(
    app: App, count: int, *, kind: str | None = None, since: datetime | None = None
) -> tuple[RecordedEvent, ...]:
    """The newest events, oldest of them first; with ``since`` the first ones from there on."""
    if not exists(app.settings.db_url):
        return ()
    with Store.open(app.settings.db_url, clock=_any_clock(app), readonly=True) as store:
        if since is not None:
            return store.events.after(0, count, kind=kind, since=since)
        return store.events.last(count, kind=kind)


def newest_event(app: App) -> int:
    """The id of the newest event, zero without any."""
    if not exists(app.settings.db_url):
        return 0
    with Store.open(app.settings.db_url, clock=_any_clock(app), readonly=True) as store:
        return store.events.newest_id()


def _any_clock(app: App) -> Clock:
    """The venue's clock, else the machine's: our own books can be read while a sandbox is away."""
    try:
        return app.clock
    except Unavailable:
        return SystemClock()
