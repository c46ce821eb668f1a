"""What the account owes and how the venue gets it back: borrowing, interest, forced sales and forced
purchases.

Facts: Bybit V5 API. A forced repayment leaves no execution, only the transaction log
(``SPOT_REPAYMENT_SELL``, ``SPOT_REPAYMENT_BUY``, ``REPAY``). It walks the visible book of the coin's USDT
pair at prices no better than the fair one, what the book does not hold goes far worse, a fee comes on top.
Positions and their liquidation are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple

from fundarb.core.market import Category
from fundarb.core.money import CASH_STEP, ONE, ZERO, cash, ceil_to, derived, floor_to, round_to
from fundarb.core.orders import Side
from fundarb.venue.account import Account, Entry
from fundarb.venue.margin import Margin
from fundarb.venue.market import MATCH_DEPTH, Market
from fundarb.venue.matching import Matching
from fundarb.venue.rows import Notice, Topic
from fundarb.venue.state import State

_CASH = "USDT"
"""The coin that forced sales bring and forced purchases cost."""
_STABLE = frozenset({_CASH, "USDC"})
_REPAY_FEE = Decimal("0.001")
_RATE_STEP = Decimal("1e-12")
"""How finely the raised rate of a debt above its limit is reckoned and shown."""
_BEYOND = Decimal("0.2")
"""How much worse than the last visible level (the fair price, if there is none) the rest is dealt: nobody
knows what is behind a book, so a large forced deal must hurt.
"""


class _Walk(NamedTuple):
    """A forced deal: base quantity, its value without the fee, and how much of it the book showed."""

    quantity: Decimal
    value: Decimal
    visible: Decimal


class Loans:
    """The lending side of one account."""

    def __init__(
        self, state: State, market: Market, *, account: Account, margin: Margin, matching: Matching
    ) -> None:
        """Introduce the collaborators."""
        self._state = state
        self._market = market
        self._account = account
        self._margin = margin
        self._matching = matching

    # ------------------------------------------------------------------------------------------ debts

    def borrow(self, coin: str, amount: Decimal) -> None:
        """Spot borrowing: the wallet grows, so does the debt. Whether it is allowed is the caller's."""
        self._account.post(Entry(kind="BORROW", coin=coin, cash_flow=amount, quantity=amount))
        self._account.coin(coin).borrowed += amount

    def wallet_moved(self) -> None:
        """Tell subscribers that balances have changed."""
        self._matching.tell(Notice(Topic.WALLET, self._state.now, ""))

    def charge_interest(self) -> None:
        """One hour's interest on every borrowed coin; the free allowance covers unrealised losses of perps
        only. Above the coin's limit the rate is multiplied by (used ÷ limit)³ and the excess repaid by force.
        What the wallet cannot pay is owed too.
        """
        rules = self._market.coin_rules()
        for name, view in self._margin.wallet().coins.items():
            rule = rules.get(name)
            if view.borrowed <= 0 or rule is None:
                continue
            free = min(rule.free_borrow, max(-view.unrealised, ZERO))
            use = view.borrowed / rule.max_borrow if rule.max_borrow else ONE
            rate = rule.hourly_borrow_rate
            if use > ONE:
                rate = round_to(rate * use**3, _RATE_STEP)
            interest = cash(max(view.borrowed - free, ZERO) * rate)
            if interest:
                unpaid = interest - max(view.wallet, ZERO)
                if unpaid > 0 and name not in _STABLE:
                    self.borrow(name, unpaid)
                self._account.post(Entry(kind="INTEREST", coin=name, cash_flow=-interest, fee_rate=rate))
                self.wallet_moved()
            if use > ONE:
                self._repay_excess(name, view.borrowed - rule.max_borrow)

    def _repay_excess(self, coin: str, excess: Decimal) -> None:
        """Above its limit a debt is repaid by force: from the wallet, else other coins are sold, the dearest
        first, and the coin is bought.
        """
        before = self._account.coin(coin).borrowed
        self._repay(coin)
        excess -= before - self._account.coin(coin).borrowed
        owed = excess * self._market.usd_price(coin)
        if coin != _CASH:
            owed -= max(self._account.wallet(_CASH), ZERO) * self._market.usd_price(_CASH)
        for name in self._owned():
            price = self._market.usd_price(name)
            if name == coin or name in _STABLE or owed <= 0 or price <= 0:
                continue
            worth = min(self._own(name) * price, owed / (ONE - _REPAY_FEE))
            self.sell_collateral(name, ceil_to(worth / price, CASH_STEP))
            owed -= worth * (ONE - _REPAY_FEE)
        if coin != _CASH and excess > 0:
            self._buy_back(coin, ceil_to(excess, CASH_STEP))

    def give_back(self) -> None:
        """Every borrowed coin that still lies in the wallet goes back to the lender."""
        for name in list(self._account.book.coins):
            self._repay(name)

    def settle(self, in_danger: Callable[[], bool]) -> None:
        """Pay debts until the account is out of danger or has nothing left: what is owed is bought with the
        cash at hand, then every coin is sold, the dearest first, then the rest is bought.
        """
        self._buy_debts(in_danger)
        for name in self._owned():
            if in_danger():
                self.sell_collateral(name)
        self._buy_debts(in_danger)

    def _buy_debts(self, in_danger: Callable[[], bool]) -> None:
        """The dearest debt first."""
        owed = {
            name: coin.borrowed - coin.wallet
            for name, coin in self._account.book.coins.items()
            if name != _CASH and coin.borrowed > coin.wallet
        }
        for name in sorted(owed, key=lambda name: -owed[name] * self._market.usd_price(name)):
            if in_danger():
                self._buy_back(name, owed[name])

    def _own(self, coin: str) -> Decimal:
        """What of a coin belongs to the account: never what it has borrowed."""
        found = self._account.book.coins.get(coin)
        return max(found.wallet - found.borrowed, ZERO) if found is not None else ZERO

    def _owned(self) -> list[str]:
        """Own coins that can be turned into cash, the dearest first."""
        value = {
            name: self._own(name) * self._market.usd_price(name)
            for name in self._account.book.coins
            if name != _CASH
        }
        return sorted((name for name in value if value[name] > 0), key=lambda name: -value[name])

    def _repay(self, coin: str) -> None:
        """What was borrowed of a coin is given back as far as the wallet allows."""
        owed = self._account.coin(coin)
        amount = min(owed.borrowed, owed.wallet - owed.locked)
        if amount > 0:
            self._account.post(Entry(kind="REPAY", coin=coin, cash_flow=-amount, quantity=-amount))
            owed.borrowed -= amount

    # ------------------------------------------------------------------------------------------ forced deals

    def sell_collateral(self, coin: str, quantity: Decimal | None = None, *, fraction: Decimal = ONE) -> None:
        """Sell own coins for cash (``quantity``, else a fraction of all) and repay; borrowed coins are given
        back, not sold.
        """
        self._matching.cancel_open(f"{coin}USDT", Category.SPOT, cancel_type="CancelByPrepareLiq")
        if coin != _CASH:
            self._repay(coin)
            own = self._own(coin)
            wanted = min(own * fraction if quantity is None else quantity, own)
            walk = self._walk(coin, floor_to(wanted, CASH_STEP), buying=False)
            proceeds = floor_to(walk.value * (ONE - _REPAY_FEE), CASH_STEP)
            if walk.quantity > 0 and proceeds > 0:
                self._deal(coin, walk, side=Side.SELL, flow=proceeds)
        self._repay(_CASH)
        self.wallet_moved()

    def _buy_back(self, coin: str, quantity: Decimal) -> None:
        """Buy what is owed of a coin as far as the cash reaches, and repay."""
        cash_held = self._account.coin(_CASH)
        budget = floor_to((cash_held.wallet - cash_held.locked) / (ONE + _REPAY_FEE) - CASH_STEP, CASH_STEP)
        if budget <= 0 or self._market.usd_price(coin) <= 0:
            return
        walk = self._walk(coin, quantity, buying=True, budget=budget)
        if walk.quantity > 0:
            cost = ceil_to(walk.value * (ONE + _REPAY_FEE), CASH_STEP)
            self._deal(coin, walk, side=Side.BUY, flow=-cost)
            self._repay(coin)
            self.wallet_moved()

    def _deal(self, coin: str, walk: _Walk, *, side: Side, flow: Decimal) -> None:
        """Both rows of a forced deal; what the book showed of it is missing from the book."""
        symbol = f"{coin}USDT"
        if walk.visible:
            self._market.consume(Category.SPOT, symbol, buying=side is Side.BUY, quantity=walk.visible)
        for name, change in ((coin, walk.quantity * side.sign), (_CASH, flow)):
            self._account.post(
                Entry(
                    kind=f"SPOT_REPAYMENT_{side.value.upper()}",
                    coin=name,
                    cash_flow=change,
                    category=Category.SPOT.value,
                    symbol=symbol,
                    side=side,
                    quantity=change,
                    price=derived(walk.value / walk.quantity),
                )
            )

    def _walk(self, coin: str, quantity: Decimal, *, buying: bool, budget: Decimal | None = None) -> _Walk:
        """How far a quantity (and a value, when buying) goes through the book and beyond it."""
        done = value = visible = ZERO
        for price, depth in self._levels(coin, buying=buying):
            part = quantity - done if depth is None else min(quantity - done, depth)
            if budget is not None:
                part = min(part, floor_to((budget - value) / price, CASH_STEP))
            if part <= 0:
                break
            done, value = done + part, value + part * price
            visible += ZERO if depth is None else part
        return _Walk(done, value, visible)

    def _levels(self, coin: str, *, buying: bool) -> Iterator[tuple[Decimal, Decimal | None]]:
        """Prices and depths of a forced deal, the last one without an end; never kinder than the fair
        price. A coin without a USDT pair is dealt at its fair price.
        """
        fair = worst = self._market.usd_price(coin) / self._market.usd_price(_CASH)
        symbol = f"{coin}USDT"
        if fair <= 0:
            return
        if not self._market.known(Category.SPOT, symbol):
            yield fair, None
            return
        book = self._market.book(Category.SPOT, symbol, depth=MATCH_DEPTH)
        for level in book.asks if buying else book.bids:
            worst = max(level.price, fair) if buying else min(level.price, fair)
            yield worst, level.quantity
        yield worst * (ONE + _BEYOND if buying else ONE - _BEYOND), None
