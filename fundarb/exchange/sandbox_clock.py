"""A clock whose time is the virtual time of a sandbox: sleeping on it asks the sandbox to move.

The sandbox answers after everything due until then has happened, so a program that polls and waits runs
through weeks in seconds. Between its own moves the clock asks for the time a few times a second at most, for
somebody else may have moved it. The same loopback rule as for every request to a sandbox. Never used against
a real venue.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from fundarb.clock import Clock, SystemClock
from fundarb.core.instants import from_ms, iso
from fundarb.errors import BadAnswer, ConfigError, Problem, Unavailable
from fundarb.exchange.hosts import BybitSettings, base_url
from fundarb.exchange.strict import NoAnswer
from fundarb.exchange.wire import Call, Transport

_LOOK_AGAIN = timedelta(milliseconds=250)
_STEP = timedelta(minutes=5)
"""How long a step of the sandbox may take: a long one simulates a whole market in between."""

_PROBE = timedelta(seconds=10)
"""How long the first question waits, which moves nothing."""

_PATH = "/sandbox/clock"
_REMEDY = "start the sandbox with --clock virtual"

_IDLE = timedelta(seconds=1)
"""A connection that rested longer may be closed by the server at this moment; a fresh one costs nothing
here.
"""

_REAL_CLOCK = 409
_MILLISECOND = timedelta(milliseconds=1)


class SandboxClock:
    """Satisfies ``Clock`` over ``POST /sandbox/clock``; safe to share between threads."""

    def __init__(self, url: str, *, machine: Clock | None = None) -> None:
        """Ask the sandbox at ``url`` for its time; ``ConfigError`` if it has no clock that can be moved."""
        self._url = base_url(BybitSettings(venue="sandbox", url=url))
        self._machine = machine if machine is not None else SystemClock()
        self._lock = threading.Lock()
        self._transport = Transport(self._url, self._machine)
        self._looked = self._used = self._machine.monotonic()
        self._patience = _PROBE
        try:
            self._start = self._now = self._move({"advance": "0ms"})
        except BadAnswer as error:
            raise ConfigError(
                Problem("--venue-url", f"{self._url} has no virtual clock: {error}", _REMEDY)
            ) from error
        finally:
            self._transport.close()
        self._patience = _STEP

    def now(self) -> datetime:
        """The sandbox's time, at most a quarter of a second of real time old."""
        with self._lock:
            if self._machine.monotonic() - self._looked > _LOOK_AGAIN:
                # not /v5/market/time: that one may be wrong on purpose, and our clock would be wrong with it
                self._now = max(self._now, self._move({"advance": "0ms"}))
            return self._now

    def monotonic(self) -> timedelta:
        """Virtual time since this clock was made."""
        return self.now() - self._start

    def sleep(self, duration: timedelta) -> None:
        """Move the sandbox forward, in whole milliseconds rounded up; returns when all of it has happened."""
        if duration <= timedelta():
            return
        with self._lock:
            milliseconds = -(-duration // _MILLISECOND)
            self._now = max(self._now, self._move({"advance": f"{milliseconds}ms"}))

    def advance_to(self, instant: datetime) -> None:
        """Move the sandbox to an instant; one that is past changes nothing."""
        with self._lock:
            if instant > self._now:
                self._now = max(self._now, self._move({"to": iso(instant)}))

    def until(self) -> datetime | None:
        """Where this sandbox's time ends: one that replays a recording ends with it; None: it goes on."""
        with self._lock:
            document = self._ask("GET", _PATH, body=None)
        value = document.get("until")
        return from_ms(value) if isinstance(value, int) else None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    # ------------------------------------------------------------------------------------------ wire

    def _move(self, body: dict[str, str]) -> datetime:
        now: int = self._ask("POST", _PATH, body=json.dumps(body))["now"]
        self._looked = self._machine.monotonic()
        return from_ms(now)

    def _ask(self, method: str, path: str, *, body: str | None) -> dict[str, Any]:
        """An answer that says what time it is."""
        try:
            status, document = self._exchange(method, path, body=body)
        except NoAnswer as error:
            message = (
                f"the sandbox at {self._url} does not answer ({error}); `fundarb sandbox serve` starts one"
            )
            raise Unavailable(message) from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # down, or something in between is: that says nothing about whose clock it runs on
            raise Unavailable(f"the sandbox at {self._url} answered {status} to {path} without its time")
        answer: dict[str, Any] = document if isinstance(document, dict) else {}
        if status == HTTPStatus.OK and isinstance(answer.get("now"), int):
            return answer
        if status == _REAL_CLOCK:
            raise ConfigError(
                Problem("--venue-url", f"the sandbox at {self._url} runs on the real clock", _REMEDY)
            )
        if status == HTTPStatus.BAD_REQUEST and answer.get("error"):
            raise BadAnswer(f"the clock of the sandbox at {self._url} cannot be moved: {answer['error']}")
        raise BadAnswer(f"the sandbox at {self._url} answered {status} to {path} without its time")

    def _exchange(self, method: str, path: str, *, body: str | None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        now = self._machine.monotonic()
        if now - self._used > _IDLE:
            self._transport.close()
        # nothing of ours changes at the venue: a move is no write, and passes no crash point
        call = Call(nonce=0, recv_window=_STEP, deadline=now + self._patience)
        self._transport.wire.current.call = call
        status, content = self._transport.fetch(method, f"{self._url}{path}", headers=headers, body=body)
        self._used = self._machine.monotonic()
        try:
            return status, json.loads(content)
        except ValueError as error:
            if status == HTTPStatus.OK:
                raise Unavailable(f"the sandbox at {self._url} answered {path} with no JSON") from error
            return status, None
