"""What coins that are no quote coins are worth while their facts are booked: the venue's word in the wallet,
else the mid of their spot pair. Owns no table; what is learned stands in the ledger with its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from fundarb.core.account import Transaction
from fundarb.core.ledger import QUOTE_COINS
from fundarb.core.orders import Execution
from fundarb.core.postings import third_coin
from fundarb.core.transactions import MATCHED_KINDS, price_of
from fundarb.engine.equity import Prices
from fundarb.engine.opening import wallet_prices
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
    """Keep what these coins are worth now. A wallet does not say what a coin is worth of which only a debt is
    there: then its pair does. What neither says stays unknown, and holds nothing up.
    """
    if not coins:
        return
    prices = wallet_prices(trading.wallet())
    if market is not None and not coins <= prices.keys():
        with suppress(Unavailable):
            prices = {**Prices.of(market.snapshot()).coins, **prices}
    with store.transaction():
        for coin in sorted(coins & prices.keys()):
            store.ledger.set_price(coin, prices[coin], at=at)
