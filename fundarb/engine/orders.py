"""Intent before wire: the only way an order leaves fundarb.

One committed transaction writes the intent (and moves the position's state) before anything is sent; the
answer is classified and committed; an accepted order is followed until its executions add up to what the
venue says was filled. What may or may not exist is UNCERTAIN and is left to the resolver: nothing here
guesses, nothing here repeats a create.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from fundarb.core.events import OrderAnswered, UnknownAnswer
from fundarb.core.money import ZERO, derived, plain
from fundarb.core.orders import Execution, Leg, OrderReport, Outcome, WriteAnswer, link_id
from fundarb.core.postings import third_coin
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import IntentRecord
from fundarb.core.states import IntentState, IntentTrigger, PositionState, PositionTrigger
from fundarb.crash import Point
from fundarb.engine.alerts import halt
from fundarb.engine.desk import Desk
from fundarb.engine.guard import Draft, intent_refusals
from fundarb.engine.late import book_own
from fundarb.engine.shut_out import met, refused_by_key
from fundarb.errors import Unavailable

_BUSY = frozenset({PositionState.OPENING, PositionState.CHANGING, PositionState.REPAIRING})
_FIRST_POLL = timedelta(milliseconds=4)
_LONGEST_POLL = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of an order: its intent, terminal or UNCERTAIN, and what it really traded (base units)."""

    intent: IntentRecord

    @property
    def filled(self) -> Decimal:
        """Quantity really executed, as far as known."""
        return self.intent.filled

    @property
    def uncertain(self) -> bool:
        """Whether it may or may not exist, or may or may not have traded more."""
        return self.intent.state is IntentState.UNCERTAIN


