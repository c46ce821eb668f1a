"""An exchange that fails as real ones do, on the throw of a seeded die: the port of the engine over a venue
in process.

Reads fail or lag, creates are lost, refused, acknowledged in doubt, cut short by the matching; in some
stories the address is banned or the key is dead for a while. Beside the trouble it keeps a witness's notes:
every request that was sent, and what was wrong with the way it was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TypeVar

from fundarb.clock import Clock
from fundarb.core.account import PositionReport, Transaction, Wallet
from fundarb.core.market import Book, Category, MarketSnapshot
from fundarb.core.orders import Execution, OrderReport, OrderRequest, Outcome, WriteAnswer
from fundarb.core.records import GLOBAL_SCOPE
from fundarb.core.states import IntentState
from fundarb.crash import Point, reached
from fundarb.engine.alerts import was_told
from fundarb.errors import BadAnswer, NotSent, Unavailable
from fundarb.exchange.inprocess import Loss
from fundarb.exchange.local import LocalExchange
from fundarb.exchange.outcomes import classify
from fundarb.exchange.strict import NoAnswer, VenueRefused, WireGate
from fundarb.store.database import Store
from fundarb.venue.engine import Venue
from fundarb.venue.rows import Directive, OrderMatch

D = Decimal
T = TypeVar("T")
_REFUSALS = (110007, 170131, 10006, 110017, 110094)
_DOUBTS = (10000, 10016, 170007, 170146, 500000)
_FILLS = ("0", "0.1", "0.37", "0.6", "0.99")
_NOTHING = timedelta()
_PICTURES = 500
_A_NAP = timedelta(minutes=1)


class Died(BaseException):
    """The process is gone: what a SIGKILL is to a real one."""


@dataclass
class Trouble:
    """How likely each kind of trouble is, as fractions; ``lag`` is how far behind all reads are, ``pause``
    what a create takes.
    """

    reads: float = 0
    creates: float = 0
    doubled: bool = False
    lag: timedelta = _NOTHING
    door: Door | None = None
    pause: timedelta = _NOTHING

    @property
    def dim(self) -> bool:
        """Whether reads may fail or show the past."""
        return bool(self.lag or self.reads or self.door is not None)


@dataclass
class Door:
    """The venue lets nobody in for a while: HTTP 403 to everything (``code`` None), or that code to whatever
    is signed. It falls shut after so many more calls; ``until`` is set then, and ``met`` by whoever stands
    before it; ``told`` if an alert of it stood already.
    """

    code: int | None
    calls: int
    lasts: timedelta
    until: datetime | None = None
    met: bool = False
    told: bool = False

    @property
    def alert(self) -> str:
        """What a person is told of it."""
        return "ban" if self.code is None else "key"

    def shut(self, now: datetime) -> bool:
        """Whether it is shut now; asked once a call."""
        self.calls -= 1
        if self.until is None and self.calls < 0:
            self.until = now + self.lasts
        return self.until is not None and now < self.until

    def refusal(self) -> Unavailable:
        """What a read is told."""
        self.met = True
        if self.code is not None:
            return VenueRefused(f"the venue answered {self.code}", code=self.code)
        error = NoAnswer(
            "no request is sent: the venue's IP limit was hit", sent=False, repeat=False, status=403
        )
        error.until = self.until
        return error


@dataclass(frozen=True)
class _Picture:
    """What wallet and positions were at an instant."""

    at: datetime
    wallet: Wallet
    positions: tuple[PositionReport, ...]


@dataclass
class Witness:
    """What was seen on the wire, over all lives of the client. ``wrong`` must stay empty."""

    sent: dict[str, OrderRequest] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def sees(self, request: OrderRequest, store: Store) -> None:
        """Invariants 1 and 2 at the moment of the send."""
        link = request.link_id
        if link in self.sent:
            self.wrong.append(f"{link} was sent twice")
        self.sent[link] = request
        intent = store.intents.find(link)
        if intent is None:
            self.wrong.append(f"{link} was sent without a row")
        elif intent.state is not IntentState.SENDING:
            self.wrong.append(f"{link} was sent as {intent.state}")
        elif (intent.symbol, intent.side, intent.quantity, intent.limit_price) != (
            request.symbol,
            request.side,
            request.quantity,
            request.limit_price,
        ):
            self.wrong.append(f"{link} was sent with other parameters than written")

    def no_transaction(self, store: Store, call: str) -> None:
        """The network is never asked while the database is held."""
        if store.database.in_transaction():
            self.wrong.append(f"{call} was asked inside a transaction")


class WitnessedGate:
    """The wire gate with the witness behind it: what passes is on the wire."""

    def __init__(self, gate: WireGate, store: Store, witness: Witness) -> None:
        """Around one life's gate."""
        self._gate = gate
        self._store = store
        self._witness = witness

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """As the gate says."""
        self._gate.admit(request, signed_at)
        self._witness.sees(request, self._store)
        reached(Point.WIRE_BEFORE_SEND)


