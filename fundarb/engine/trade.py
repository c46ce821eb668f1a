"""Opening and closing a hedged position: the plan, every reason against it, the walk through the clips, and
what came of it.

A plan is made from fresh quotes, fresh balances and the account's own fees; nothing is written before it is
approved. The result says what the book is now, whatever happened on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from fundarb.core import risk, sizing
from fundarb.core.market import MarketSnapshot, Pair
from fundarb.core.minimums import sellable_again
from fundarb.core.money import ONE, ZERO, cash, plain
from fundarb.core.pairing import QUOTE, Pairing, pair_market
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.engine.closing import ClosePlan, Closer, Met
from fundarb.engine.desk import Desk
from fundarb.engine.fees import PairFees
from fundarb.engine.hedge import Hedger
from fundarb.engine.legs import Legs, Progress
from fundarb.engine.lifecycle import rest, settle
from fundarb.engine.outcome import TradeResult, trade_result
from fundarb.engine.outlook import Outlook
from fundarb.engine.preflight import Preflight, Yield
from fundarb.engine.second_look import Began, SecondLook
from fundarb.engine.set_aside import take_up
from fundarb.engine.shut_out import met, passing_over, unread
from fundarb.errors import ConfigError, Problem, Rejected, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPlan:
    """An approved entry: what will be bought and shorted, in which clips, and what it was decided on.

    ``notional`` is what is really bought and shorted: one leg at the decision price, after rounding to the
    venue's steps; never more than what was asked for. ``dust`` is what earlier positions left of the coin; it
    is used first. ``outlook`` is the margin after it.
    """

    pair: Pair
    notional: Decimal
    entry: sizing.EntryPlan
    spot_mid: Decimal
    perp_mid: Decimal
    fees: PairFees
    warnings: tuple[Reason, ...] = ()
    position: PositionRecord | None = None
    dust: Decimal = ZERO
    outlook: Outlook | None = None


class Trader:
    """The use cases ``open`` and ``close``."""

    def __init__(self, desk: Desk, *, legs: Legs, hedger: Hedger, preflight: Preflight) -> None:
        """Trade on one desk."""
        self._desk = desk
        self._legs = legs
        self._closer = Closer(desk, legs=legs, hedger=hedger)
        self._second = SecondLook(desk, legs=legs, hedger=hedger)
        self._preflight = preflight

    def plan_open(
        self, base: str, notional: Decimal, *, add: bool = False, expected: Yield | None = None
    ) -> OpenPlan | Refused:
        """What an open would do, or every reason why it may not; sends nothing.

        ``notional`` is the quote value of one leg. ``Unavailable`` if the market or the account cannot be
        read.
        """
        desk = self._desk
        snapshot = desk.market.refresh()
        pairing = pair_market(desk.market.instruments(), snapshot)
        pair = pairing.find(base)
        _require_coin(base, pairing)
        if pair is None:
            reasons = tuple(reason for item in pairing.refusals(base) for reason in item.reasons)
            unknown = (Reason("unknown_coin", f"{base} is not traded as spot and perp here"),)
            now = desk.clock.now()
            return Refused(
                (*(reasons or unknown), *risk.blocks(desk.store.blocks.active(now), base, now=now))
            )
        held = desk.store.positions.active_for(pair.base)
        refused = self._already_held(held, add=add)
        plan = self._sized(pair, notional, snapshot=snapshot, held=held, expected=expected)
        if refused is None:
            return plan
        return Refused((refused, *(plan.reasons if isinstance(plan, Refused) else ())), plan.warnings)

    def open(
        self, base: str, notional: Decimal, *, add: bool = False, expected: Yield | None = None
    ) -> TradeResult | Refused:
        """Open (or add to) a hedged position; blocks until it is hedged, given back, or uncertain."""
        plan = self.plan_open(base, notional, add=add, expected=expected)
        if isinstance(plan, Refused):
            self._preflight.note(base, plan)
            return plan
        try:
            self._desk.exchange.prepare_symbol(plan.pair.perp.symbol, self._leverage(plan.pair))
        except Rejected as error:
            met(self._desk, error)
            return Refused((Reason("symbol_not_ready", str(error)),))
        if expected is None or not expected.automatic:
            take_up(self._desk.store, plan.pair.base)
        first = self._next_order(plan.position)
        position_id = self._write_plan(plan).position_id
        enter = partial(self._legs.enter, position_id, plan.entry.clips)
        result = self._walk(position_id, enter, began=self._began(first))
        return replace(result, warnings=plan.warnings)

    def plan_close(self, name: str, fraction: Decimal = ONE) -> ClosePlan | Refused:
        """What a close means; ``name`` is an id or a base coin. Sends nothing."""
        return self._closer.plan(self.find(name), fraction)

    def close(
        self, name: str, fraction: Decimal = ONE, *, emergency: bool = False, take_over: bool = False
    ) -> TradeResult | Refused:
        """Close a position or a part of it. Never held back by an entry gate.

        Where somebody else closed a leg, a close of the whole takes that over into our books and ends flat;
        one of a part only if it is to ``take_over``, too.
        Refused where the venue holds less than our books say and none of its rows tells why; ``emergency``
        closes what is really there all the same, at wider prices and whatever the quotes look like.
        """
        if self.is_over(name):
            return Refused((Reason("not_open", f"{name} is over: nothing is held"),))
        closer, position = self._closer, self.find(name)
        first = self._next_order(position)
        if position.state is PositionState.UNCERTAIN:
            position = closer.finish(position.position_id)
        if position.state is PositionState.UNCERTAIN:
            return self._finish(position.position_id, Progress(uncertain=True), first=first)
        position_id = position.position_id
        met = Met()
        with self._in_a_hurry() if emergency else nullcontext():
            met = closer.meet(position, whole=take_over or fraction == ONE)
        if met.strange and not emergency:
            return Refused(met.strange, met.taken)
        position = self._desk.store.positions.get(position_id)
        if position.state.final:
            return replace(self._finish(position_id, Progress(), first=first), warnings=met.taken)
        if not emergency:
            closer.renew(position)
        planned = closer.plan(position, fraction)
        if isinstance(planned, Refused):
            return planned
        closer.decide(planned)
        costs = closer.costs(position)
        began = self._began(first, flat=not planned.keep)
        result = self._walk(position_id, closer.walk(planned, emergency=emergency), began=began)
        return replace(result, warnings=(*met.taken, *costs))

    @contextmanager
    def _in_a_hurry(self) -> Iterator[None]:
        """Reads that end soon, and that an emergency can do without."""
        with passing_over(self._desk), self._desk.hurried():
            yield

    def is_over(self, name: str) -> bool:
        """Whether this is the id of a position that has ended."""
        try:
            return self._desk.store.positions.get(name).state.final
        except LookupError:
            return False

    def ended(self, position_id: str) -> TradeResult:
        """What became of a position that is over."""
        after = self._desk.store.intents.next_seq(position_id)
        return trade_result(self._desk, position_id, progress=Progress(), first=after)

    def held(self) -> tuple[PositionRecord, ...]:
        """Every position that is not over."""
        return self._desk.store.positions.active()

    def find(self, name: str) -> PositionRecord:
        """The active position with this id or base coin; ``ConfigError`` if there is none."""
        positions = self._desk.store.positions
        if name.startswith("p-"):
            for position in positions.active():
                if position.position_id == name:
                    return position
        else:
            held = positions.active_for(name.upper())
            if held is not None:
                return held
        for position in positions.active():
            if name.upper() in {position.perp_symbol, position.perp_symbol.removesuffix(QUOTE)}:
                raise _no_coin(name, position.base)
        message = f"there is no open position {name}"
        raise ConfigError(message)

    def _already_held(self, held: PositionRecord | None, *, add: bool) -> Reason | None:
        if held is None:
            return Reason("not_open", "there is nothing to add to") if add else None
        if not add:
            return Reason("already_open", f"{held.position_id} is open in {held.base}; use --add to grow it")
        if held.state is not PositionState.HEDGED:
            return Reason("not_hedged", f"{held.position_id} is {held.state}, so nothing is added")
        return None

    def _sized(
        self,
        pair: Pair,
        notional: Decimal,
        *,
        snapshot: MarketSnapshot,
        held: PositionRecord | None,
        expected: Yield | None,
    ) -> OpenPlan | Refused:
        """Quantities of both legs, then every rule of risk at once."""
        desk = self._desk
        spot, perp = snapshot.spot[pair.spot.symbol], snapshot.perp[pair.perp.symbol]
        fees = self._preflight.fees(pair)
        frame = sizing.Frame(pair=pair, spot_price=spot.ask, perp_price=perp.bid, fee=fees.in_base)
        dust = self._dust(pair) if held is None else ZERO
        book = Book(held.spot_owned, held.contracts) if held is not None else Book(dust, ZERO)
        entry = sizing.plan_entry(frame, notional, max_clip=desk.rules.limits.max_clip, book=book)
        if isinstance(entry, Refused):
            reasons = list(entry.reasons)
        else:
            reasons = self._stranded(pair, book.spot_owned + entry.spot_net, bid=spot.bid)
        verdict, ahead = self._preflight.check(pair, notional, snapshot=snapshot, expected=expected)
        reasons += verdict.reasons if isinstance(verdict, Refused) else ()
        if reasons or isinstance(entry, Refused):
            return Refused(tuple(reasons), verdict.warnings)
        return OpenPlan(
            pair=pair,
            notional=cash(entry.perp_value),
            entry=entry,
            spot_mid=spot.mid,
            perp_mid=perp.mid,
            fees=fees,
            warnings=verdict.warnings,
            position=held,
            dust=dust,
            outlook=ahead,
        )

    def _stranded(self, pair: Pair, coins: Decimal, *, bid: Decimal) -> list[Reason]:
        """Why the coins could not be sold again after a small fall: an exit near the venue's least value."""
        price = bid * (ONE - self._desk.rules.limits.collar)
        sale, least = sellable_again(pair.spot, coins, price=price)
        if sale >= least:
            return []
        text = f"a sale of {plain(sale)} {pair.base} at the exit would be below the venue's smallest order"
        return [Reason("below_exit_minimum", f"{text} of {plain(least)} after a small fall of the price")]

    def _dust(self, pair: Pair) -> Decimal:
        """Coins that earlier positions left below the minimum, as far as they are still in the wallet."""
        dust = self._desk.store.ledger.dust(pair.base).quantity
        return max(min(dust, self._desk.exchange.wallet().owned(pair.base)), ZERO) if dust else ZERO

    def _leverage(self, pair: Pair) -> Decimal:
        return min(self._desk.rules.limits.leverage, pair.perp.max_leverage)

    def _write_plan(self, plan: OpenPlan) -> PositionRecord:
        """The committed position row, PLANNED (or HEDGED with a new goal when adding)."""
        store, target = self._desk.store, plan.entry.clips[-1]
        with store.transaction(before=Point.POSITION_BEFORE_COMMIT, after=Point.POSITION_AFTER_COMMIT):
            if plan.position is not None:
                held = plan.position
                store.positions.update(
                    held.position_id,
                    goal=Goal.ADD,
                    target_contracts=target,
                    notional=held.notional + plan.notional,
                    decision_spot_mid=plan.spot_mid,
                    decision_perp_mid=plan.perp_mid,
                )
                return store.positions.get(held.position_id)
            position = PositionRecord(
                position_id=f"p-{self._desk.ids.plan_id()}",
                base=plan.pair.base,
                spot_symbol=plan.pair.spot.symbol,
                perp_symbol=plan.pair.perp.symbol,
                multiplier=plan.pair.multiplier,
                state=PositionState.PLANNED,
                goal=Goal.OPEN,
                notional=plan.notional,
                target_contracts=target,
                spot_owned=ZERO,
                contracts=ZERO,
                leverage=self._leverage(plan.pair),
                decision_spot_mid=plan.spot_mid,
                decision_perp_mid=plan.perp_mid,
                created_at=self._desk.clock.now(),
            )
            store.positions.add(position)
            if plan.dust:
                store.ledger.move_dust(position, -plan.dust, at=position.created_at)
                position = store.positions.add_quantities(
                    position.position_id, spot=plan.dust, contracts=ZERO
                )
        return position

    def _next_order(self, position: PositionRecord | None) -> int:
        """The number that the plan's next order will have."""
        return 1 if position is None else self._desk.store.intents.next_seq(position.position_id)

    def _began(self, first: int, *, flat: bool = False) -> Began:
        """A walk begins now."""
        return Began(first=first, event=self._desk.store.events.newest_id(), flat=flat)

    def _walk(self, position_id: str, walk: Callable[[], Progress], *, began: Began) -> TradeResult:
        """The clips, then the result; from here on a failed read is no error but a reason."""
        try:
            progress = walk()
        except Unavailable as error:
            progress = Progress([unread(self._desk, error)])
        self._second.look(position_id, progress, began=began)
        return self._finish(position_id, progress, first=began.first)

    def _finish(self, position_id: str, progress: Progress, *, first: int) -> TradeResult:
        try:
            settle(self._desk, position_id)
            rest(self._desk, position_id)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
        return trade_result(self._desk, position_id, progress=progress, first=first)


def _require_coin(name: str, pairing: Pairing) -> None:
    """``ConfigError`` that names the coin where a contract or a symbol was named: ``1000PEPE`` is a contract
    on PEPE.
    """
    pair = pairing.find(name)
    coins = {pair.base} if pair is not None else {item.base for item in pairing.refusals(name)}
    if coins and name not in coins:
        raise _no_coin(name, coins.pop())


def _no_coin(name: str, coin: str) -> ConfigError:
    return ConfigError(Problem("BASE", f"{name} is the name of a contract, not of a coin", f"write {coin}"))
