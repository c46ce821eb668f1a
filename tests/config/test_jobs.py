"""jobs.toml: what it may say, and that each mistake is named with the job's number and name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from fundarb.config import Flags, JobSpec, Settings, Trigger, load_jobs, parse_jobs, read_jobs
from fundarb.config.jobs import RUNS, WATCH, cron_fault
from fundarb.config.templates import template
from fundarb.daemon.queue import COMMANDS
from fundarb.engine.handover import RECOVERY
from fundarb.errors import ConfigError

GOOD = """
[[job]]
name = "scan-and-open"
run = "scan_and_open"
trigger = "cron"
minute = "*/15"
day_of_week = "mon-fri"
hour = 8

[[job]]
name = "collect-funding"
run = "collect_funding"
trigger = "after_funding"
offset = "90s"
enabled = false

[[job]]
name = "reconcile"
run = "reconcile"
trigger = "interval"
every = "60s"
args = { repair = true }
"""


def parsed(text: str) -> tuple[JobSpec, ...]:
    """The jobs of a text."""
    return parse_jobs(tomllib.loads(text), "jobs.toml")


def faults(text: str) -> list[str]:
    """The problems of a text that must not be accepted."""
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_becomes_specs() -> None:
    """Names, triggers, fields, durations and arguments arrive as written."""
    scan, collect, reconcile, _ = parsed(GOOD)
    assert scan.trigger is Trigger.CRON
    assert scan.cron == {"minute": "*/15", "day_of_week": "mon-fri", "hour": "8"}
    assert (collect.offset, collect.enabled) == (timedelta(seconds=90), False)
    assert (reconcile.every, reconcile.args) == (timedelta(minutes=1), {"repair": True})


def test_watch_runs_unless_the_file_speaks_of_it() -> None:
    """The guard over open positions is added every 15 s; a file that lists it decides itself, also to disable
    it.
    """
    assert parsed(GOOD)[-1] == WATCH
    assert WATCH.every == timedelta(seconds=15)
    own = '[[job]]\nname = "w"\nrun = "watch"\ntrigger = "interval"\nevery = "5s"\nenabled = false\n'
    assert [spec.name for spec in parsed(own)] == ["w"]
    assert parsed("") == (WATCH,)


def test_no_job_takes_a_name_of_the_daemons_own() -> None:
    """Whatever the daemon puts into its queue by itself cannot be rung by a job of that name."""
    for own in (COMMANDS, RECOVERY):
        with pytest.raises(ConfigError, match="is what the daemon calls"):
            parsed(job(name=f'"{own}"'))
    assert parsed(job(name='"watch"', run='"watch"'))[0].run == "watch"


def test_the_packaged_jobs_are_valid_and_complete(settle: Callable[..., Settings]) -> None:
    """The template parses, knows every run, and is what holds without a file of one's own."""
    jobs = load_jobs(settle(), template("jobs.toml"))
    assert {job.run for job in jobs} == set(RUNS)
    assert [job.name for job in jobs if not job.enabled] == ["history"]