class TroubledExchange(LocalExchange):
    """One life's connection to the venue."""

    def __init__(self, venue: Venue, gate: WitnessedGate, *, clock: Clock, die: Random) -> None:
        """Calm until told otherwise."""
        super().__init__(venue, gate, clock=clock)
        self.trouble = Trouble()
        self.witness = gate._witness
        self.store = gate._store
        self.dead = False
        self.die = die
        self.calls = 0
        self.fail_at = 0
        self._past: deque[_Picture] = deque(maxlen=_PICTURES)

    # ------------------------------------------------------------------------------------------ writes

    def create(self, request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        """Sent, with whatever fate the die has for it."""
        reached(Point.WIRE_BEFORE_GATE)
        self._alive("create")
        if self._nth():
            self.lose(self.die.choice(tuple(Loss)))
        self._keep()
        answer = self._turned_away(request, signed_at) or self._fated(request, signed_at)
        self._keep()
        if self.trouble.pause:
            self._clock.sleep(self.trouble.pause)
        reached(Point.WIRE_AFTER_SEND)
        return answer

    def _turned_away(self, request: OrderRequest, signed_at: datetime) -> WriteAnswer | None:
        """What a create is told at a door that is shut: the first 403 says nothing of the order, after it
        nothing is sent; a dead key is a definite refusal.
        """
        door = self.trouble.door
        if door is None:
            return None
        fell = door.until is None
        if not door.shut(self.venue.now):
            return None
        banned = door.code is None
        unsent = banned and not fell
        door.met = True
        if unsent:
            return WriteAnswer(outcome=Outcome.REFUSED, message="banned", sent=False)
        if self._gate is not None:
            try:
                self._gate.admit(request, signed_at)
            except NotSent as error:
                return WriteAnswer(outcome=Outcome.REFUSED, code=error.code, message=str(error), sent=False)
        outcome = Outcome.UNCERTAIN if banned else Outcome.REFUSED
        return WriteAnswer(outcome=outcome, code=door.code, message="turned away")

    @property
    def banned_until(self) -> datetime | None:
        """Until when the client keeps quiet by itself; None if it need not."""
        door = self.trouble.door
        if door is None or door.code is not None or door.until is None or self.venue.now >= door.until:
            return None
        return door.until

    def _fated(self, request: OrderRequest, signed_at: datetime) -> WriteAnswer:
        if self.die.random() >= self.trouble.creates:
            return super().create(request, signed_at=signed_at)
        fate = self.die.randrange(6)
        if fate == 0:
            self.lose(Loss.REQUEST)
        elif fate == 1:
            self.lose(Loss.ANSWER)
        elif fate == 2:
            return self._answered(request, signed_at, code=self.die.choice(_REFUSALS), applied=False)
        elif fate == 3:
            applied = self.die.random() < 0.5
            return self._answered(request, signed_at, code=self.die.choice(_DOUBTS), applied=applied)
        elif fate == 4:
            self._match(request, Directive(reject_reason="EC_NoImmediateQtyToFill"))
        else:
            self._match(request, Directive(fill_frac=D(self.die.choice(_FILLS))))
        return super().create(request, signed_at=signed_at)

    def _match(self, request: OrderRequest, directive: Directive) -> None:
        self.venue.force(OrderMatch(link_id=request.link_id), directive)

    def _answered(
        self, request: OrderRequest, signed_at: datetime, *, code: int, applied: bool
    ) -> WriteAnswer:
        """A code instead of the acknowledgement, whether or not the order is there."""
        if self._gate is not None:
            try:
                self._gate.admit(request, signed_at)
            except NotSent as error:
                return WriteAnswer(outcome=Outcome.REFUSED, code=error.code, message=str(error), sent=False)
        if applied:
            answer = super().create(request, signed_at=signed_at)
            if answer.outcome is not Outcome.ACCEPTED:
                return answer
        return WriteAnswer(outcome=classify(code)[0], code=code, message="troubled")

    # ------------------------------------------------------------------------------------------ reads

    def _alive(self, call: str) -> None:
        if self.dead:
            raise Died
        self.witness.no_transaction(self.store, call)

    def _nth(self) -> bool:
        """Whether this is the one call that is to fail."""
        self.calls += 1
        return self.calls == self.fail_at

    def _read(self, call: str, ask: Callable[[], T], *, signed: bool = True) -> T:
        """An answer, unless the door is shut or the die has it fail; some failures take their time."""
        self._alive(call)
        self._keep()
        door = self.trouble.door
        if door is not None and door.shut(self.venue.now) and (signed or door.code is None):
            door.told = door.told or was_told(self.store, door.alert, subject=GLOBAL_SCOPE)
            raise door.refusal()
        if self._nth():
            raise Unavailable(f"{call}: call {self.calls} fails")
        if self.die.random() < self.trouble.reads:
            self._clock.sleep(timedelta(milliseconds=self.die.choice((1, 300, 1000))))
            raise self.die.choice((Unavailable, BadAnswer))(f"{call}: troubled")
        return ask()

    def _rows(self, rows: tuple[T, ...]) -> tuple[T, ...]:
        """Some rows come twice."""
        if not self.trouble.doubled:
            return rows
        return tuple(row for row in rows for _ in range(1 + (self.die.random() < 0.3)))

    def _keep(self) -> None:
        """Note what wallet and positions are now, for as long as reads lag."""
        self._sync()
        if self.trouble.lag:
            self._past.append(_Picture(self.venue.now, super().wallet(), super().positions()))
        else:
            self._past.clear()

    def _picture(self) -> _Picture:
        """Wallet and positions as old as everything else that is read; the oldest known where none is that
        old. After a nap nothing of before it is shown.
        """
        edge, found = self.venue.now - self.trouble.lag, self._past[0]
        for item in self._past:
            if item.at > edge and item.at - found.at < _A_NAP:
                break
            found = item
        return found

    @contextmanager
    def _late(self) -> Iterator[None]:
        self.read_lag = self.trouble.lag
        try:
            yield
        finally:
            self.read_lag = _NOTHING

    def wallet(self) -> Wallet:
        """All balances, perhaps, and perhaps late."""
        ask = super().wallet
        return self._read("wallet", lambda: self._picture().wallet if self._past else ask())

    def positions(self) -> tuple[PositionReport, ...]:
        """All open positions, perhaps, and perhaps late."""
        ask = super().positions
        return self._read("positions", lambda: self._picture().positions if self._past else ask())

    def snapshot(self) -> MarketSnapshot:
        """All quotes, perhaps."""
        return self._read("snapshot", super().snapshot, signed=False)

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """One book, perhaps."""
        ask = super().book
        return self._read("book", lambda: ask(category, symbol, depth=depth), signed=False)

    def order_realtime(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """One order, perhaps, and perhaps late."""
        ask = super().order_realtime
        with self._late():
            return self._read("order_realtime", lambda: ask(category, symbol, link_id=link_id))

    def order_history(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """One order, perhaps, and perhaps late."""
        ask = super().order_history
        with self._late():
            return self._read("order_history", lambda: ask(category, symbol, link_id=link_id))

    def executions_of(self, category: Category, symbol: str, *, link_id: str) -> tuple[Execution, ...]:
        """One order's fills, perhaps, and perhaps late."""
        ask = super().executions_of
        with self._late():
            return self._read("executions_of", lambda: ask(category, symbol, link_id=link_id))

    def open_orders(self, category: Category) -> tuple[OrderReport, ...]:
        """The open orders, perhaps."""
        ask = super().open_orders
        with self._late():
            return self._read("open_orders", lambda: ask(category))

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """The executions of a window, perhaps late, perhaps twice."""
        ask = super().executions
        with self._late():
            return self._rows(self._read("executions", lambda: ask(category, since, until=until)))

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """The log of a window, perhaps late, perhaps twice."""
        ask = super().transactions
        with self._late():
            return self._rows(self._read("transactions", lambda: ask(since, until)))
