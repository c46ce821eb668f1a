"""One way in and out: budget, clock, signature, strict transport, repetition of reads, classification of
writes.

Adapters say which endpoint, with which parameters, and how to read the answer; everything else is decided
here. A write is sent at most once. A request that needs a key is impossible without one. Loads the HTTP
libraries on the first request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fundarb.clock import Clock, SystemClock
from fundarb.core.account import KeyInfo
from fundarb.core.instants import to_ms
from fundarb.core.orders import Outcome, WriteAnswer
from fundarb.errors import BadAnswer, ConfigError, NotSent, Problem, Unavailable
from fundarb.exchange import endpoints
from fundarb.exchange.ban import BanNote
from fundarb.exchange.budget import BAN, Budget, Lane
from fundarb.exchange.endpoints import Endpoint
from fundarb.exchange.hosts import BybitSettings, Credentials, base_url
from fundarb.exchange.origin import sandbox_world
from fundarb.exchange.outcomes import classify
from fundarb.exchange.owner import Owner
from fundarb.exchange.parse import ParseError, text
from fundarb.exchange.parse_account import key_info
from fundarb.exchange.patience import Patience
from fundarb.exchange.retry import RetryPolicy, repeated
from fundarb.exchange.server_clock import ServerClock
from fundarb.exchange.strict import Answer, NoAnswer, VenueRefused

if TYPE_CHECKING:
    from fundarb.exchange.client import Client
    from fundarb.exchange.wire import Transport

T = TypeVar("T")
Params = Mapping[str, Any]

_MAX_PAGES = 400
_SECRET_LENGTH = 8
"""The exchange's keys have 18 characters and more; hiding the sandbox's "demo" would garble its messages."""

_WRONG_TIME = 10002
_TOO_FAST = 10006
_WHOSE = timedelta(seconds=5)
"""How long the venue may take to say whose account this is."""
_READ_WINDOW = timedelta(seconds=5)
"""The venue's own default; a read that arrives late harms nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What a write needs beside its parameters: the committed timestamp and the gate's question."""

    signed_at: datetime | None = None
    admit: Callable[[], None] | None = None
    needs_order_id: bool = False
    link_id: str = ""


@dataclass(slots=True)
class Counters:
    """Requests since the start, all of them and those that carried a signature."""

    made: int = 0
    signed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, *, signed: bool) -> None:
        """One more."""
        with self.lock:
            self.made += 1
            self.signed += signed


class Gateway:
    """The one door to a venue's REST interface."""

    def __init__(
        self,
        settings: BybitSettings,
        *,
        clock: Clock,
        credentials: Credentials | None,
        folder: Path | None = None,
    ) -> None:
        """``clock`` may be virtual; deadlines of sockets are on the machine's own clock. A ban is noted in
        ``folder``.
        """
        self.settings = settings
        self.url = base_url(settings)
        self.clock = clock
        self.counters = Counters()
        self.budget = Budget(clock, BanNote(folder, self.url, clock=clock, longest=BAN))
        self.server = ServerClock(clock, self.server_time)
        self._credentials = credentials
        self._wire_clock = SystemClock()
        self.patience = Patience(self._wire_clock)
        self._policy = RetryPolicy(attempts=settings.attempts, total=settings.read_timeout * 2)
        self._lock = threading.Lock()
        self._parts: tuple[Transport, Client] | None = None
        self.owner = Owner(lambda: self._loaded()[0].traffic, self._wire_clock)

    @property
    def has_key(self) -> bool:
        """Whether private endpoints can be asked."""
        return self._credentials is not None

    # ------------------------------------------------------------------------------------------ reads

    def read(
        self, endpoint: Endpoint, params: Params, *, parse: Callable[[Answer], T], lane: Lane = Lane.NORMAL
    ) -> T:
        """Ask and parse, repeated within bounds; raises ``Unavailable`` or ``BadAnswer`` when it does not
        succeed, ``OtherAccount`` when it is the answer of another account than ours.
        """

        def once() -> T:
            answer = self._ask(endpoint, params, lane=lane)
            try:
                return parse(answer)
            except ParseError as error:
                raise BadAnswer(f"{endpoint.method}: {error}") from error

        with self.patience.one_read():
            found = repeated(once, clock=self.clock, policy=self._policy.within(self.patience.limit))
            if self._decides(endpoint, lane):
                self.owner.look(self._ask_whose)
            return found

    def whose(self) -> KeyInfo:
        """What the venue says about the key, and whose it is."""
        info = self.read(endpoints.QUERY_API, {}, parse=key_info)
        self.owner.heard(info.uid)
        return info

    def world(self) -> str:
        """Which market this is, without a signature: a real venue's is its name, and nobody is asked for
        it.
        """
        name = self.settings.venue
        if name == "sandbox":
            self.counters.count(signed=False)
            name = f"{name} {sandbox_world(self._loaded()[0], self.url, patience=_WHOSE)}"
        if not self.has_key:
            self.owner.heard(name)
        return name

    def _ask_whose(self) -> None:
        """What is answered to a key is an account's; without one it is a market's."""
        if not self.has_key:
            self.world()
            return
        with self.patience.urgent(_WHOSE):
            self.whose()

    def _decides(self, endpoint: Endpoint, lane: Lane) -> bool:
        """Whether an answer must be our own account's before anybody sees it. Not while a leg is naked or an
        order is followed by its own id: there nothing may stand in the way. The history proves an absence.
        """
        if endpoint is endpoints.QUERY_API:
            return False
        hurried = lane is Lane.URGENT or self.patience.limit is not None
        return not hurried or endpoint is endpoints.ORDER_HISTORY

    def read_pages(
        self,
        endpoint: Endpoint,
        params: Params,
        *,
        parse: Callable[[Answer], list[T]],
        lane: Lane = Lane.NORMAL,
        full: int | None = None,
    ) -> list[T]:
        """All pages of a list, complete; ``BadAnswer`` if the cursor runs in a circle or never ends.

        ``full``: a page with fewer rows is taken for the last one, whatever its cursor says; only where the
        caller checks the sum of the rows against another figure of the venue's.
        """
        with self.patience.one_read():
            return self._pages(endpoint, params, parse=parse, lane=lane, full=full)

    def _pages(
        self,
        endpoint: Endpoint,
        params: Params,
        *,
        parse: Callable[[Answer], list[T]],
        lane: Lane,
        full: int | None,
    ) -> list[T]:
        rows: list[T] = []
        seen: set[str] = set()
        cursor = ""
        for _ in range(_MAX_PAGES):
            asked = {**params, "cursor": cursor} if cursor else params
            page, following = self.read(
                endpoint, asked, parse=lambda answer: (parse(answer), next_cursor(answer)), lane=lane
            )
            rows += page
            last = not following or (full is not None and len(page) < full)
            if last or (not page and following in {cursor, *seen}):
                return rows
            if following == cursor or following in seen:
                raise BadAnswer(f"{endpoint.method}: the cursor of the pages runs in a circle")
            seen.add(following)
            cursor = following
        raise BadAnswer(f"{endpoint.method}: more than {_MAX_PAGES} pages")

    def server_time(self) -> datetime:
        """The venue's clock, one request, repeated within bounds."""
        return self.read(endpoints.TIME, {}, parse=_time_of, lane=Lane.URGENT)

    def _ask(self, endpoint: Endpoint, params: Params, *, lane: Lane) -> Answer:
        self._require_key(endpoint)
        stamp = to_ms(self.server.stamp()) if endpoint.signed else 0
        left = self.patience.left()
        self.budget.take(lane if left is None else Lane.URGENT, endpoint.group, patience=left)
        patience = min(self.settings.read_timeout, self.patience.left() or self.settings.read_timeout)
        started = self.clock.monotonic()
        answer = self._call(endpoint, params, stamp=stamp, sending=Sending(), patience=patience)
        if answer.time is not None:
            self.server.observe(answer.time, started)
        if answer.code != 0:
            self._learn(endpoint, answer.code)
            raise VenueRefused(
                f"the venue answered {answer.code}: {self.redact(answer.message)}", code=answer.code
            )
        return answer

    # ------------------------------------------------------------------------------------------ writes

    def write(self, endpoint: Endpoint, params: Params, *, sending: Sending) -> WriteAnswer:
        """Send once and classify; raises only what the gate's own machinery raised, and ``ConfigError``
        without a key.
        """
        self._require_key(endpoint)
        try:
            stamp = to_ms(sending.signed_at or self.server.stamp(write=True))
            self.budget.take(Lane.URGENT, endpoint.group)
        except Unavailable as error:  # nothing of *this* request was sent
            return WriteAnswer(outcome=Outcome.REFUSED, message=self.redact(str(error)), sent=False)
        try:
            answer = self._call(
                endpoint, params, stamp=stamp, sending=sending, patience=self.settings.write_timeout
            )
        except NotSent as error:
            return WriteAnswer(outcome=Outcome.REFUSED, message=self.redact(str(error)), sent=False)
        except NoAnswer as error:
            return self._unanswered(error)
        except BadAnswer as error:
            return WriteAnswer(outcome=Outcome.UNCERTAIN, message=self.redact(str(error)))
        return self._answered(endpoint, answer, sending=sending)

    def _unanswered(self, error: NoAnswer) -> WriteAnswer:
        """No usable answer to a write: refused only if no byte left, or if an error page carried a
        definite code.
        """
        message = self.redact(str(error))
        if not error.sent:
            return WriteAnswer(outcome=Outcome.REFUSED, message=message, sent=False)
        if error.code is not None:
            outcome, unknown = classify(error.code)
            return WriteAnswer(outcome=outcome, code=error.code, message=message, extend_table=unknown)
        return WriteAnswer(outcome=Outcome.UNCERTAIN, message=message)

    def _answered(self, endpoint: Endpoint, answer: Answer, *, sending: Sending) -> WriteAnswer:
        outcome, unknown = classify(answer.code)
        order_id = answer.result.get("orderId")
        order_id = order_id if isinstance(order_id, str) else ""
        message = self.redact(answer.message)
        if outcome is Outcome.ACCEPTED and sending.needs_order_id:
            link_id = answer.result.get("orderLinkId")
            if not order_id:
                outcome, message = Outcome.UNCERTAIN, "accepted without an order id"
            elif link_id not in (None, "", sending.link_id):
                outcome, message = Outcome.UNCERTAIN, "the acknowledgement names another order"
        self._learn(endpoint, answer.code)
        return WriteAnswer(
            outcome=outcome, order_id=order_id, code=answer.code, message=message, extend_table=unknown
        )

    # ------------------------------------------------------------------------------------------ inside

    def _call(
        self, endpoint: Endpoint, params: Params, *, stamp: int, sending: Sending, patience: timedelta
    ) -> Answer:
        from fundarb.exchange.wire import Call

        transport, client = self._loaded()
        self.counters.count(signed=endpoint.signed)
        call = Call(
            nonce=stamp,
            recv_window=self.settings.recv_window if endpoint.write else _READ_WINDOW,
            write=endpoint.write,
            admit=sending.admit,
            deadline=self._wire_clock.monotonic() + patience,
        )
        wire = transport.wire
        outer, wire.current.call = wire.current.call, call  # a gate may ask the venue something itself
        try:
            answer: Answer = getattr(client, endpoint.method)(dict(params))
        except NoAnswer as error:
            if error.banned:
                self.budget.ban()
                error.until = self.budget.banned_until
            raise
        finally:
            wire.current.call = outer
        return answer

    def _learn(self, endpoint: Endpoint, code: int) -> None:
        """Draw the consequences of a code for the next requests."""
        if code == _WRONG_TIME:
            self.server.invalidate()
        elif code == _TOO_FAST:
            self.budget.drain(endpoint.group)

    def _require_key(self, endpoint: Endpoint) -> None:
        if endpoint.signed and self._credentials is None:
            raise ConfigError(
                Problem(
                    "BYBIT_API_KEY",
                    "this needs an API key and its secret",
                    "set BYBIT_API_KEY and BYBIT_API_SECRET",
                )
            )

    def _loaded(self) -> tuple[Transport, Client]:
        with self._lock:
            if self._parts is None:
                from fundarb.exchange.client import Client
                from fundarb.exchange.wire import Transport

                transport = Transport(self.url, self._wire_clock)
                self._parts = transport, Client(transport, self.url, credentials=self._credentials)
            return self._parts

    def redact(self, message: str) -> str:
        """The message without key or secret: the venue repeats the key in its answer to a bad signature."""
        if self._credentials is not None:
            for secret in (self._credentials.secret, self._credentials.key):
                if len(secret) >= _SECRET_LENGTH:
                    message = message.replace(secret, "***")
        return message

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._parts is not None:
                self._parts[0].close()


def next_cursor(answer: Answer) -> str:
    """The cursor of the following page, "" at the end; some endpoints say null or leave it out."""
    cursor = answer.result.get("nextPageCursor")
    if cursor is None:
        return ""
    return text(answer.result, "nextPageCursor", empty=True)


def _time_of(answer: Answer) -> datetime:
    if answer.time is None:
        raise ParseError("the venue's clock is missing or absurd")
    return answer.time
