"""Results as JSON knows them: the command line's keys, decimals in plain notation, times ISO 8601, nothing
inexact.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from fundarb.core.instants import iso
from fundarb.core.money import cash, derived, plain
from fundarb.core.reasons import Reason
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.compare import Mismatch
from fundarb.engine.decide import Decided
from fundarb.engine.outcome import LegResult, Reached, TradeResult
from fundarb.engine.outlook import Outlook
from fundarb.engine.reconcile import ReconcileResult
from fundarb.engine.trade import OpenPlan

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"
Document: TypeAlias = "dict[str, Json]"


def number(value: Decimal | None) -> str | None:
    """A decimal in plain notation; None stays None."""
    return None if value is None else plain(value)


def moment(value: datetime | None) -> str | None:
    """An instant in ISO 8601; None stays None."""
    return None if value is None else iso(value)


def reasons(items: Iterable[Reason]) -> list[Json]:
    """Reasons as ``{code, message}``."""
    return [{"code": item.code, "message": item.message} for item in items]


def order(intent: IntentRecord) -> Document:
    """One order of ours."""
    return {
        "link_id": intent.link_id,
        "order_id": intent.order_id,
        "seq": intent.seq,
        "leg": intent.leg.value,
        "purpose": intent.purpose.value,
        "side": intent.side.value,
        "quantity": plain(intent.quantity),
        "filled": plain(intent.filled),
        "average_price": number(intent.average_price),
        "state": intent.state.value,
        "message": intent.message,
    }


def _leg(leg: LegResult, *, quantity_key: str) -> Document:
    return {
        "symbol": leg.symbol,
        quantity_key: plain(leg.quantity),
        "average_price": number(leg.average_price),
        "fees": [
            {"coin": fee.coin, "amount": plain(fee.amount), "value_quote": number(fee.value_quote)}
            for fee in leg.fees
        ],
    }


def trade(result: TradeResult) -> Document:
    """The ``data`` of ``open`` and ``close``."""
    position = result.position
    return {
        "position_id": position.position_id,
        "base": position.base,
        "state": position.state.value,
        "spot": _leg(result.spot, quantity_key="quantity"),
        "perp": _leg(result.perp, quantity_key="contracts"),
        "delta": plain(result.delta),
        "drift": plain(result.drift),
        "lot": number(result.lot),
        "notional": plain(position.notional),
        "orders": [order(intent) for intent in result.orders],
        "plan": {
            "goal": position.goal.value,
            "target_contracts": plain(position.target_contracts),
            "multiplier": plain(position.multiplier),
            "leverage": plain(position.leverage),
            "entry_basis": number(result.entry_basis),
        },
    }


def plan(planned: OpenPlan) -> Document:
    """The ``data`` of ``open --dry-run``: the same keys, nothing sent; fees as they are to be expected."""
    entry, pair, fees = planned.entry, planned.pair, planned.fees
    held, basis = planned.position, planned.perp_mid / (pair.multiplier * planned.spot_mid) - 1
    return {
        "position_id": None if held is None else held.position_id,
        "base": pair.base,
        "state": PositionState.PLANNED.value,
        "spot": {
            "symbol": pair.spot.symbol,
            "quantity": plain(entry.spot_buy),
            "average_price": plain(planned.spot_mid),
            "fees": _expected(
                pair.base if fees.in_base else "",
                entry.spot_buy * fees.spot.taker,
                value=entry.spot_value * fees.spot.taker,
            ),
        },
        "perp": {
            "symbol": pair.perp.symbol,
            "contracts": plain(entry.contracts),
            "average_price": plain(planned.perp_mid),
            "fees": _expected(
                pair.perp.settle_coin,
                entry.perp_value * fees.perp.taker,
                value=entry.perp_value * fees.perp.taker,
            ),
        },
        "delta": plain(entry.excess),
        "drift": plain(derived(abs(entry.excess) / entry.spot_net)) if entry.spot_net else "0",
        "lot": plain(derived(entry.lot)),
        "notional": plain(planned.notional),
        "orders": [],
        "plan": {
            "clips": [plain(clip) for clip in entry.clips],
            "spot_value": plain(entry.spot_value),
            "perp_value": plain(entry.perp_value),
            "spot_net": plain(entry.spot_net),
            "fee_in_base": plain(fees.in_base),
            "entry_basis": plain(derived(basis)),
            "multiplier": plain(pair.multiplier),
            "margin": None if planned.outlook is None else _margin(planned.outlook),
        },
    }


def _margin(ahead: Outlook) -> Document:
    """How the margin stands after the entry: liquidation prices per contract, the stress without
    collateral.
    """
    prices = {"liquidation_price": ahead.liquidation, "liquidation_price_bare": ahead.bare}
    return {
        **{key: None if price is None else plain(derived(price)) for key, price in prices.items()},
        "stress": [
            {"rise": plain(item.shock), "rate": None if item.rate is None else plain(derived(item.rate))}
            for item in ahead.stress
        ],
    }


def _expected(coin: str, amount: Decimal, *, value: Decimal) -> list[Json]:
    """The fee that a leg is expected to pay; none is named where another coin will pay it."""
    if not coin:
        return []
    return [{"coin": coin, "amount": plain(cash(amount)), "value_quote": plain(cash(value))}]


def close_plan(position: PositionRecord, keep: Decimal) -> Document:
    """The ``data`` of ``close --dry-run``: what is held now, and what would be left."""
    short = position.contracts * position.multiplier
    size = max(position.spot_owned, short)
    delta = position.spot_owned - short
    return {
        "position_id": position.position_id,
        "base": position.base,
        "state": PositionState.PLANNED.value,
        "spot": {
            "symbol": position.spot_symbol,
            "quantity": plain(position.spot_owned),
            "average_price": None,
            "fees": [],
        },
        "perp": {
            "symbol": position.perp_symbol,
            "contracts": plain(position.contracts),
            "average_price": None,
            "fees": [],
        },
        "delta": plain(delta),
        "drift": plain(derived(abs(delta) / size)) if size else "0",
        "lot": None,
        "notional": plain(position.notional),
        "orders": [],
        "plan": {"keep_contracts": plain(keep), "close_contracts": plain(position.contracts - keep)},
    }


def mismatch(item: Mismatch) -> Document:
    """One difference; ``from_books``: no figure of it is the venue's."""
    return {
        "id": item.id,
        "kind": item.kind,
        "symbol": item.symbol,
        "expected": plain(item.expected),
        "found": number(item.found),
        "difference": number(item.difference),
        "tolerance": plain(item.tolerance),
        "action": item.action,
        "answers": [choice.value for choice in item.choices],
        "from_books": item.from_books,
    }


