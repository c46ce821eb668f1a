"""The account's worth at an instant, and the identity that ties it to the ledger.

Equity is counted in quote: every coin of the wallet at its spot mid, every perp at its mark. The venue's
wallet and the ledger's are valued at the very same prices, so that what remains unexplained is a missing
fact and never a difference of prices.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.ledger import DUST, POOL, QUOTE_COINS, Account, Holding, HoldingKey
from fundarb.core.market import MarketSnapshot
from fundarb.core.money import ZERO, dec, plain
from fundarb.core.pnl import EMPTY, Pnl, TieOut, of_account
from fundarb.engine.ports import MarketData, Trading
from fundarb.store.database import Store
from fundarb.store.ledger_read import Sum
from fundarb.store.snapshots import Snapshot

SNAPSHOT_KIND: Final = "equity"
_OUTSIDE: Final = frozenset({Account.EXTERNAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """The account at one instant, in quote.

    ``equity`` is the venue's wallet and positions at this moment's prices, ``unrealised`` what the
    ledger's holdings would gain at them (of which ``by_position`` is ours), ``booked_until`` the last
    journal that was booked then. ``venue_equity`` is the venue's own figure (USD, its own index prices)
    for comparison; ``unpriced`` names what has no price now: coins of the
    pool at book value, ours without a gain. ``prices`` are those of coins that belong to no position.
    """

    at: datetime
    equity: Decimal
    unrealised: Decimal
    booked_until: int
    by_position: Mapping[str, Decimal] = field(default_factory=dict)
    venue_equity: Decimal | None = None
    unpriced: tuple[str, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def positions_unrealised(self) -> Decimal:
        """The unrealised result of all our positions and their dust."""
        return sum(self.by_position.values(), ZERO)

    @property
    def others_unrealised(self) -> Decimal:
        """The unrealised result of coins and contracts that belong to no position of ours."""
        return self.unrealised - self.positions_unrealised


@dataclass(frozen=True, slots=True)
class Prices:
    """What things are worth in quote now: coins at the mid of their spot pair, perps at mark."""

    coins: Mapping[str, Decimal]
    marks: Mapping[str, Decimal]

    @classmethod
    def of(cls, snapshot: MarketSnapshot) -> Prices:
        """From one snapshot; a coin has the price of its pair against USDT, else of the one against USDC."""
        coins: dict[str, Decimal] = {}
        for quote in ("USDC", "USDT"):
            coins |= {
                symbol.removesuffix(quote): row.mid
                for symbol, row in snapshot.spot.items()
                if symbol.endswith(quote)
            }
        coins |= dict.fromkeys(QUOTE_COINS, Decimal(1))
        return cls(coins, {symbol: row.mark for symbol, row in snapshot.perp.items()})


def measure(store: Store, market: MarketData, *, trading: Trading, at: datetime) -> EquityPoint:
    """Read market and account and value them; ``Unavailable`` if either cannot be read."""
    prices = Prices.of(market.snapshot())
    wallet, reports = trading.wallet(), trading.positions()
    with store.reading():
        return value(store, prices, wallet=wallet, reports=reports, at=at)


def take_snapshot(store: Store, market: MarketData, *, trading: Trading, at: datetime) -> EquityPoint:
    """Measure and keep a point of the equity curve; ``Unavailable`` if market or account cannot be read."""
    point = measure(store, market, trading=trading, at=at)
    keep(store, point)
    return point


def value(
    store: Store, prices: Prices, *, wallet: Wallet, reports: Iterable[PositionReport], at: datetime
) -> EquityPoint:
    """Value the account and the ledger at the same prices."""
    read = store.ledger.read
    holdings, owned, booked_until = read.holdings(), store.ledger.balances(), read.last_id()
    by_position = unrealised_by_position(store, holdings, prices=prices)
    perps = _perps(holdings, prices, reports=reports)
    equity = perps.venue
    worth = perps.ledger
    unpriced = []
    for coin in sorted({*owned, *wallet.coins}):
        price = prices.coins.get(coin) or store.ledger.price(coin)
        if price is None:
            unpriced.append(coin)
            cost = sum((held.cost for key, held in holdings.items() if key.asset == coin), ZERO)
            equity, worth = equity + cost, worth + cost
            continue
        equity += wallet.owned(coin) * price
        worth += owned.get(coin, ZERO) * price
    return EquityPoint(
        at=at,
        equity=equity,
        unrealised=worth - book_value(read.sums(booked_until=booked_until)),
        booked_until=booked_until,
        by_position=by_position,
        venue_equity=wallet.total_equity,
        unpriced=tuple(sorted({*unpriced, *_unmarked(holdings, prices)})),
        prices={key.asset: prices.coins[key.asset] for key in holdings if _priced_pool(key, prices)},
    )


def _priced_pool(key: HoldingKey, prices: Prices) -> bool:
    """Whether this is a coin of no position whose price is known."""
    return key.owner == POOL and key.asset in prices.coins


def _unmarked(holdings: Mapping[HoldingKey, Holding], prices: Prices) -> set[str]:
    """What our positions hold and what has no price now: it counts nothing in their unrealised result."""
    return {
        key.asset
        for key, holding in holdings.items()
        if key.owner != POOL
        and holding.quantity
        and not (key.asset in prices.coins or key.asset in prices.marks)
    }


def unrealised_by_position(
    store: Store, holdings: Mapping[HoldingKey, Holding], *, prices: Prices
) -> dict[str, Decimal]:
    """The unrealised result of each position's holdings, at mid and mark; a leg without a price counts
    nothing.
    """
    found: dict[str, Decimal] = {}
    perp_symbols = {position.position_id: position.perp_symbol for position in store.positions.all()}
    for key, holding in holdings.items():
        if key.owner == POOL:
            continue
        perp = key.asset == perp_symbols.get(key.owner)
        price = prices.marks.get(key.asset) if perp else prices.coins.get(key.asset)
        gain = holding.unrealised(price) if price is not None else ZERO
        found[key.owner] = found.get(key.owner, ZERO) + gain
    return found


@dataclass(frozen=True, slots=True)
class _Perps:
    """The unrealised result of all perps: as the venue's positions stand, and as the ledger's do."""

    venue: Decimal
    ledger: Decimal


def _perps(
    holdings: Mapping[HoldingKey, Holding], prices: Prices, *, reports: Iterable[PositionReport]
) -> _Perps:
    """Where sizes agree both sides are the ledger's own figure; a stranger's position is the venue's word
    on both sides.
    """
    ours: dict[str, Holding] = {}
    for key, holding in holdings.items():
        if key.owner not in {POOL, DUST} and key.asset in prices.marks and holding.quantity < 0:
            known = ours.get(key.asset, Holding())
            ours[key.asset] = Holding(known.quantity + holding.quantity, known.cost + holding.cost)
    venue = ledger = ZERO
    for report in reports:
        held = ours.pop(report.symbol, None)
        if held is None:
            venue, ledger = venue + report.unrealised_pnl, ledger + report.unrealised_pnl
            continue
        gain = held.unrealised(prices.marks[report.symbol])
        ledger += gain
        venue += gain if report.size == held.quantity else report.unrealised_pnl
    for symbol, held in ours.items():
        ledger += held.unrealised(prices.marks[symbol])
    return _Perps(venue, ledger)


def book_value(sums: Iterable[Sum]) -> Decimal:
    """What the ledger's wallets cost: minus the value of every account that makes a result, loans left
    out.
    """
    return -sum((item.value for item in sums if item.account is not Account.LOAN), ZERO)


# ------------------------------------------------------------------------------------------------ points


def keep(store: Store, point: EquityPoint) -> None:
    """Store a point for the equity curve, and what its coins were worth, so that fees paid in them can be
    valued.
    """
    payload = {
        "unrealised": plain(point.unrealised),
        "booked_until": point.booked_until,
        "by_position": {name: plain(amount) for name, amount in point.by_position.items()},
        "venue_equity": None if point.venue_equity is None else plain(point.venue_equity),
        "unpriced": list(point.unpriced),
    }
    with store.transaction():
        for coin, price in point.prices.items():
            store.ledger.set_price(coin, price)
        store.snapshots.add(point.at, SNAPSHOT_KIND, equity=point.equity, payload=json.dumps(payload))


def restored(snapshot: Snapshot) -> EquityPoint | None:
    """A stored point, None where its equity could not be known."""
    if snapshot.equity is None:
        return None
    payload = json.loads(snapshot.payload)
    venue = payload["venue_equity"]
    return EquityPoint(
        at=snapshot.at,
        equity=snapshot.equity,
        unrealised=dec(payload["unrealised"]),
        booked_until=payload["booked_until"],
        by_position={name: dec(amount) for name, amount in payload["by_position"].items()},
        venue_equity=None if venue is None else dec(venue),
        unpriced=tuple(payload["unpriced"]),
    )


def points(
    store: Store, *, since: datetime | None = None, until: datetime | None = None
) -> tuple[EquityPoint, ...]:
    """The stored equity curve, oldest first."""
    found = store.snapshots.between(SNAPSHOT_KIND, since=since, until=until)
    return tuple(point for point in map(restored, found) if point is not None)


def newest(store: Store, *, until: datetime | None = None) -> EquityPoint | None:
    """The newest stored point, of those before ``until``."""
    if until is None:
        found = store.snapshots.last(SNAPSHOT_KIND)
        return None if found is None else restored(found)
    stored = points(store, until=until)
    return stored[-1] if stored else None


def opening(store: Store) -> EquityPoint | None:
    """The point at which the books were opened: the opening balances at their value, nothing unrealised
    yet.
    """
    at = store.ledger.opened_at
    if at is None:
        return None
    number = store.ledger.opening_id
    return EquityPoint(
        at=at,
        equity=book_value(store.ledger.read.sums(booked_until=number)),
        unrealised=ZERO,
        booked_until=number,
    )


def tie_out(store: Store, start: EquityPoint, *, end: EquityPoint) -> TieOut:
    """The identity between two points: everything that was booked in between, in the order of booking."""
    result, external = EMPTY, ZERO
    for item in store.ledger.read.sums(booked_after=start.booked_until, booked_until=end.booked_until):
        if item.account in _OUTSIDE:
            external -= item.value
        else:
            result += of_account(item.account, item.coin, amount=item.amount, value=item.value)
    return TieOut(
        equity_start=start.equity,
        equity_end=end.equity,
        realised=result.realised,
        funding=result.funding,
        fees=result.fees,
        interest=result.interest,
        external=external,
        unrealised_change=end.unrealised - start.unrealised,
        suspense=result.suspense,
    )


def external_between(store: Store, after: int, *, until: int) -> Decimal:
    """Deposits less withdrawals booked between two journals, in quote."""
    sums = store.ledger.read.sums(booked_after=after, booked_until=until)
    return -sum((item.value for item in sums if item.account in _OUTSIDE), ZERO)


def sum_pnl(sums: Iterable[Sum]) -> dict[str | None, Pnl]:
    """The result by position id (None: of the account as a whole), unrealised left out."""
    found: dict[str | None, Pnl] = {}
    for item in sums:
        part = of_account(item.account, item.coin, amount=item.amount, value=item.value)
        found[item.position_id] = found.get(item.position_id, EMPTY) + part
    return found