class OrderDesk:
    """Writes, sends and follows single orders."""

    def __init__(self, desk: Desk) -> None:
        """Work on one desk."""
        self._desk = desk
        self._tag = ""

    def place(self, draft: Draft) -> Placed | Refused:
        """Send one order and follow it to its end; ``Refused`` (nothing written, nothing sent) if a rule
        forbids it.

        The result is terminal, or UNCERTAIN when its fate could not be learnt within ``t_hedge``.
        """
        intent = self._write(draft)
        if isinstance(intent, Refused):
            return intent
        answer = self._desk.exchange.create(intent.request, signed_at=intent.signed_at)
        if answer.sent:
            self._desk.sent.append(intent.link_id)
        if answer.outcome is Outcome.ACCEPTED:
            finished = self._try_finish(intent, answer=answer)
            if finished is not None:
                return Placed(finished)
        intent = self._record(intent, answer)
        if answer.outcome is not Outcome.ACCEPTED:
            met(self._desk, refused_by_key(self._desk, answer))
        if intent.state is IntentState.WORKING:
            intent = self.follow(intent, self._desk.clock.monotonic() + self._desk.rules.t_hedge)
        elif answer.outcome is Outcome.EXISTS:
            intent = self._adopt_existing(intent)
        return Placed(intent)

    def _write(self, draft: Draft) -> IntentRecord | Refused:
        """The committed intent, or every reason against it."""
        desk, position = self._desk, draft.position
        try:  # may ask the venue for its time, hence before the transaction
            with desk.hurried():
                signed_at = desk.exchange.stamp()
        except Unavailable as error:
            met(self._desk, error)
            return Refused((Reason("clock_unknown", f"the venue's clock cannot be read: {error}"),))
        stamped, now = desk.clock.monotonic(), desk.clock.now()
        tag = self._tag or desk.tag()
        with desk.store.transaction(before=Point.INTENT_BEFORE_COMMIT, after=Point.INTENT_AFTER_COMMIT):
            position = desk.store.positions.get(position.position_id)
            reasons = intent_refusals(desk, draft, position=position)
            if reasons:
                return Refused(reasons)
            if position.state not in _BUSY:
                desk.store.positions.advance(position.position_id, PositionTrigger.SENT)
            seq = desk.store.intents.next_seq(position.position_id)
            intent = IntentRecord(
                link_id=link_id(tag, position.plan_id, leg=draft.leg, seq=seq),
                position_id=position.position_id,
                leg=draft.leg,
                seq=seq,
                purpose=draft.purpose,
                category=draft.leg.category,
                symbol=position.spot_symbol if draft.leg is Leg.SPOT else position.perp_symbol,
                side=draft.side,
                quantity=draft.quantity,
                limit_price=draft.limit_price,
                reduce_only=draft.reduce_only,
                state=IntentState.SENDING,
                epoch=desk.writer.epoch,
                signed_at=signed_at,
                created_at=now,
            )
            intent = desk.store.intents.add(intent)
            desk.written[intent.link_id] = stamped
        self._tag = tag
        return intent

    def _record(self, intent: IntentRecord, answer: WriteAnswer) -> IntentRecord:
        """Commit what the answer means."""
        store = self._desk.store
        trigger = {
            Outcome.ACCEPTED: IntentTrigger.ACCEPTED,
            Outcome.REFUSED: IntentTrigger.REFUSED,
            Outcome.EXISTS: IntentTrigger.NO_ANSWER,
            Outcome.UNCERTAIN: IntentTrigger.NO_ANSWER,
        }[answer.outcome]
        with store.transaction(before=Point.ANSWER_BEFORE_COMMIT, after=Point.ANSWER_AFTER_COMMIT):
            after = store.intents.advance(
                intent.link_id, trigger, order_id=answer.order_id, code=answer.code, message=answer.message
            )
            store.events.record(
                OrderAnswered(
                    link_id=intent.link_id,
                    position_id=intent.position_id,
                    symbol=intent.symbol,
                    outcome=answer.outcome,
                    code=answer.code,
                    message=answer.message,
                )
            )
            if answer.extend_table and answer.code is not None:
                store.events.record(
                    UnknownAnswer(code=answer.code, message=answer.message, path="order/create")
                )
        return after

    def _adopt_existing(self, intent: IntentRecord) -> IntentRecord:
        """The venue says that our link id is taken already: look it up at once; unknown yet means
        UNCERTAIN.
        """
        try:
            with self._desk.hurried():
                report = self.look_up(intent)
        except Unavailable as error:
            met(self._desk, error)
            return intent
        return intent if report is None else self.adopt(intent, report)

    def look_up(self, intent: IntentRecord) -> OrderReport | None:
        """The venue's account of our order: among the open and latest closed ones, else in the history."""
        exchange = self._desk.exchange
        report = exchange.order_realtime(intent.category, intent.symbol, link_id=intent.link_id)
        if report is None:
            report = exchange.order_history(intent.category, intent.symbol, link_id=intent.link_id)
        return report

    def adopt(self, intent: IntentRecord, report: OrderReport) -> IntentRecord:
        """Take the venue's order for ours and follow it.

        An order of another shape under our link id is nobody we know: everything is halted and the intent
        stays UNCERTAIN until a person has looked.
        """
        if not same_order(intent, report):
            message = (
                f"{intent.link_id}: the venue holds an order of another shape "
                f"({report.side} {report.quantity} {report.symbol}) than was written down"
            )
            halt(self._desk.store, "link_id_taken", subject=intent.link_id, message=message)
            return intent
        with self._desk.store.transaction(
            before=Point.RESOLVE_BEFORE_COMMIT, after=Point.RESOLVE_AFTER_COMMIT
        ):
            intent = self._desk.store.intents.advance(
                intent.link_id, IntentTrigger.ACCEPTED, order_id=report.order_id
            )
        return self.follow(intent, self._desk.clock.monotonic() + self._desk.rules.t_hedge)

    def follow(self, intent: IntentRecord, deadline: timedelta) -> IntentRecord:
        """Read a working order until it is final and its executions add up; past the deadline it is
        UNCERTAIN.
        """
        pause, began = _FIRST_POLL, self._desk.clock.monotonic()
        while True:
            waited = self._desk.clock.monotonic() - began
            finished = self._try_finish(intent, waited=waited)
            if finished is not None:
                return finished
            if self._desk.clock.monotonic() + pause > deadline:
                break
            self._desk.clock.sleep(pause)
            pause = min(pause * 2, _LONGEST_POLL)
        with self._desk.store.transaction(before=Point.ANSWER_BEFORE_COMMIT, after=Point.ANSWER_AFTER_COMMIT):
            return self._desk.store.intents.advance(
                intent.link_id,
                IntentTrigger.NO_ANSWER,
                filled=traded(self._desk.store.executions.of_link(intent.link_id)),
                message="accepted, but its end could not be read in time",
            )

    def _try_finish(
        self, intent: IntentRecord, *, answer: WriteAnswer | None = None, waited: timedelta = timedelta()
    ) -> IntentRecord | None:
        """The finished intent, or None while the order works, its fills lag, or a read fails.

        Fills are asked for first: an order that they fill whole is over, and the other leg waits. ``answer``
        is the acknowledgement of an order that is over already; it is committed together with its end.
        """
        try:
            with self._desk.hurried(waited):
                executions, report = self._read(intent)
        except Unavailable as error:
            met(self._desk, error)
            return None
        filled = traded(executions)
        over = filled == intent.quantity
        if report is not None:
            over = report.status.final and filled == report.filled
        if not over:
            if answer is None:
                self.book(intent, executions)
            return None
        message = "" if report is None else report.reject_reason or report.cancel_type
        with self._desk.store.transaction():
            if answer is not None:
                intent = self._record(intent, answer)
            self.book(intent, executions)
            return self.finish(intent, executions, message=message)

    def _read(self, intent: IntentRecord) -> tuple[tuple[Execution, ...], OrderReport | None]:
        """What an order traded, and the venue's account of it where its fills alone do not end it."""
        exchange = self._desk.exchange
        executions = exchange.executions_of(intent.category, intent.symbol, link_id=intent.link_id)
        report = None if traded(executions) == intent.quantity else self.look_up(intent)
        if report is not None and report.filled != traded(executions):
            executions = exchange.executions_of(intent.category, intent.symbol, link_id=intent.link_id)
        return executions, report

    def book(self, intent: IntentRecord, executions: tuple[Execution, ...]) -> None:
        """Book executions of one of our orders; those already known have no effect. What a third coin that
        pays their fees is worth is known from the quotes of the decision.
        """
        for execution in executions:
            coin = third_coin(execution)
            seen = None if coin is None else self._desk.market.coin(coin)
            if coin is not None and seen is not None:
                self._desk.store.ledger.set_price(coin, seen[0], at=seen[1])
            book_own(self._desk.store, execution, intent=intent)

    def finish(
        self, intent: IntentRecord, executions: tuple[Execution, ...], *, message: str
    ) -> IntentRecord:
        """Close the intent with what its executions say was really filled, maybe nothing."""
        filled = traded(executions)
        value = sum((item.quantity * item.price for item in executions), ZERO)
        with self._desk.store.transaction(before=Point.ANSWER_BEFORE_COMMIT, after=Point.ANSWER_AFTER_COMMIT):
            return self._desk.store.intents.advance(
                intent.link_id,
                IntentTrigger.FINISHED,
                filled=filled,
                average_price=derived(value / filled) if filled else None,
                message="" if message.startswith("EC_NoError") else message,
            )


