"""Repairs: bringing a position's book to what really happened to it, and naming the way it goes from there.

What the venue took is booked always. What a hand closed or sold is booked by policy, by a person's answer or
by a close of all that is left, and a person is told of it by whoever finds it first. What a fundarb's order
without a row traded is booked by a person's answer alone, both legs of it at once.
Each booking stands in one transaction with the goal that follows from it (grow back, or reduce), so that
whoever is killed here goes on in the same direction. Strangers' contracts and coins beyond ours are never
touched; nothing here sends an order: that is the hedger's, once the book is true.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.events import AlertRaised, MismatchRepaired
from fundarb.core.market import Category
from fundarb.core.money import CASH_STEP, ZERO, cash, floor_to, plain
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.releases import RELEASE_PREFIX
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.engine.alerts import alert_once, freeze
from fundarb.engine.booking import book_execution, quantities
from fundarb.engine.compare import Choice, VenueFacts
from fundarb.engine.desk import Desk
from fundarb.engine.explain import Explained, Outflow, Run, outflow_of, run_of
from fundarb.engine.set_aside import set_aside
from fundarb.store.ledger_tables import RowState

_SETTLED = frozenset({PositionState.HEDGED, PositionState.EXPOSED})
_NOT_A_LOSS = frozenset({RowState.MATCHED, RowState.WAITING, RowState.OPENING})
BY_HAND: Final = frozenset({"perp_size", "foreign_position", "spot_short"})
"""The kinds of differences, and codes of alerts, about a leg that a hand has traded."""
COINS_TAKEN: Final = "coins_taken"
"""The code of the alert about coins that the venue took; its subject is the booking's key."""
_WAY: Final[Mapping[Choice, str]] = {
    Choice.ADOPT: "the other leg is reduced to match",
    Choice.REHEDGE: "the missing leg is restored",
    Choice.UNWIND: "the other leg is reduced to match",
}
_ALL: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One thing that was mended: its kind, and the position as it is then."""

    kind: str
    symbol: str
    action: str
    position: PositionRecord

    @property
    def position_id(self) -> str:
        """Whose."""
        return self.position.position_id

    @property
    def base(self) -> str:
        """The coin."""
        return self.position.base

    @property
    def state(self) -> PositionState:
        """What it is now."""
        return self.position.state


class Repairer:
    """Books what others did to our positions."""

    def __init__(self, desk: Desk) -> None:
        """At one desk."""
        self._desk = desk

    # ---------------------------------------------------------------------------------------- explaining

    def explain(self, facts: VenueFacts) -> Mapping[str, Explained]:
        """By position id: why the venue holds less, or more, than our orders made; positions that agree are
        missing. With an order under way nothing is explained: its fill may be the difference.
        """
        store = self._desk.store
        busy = {intent.position_id for intent in store.intents.open()}
        sizes = {report.symbol: report.size for report in facts.positions}
        balances = store.ledger.balances()
        found = {}
        for position in store.positions.active():
            if position.position_id in busy:
                continue
            size, owned = sizes.get(position.perp_symbol, ZERO), facts.wallet.owned(position.base)
            run, outflow = self._run(position, size), None
            missing = position.spot_owned - max(owned, ZERO)
            if missing > self._desk.rules.tolerance:
                gap = owned - balances.get(position.base, ZERO)
                if abs(gap) <= self._desk.rules.tolerance:
                    settled = self._settled(position)
                    outflow = outflow_of(self._rows(position), missing, settled=settled)
            if run or outflow is not None:
                found[position.position_id] = Explained(
                    run=run, outflow=outflow, long=size > ZERO, owing=owned < ZERO
                )
        return found

    def explain_now(self) -> Mapping[str, Explained]:
        """The same of what the venue holds now; ``Unavailable`` if that cannot be read."""
        exchange = self._desk.exchange
        facts = VenueFacts(positions=exchange.positions(), wallet=exchange.wallet(), orders=(), recent=())
        return self.explain(facts)

    def _run(self, position: PositionRecord, size: Decimal) -> Run:
        """The strangers' fills that are the difference, or as much of it as concerns our contracts."""
        difference = size + position.contracts
        if not difference:
            return ()
        rows = self._desk.store.executions.of_strangers(
            Category.LINEAR, position.perp_symbol, since=position.created_at
        )
        contracts = position.contracts
        found = run_of(rows, difference, contracts=contracts)
        return found or run_of(rows, min(difference, contracts), contracts=contracts)

    def _rows(self, position: PositionRecord) -> list[Transaction]:
        """The coin's log rows that are no fills of ours."""
        log = self._desk.store.ledger.log
        rows = log.of_coin(position.base, since=position.created_at)
        states = log.states(row.key for row in rows)
        return [row for row in rows if states.get(row.key) not in _NOT_A_LOSS]

    def _settled(self, position: PositionRecord) -> datetime | None:
        """Until when coins that the venue took from a position have been booked; None if none ever were."""
        read, prefix = self._desk.store.ledger.read, f"{RELEASE_PREFIX}{position.position_id}:"
        last = read.journal(f"{prefix}{read.count_keys(prefix)}")
        return None if last is None else last.at

    # ------------------------------------------------------------------------------------------- booking

    def book_known(self, explained: Mapping[str, Explained], *, policy: Choice | None) -> tuple[Repair, ...]:
        """What is repaired without a person: the venue's acts always, hands by policy (``None``: not). Of a
        position that is to be closed whole nobody is asked what becomes of a leg that is gone, unless it is
        an orphan's. A leg is not restored where that would only trade away what a hand holds instead.
        """
        repairs = []
        for position_id, why in explained.items():
            position = self._desk.store.positions.get(position_id)
            if position.state not in _SETTLED:
                continue
            outflow, choice = why.outflow, Choice.UNWIND if position.goal is Goal.CLOSE else policy
            if outflow is not None and outflow.forced:
                repairs.append(self._taken(position, outflow))
            if choice is None or why.orphaned:
                continue
            anew = choice is Choice.REHEDGE
            if outflow is not None and outflow.by_hand and not (anew and why.owing):
                repairs.append(self.sold_by_hand(position_id, outflow, choice=choice))
            if why.closed > ZERO and not (anew and why.long):
                repairs.append(self.traded_by_hand(position_id, why, choice=choice))
        return tuple(repairs)

    def answered(self, position_id: str, why: Explained, *, leg: Leg, choice: Choice) -> bool:
        """Whether a leg is booked as a person has answered; an orphan's trade with its other half, as both
        are one walk's.
        """
        outflow, store = why.outflow, self._desk.store
        sold = outflow is not None and (leg is Leg.SPOT or (why.orphaned and outflow.by_hand > ZERO))
        traded = bool(why.fills) and (leg is Leg.PERP or why.orphaned)
        with store.transaction(before=Point.REPAIR_BEFORE_COMMIT, after=Point.REPAIR_AFTER_COMMIT):
            if outflow is not None and sold:
                self.sold_by_hand(position_id, outflow, choice=choice)
            if traded:
                self.traded_by_hand(position_id, why, choice=choice)
        return sold or traded

    def _taken(self, position: PositionRecord, outflow: Outflow) -> Repair:
        """The venue took coins of ours: booked, alerted, the coin frozen; the perp is reduced to match."""
        store, words = self._desk.store, ", ".join(outflow.words) or "fees in this coin"
        text = (
            f"the venue took {plain(outflow.forced)} {position.base} ({words}): the perp is reduced to match"
        )
        with store.transaction(before=Point.REPAIR_BEFORE_COMMIT, after=Point.REPAIR_AFTER_COMMIT):
            key = self._release(position, outflow.forced, outflow=outflow, choice=Choice.UNWIND)
            freeze(store, position.base, reason=text)
            alert_once(store, COINS_TAKEN, subject=key, message=f"{position.position_id}: {text}")
            return self._done("spot_short", position.base, action=text, position_id=position.position_id)

    def sold_by_hand(self, position_id: str, outflow: Outflow, *, choice: Choice) -> Repair:
        """Coins of ours went by hand: booked, and the way that the choice says."""
        store = self._desk.store
        with store.transaction(before=Point.REPAIR_BEFORE_COMMIT, after=Point.REPAIR_AFTER_COMMIT):
            position = store.positions.get(position_id)
            self._release(position, outflow.by_hand, outflow=outflow, choice=choice)
            self._set_aside(position_id)
            text = f"{plain(outflow.by_hand)} {position.base} gone by hand"
            self._tell(position, "spot_short", text=f"{text}: {_WAY[choice]}", since=outflow.at)
            action = f"{text}: {choice}"
            return self._done("spot_short", position.base, action=action, position_id=position_id)

    def traded_by_hand(self, position_id: str, why: Explained, *, choice: Choice) -> Repair:
        """Contracts of ours were closed (or added) by hand: the fills become ours, and the way that the
        choice says.
        """
        store = self._desk.store
        with store.transaction(before=Point.REPAIR_BEFORE_COMMIT, after=Point.REPAIR_AFTER_COMMIT):
            before = store.positions.get(position_id)
            for row, rest in why.run:
                if rest is not None:
                    store.executions.divide(row, rest)
                position = store.positions.get(position_id)
                book_execution(store, row, position=position, leg=Leg.PERP, forced=True)
            self.aim(position_id, choice, contracts=before.contracts)
            self._set_aside(position_id)
            text = f"{plain(why.closed)} {before.perp_symbol} traded by hand"
            self._tell(before, "perp_size", text=f"{text}: {_WAY[choice]}", since=why.fills[-1].time)
            action = f"{text}: {choice}"
            return self._done("perp_size", before.perp_symbol, action=action, position_id=position_id)

    def _set_aside(self, position_id: str) -> None:
        """A hand that leaves nothing of a position has left its coin."""
        position = self._desk.store.positions.get(position_id)
        if position.goal is Goal.CLOSE:
            set_aside(self._desk.store, position.base, reason="closed by hand at the venue")

    def _tell(self, position: PositionRecord, code: str, *, text: str, since: datetime | None) -> None:
        """A leg was naked until now: a person is told, unless a walk has told of it ``since`` it went."""
        store = self._desk.store
        symbol = position.base if code == "spot_short" else position.perp_symbol
        rows = store.events.after(0, _ALL, kind="alert_raised", since=since)
        told = [json.loads(row.payload) for row in rows]
        if not any(one["code"] in BY_HAND and one["subject"] == symbol for one in told):
            message = f"{position.base}: {text}"
            store.events.record(AlertRaised(code=code, subject=symbol, message=message))

    def _release(
        self, position: PositionRecord, quantity: Decimal, *, outflow: Outflow, choice: Choice
    ) -> str:
        """Hand coins over to the pool, from which the venue's own row has taken them."""
        store = self._desk.store
        key = store.ledger.release(
            position,
            quantity,
            price=outflow.price or self._price(position),
            at=max(outflow.at or self._desk.clock.now(), self._had(position, quantity)),
            fact=outflow.words[0] if outflow.words else "FEES",
        )
        store.positions.add_quantities(position.position_id, spot=-quantity, contracts=ZERO)
        self.aim(position.position_id, choice, contracts=position.contracts)
        return key

    def _had(self, position: PositionRecord, quantity: Decimal) -> datetime:
        """Since when it had so many coins: before that none of them can have gone."""
        owned, at = ZERO, position.created_at
        for row in self._desk.store.executions.of_position(position.position_id):
            if owned >= quantity:
                break
            if row.category is Category.SPOT and row.kind.trades:
                owned, at = owned + quantities(row, position, leg=Leg.SPOT)[0], row.time
        return at

    def _price(self, position: PositionRecord) -> Decimal:
        """What a coin is worth, as last seen; at what the position has it on average where nobody ever
        looked.
        """
        seen = self._desk.market.spot_mid(position.spot_symbol) or self._desk.store.ledger.price(
            position.base
        )
        held = self._desk.store.ledger.read.holding(holding_key(position, Leg.SPOT))
        return seen or held.average or ZERO

    def aim(self, position_id: str, choice: Choice, *, contracts: Decimal) -> PositionRecord:
        """Write down where a position goes from here: back to ``contracts``, or down to what both legs
        have; one that is being closed whole goes on to nothing.
        """
        positions = self._desk.store.positions
        position = positions.get(position_id)
        if choice is Choice.REHEDGE:
            target = max(contracts, position.contracts)
            return positions.update(position_id, goal=Goal.ADD, target_contracts=target)
        covered = floor_to(position.spot_owned / position.multiplier, CASH_STEP)
        target = ZERO if position.goal is Goal.CLOSE else min(position.contracts, covered)
        share = position.notional
        if position.goal is Goal.REDUCE:  # of both legs something went: the first has cut the share already
            contracts = min(contracts, position.target_contracts)
        if target and contracts:
            share = min(share, cash(share * target / contracts))
        goal = Goal.REDUCE if target else Goal.CLOSE
        return positions.update(position_id, goal=goal, target_contracts=target, notional=share)

    def _done(self, kind: str, symbol: str, *, action: str, position_id: str) -> Repair:
        store = self._desk.store
        store.events.record(MismatchRepaired(mismatch=kind, symbol=symbol, action=action))
        return Repair(kind=kind, symbol=symbol, action=action, position=store.positions.get(position_id))
