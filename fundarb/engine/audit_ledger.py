"""The invariant about the ledger: it is made of the facts, each once, and ties out to the account.

Whatever is kept beside the entries (running totals, holdings with their cost, what settlements received) is
derived again from them and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from fundarb.core.account import Wallet
from fundarb.core.ledger import QUOTE_COINS, Account, Holding, HoldingKey
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key
from fundarb.engine import audit_rows, equity_points
from fundarb.engine.audit_facts import Facts
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum


def ledger_ties(facts: Facts) -> Iterator[str]:
    """12: journals sum to zero, every fact is posted once, the chain of balances has no hole, the equity
    identity and the wallet hold.
    """
    store = facts.store
    for key in store.ledger.read.unbalanced():
        yield f"the journal {key} does not sum to zero"
    for place in store.ledger.read.drifted():
        yield f"the running total of {place} is not the sum of its entries"
    kept, totals = store.ledger.read.holdings(), store.ledger.read.totals()
    yield from _holdings(facts, kept)
    yield from _costs_of_contracts(facts, kept, totals=totals)
    yield from _costs_of_coins(kept, totals)
    yield from _settlements(store, totals)
    for position in facts.positions:
        traded = [row for row in facts.executions[position.position_id] if row.kind.trades]
        yield from audit_rows.executions_booked(store, position, rows=traded)
    yield from audit_rows.rows_booked(store)
    yield from audit_rows.settlements_follow(store)
    yield from audit_rows.marks_hold(facts)
    for gap in store.ledger.chain_breaks():
        yield f"{gap.coin}: the balance after {gap.key} is {plain(gap.found)}, {plain(gap.expected)} follows"
    count = Decimal(max(store.ledger.count(), 1))
    tolerance = facts.rules.per_posting * count
    yield from audit_rows.points_follow(store, tolerance)
    yield from _identity(store, tolerance)
    if facts.truth is not None:
        yield from _wallet(store, facts.truth.wallet, tolerance=tolerance)


def _holdings(facts: Facts, kept: Mapping[HoldingKey, Holding]) -> Iterator[str]:
    """What the ledger keeps under each position, and averages its cost over, is what the position holds."""
    for position in facts.positions:
        held = {Leg.SPOT: position.spot_owned, Leg.PERP: -position.contracts}
        for leg, quantity in held.items():
            key = holding_key(position, leg)
            found = kept[key].quantity if key in kept else ZERO
            if found != quantity:
                yield f"{key.owner}: the ledger keeps {plain(found)} {key.asset}, it holds {plain(quantity)}"


def _costs_of_contracts(
    facts: Facts, kept: Mapping[HoldingKey, Holding], *, totals: Sequence[Sum]
) -> Iterator[str]:
    """The cost of a position's contracts: what its executions were worth, and what they realised."""
    gained: defaultdict[str | None, Decimal] = defaultdict(lambda: ZERO)
    for item in totals:
        if item.account is Account.REALISED and item.leg is Leg.PERP:
            gained[item.position_id] -= item.value
    for position in facts.positions:
        rows = facts.executions[position.position_id]
        traded = [row for row in rows if row.kind.trades and row.category is Leg.PERP.category]
        worth = sum((row.side.sign * row.value for row in traded), ZERO)
        cost = kept.get(holding_key(position, Leg.PERP), Holding()).cost
        follows = worth + gained[position.position_id]
        if cost != follows:
            text = f"contracts at a cost of {plain(cost)}, {plain(follows)} follows"
            yield f"{position.position_id}: the ledger keeps {text}"


def _costs_of_coins(kept: Mapping[HoldingKey, Holding], totals: Sequence[Sum]) -> Iterator[str]:
    """The cost of all that is held of a coin, whoever holds it, is its book value in the wallet."""
    costs: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for item in totals:
        if item.account is Account.WALLET and item.coin not in QUOTE_COINS:
            costs[item.coin] += item.value
    for key, holding in kept.items():
        if key.asset in costs:
            costs[key.asset] -= holding.cost
    for coin, rest in sorted(costs.items()):
        if rest:
            yield f"{coin}: the wallet's book value is {plain(rest)} more than the cost of what is held"


def _settlements(store: Store, totals: Sequence[Sum]) -> Iterator[str]:
    """What the settlements of a position received is the funding in its books."""
    booked: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for item in totals:
        if item.account is Account.FUNDING and item.position_id is not None:
            booked[item.position_id] -= item.amount
    for settlement in store.ledger.log.settlements():
        booked[settlement.position_id] -= settlement.received or ZERO
    for position_id, rest in sorted(booked.items()):
        if rest:
            yield f"{position_id}: {plain(rest)} of funding is booked that no settlement received"


def _identity(store: Store, tolerance: Decimal) -> Iterator[str]:
    """Between the opening and the newest point that tied; and a later one that did not, unless what was
    missing has been booked since.
    """
    start, last = equity_points.opening(store), equity_points.newest(store)
    if start is None or last is None:
        return
    still_open = not last.tied and store.ledger.read.last_id() == last.booked_until
    end = last if still_open else equity_points.newest(store, tied_only=True)
    if end is not None:
        gap = equity_points.tie_out(store, start, end=end).unexplained
        if abs(gap) > tolerance:
            yield f"{plain(gap)} USDT of the equity of {end.at:%Y-%m-%d %H:%M} are not explained"


def _wallet(store: Store, wallet: Wallet, *, tolerance: Decimal) -> Iterator[str]:
    owned = store.ledger.balances()
    for coin in sorted({*owned, *wallet.coins}):
        gap = wallet.owned(coin) - owned.get(coin, ZERO)
        if abs(gap) > tolerance:
            yield (
                f"the wallet holds {plain(gap)} {coin} more than the ledger: "
                "`fundarb reconcile` reads what was not read yet"
            )
