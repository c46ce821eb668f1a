"""What coins that are no quote coins are worth while their facts are booked: the mid of their spot pair, else
the venue's word in the wallet. Owns no table; what is learned stands in the ledger with its time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import Transaction, Wallet
from fundarb.core.ledger import QUOTE_COINS
from fundarb.core.orders import Execution
from fundarb.core.postings import third_coin
from fundarb.core.transactions import MATCHED_KINDS, price_of
from fundarb.engine.equity import Prices, wallet_prices
from fundarb.engine.ports import MarketData, Trading
from fundarb.errors import Unavailable
from fundarb.store.database import Store


def wanted(store: Store, *, executions: Iterable[Execution], rows: Sequence[Transaction]) -> set[str]:
    """The coins whose worth no new fact says itself: those that come in or go and are nobody's purchase for
    quote coins, and those that pay for a trade in other coins.
    """
    own = [
        row
        for row in rows
        if row.coin not in QUOTE_COINS and not (row.kind in MATCHED_KINDS and price_of(row))
    ]
    seen = store.ledger.log.states(row.key for row in own)
    paid = {row.key: coin for row in executions if row.kind.trades and (coin := third_coin(row)) is not None}
    known = store.executions.known(paid)
    return {row.coin for row in own if row.key not in seen} | {
        coin for key, coin in paid.items() if key not in known
    }


def learn(
    store: Store, coins: set[str], *, trading: Trading, market: MarketData | None, at: datetime
) -> None:
    """Keep what these coins are worth now. What nobody says stays unknown, and holds nothing up."""
    if not coins:
        return
    prices = prices_now(coins, wallet=trading.wallet(), market=market)
    with store.transaction():
        for coin, price in sorted(prices.items()):
            store.ledger.set_price(coin, price, at=at)


def prices_now(coins: Collection[str], *, wallet: Wallet, market: MarketData | None) -> dict[str, Decimal]:
    """What one unit of each of these coins is worth in quote: the mid of its pair, as the equity is measured,
    else the venue's word in the wallet. What neither says is left out.
    """
    found = wallet_prices(wallet)
    if market is not None and not QUOTE_COINS.issuperset(coins):
        with suppress(Unavailable):
            found |= Prices.of(market.snapshot()).coins
    return {coin: price for coin, price in found.items() if coin in coins and coin not in QUOTE_COINS}
