"""Where orders come in: place, amend, cancel. Each is an acknowledgement; what follows is matching's
business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.orders import OrderStatus, TimeInForce
from fundarb.venue.account import Account
from fundarb.venue.admission import Admission, refuse
from fundarb.venue.fees import Fees
from fundarb.venue.matching import Matching
from fundarb.venue.register import Register
from fundarb.venue.rows import Ack, Directive, Order, OrderMatch, OrderSpec, OrderType, WalletView
from fundarb.venue.state import Armed, DueKind, Rules, State
from fundarb.venue.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Counter:
    """What the desk works with."""

    account: Account
    register: Register
    matching: Matching
    fees: Fees


class Desk:
    """The door for orders."""

    def __init__(
        self, state: State, rules: Rules, *, admission: Admission, timeline: Timeline, parts: Counter
    ) -> None:
        """Introduce the collaborators."""
        self._state = state
        self._rules = rules
        self._admission = admission
        self._timeline = timeline
        self._account = parts.account
        self._register = parts.register
        self._matching = parts.matching
        self._fees = parts.fees

    def place(self, spec: OrderSpec, directive: Directive | None = None) -> Ack:
        """Accept an order for matching after the delay, or ``Rejected``."""
        order = self._accept(spec, directive)
        self._timeline.queue(DueKind.MATCH, self._state.now + self._rules.match_delay, subject=order.order_id)
        return Ack(order.order_id, order.link_id)

    def at_once(self, spec: OrderSpec) -> Order:
        """Accept and match in one step, past every armed directive: somebody else's hand."""
        order = self._enter(spec, Directive())
        self._matching.match(order)
        return order

    def _accept(self, spec: OrderSpec, directive: Directive | None) -> Order:
        if (
            spec.order_type is OrderType.LIMIT
            and spec.time_in_force is TimeInForce.FOK
            and directive is not None
        ):
            directive = replace(directive, fill_frac=None)  # a FOK order fills wholly or not at all
        order = self._admission.admit(spec, self._fees)
        return self._take_in(order, directive if directive is not None else self._armed(spec))

    def _enter(self, spec: OrderSpec, directive: Directive) -> Order:
        return self._take_in(self._admission.admit(spec, self._fees), directive)

    def _take_in(self, order: Order, directive: Directive) -> Order:
        order.fill_frac = directive.fill_frac
        order.reject_at_match = directive.reject_reason
        if order.locked:
            self._account.coin(order.locked_coin).locked += order.locked
        self._register.add(order)
        self._matching.announce(order)
        return order

    def rehearse(self, spec: OrderSpec, look: Callable[[], WalletView]) -> WalletView:
        """What ``look`` sees while the order would be open; leaves everything as it was."""
        counter = self._state.counter
        order = self._admission.admit(spec, self._fees)
        self._register.add(order)
        try:
            return look()
        finally:
            self._register.remove(order)
            self._state.counter = counter

    def _armed(self, spec: OrderSpec) -> Directive:
        """The first armed directive that fits, used up."""
        for armed in self._state.armed:
            if armed.match.fits(spec):
                self._state.armed.remove(armed)
                return armed.directive
        return Directive()

    def force(self, match: OrderMatch, *directives: Directive) -> None:
        """Arm directives for the next orders that fit, one each, in order."""
        self._state.armed.extend(Armed(match=match, directive=directive) for directive in directives)

    # ------------------------------------------------------------------------------------------ change

    def amend(self, order: Order, quantity: Decimal | None, *, price: Decimal | None) -> Ack:
        """Give an open order another total quantity or price; it loses its place and meets the book again."""
        if quantity is None and price is None:
            refuse(
                10001,
                "params error: The order remains unchanged.",
            )
        if quantity is not None and quantity <= order.filled:
            refuse(10001, "Qty invalid")
        spec = OrderSpec(
            category=order.category,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity if quantity is None else quantity,
            order_type=order.order_type,
            price=order.price if price is None else price,
            time_in_force=order.time_in_force,
            reduce_only=order.reduce_only,
            leverage=order.leverage,
        )
        coin = self._account.coin(order.locked_coin) if order.locked_coin else None
        if coin is not None:
            coin.locked -= order.locked
        try:
            fresh = self._admission.admit(spec, self._fees)
        finally:
            if coin is not None:
                coin.locked += order.locked
        if coin is not None:
            left = fresh.locked * (fresh.quantity - order.filled) / fresh.quantity
            coin.locked += left - order.locked
            order.locked = left
        order.quantity, order.price, order.resting = fresh.quantity, fresh.price, False
        self._matching.announce(order)
        self._timeline.queue(DueKind.MATCH, self._state.now + self._rules.match_delay, subject=order.order_id)
        return Ack(order.order_id, order.link_id)

    # ------------------------------------------------------------------------------------------ cancel

    def cancel(self, category: Category, symbol: str, *, order_id: str, link_id: str) -> Ack:
        """Ask for a cancel of an open order, or say with the right code why not."""
        order = self._register.find(category, order_id, link_id=link_id)
        spot = category is Category.SPOT
        if order is None or order.symbol != symbol:
            refuse(
                170213 if spot else 110001,
                "Order does not exist." if spot else "order not exists or too late to cancel",
            )
        if order.status is OrderStatus.FILLED:
            refuse(
                170139 if spot else 110001,
                "Order has been filled." if spot else "order not exists or too late to cancel",
            )
        if order.status.final:
            refuse(
                170142 if spot else 110001,
                "Order has been canceled." if spot else "order not exists or too late to cancel",
            )
        return self._ask_cancel(order)

    def cancel_all(self, category: Category, symbol: str | None) -> tuple[Ack, ...]:
        """Ask for a cancel of every open order of a market or symbol."""
        return tuple(self._ask_cancel(order) for order in self._register.open(category, symbol))

    def _ask_cancel(self, order: Order) -> Ack:
        self._timeline.queue(
            DueKind.CANCEL, self._state.now + self._rules.match_delay, subject=order.order_id
        )
        return Ack(order.order_id, order.link_id)
