"""Bringing the two legs together again: top up, trim, unwind along a ladder of price caps, then halt and call
a person.

A known shortfall is topped up a bounded number of times, then the excess leg is trimmed, all within
``t_hedge``; what is still naked is unwound at ever wider caps, the last rung being the venue's own price
band. Nothing here is ever blocked by an entry gate. Each unwind of a coin doubles its cool-down; too many in
an hour freeze it until a person has looked.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fundarb.core import minimums, sizing
from fundarb.core.events import PositionUnwound
from fundarb.core.market import Book as OrderBook
from fundarb.core.market import Instrument, Pair
from fundarb.core.money import ONE, ZERO, floor_to
from fundarb.core.orders import Leg, Purpose
from fundarb.core.position import Book
from fundarb.core.reasons import Refused
from fundarb.core.records import Block, BlockKind, Goal, PositionRecord
from fundarb.core.risk import cool_down, freezes
from fundarb.core.states import PositionState
from fundarb.crash import Point, reached
from fundarb.engine.alerts import alert_once, count_recent, halt
from fundarb.engine.desk import Desk
from fundarb.engine.fees import FeeBook
from fundarb.engine.guard import Draft
from fundarb.engine.lifecycle import settle
from fundarb.engine.orders import OrderDesk, Placed
from fundarb.engine.resolve import Resolver
from fundarb.errors import Unavailable

_HOUR = timedelta(hours=1)
_RETRY_READ = timedelta(milliseconds=200)
_BAND = Decimal("0.05")
"""The last rung where the instrument does not state its band: five percent, Bybit's usual limit ratio for
majors.
"""


class Hedger:
    """Corrects the book of one position at a time."""

    def __init__(self, desk: Desk, *, resolver: Resolver, fees: FeeBook) -> None:
        """Send through one desk."""
        self._desk = desk
        self._orders = OrderDesk(desk)
        self._resolver = resolver
        self._fees = fees

    def repair(self, position_id: str, *, grow: bool | None = None) -> PositionRecord:
        """Hedge or unwind until the book is neutral; the position as it is then.

        ``grow`` says whether the smaller leg is completed before the larger one is trimmed; by default as the
        position's goal wants it.

        Still EXPOSED or UNCERTAIN means that the venue cannot be read, an order's fate is unknown, or every
        rung failed; the alert is raised by then.
        """
        desk = self._desk
        position = settle(desk, position_id)
        if position.state is PositionState.UNCERTAIN:
            return position
        if grow is None:
            grow = position.goal in {Goal.OPEN, Goal.ADD}
        deadline = desk.clock.monotonic() + desk.rules.t_hedge
        if grow:
            position = self._attempts(position, Purpose.TOP_UP, deadline=deadline, times=desk.rules.top_ups)
        if self._out(position):
            times = 1 if grow else desk.rules.top_ups
            position = self._attempts(position, Purpose.TRIM, deadline=deadline, times=times)
        unwound = grow and position.state.final
        if position.state is PositionState.EXPOSED:
            position, unwound = self._unwind(position)
        if unwound:
            self._cool_down(position)
        if position.state in {PositionState.EXPOSED, PositionState.UNCERTAIN}:
            self._call_for_help(position)
        return position

    def frame(self, pair: Pair, books: tuple[OrderBook, OrderBook]) -> sizing.Frame:
        """What quantities are judged by, from fresh books of both legs."""
        spot, perp = books
        return sizing.Frame(
            pair=pair, spot_price=spot.mid, perp_price=perp.mid, fee=self._fees.of(pair).in_base
        )

    def _out(self, position: PositionRecord) -> bool:
        """Whether there is still something to correct and somebody may correct it."""
        return not position.state.final and position.state is not PositionState.UNCERTAIN

    def _attempts(
        self, position: PositionRecord, purpose: Purpose, *, deadline: timedelta, times: int
    ) -> PositionRecord:
        """Corrections of one kind at the normal cap, until one lot is reached, the kind is of no use, or time
        is over.
        """
        for _ in range(times):
            if not self._out(position) or self._desk.clock.monotonic() >= deadline:
                break
            reached(Point.LEGS_BEFORE_TOP_UP if purpose is Purpose.TOP_UP else Point.LEGS_BEFORE_TRIM)
            sent = self._correct(position, purpose, cap=self._desk.rules.limits.price_cap)
            if sent is None:
                break
            position = sent
        return position

    def _correct(self, position: PositionRecord, purpose: Purpose, *, cap: Decimal) -> PositionRecord | None:
        """One correcting order at a price cap; None if none is needed or none would help."""
        read = self._read(position)
        if read is None:
            return None
        pair, books = read
        frame, book = self.frame(pair, books), Book(position.spot_owned, position.contracts)
        order = (
            sizing.top_up(frame, book)
            if purpose is Purpose.TOP_UP
            else sizing.correction(frame, book, grow=False)
        )
        order = None if order is None else self._clamped(position, order, pair=pair)
        if order is None:
            return None
        draft = _draft(
            position,
            order,
            purpose=Purpose.TOP_UP if order.adds else purpose,
            frame=frame,
            books=books,
            cap=cap,
        )
        placed = self._orders.place(draft)
        if isinstance(placed, Refused):
            self._alert(
                "correction_refused", position, message="; ".join(reason.message for reason in placed.reasons)
            )
            return None
        return self._after(position, placed)

    def _clamped(
        self, position: PositionRecord, order: sizing.Correction, *, pair: Pair
    ) -> sizing.Correction | None:
        """A reduction never exceeds what the venue holds, where that can be read: nothing is sent again and
        again for contracts or coins that somebody else has taken. Where it cannot be read, the venue is the
        judge.
        """
        if order.adds:
            return order
        exchange, step = self._desk.exchange, pair.spot.qty_step
        try:
            if order.leg is Leg.SPOT:
                there = floor_to(exchange.wallet().free(position.base), step)
            else:
                sizes = [item.size for item in exchange.positions() if item.symbol == position.perp_symbol]
                there = max(-sum(sizes, ZERO), ZERO)
        except Unavailable:
            return order
        quantity = min(order.quantity, there)
        return replace(order, quantity=quantity) if quantity > ZERO else None

    def _after(self, position: PositionRecord, placed: Placed) -> PositionRecord:
        """Wait for an uncertain order to become certain, then write the state down."""
        settle(self._desk, position.position_id)
        if placed.uncertain:
            self._resolver.resolve(placed.intent, patience=2 * self._desk.rules.t_recover)
        return settle(self._desk, position.position_id)

    def _read(self, position: PositionRecord) -> tuple[Pair, tuple[OrderBook, OrderBook]] | None:
        """Pair and fresh books; a venue that does not answer is asked again for as long as a hedge may
        take.
        """
        deadline = self._desk.clock.monotonic() + self._desk.rules.t_hedge
        while True:
            try:
                pair = self._desk.market.pair_of(position)
                return pair, self._desk.market.books(pair)
            except Unavailable as error:
                if self._desk.clock.monotonic() + _RETRY_READ > deadline:
                    self._alert("hedge_without_market", position, message=str(error))
                    return None
                self._desk.clock.sleep(_RETRY_READ)

    def _unwind(self, position: PositionRecord) -> tuple[PositionRecord, bool]:
        """Give the excess back at ever wider caps, the last rung being the venue's band; and whether an order
        was sent for it.
        """
        reached(Point.UNWIND_BEFORE_FIRST)
        tried = False
        for cap in (*self._desk.rules.unwind_caps, self._band(position)):
            sent = self._correct(position, Purpose.UNWIND, cap=cap)
            if sent is None:
                break
            position, tried = sent, True
            if position.state is not PositionState.EXPOSED:
                break
            reached(Point.UNWIND_BETWEEN)
        return position, tried

    def _band(self, position: PositionRecord) -> Decimal:
        """How far from the market the venue lets an order go, as a fraction."""
        pair = self._desk.market.known_pair(position)
        limit = pair.perp.price_limit_x if pair is not None else None
        return min(limit, ONE / 2) if limit is not None else _BAND

    def _cool_down(self, position: PositionRecord) -> None:
        """Forbid new entries in this coin for a while; the while doubles with each unwind of the last
        hour.
        """
        store, rules, now = self._desk.store, self._desk.rules, self._desk.clock.now()
        with store.transaction():
            earlier = count_recent(store, "position_unwound", base=position.base, within=_HOUR)
            store.events.record(
                PositionUnwound(
                    position_id=position.position_id,
                    base=position.base,
                    reason="a leg could not be hedged in time",
                    unwinds_in_hour=earlier + 1,
                )
            )
            frozen = freezes(earlier + 1, rules.limits)
            store.blocks.set(
                Block(
                    scope=position.base,
                    kind=BlockKind.FREEZE if frozen else BlockKind.COOL_DOWN,
                    reason=f"{earlier + 1} unwinds within an hour",
                    since=now,
                    until=None if frozen else now + cool_down(earlier + 1, rules.limits),
                    needs_person=frozen,
                )
            )

    def _call_for_help(self, position: PositionRecord) -> None:
        """Every rung failed: no opens at all until a person has looked; hedging goes on."""
        message = f"{position.position_id} ({position.base}) is {position.state}: unhedged and not repaired"
        halt(self._desk.store, "unhedged", subject=position.position_id, message=message)

    def _alert(self, code: str, position: PositionRecord, *, message: str) -> None:
        alert_once(self._desk.store, code, subject=position.position_id, message=message)


def _draft(
    position: PositionRecord,
    order: sizing.Correction,
    *,
    purpose: Purpose,
    frame: sizing.Frame,
    books: tuple[OrderBook, OrderBook],
    cap: Decimal,
) -> Draft:
    """A correction as an order, at a price cap against the best price of its book."""
    pair = frame.pair
    instrument: Instrument = pair.spot if order.leg is Leg.SPOT else pair.perp
    book = books[0] if order.leg is Leg.SPOT else books[1]
    best = sizing.side_levels(book, order.side)[0].price
    cap = sizing.within_band(cap, instrument)
    limit = sizing.cap_price(best, cap, side=order.side, tick=instrument.tick_size)
    if order.leg is Leg.SPOT:
        limit = minimums.worthwhile(
            instrument, side=order.side, quantity=order.quantity, best=best, limit=limit
        )
    return Draft(
        position=position,
        leg=order.leg,
        purpose=purpose,
        side=order.side,
        quantity=order.quantity,
        limit_price=limit,
        reduce_only=order.reduce_only,
    )