def reconcile(result: ReconcileResult) -> Document:
    """The ``data`` of ``reconcile``."""
    checked = result.checked
    return {
        "checked": {
            "positions": checked.positions,
            "balances": checked.balances,
            "orders": checked.orders,
            "executions": checked.executions,
            "ledger_rows": checked.ledger_rows,
        },
        "resolved": [order(intent) for intent in result.resolved],
        "mismatches": [mismatch(item) for item in result.mismatches],
        "repaired": [
            {
                "position_id": item.position_id,
                "base": item.base,
                "state": item.state.value,
                "kind": item.kind,
                "symbol": item.symbol,
                "action": item.action,
            }
            for item in result.repaired
        ],
        "taken": reasons(result.taken),
        "ignored": [mismatch(item) for item in result.ignored],
        "clean": result.clean,
        "not_compared": None if result.unread is None else str(result.unread),
    }


def decided(result: Decided) -> Document:
    """The ``data`` of ``resolve``: the walk after it, with the answered difference as it was."""
    return {
        "id": result.mismatch.id,
        "answer": result.choice.value,
        "settled": result.settled,
        "mismatch": mismatch(result.mismatch),
        **reconcile(result.after),
    }


def book_now(result: TradeResult) -> str:
    """What the book is now, in one sentence, and what to do next."""
    position = result.position
    book = (
        f"{plain(position.spot_owned)} {position.base} against "
        f"{plain(position.contracts)} {position.perp_symbol} short"
    )
    if result.reached is Reached.UNCERTAIN:
        live = ", ".join(item.link_id for item in result.orders if not item.state.terminal)
        what = f"{live or 'an order'} may be live"
        return f"{position.position_id}: {what} ({book} as far as known); run `fundarb reconcile` next"
    if position.state is PositionState.EXPOSED:
        return f"{position.position_id} is EXPOSED ({book}); run `fundarb reconcile --repair` next"
    if position.state.final:
        return f"{position.position_id} is {position.state}: nothing is held"
    return f"{position.position_id} is {position.state}: {book}"