def test_a_file_of_ones_own_replaces_the_packaged_jobs(settle: Callable[..., Settings], folder: Path) -> None:
    """--jobs names the file that holds."""
    path = folder / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    jobs = load_jobs(settle(Flags(jobs=path)), template("jobs.toml"))
    assert [job.name for job in jobs] == ["scan-and-open", "collect-funding", "reconcile", "watch"]
    path.write_text("[[job]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_jobs(path)


def job(**changes: str) -> str:
    """One job as text; values as TOML, an empty one removes the key."""
    lines = {"name": '"x"', "run": '"snapshot"', "trigger": '"interval"', "every": '"60s"', **changes}
    return "[[job]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (job(name=""), "job 1 name: is missing"),
        (job(name='"Two Words"'), "job 1 (Two Words) name: 'Two Words' does not fit"),
        (job(name="5"), "job 1 name: 5 does not fit"),
        (job(run='"scan_and_opn"'), "job 1 (x) run: 'scan_and_opn' is unknown; did you mean scan_and_open?"),
        (job(run=""), "job 1 (x) run: is missing"),
        (job(run="[]"), "job 1 (x) run: [] is unknown"),
        (job(trigger='"sometimes"'), "job 1 (x) trigger: 'sometimes' is unknown"),
        (job(trigger=""), "job 1 (x) trigger: is missing"),
        (job(every=""), "job 1 (x) every: is missing"),
        (job(every='"60"'), "job 1 (x) every: '60' is not a duration with its unit"),
        (job(every="60"), "job 1 (x) every: 60 is not a duration with its unit"),
        (job(every='"10ms"'), "job 1 (x) every: '10ms' must be between 1s and 31d"),
        (job(every='"0s"'), "job 1 (x) every: '0s' must be between 1s and 31d"),
        (job(minute='"5"'), "job 1 (x) minute: is unknown for trigger interval; it goes with trigger cron"),
        (job(color='"red"'), "job 1 (x) color: is unknown for trigger interval; known here"),
        (job(enabled='"yes"'), "job 1 (x) enabled: 'yes' is not true or false"),
        (job(args="5"), "job 1 (x) args: must be a table"),
        (job(args="{ repair = true }"), "job 1 (x) args.repair: is unknown for snapshot"),
        (job(run='"reconcile"', args='{ repair = "yes" }'), "job 1 (x) args.repair: 'yes' is not a bool"),
        (job(trigger='"cron"', every=""), "job 1 (x) trigger: cron needs at least one field"),
        (job(trigger='"cron"', every="", minute='"61"'), "job 1 (x) minute: '61' is out of range"),
        (
            job(trigger='"cron"', every="", minute='"*/0"'),
            "job 1 (x) minute: '*/0' has a step that never fits",
        ),
        (
            job(trigger='"cron"', every="", day_of_week='"mon-fri/2"'),
            "job 1 (x) day_of_week: 'mon-fri/2' has a step after a name",
        ),
        (job(trigger='"cron"', every="", hour='"9-5"'), "job 1 (x) hour: '9-5' runs backwards"),
        (job(trigger='"cron"', every="", hour='"often"'), "job 1 (x) hour: 'often' is out of range"),
        (job(trigger='"cron"', every="", hour="true"), "job 1 (x) hour: True is not a cron field"),
        (
            job(trigger='"after_funding"', every="", offset='"9h"'),
            "job 1 (x) offset: '9h' must be between 0s and 8h",
        ),
        (
            job(trigger='"cron"', every="", day='"31"', month='"2"'),
            "job 1 (x) day: '31' never comes in month '2'; the longest of these months has 29 days",
        ),
        (job(trigger='"before_funding"'), "every: is unknown for trigger before_funding"),
        (job() + job(), "job 2 (x): has the name of job 1; names must differ"),
        (
            job(name='"commands"'),
            "(commands) name: is what the daemon calls the queue of commands; choose anoth",
        ),
        (job(name='"recovery"'), "(recovery) name: is what the daemon calls the walk of every start"),
        (job(name='"watch"'), "job 1 (watch) name: is what the daemon calls the look at what is held"),
        ('[jobs]\nname = "x"\n', "jobs.toml jobs: is unknown"),
        ('job = "x"\n', "jobs.toml job: must be a list of tables"),
        ("job = [5]\n", "job 1 name: is missing"),
    ],
)
def test_each_kind_of_mistake_is_named(text: str, words: str) -> None:
    """The message names file, job number, job name and key, and what would be right."""
    assert any(words in fault for fault in faults(text)), faults(text)


def test_all_mistakes_of_all_jobs_are_listed_at_once() -> None:
    """Three bad jobs give all their problems in one error."""
    text = job(run='"nope"') + job(name='"y"', every='"1"') + job(name='"z"', trigger='"cron"', color="1")
    found = faults(text)
    assert len([fault for fault in found if "job 1 (x)" in fault]) == 1
    assert len([fault for fault in found if "job 2 (y)" in fault]) == 1
    assert len([fault for fault in found if "job 3 (z)" in fault]) == 3


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("minute", "*"),
        ("minute", "*/15"),
        ("minute", "0,15,30"),
        ("minute", "5-10/2"),
        ("hour", "23"),
        ("day", "1"),
        ("month", "jan-mar"),
        ("day_of_week", "mon,wed,FRI"),
        ("second", "30"),
    ],
)
def test_good_cron_fields_have_no_fault(key: str, text: str) -> None:
    """Stars, steps, ranges, lists and names are accepted."""
    assert cron_fault(key, text) == ""


@given(
    day=st.sampled_from(["31", "30-31", "30", "29", "*/30", "28-31/3", "31,1", "*"]),
    month=st.sampled_from(["2", "feb", "4,6,9,11", "apr-jun", "4-6/2", "*/2", "2-4", "12", "*"]),
)
def test_a_day_that_never_comes_is_refused_exactly_where_nothing_would_ring(day: str, month: str) -> None:
    """The trigger itself, asked for its next time, has none for what is refused, and one for the rest."""
    due = CronTrigger(day=day, month=month, timezone=UTC).get_next_fire_time(
        None, datetime(2026, 1, 1, tzinfo=UTC)
    )
    text = job(trigger='"cron"', every="", day=f'"{day}"', month=f'"{month}"')
    if due is None:
        assert any("never comes" in fault for fault in faults(text))
    else:
        assert parsed(text)[0].cron == {"day": day, "month": month}
