"""What a fill costs and in which coin (Bybit V5 API): base coin for a spot buy, quote for a spot sell,
settle coin for a perp.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.account import FeeRates
from fundarb.core.market import Category, PerpInstrument, SpotInstrument
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Side
from fundarb.venue.account import Account
from fundarb.venue.market import Market
from fundarb.venue.state import Rules, slot

MNT = "MNT"


@dataclass(frozen=True, slots=True)
class Charge:
    """A fee: + = expense."""

    amount: Decimal
    coin: str
    rate: Decimal


class Fees:
    """The account's fee schedule, with the world's changes."""

    def __init__(self, market: Market, account: Account, *, rules: Rules) -> None:
        """Introduce what it reads."""
        self._market = market
        self._account = account
        self._rules = rules

    def rates(self, category: Category, symbol: str) -> FeeRates:
        """Taker and maker: of the symbol, else of the market."""
        changed = self._account.book.fees
        found = changed.get(slot(category, symbol)) or changed.get(category.value)
        if found is not None:
            return found
        return self._rules.spot_fees if category is Category.SPOT else self._rules.linear_fees

    def deducts_mnt(self, category: Category) -> bool:
        """Whether fees of this market are taken in MNT."""
        return self._account.book.mnt.get(category.value, False)

    def charge(
        self,
        instrument: SpotInstrument | PerpInstrument,
        side: Side,
        *,
        quantity: Decimal,
        value: Decimal,
        maker: bool,
    ) -> Charge:
        """The fee of one fill. MNT is taken only when the wallet holds enough of it besides what is sold."""
        rates = self.rates(instrument.category, instrument.symbol)
        rate = rates.maker if maker else rates.taker
        if self.deducts_mnt(instrument.category) and rate > 0:
            price = self._market.usd_price(MNT)
            if price > 0:
                quote = self._market.usd_price(instrument.quote_coin)
                amount = cash(value * rate * quote / price)
                spent = isinstance(instrument, SpotInstrument) and side is Side.SELL
                sold = quantity if spent and instrument.base_coin == MNT else ZERO
                if amount <= self._account.free(MNT) - sold:
                    return Charge(amount, MNT, rate)
        if isinstance(instrument, PerpInstrument):
            return Charge(cash(value * rate), instrument.settle_coin, rate)
        in_base = (side is Side.BUY) == (rate >= ZERO)
        if in_base:
            return Charge(cash(quantity * rate), instrument.base_coin, rate)
        return Charge(cash(value * rate), instrument.quote_coin, rate)