def same_order(intent: IntentRecord, report: OrderReport) -> bool:
    """Whether the venue's order is the one that was written down, parameter by parameter.

    A perp order beyond the venue's price band is moved to its edge (bybit-v5 §7.6): such a limit is stricter
    than the one that was written, never more generous.
    """
    return (
        report.link_id == intent.link_id
        and report.category is intent.category
        and report.symbol == intent.symbol
        and report.side is intent.side
        and report.quantity == intent.quantity
        and as_strict(intent, report.limit_price)
        and (report.reduce_only == intent.reduce_only or intent.leg is Leg.SPOT)
    )


def as_strict(intent: IntentRecord, limit: Decimal | None) -> bool:
    """Whether the limit that the venue shows for an order is ours, or (perps) a stricter one."""
    if limit is None or limit == intent.limit_price:
        return True
    return intent.leg is Leg.PERP and (limit - intent.limit_price) * intent.side.sign < ZERO


def wire_reason(placed: Placed) -> Reason:
    """Why an order did not do what it was sent for, in the venue's words."""
    intent = placed.intent
    code = f" (code {intent.code})" if intent.code else ""
    text = intent.message or "it was not filled"
    unsent = intent.state is IntentState.REFUSED and intent.code is None
    name = "order_not_sent" if unsent else "order_not_filled"
    return Reason(name, f"{intent.side} {plain(intent.quantity)} {intent.symbol}: {text}{code}")


def traded(executions: Iterable[Execution]) -> Decimal:
    """The quantity that some executions add up to, in base units."""
    return sum((item.quantity for item in executions), ZERO)
