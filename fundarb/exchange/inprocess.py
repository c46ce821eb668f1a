"""The private side of a venue in process, behind the port of a real exchange; shared by the local and the
paper exchange.

It asks the wire gate before every create like any adapter, knows the lease (``recv_window``) and can lose
requests and answers on demand. It holds no state of its own beyond the armed faults; time is the clock's,
the venue follows it.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from fundarb.clock import Clock
from fundarb.core.account import AccountInfo, KeyInfo, PositionReport, Transaction, Wallet
from fundarb.core.market import (
    Category,
)
from fundarb.core.orders import Execution, OrderReport, OrderRequest, Outcome, WriteAnswer
from fundarb.errors import NotSent, Rejected
from fundarb.exchange.outcomes import NO_CHANGE, classify
from fundarb.exchange.strict import WireGate
from fundarb.venue.engine import Venue
from fundarb.venue.register import Register
from fundarb.venue.rows import OrderSpec

RECV_WINDOW = timedelta(seconds=2)
"""How long after its stamp a create may still be admitted."""
_NOTHING = timedelta()
_CANCELLED_KEPT = timedelta(hours=24)
_UNIFIED = 5
_OUT_OF_WINDOW = 10002
_PERMISSIONS = {"ContractTrade": ("Order", "Position"), "Spot": ("SpotTrade",)}


class Loss(StrEnum):
    """What happens to the next create: the request never arrives, or it does and the answer is lost."""

    REQUEST = "request"
    ANSWER = "answer"


class VenueSide:
    """Both ports over a venue in process. ``_sync`` brings the venue to the present; subclasses may do more
    there.
    """

    def __init__(self, clock: Clock, gate: WireGate | None) -> None:
        """``gate`` None: a caller without orders of its own, or a test of the venue itself."""
        self.latency = _NOTHING
        self.read_lag = _NOTHING
        self._clock = clock
        self._gate = gate
        self._losses: deque[Loss | None] = deque()

    @property
    def venue(self) -> Venue:
        """The venue behind this side; a subclass says which."""
        raise NotImplementedError

    def lose(self, *losses: Loss | None) -> None:
        """Arm losses for the next creates, one each; None lets a create pass."""
        self._losses.extend(losses)

    @property
    def banned_until(self) -> datetime | None:
        """A venue in process bans nobody."""
        return None

    def _sync(self) -> datetime:
        """Bring the venue to the present; returns it."""
        self.venue.advance(self._clock.now())
        return self.venue.now

    def _changed(self) -> None:
        """Called after every write that the venue has accepted, before the answer goes out."""

    # ------------------------------------------------------------------------------------------ account

    def urgent(self, patience: timedelta) -> AbstractContextManager[None]:  # noqa: ARG002 - nothing to wait for
        """Nothing to hurry: a venue in process answers at once."""
        return nullcontext()

    def belong(self, uid: str) -> None:
        """Nothing to watch over: a venue in process does not become another one."""

    def sure(self) -> bool:
        """Always."""
        return True

    def stamp(self) -> datetime:
        """The clock's present: the venue shares it."""
        return self._clock.now()

    def account(self) -> AccountInfo:
        """Whose account this is and how it is set up."""
        return AccountInfo(
            uid=self.venue.uid,
            margin_mode=self.venue.margin_mode,
            unified_status=_UNIFIED,
            spot_fee_deduction=self.venue.deducts_mnt(Category.SPOT),
            linear_fee_deduction=self.venue.deducts_mnt(Category.LINEAR),
            delta_neutral_mode=self.venue.delta_mode,
        )

    def key_info(self) -> KeyInfo:
        """A key with exactly what trading needs, unless the world has changed it."""
        key = self.venue.key
        permissions = {name: tuple(items) for name, items in key.permissions.items()}
        return KeyInfo(
            uid=self.venue.uid,
            read_only=key.read_only,
            permissions=permissions or _PERMISSIONS,
            addresses=tuple(key.addresses),
            expires=key.expires,
            unified=True,
            master=True,
        )

    def wallet(self) -> Wallet:
        """All balances."""
        self._sync()
        return self.venue.wallet().report()

    def positions(self) -> tuple[PositionReport, ...]:
        """All open positions."""
        self._sync()
        return tuple(view.report() for view in self.venue.positions())

    def prepare_symbol(self, symbol: str, leverage: Decimal) -> None:
        """Set the leverage; one-way mode and cross margin are the only ones here."""
        self._sync()
        try:
            self.venue.set_leverage(symbol, leverage)
        except Rejected as error:
            if error.code not in NO_CHANGE:
                raise
            return
        self._changed()

    # ------------------------------------------------------------------------------------------ writes

    def create(self, request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        """Ask the gate, travel, be admitted or refused, be matched at the next look."""
        if self._gate is not None:
            try:
                self._gate.admit(request, signed_at)
            except NotSent as error:
                return WriteAnswer(outcome=Outcome.REFUSED, code=error.code, message=str(error), sent=False)
        loss = self._losses.popleft() if self._losses else None
        if loss is Loss.REQUEST:
            return WriteAnswer(outcome=Outcome.UNCERTAIN, message="no answer (the request was lost)")
        answer = self._arrive(request, signed_at)
        if loss is Loss.ANSWER:
            return WriteAnswer(outcome=Outcome.UNCERTAIN, message="no answer (the answer was lost)")
        return answer

    def _arrive(self, request: OrderRequest, signed_at: datetime) -> WriteAnswer:
        if self.latency:
            self._clock.sleep(self.latency)
        arrived = self._clock.now()
        self._sync()
        if arrived - signed_at > RECV_WINDOW:
            return _refusal(
                _OUT_OF_WINDOW, "invalid request, please check your server timestamp or recv_window"
            )
        try:
            ack = self.venue.place(spec_of(request))
        except Rejected as error:
            return _refusal(error.code, str(error))
        self._changed()
        self._matched()
        return WriteAnswer(outcome=Outcome.ACCEPTED, order_id=ack.order_id, code=0)

    def _matched(self) -> None:
        """After the acknowledgement: nothing here, the next read advances the venue."""

    def cancel(self, category: Category, symbol: str, *, link_id: str) -> WriteAnswer:
        """Ask to cancel an order by our link id."""
        self._sync()
        try:
            ack = self.venue.cancel(category, symbol, link_id=link_id)
        except Rejected as error:
            return _refusal(error.code, str(error))
        self._changed()
        return WriteAnswer(outcome=Outcome.ACCEPTED, order_id=ack.order_id, code=0)

    # ------------------------------------------------------------------------------------------ orders

    def order_realtime(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Among the open ones and the latest 500 closed ones of the market."""
        now = self._sync()
        order = self.venue.find_order(category, link_id=link_id)
        if order is None or order.symbol != symbol or order.created > now - self.read_lag:
            return None
        if order.status.final and all(item is not order for item in self.venue.closed_orders(category)):
            return None
        return order.report()

    def order_history(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Among the closed ones that the venue still remembers."""
        now = self._sync()
        order = self.venue.find_order(category, link_id=link_id)
        if order is None or order.symbol != symbol or not order.status.final:
            return None
        if order.updated > now - self.read_lag or Register.forgotten(order, now - _CANCELLED_KEPT):
            return None
        return order.report()

    def executions_of(self, category: Category, symbol: str, *, link_id: str) -> tuple[Execution, ...]:
        """Every execution of one order."""
        now = self._sync()
        order = self.venue.find_order(category, link_id=link_id)
        if order is None or order.symbol != symbol:
            return ()
        return tuple(row.execution() for row in self.venue.fills_of(order) if row.time <= now - self.read_lag)

    def open_orders(self, category: Category) -> tuple[OrderReport, ...]:
        """All open orders of one market."""
        now = self._sync()
        rows = self.venue.open_orders(category)
        return tuple(order.report() for order in rows if order.created <= now - self.read_lag)

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """Every execution row of a window, oldest first."""
        now = self._sync()
        rows = self.venue.fills(category, since, until=min(until, now - self.read_lag))
        return tuple(row.execution() for row in rows)

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Every transaction-log row of a window, oldest first."""
        now = self._sync()
        return self.venue.transactions(since, min(until, now - self.read_lag))


def spec_of(request: OrderRequest) -> OrderSpec:
    """The venue's order for one of ours."""
    return OrderSpec(
        category=request.category,
        symbol=request.symbol,
        side=request.side,
        quantity=request.quantity,
        price=request.limit_price,
        time_in_force=request.time_in_force,
        link_id=request.link_id,
        reduce_only=request.reduce_only,
    )


def _refusal(code: int | None, message: str) -> WriteAnswer:
    outcome, extend = classify(code if code is not None else 0)
    return WriteAnswer(outcome=outcome, code=code, message=message, extend_table=extend)
