"""The account's worth at an instant: every coin of the wallet at its spot mid (without one at the venue's own
word), every perp at its mark, in quote.

The venue's wallet and the ledger's are valued at the very same prices, so that what remains between them
(``gap``) is a missing fact and never a difference of prices. Points are kept and found again in
``equity_points``; the identity over a span is ``tie``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.ledger import DUST, POOL, QUOTE_COINS, Account, Holding, HoldingKey
from fundarb.core.market import MarketSnapshot
from fundarb.core.money import ONE, ZERO, derived
from fundarb.core.postings import settle_coin
from fundarb.engine.ports import MarketData, Trading
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityPoint:
    """The account at one instant, in quote.

    ``equity`` is the venue's wallet and positions at this moment's prices, ``unrealised`` what the
    ledger's holdings would gain at them (of which ``by_position`` is ours), ``booked_until`` the last
    journal that was booked then. ``tied``: the ledger held exactly the venue's coins, and with what
    strangers are known to have traded its contracts. Where it did not, ``gap`` is what the venue held beyond
    the ledger, and ``pending`` the part of it that the log shows and that waits to be booked; such a point
    is provisional and nothing is reckoned from it.

    ``venue_equity`` is the venue's own figure (USD, its own index prices) for comparison; ``unpriced`` names
    what has no price of within a day: coins of the pool at the last one, or at book value if there never was
    one, ours without a gain. ``unknown`` are the positions of ours whose result cannot be told for that
    reason; a point with one is provisional as well. ``prices`` are those of coins that belong to no
    position. ``others`` is what single coins and contracts of no position would lose in sum (≤ 0), and what
    they would gain; None in a point that does not say.
    """

    at: datetime
    equity: Decimal
    unrealised: Decimal
    booked_until: int
    by_position: Mapping[str, Decimal] = field(default_factory=dict)
    tied: bool = True
    gap: Decimal = ZERO
    pending: Decimal = ZERO
    venue_equity: Decimal | None = None
    unpriced: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    others: tuple[Decimal, Decimal] | None = None

    @property
    def positions_unrealised(self) -> Decimal:
        """The unrealised result of all our positions and their dust."""
        return sum(self.by_position.values(), ZERO)

    @property
    def ours_unrealised(self) -> Decimal:
        """The unrealised result of our positions alone."""
        return self.positions_unrealised - self.by_position.get(DUST, ZERO)

    @property
    def others_unrealised(self) -> Decimal:
        """The unrealised result of coins and contracts that belong to no position of ours."""
        return self.unrealised - self.positions_unrealised

    @property
    def others_range(self) -> tuple[Decimal, Decimal]:
        """The least and the most that can be realised of it without a change of prices."""
        return self.others or (min(self.others_unrealised, ZERO), max(self.others_unrealised, ZERO))


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


def wallet_prices(wallet: Wallet) -> dict[str, Decimal]:
    """What the venue says one unit of each coin is worth, for coins that are no quote coins; those without a
    value left out. It says dollars; what USDT is worth in them it says of the wallet's own.
    """
    quote = wallet.coins.get("USDT")
    dollars = quote.usd_value / quote.equity if quote and quote.usd_value and quote.equity >= ONE else ONE
    return {
        coin: derived(balance.usd_value / balance.equity / dollars)
        for coin, balance in wallet.coins.items()
        if coin not in QUOTE_COINS and balance.usd_value and balance.equity
    }


def measure(store: Store, market: MarketData, *, trading: Trading, at: datetime) -> EquityPoint:
    """Read market and account and value them; ``Unavailable`` if either cannot be read."""
    prices = Prices.of(market.snapshot())
    wallet, reports = trading.wallet(), trading.positions()
    with store.reading():
        return value(store, prices, wallet=wallet, reports=reports, at=at)


def value(
    store: Store, prices: Prices, *, wallet: Wallet, reports: Iterable[PositionReport], at: datetime
) -> EquityPoint:
    """Value the account and the ledger at the same prices."""
    read = store.ledger.read
    holdings, owned, booked_until = read.holdings(), store.ledger.balances(), read.last_id()
    perps = _perps(store, holdings, prices=prices, reports=reports)
    equity, worth = perps.venue, perps.ledger
    known = wallet_prices(wallet) | dict(prices.coins)
    unpriced, off = [], {}
    for coin in sorted({*owned, *wallet.coins}):
        there, here = wallet.owned(coin), owned.get(coin, ZERO)
        price = known.get(coin) or store.ledger.price_near(coin, at)
        if price is None and (there or here):
            unpriced.append(coin)
            price = store.ledger.price(coin)
        if there != here:
            off[coin] = (there - here, price or ZERO)
        if price is None:
            cost = sum((held.cost for key, held in holdings.items() if key.asset == coin), ZERO)
            equity, worth = equity + cost, worth + cost
            continue
        equity += there * price
        worth += here * price
    unmarked = _unmarked(holdings, prices)
    unknown = frozenset(key.owner for key in unmarked) - {DUST}
    return EquityPoint(
        at=at,
        equity=equity,
        unrealised=worth - book_value(read.sums()),
        booked_until=booked_until,
        by_position=unrealised_by_position(store, holdings, prices=prices),
        tied=not (off or perps.off or unknown),
        gap=equity - worth,
        pending=_pending(store, off, perps=perps) if off or perps.off else ZERO,
        venue_equity=wallet.total_equity,
        unpriced=tuple(sorted({*unpriced, *(key.asset for key in unmarked)})),
        unknown=unknown,
        prices={key.asset: known[key.asset] for key in holdings if key.owner == POOL and key.asset in known},
        others=_others(holdings, known, perps=perps, marks=prices.marks),
    )


def _others(
    holdings: Mapping[HoldingKey, Holding],
    known: Mapping[str, Decimal],
    *,
    perps: _Perps,
    marks: Mapping[str, Decimal],
) -> tuple[Decimal, Decimal]:
    """What coins and contracts of no position would lose in sum, and what they would gain."""
    parts = dict(perps.gains)
    for key, holding in holdings.items():
        if key.owner == POOL and key.asset in known:
            parts[key.asset] = parts.get(key.asset, ZERO) + holding.unrealised(known[key.asset])
        elif key.asset in parts and key.asset in marks:
            parts[key.asset] -= holding.unrealised(marks[key.asset])
    return sum((min(one, ZERO) for one in parts.values()), ZERO), sum(
        (max(one, ZERO) for one in parts.values()), ZERO
    )


def _pending(store: Store, off: Mapping[str, tuple[Decimal, Decimal]], *, perps: _Perps) -> Decimal:
    """What of a difference is known to be on its way into the ledger: rows of the log that wait for their
    execution, and settlements whose payment the log does not show yet.

    ``off`` is by coin how much more the venue holds, and the coin's price. A coin whose difference is not
    exactly the sum of what is on its way is explained by nothing.
    """
    waiting = store.ledger.log.waiting()
    rows: dict[str, Decimal] = {}
    for row in waiting:
        rows[row.coin] = rows.get(row.coin, ZERO) + row.change
    due: dict[str, Decimal] = {}
    for item in store.ledger.log.pending_settlements():
        coin = settle_coin(item.symbol)
        due[coin] = due.get(coin, ZERO) + (item.expected or ZERO)
    found = sum((perps.off.get(symbol, ZERO) for symbol in {row.symbol for row in waiting}), ZERO)
    for coin, (more, price) in off.items():
        coming, payments = rows.get(coin, ZERO), due.get(coin, ZERO)
        if more in {coming, payments, coming + payments}:
            found += more * price
    return found


def _unmarked(holdings: Mapping[HoldingKey, Holding], prices: Prices) -> set[HoldingKey]:
    """What our positions hold and what has no price now: their unrealised result cannot be told."""
    return {
        key
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
    """The unrealised result of all perps: as the venue's positions stand, and as the ledger's do; and by
    symbol the ledger's, and how much more the venue's is where the sizes differ.
    """

    venue: Decimal
    ledger: Decimal
    off: Mapping[str, Decimal]
    gains: Mapping[str, Decimal]


def _perps(
    store: Store,
    holdings: Mapping[HoldingKey, Holding],
    *,
    prices: Prices,
    reports: Iterable[PositionReport],
) -> _Perps:
    """Where sizes agree both sides are the ledger's own figure; a stranger's position is the venue's word
    on both sides, and so is ours together with what strangers are known to have traded beside it: the venue
    averages both.
    """
    ours: dict[str, Holding] = {}
    beside: dict[str, Decimal | None] = {}
    for key, holding in holdings.items():
        if key.owner not in {POOL, DUST} and key.asset in prices.marks and holding.quantity < 0:
            known = ours.get(key.asset, Holding())
            ours[key.asset] = Holding(known.quantity + holding.quantity, known.cost + holding.cost)
            beside[key.asset] = store.ledger.read.strangers_beside(key.owner, key.asset)
    there = {report.symbol: (report.size, report.unrealised_pnl) for report in reports}
    gains, off = {}, {}
    for symbol in sorted({*there, *ours}):
        size, told = there.get(symbol, (ZERO, ZERO))
        held, theirs = ours.get(symbol), beside.get(symbol)
        if held is None or (theirs is not None and size == held.quantity + theirs):
            gains[symbol] = told
            continue
        gains[symbol] = gain = held.unrealised(prices.marks[symbol])
        if size != held.quantity:
            off[symbol] = told - gain
    ledger = sum(gains.values(), ZERO)
    return _Perps(ledger + sum(off.values(), ZERO), ledger, off, gains)


def book_value(sums: Iterable[Sum]) -> Decimal:
    """What the ledger's wallets cost: minus the value of every account that makes a result, loans left
    out.
    """
    return -sum((item.value for item in sums if item.account is not Account.LOAN), ZERO)
