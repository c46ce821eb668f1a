"""Where orders come in: place, amend, cancel. Each is an acknowledgement; what follows is matching's
business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NoReturn

from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.core.orders import OrderStatus, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.account import Account
from fundarb.venue.admission import Admission, refuse
from fundarb.venue.matching import Matching
from fundarb.venue.register import Register
from fundarb.venue.rows import Ack, Directive, Order, OrderMatch, OrderSpec, OrderType, WalletView
from fundarb.venue.state import Amendment, Armed, DueKind, Rules, State
from fundarb.venue.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Counter:
    """What the desk works with."""

    account: Account
    register: Register
    matching: Matching


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
        timeline.amend = self._apply_amendment

    def place(self, spec: OrderSpec, directive: Directive | None = None) -> Ack:
        """Accept an order for matching after the delay, or ``Rejected``."""
        order = self._accept(spec, directive)
        self._timeline.queue(DueKind.MATCH, self._state.now + self._rules.match_delay, subject=order.order_id)
        return Ack(order.order_id, order.link_id)

    def at_once(self, spec: OrderSpec) -> Order:
        """Accept and match in one step, past every armed directive: somebody else's hand."""
        order = self._enter(spec, Directive())
        self._timeline.match_now(order)
        return order

    def _accept(self, spec: OrderSpec, directive: Directive | None) -> Order:
        if (
            spec.order_type is OrderType.LIMIT
            and spec.time_in_force is TimeInForce.FOK
            and directive is not None
        ):
            directive = replace(directive, fill_frac=None)  # a FOK order fills wholly or not at all
        order = self._admission.admit(spec)
        return self._take_in(order, directive if directive is not None else self._armed(spec))

    def _enter(self, spec: OrderSpec, directive: Directive) -> Order:
        return self._take_in(self._admission.admit(spec), directive)

    def _take_in(self, order: Order, directive: Directive) -> Order:
        order.fill_frac = directive.fill_frac
        order.reject_at_match = directive.reject_reason
        if order.locked:
            self._account.coin(order.locked_coin).locked += order.locked
        self._register.add(order)
        self._matching.announce(order)
        self._timeline.audit()
        return order

    def rehearse(self, spec: OrderSpec, look: Callable[[], WalletView], *, funded: bool) -> WalletView:
        """What ``look`` sees while the order would be open; leaves everything as it was. ``funded`` False
        asks for it even where there is no money for the order.
        """
        counter = self._state.counter
        order = self._admission.admit(spec, funded=funded)
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
        """Ask for another total quantity or price of an open limit order; until the matching hears of it the
        order can fill as it is.
        """
        amendment = Amendment(quantity, price)
        self._amended(order, amendment)
        self._state.amendments.setdefault(order.order_id, []).append(amendment)
        self._timeline.queue(DueKind.AMEND, self._state.now + self._rules.match_delay, subject=order.order_id)
        return Ack(order.order_id, order.link_id)

    def _apply_amendment(self, order: Order) -> None:
        """The amendment has arrived. A smaller quantity keeps the order's place; anything else loses it, and
        the order meets the book again. What is no longer possible leaves the order as it is.
        """
        waiting = self._state.amendments[order.order_id]
        amendment = waiting.pop(0)
        if not waiting:
            del self._state.amendments[order.order_id]
        if order.status.final:
            return
        try:
            fresh = self._amended(order, amendment)
        except Rejected:
            self._matching.announce(order)
            return
        if order.locked_coin:
            self._account.coin(order.locked_coin).locked += fresh.locked - order.locked
            order.locked = fresh.locked
        total = fresh.quantity + order.filled
        keeps_place = fresh.price == order.price and total <= order.quantity
        order.quantity, order.price = total, fresh.price
        self._matching.announce(order)
        if not keeps_place:
            order.resting = False
            self._matching.match(order)

    def _amended(self, order: Order, amendment: Amendment) -> Order:
        """What is left of the order with the change, as a new order; ``Rejected`` if it could not be one."""
        wanted = order.quantity if amendment.quantity is None else amendment.quantity
        limit = order.price if amendment.price is None else amendment.price
        if (wanted, limit) == (order.quantity, order.price):
            refuse(10001, "The order remains unchanged as the parameters entered match the existing ones.")
        if order.order_type is OrderType.MARKET:
            refuse(10001, "params error: a market order cannot be amended")
        if wanted <= order.filled:
            refuse(10001, "Qty invalid")
        return self._admitted_anew(order, wanted - order.filled, price=limit)

    def _admitted_anew(self, order: Order, left: Decimal, *, price: Decimal | None) -> Order:
        """What is left of an order as a new one; meanwhile the old one ties up neither coins nor margin."""
        spec = OrderSpec(
            category=order.category,
            symbol=order.symbol,
            side=order.side,
            quantity=left,
            order_type=order.order_type,
            price=price,
            time_in_force=order.time_in_force,
            reduce_only=order.reduce_only,
            leverage=order.leverage,
        )
        coin = self._account.coin(order.locked_coin) if order.locked_coin else None
        quantity, locked = order.quantity, order.locked
        order.quantity, order.locked = order.filled, ZERO
        if coin is not None:
            coin.locked -= locked
        try:
            return self._admission.admit(spec)
        finally:
            order.quantity, order.locked = quantity, locked
            if coin is not None:
                coin.locked += locked

    # ------------------------------------------------------------------------------------------ cancel

    def cancel(self, category: Category, symbol: str, *, order_id: str, link_id: str) -> Ack:
        """Ask for a cancel of an open order, or say with the right code why not."""
        order = self.open_order(category, order_id, link_id=link_id, late="too late to cancel")
        if order.symbol != symbol:
            self._no_order(category, late="too late to cancel")
        return self._ask_cancel(order)

    def open_order(self, category: Category, order_id: str, *, link_id: str, late: str) -> Order:
        """An open order of a market; the order id wins. Contracts have one code for all that is wrong, spot
        tells unknown, filled and cancelled apart.
        """
        order = self._register.find(category, order_id, link_id=link_id)
        if order is None or (order.status.final and category is Category.LINEAR):
            self._no_order(category, late=late)
        if order.status is OrderStatus.FILLED:
            refuse(170139, "Order has been filled.")
        if order.status.final:
            refuse(170142, "Order has been canceled.")
        return order

    @staticmethod
    def _no_order(category: Category, *, late: str) -> NoReturn:
        if category is Category.SPOT:
            refuse(170213, "Order does not exist.")
        refuse(110001, f"order not exists or {late}")

    def cancel_all(self, category: Category, symbol: str | None) -> tuple[Ack, ...]:
        """Ask for a cancel of every open order of a market or symbol."""
        return tuple(self._ask_cancel(order) for order in self._register.open(category, symbol))

    def _ask_cancel(self, order: Order) -> Ack:
        self._timeline.queue(
            DueKind.CANCEL, self._state.now + self._rules.match_delay, subject=order.order_id
        )
        return Ack(order.order_id, order.link_id)
