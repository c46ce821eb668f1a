"""``jobs run NAME``: one run of a job, now, and what it means as the end of a command.

Runs and records; what a job decides stands in ``engine``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fundarb.config import JobSpec
from fundarb.core.events import JobFinished
from fundarb.engine.answers import Answer
from fundarb.engine.commands import Arguments
from fundarb.engine.jobs import Jobs
from fundarb.engine.shut_out import shut_out
from fundarb.errors import ConfigError, FundarbError, Problem
from fundarb.store.database import Store

_FELL_SHORT: Final = frozenset({"incomplete", "mismatch"})
"""The results of a run that came to its end and not to what was wanted: kinds of errors, with exit codes."""


def runner(store: Store, jobs: Jobs, *, specs: tuple[JobSpec, ...]) -> Callable[[Arguments], Answer]:
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
            shut_out(store, error)
            store.jobs.finished(number, "failed", message=f"{error.kind}: {error}", at=store.clock.now())
            raise
        store.jobs.finished(number, report.result, message=report.message, at=store.clock.now())
        store.events.record(JobFinished(job=spec.name, result=report.result, message=report.message))
        data = {"name": spec.name, "result": report.result, "message": report.message}
        if report.result not in _FELL_SHORT:
            return Answer(data=data)
        doubt = report.result == "incomplete" and store.intents.open()
        return Answer.wrong("outcome_uncertain" if doubt else report.result, report.message, data=data)

    return run


def unknown_job(name: str, specs: tuple[JobSpec, ...]) -> ConfigError:
    """There is no such job; which there are."""
    known = ", ".join(spec.name for spec in specs)
    return ConfigError(Problem("jobs", f"there is no job {name!r}", f"one of {known}"))
