"""A venue in the parent process, an account in the child: the victim can die while the exchange lives on.

The child's exchange asks the parent over a pipe, one message a call; its wire gate and its crash points
around the send are real. The parent decides what becomes of the order during which the child dies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

from fundarb.core.orders import OrderRequest, Outcome, WriteAnswer
from fundarb.crash import Point, reached
from fundarb.engine.guard import GateSlot
from fundarb.errors import NotSent
from fundarb.exchange.local import LocalExchange


class RemoteExchange:
    """The port ``Exchange`` over a pipe; every call that writes nothing is passed on as it is."""

    def __init__(self, pipe: Connection, gate: GateSlot) -> None:
        """Ask through ``pipe``; ask the gate before a create leaves."""
        self._pipe = pipe
        self._gate = gate

    def ask(self, name: str, *args: Any, **named: Any) -> Any:
        """One question, one answer; an exception of the other side is raised here."""
        self._pipe.send((name, args, named))
        good, value = self._pipe.recv()
        if not good:
            raise value
        return value

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any method of the port."""
        return lambda *args, **named: self.ask(name, *args, **named)

    def prepare_symbol(self, symbol: str, leverage: Decimal) -> None:
        """A setting of the account, with a place to die before and after it is sent."""
        reached(Point.WIRE_BEFORE_WRITE)
        self._pipe.send(("prepare_symbol", (symbol, leverage), {}))
        reached(Point.WIRE_AFTER_WRITE)
        good, value = self._pipe.recv()
        if not good:
            raise value

    def urgent(self, patience: timedelta) -> AbstractContextManager[None]:
        """Nothing to hurry here."""
        return nullcontext()

    @property
    def banned_until(self) -> datetime | None:
        """A venue in process bans nobody."""
        return None

    @property
    def clock_offset(self) -> timedelta:
        """One clock for both."""
        return timedelta()

    def create(self, request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        """Gate, send, answer, with a place to die before and after each."""
        reached(Point.WIRE_BEFORE_GATE)
        try:
            self._gate.admit(request, signed_at)
        except NotSent as error:
            return WriteAnswer(outcome=Outcome.REFUSED, message=str(error), sent=False)
        reached(Point.WIRE_BEFORE_SEND)
        self._pipe.send(("create", (request,), {"signed_at": signed_at}))
        reached(Point.WIRE_AFTER_SEND)
        good, value = self._pipe.recv()
        if not good:
            raise value
        answer: WriteAnswer = value
        return answer


class RemoteClock:
    """The venue's time, over the same pipe."""

    def __init__(self, exchange: RemoteExchange) -> None:
        """Share the exchange's pipe."""
        self._exchange = exchange

    def now(self) -> datetime:
        """The venue's present."""
        instant: datetime = self._exchange.ask("clock.now")
        return instant

    def monotonic(self) -> timedelta:
        """Venue time since it began."""
        passed: timedelta = self._exchange.ask("clock.monotonic")
        return passed

    def sleep(self, duration: timedelta) -> None:
        """Let the venue go on."""
        self._exchange.ask("clock.sleep", duration)


def serve(pipe: Connection, exchange: LocalExchange, clock: Any) -> None:
    """Answer the child until it hangs up or dies."""
    while True:
        try:
            name, args, named = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        owner = clock if name.startswith("clock.") else exchange
        try:
            answer = (True, getattr(owner, name.removeprefix("clock."))(*args, **named))
        except Exception as error:  # noqa: BLE001 - whatever it was belongs to the caller
            answer = (False, error)
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return
