"""The hand of the world: every verb of the control API that concerns the market or the account, effective
at once.

A wrong argument raises ``ValueError`` before anything has changed. Whatever moves prices or money is
followed by a risk check, as the venue would do by itself. Fees, filters and keys changed here stay changed
(and are part of a snapshot).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import FeeRates
from fundarb.core.market import Category, Level, SettledFunding
from fundarb.core.money import CASH_STEP, ONE, ZERO, is_multiple
from fundarb.core.orders import Side, TimeInForce
from fundarb.core.pairing import readings
from fundarb.venue.account import Account, Entry
from fundarb.venue.desk import Desk
from fundarb.venue.fees import Fees
from fundarb.venue.filters import LOWER, UPPER, patched
from fundarb.venue.forced import Forced
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.rows import MarketUnit, Order, OrderSpec, OrderType
from fundarb.venue.schedule import Schedule
from fundarb.venue.state import CollateralRule, FixedBook, State, slot
from fundarb.venue.timeline import Timeline

_HOURS = frozenset({1, 2, 4, 8, 12, 24})


@dataclass(frozen=True, slots=True)
class Hands:
    """What the world can reach."""

    market: Market
    schedule: Schedule
    account: Account
    fees: Fees
    forced: Forced
    timeline: Timeline
    margin: Margin


class World:
    """``venue.world``: one method per verb."""

    def __init__(self, state: State, hands: Hands, *, desk: Desk) -> None:
        """Introduce the collaborators."""
        self._state = state
        self._over = state.market
        self._hands = hands
        self._desk = desk

    # ------------------------------------------------------------------------------------------ prices

    def mark(self, symbol: str, price: Decimal | None) -> None:
        """Fix the mark price of a perp (its quotes go on as they were); None lets it follow the market
        again.
        """
        self._lives(symbol)
        if price is None:
            self._over.marks.pop(symbol, None)
        else:
            self._over.marks[symbol] = _positive("price", price)
        self._moved(symbol)

    def jump(self, symbol: str, factor: Decimal) -> None:
        """Move all prices of the coin, spot and perp, by a factor, for good; factors multiply."""
        _positive("factor", factor)
        coin = self._coin_of(symbol)
        if not self._hands.market.known(Category.SPOT, symbol):
            self._lives(symbol)
        self._hands.market.moves.scale(coin, self._over.factors.get(coin, ONE) * factor, now=self._state.now)
        self._moved(symbol)

    def book(
        self,
        category: Category,
        symbol: str,
        *,
        bids: tuple[Level, ...] | None = None,
        asks: tuple[Level, ...] | None = None,
    ) -> None:
        """Put a fixed book in place (sides may be empty or crossed); both None: the market's own again."""
        self._known(category, symbol)
        key = slot(category, symbol)
        self._over.taken.pop(f"{key}:bid", None)
        self._over.taken.pop(f"{key}:ask", None)
        if bids is None and asks is None:
            self._over.books.pop(key, None)
        else:
            for level in (*(bids or ()), *(asks or ())):
                _positive("price", level.price)
                _positive("size", level.quantity)
            ordered_bids = tuple(sorted(bids or (), key=lambda level: -level.price))
            self._over.books[key] = FixedBook(
                ordered_bids, tuple(sorted(asks or (), key=lambda level: level.price))
            )
        self._moved(symbol)

    def freeze(self, symbol: str, *, on: bool) -> None:
        """Stop (or release) the quotes, books and marks of a symbol in both markets; funding goes on."""
        if not any(self._hands.market.known(kind, symbol) for kind in Category):
            raise ValueError(f"symbol: {symbol} is not listed")
        if on:
            self._over.frozen.setdefault(symbol, self._state.now)
        else:
            self._over.frozen.pop(symbol, None)
        self._moved(symbol)

    def ticker_patch(self, category: Category, symbol: str, *, fields: Mapping[str, str]) -> None:
        """Force raw fields of the wire's ticker row (nothing else); an empty mapping takes the patch off."""
        self._known(category, symbol)
        key = slot(category, symbol)
        if fields:
            self._over.patches[key] = {**self._over.patches.get(key, {}), **fields}
        else:
            self._over.patches.pop(key, None)
        self._hands.market.touch(symbol)

    def usd(self, price: Decimal) -> None:
        """What one USDT is worth in USD; quotes of USDC against USDT move with it."""
        self._over.usd = _positive("price", price)
        self._hands.market.moves.scale("USDC", ONE / price, now=self._state.now)
        self._moved("")

    # ------------------------------------------------------------------------------------------ funding

    def funding_rate(self, symbol: str, rate: Decimal | None) -> None:
        """Fix the running rate (fraction per interval, within the symbol's cap) until further notice; None
        lets it follow the market.
        """
        self._lives(symbol)
        if rate is not None:
            cap = self._hands.schedule.running(symbol).cap
            if abs(rate) >= ONE:
                raise ValueError(f"rate: {rate} is not a fraction")
            if cap is not None and abs(rate) > cap:
                raise ValueError(f"rate: {rate} is beyond the cap of {symbol}, {cap}")
        self._hands.schedule.take_over(symbol)
        if rate is None:
            self._over.rates.pop(symbol, None)
        else:
            self._over.rates[symbol] = rate
        self._hands.market.touch(symbol)

    def interval(self, symbol: str, hours: int) -> None:
        """Change the funding interval of the ticker; the instrument list keeps its old one, as at the real
        venue.
        """
        self._lives(symbol)
        if hours not in _HOURS:
            raise ValueError(f"hours: {hours} is none of {sorted(_HOURS)}")
        self._hands.schedule.take_over(symbol)
        self._over.intervals[symbol] = hours
        self._hands.market.touch(symbol)

    def settle(self, symbol: str) -> None:
        """Settle funding now, at the running rate; the regular schedule goes on."""
        self._lives(symbol)
        rate = self._hands.schedule.running(symbol).rate
        row = SettledFunding(symbol=symbol, rate=rate, time=self._state.now)
        self._hands.schedule.remember(row)
        self._hands.forced.settle_funding(row)
        self._hands.timeline.check_risk()

    # ------------------------------------------------------------------------------------------ instruments

    def delist(self, symbol: str, at: datetime) -> None:
        """Announce a perp's delisting; at that instant positions are settled and the market closes."""
        self._lives(symbol)
        if at < self._state.now:
            raise ValueError("at: is in the past")
        self._over.deliveries[symbol] = at
        self._hands.market.touch(symbol)

    def relist(self, symbol: str) -> None:
        """Take the announcement of a delisting back."""
        self._over.deliveries.pop(symbol, None)
        self._hands.market.touch(symbol)

    def halt(self, category: Category, symbol: str, *, on: bool) -> None:
        """Refuse and stop matching orders of a symbol; prices go on."""
        self._known(category, symbol)
        self._over.halted[slot(category, symbol)] = on
        self._hands.market.touch(symbol)

    def filters(self, category: Category, symbol: str, *, fields: Mapping[str, str]) -> None:
        """Change filters by the wire's names (``qtyStep``, ``minOrderAmt``, ``status`` …)."""
        self._known(category, symbol)
        key = slot(category, symbol)
        merged = {**self._over.filters.get(key, {}), **fields}
        patched(self._hands.market.instruments(category)[symbol], fields)
        self._over.filters[key] = merged
        if fields.keys() & {UPPER, LOWER}:
            self._hands.schedule.take_over(symbol)
        self._hands.market.touch(symbol)

    def fees(
        self,
        category: Category,
        *,
        taker: Decimal | None = None,
        maker: Decimal | None = None,
        mnt: bool | None = None,
        symbol: str = "",
    ) -> None:
        """Change the account's rates (of one symbol, or of the market) and the deduction in MNT."""
        for name, rate in (("taker", taker), ("maker", maker)):
            if rate is not None and abs(rate) >= ONE:
                raise ValueError(f"{name}: {rate} is not a fraction")
        if symbol:
            self._known(category, symbol)
        book = self._hands.account.book
        if taker is not None or maker is not None:
            key = slot(category, symbol) if symbol else category.value
            now = self._hands.fees.rates(category, symbol)
            book.fees[key] = FeeRates(
                taker=now.taker if taker is None else taker, maker=now.maker if maker is None else maker
            )
        if mnt is not None:
            book.mnt[category.value] = mnt

    # ------------------------------------------------------------------------------------------ account

    def adl(self, symbol: str, fraction: Decimal) -> None:
        """Auto-deleverage a fraction of the position."""
        self._holds(symbol)
        if not ZERO < fraction <= ONE:
            raise ValueError(f"fraction: {fraction} is not in (0, 1]")
        self._hands.forced.deleverage(symbol, fraction)
        self._hands.timeline.check_risk()

    def liquidate(self, symbol: str) -> None:
        """Take the position over as in a liquidation."""
        self._holds(symbol)
        self._hands.forced.liquidate(symbol)
        self._hands.timeline.check_risk()

    def collateral(self, coin: str, *, on: bool, ratio: Decimal | None = None) -> None:
        """Switch a coin as collateral off or on, or give it one flat ratio."""
        if ratio is not None and not ZERO <= ratio <= ONE:
            raise ValueError(f"ratio: {ratio} is not in [0, 1]")
        self._over.collateral[coin] = CollateralRule(on, ratio)
        self._moved("")

    def borrow(self, coin: str, amount: Decimal) -> None:
        """Borrow coins as spot margin trading would: within the coin's limit and the available margin."""
        owed = self._hands.account.coin(coin).borrowed if coin in self._hands.account.book.coins else ZERO
        price, rule = self._hands.market.usd_price(coin), self._hands.market.coin_rules().get(coin)
        if rule is None or price <= 0:
            raise ValueError(f"coin: {coin} cannot be borrowed")
        if owed + _amount(amount) > rule.max_borrow:
            raise ValueError(f"amount: at most {max(rule.max_borrow - owed, ZERO)} {coin} can be borrowed")
        margin = self._hands.margin
        if amount * price * margin.borrow_im > margin.totals().available:
            raise ValueError(f"amount: the margin does not suffice for a debt of {amount} {coin}")
        self._hands.forced.loans.borrow(coin, amount)
        self._hands.timeline.check_risk()

    def auto_repay(self, coin: str, fraction: Decimal) -> None:
        """The venue sells a fraction of a coin to repay (no execution row, only the transaction log).
        Borrowed coins are not sold, they are given back.
        """
        if not ZERO < fraction <= ONE:
            raise ValueError(f"fraction: {fraction} is not in (0, 1]")
        wallet = self._hands.account.wallet(coin)
        if wallet <= 0 or self._hands.market.usd_price(coin) <= 0:
            raise ValueError(f"coin: nothing of {coin} can be sold")
        self._hands.forced.loans.sell_collateral(coin, fraction=fraction)
        self._hands.timeline.check_risk()

    def transfer(self, coin: str, amount: Decimal) -> None:
        """Deposit (+) or withdraw (−); a withdrawal beyond what is free is a ``ValueError``."""
        if not amount or not is_multiple(amount, CASH_STEP):
            raise ValueError(f"amount: {amount} is not a multiple of {CASH_STEP}")
        if amount < 0 and (free := self._hands.margin.withdrawable(coin)) + amount < 0:
            raise ValueError(f"amount: only {free} {coin} are free")
        kind = "TRANSFER_IN" if amount > 0 else "TRANSFER_OUT"
        self._hands.account.post(Entry(kind=kind, coin=coin, cash_flow=amount, quantity=amount))
        self._hands.forced.loans.wallet_moved()
        self._hands.timeline.check_risk()

    def manual_order(self, category: Category, symbol: str, *, side: Side, quantity: Decimal) -> Order:
        """Somebody else trades at this account: a market order in base units, matched at once. ``Rejected``
        as for anybody.
        """
        self._known(category, symbol)
        return self._desk.at_once(
            OrderSpec(
                category=category,
                symbol=symbol,
                side=side,
                quantity=quantity,
                order_type=OrderType.MARKET,
                time_in_force=TimeInForce.IOC,
                market_unit=MarketUnit.BASE if category is Category.SPOT else None,
            )
        )

    def manual_close(self, symbol: str) -> Order:
        """Somebody else closes the perp position by hand, at market: all of it, whatever the steps are."""
        self._holds(symbol)
        size = self._hands.account.size(symbol)
        return self._desk.at_once(
            OrderSpec(
                category=Category.LINEAR,
                symbol=symbol,
                side=Side.SELL if size > 0 else Side.BUY,
                quantity=ZERO,
                order_type=OrderType.MARKET,
                time_in_force=TimeInForce.IOC,
                reduce_only=True,
                close_on_trigger=True,
            )
        )

    def key(
        self,
        *,
        expire: datetime | None = None,
        permissions: Mapping[str, list[str]] | None = None,
        addresses: list[str] | None = None,
        read_only: bool | None = None,
    ) -> None:
        """Change the API key; only what is given. The server enforces it (``venue.key``)."""
        key = self._state.key
        key.expires = expire if expire is not None else key.expires
        key.addresses = list(addresses) if addresses is not None else key.addresses
        key.read_only = read_only if read_only is not None else key.read_only
        if permissions is not None:
            key.permissions = {name: list(items) for name, items in permissions.items()}

    # ------------------------------------------------------------------------------------------ helpers

    def _known(self, category: Category, symbol: str) -> None:
        if not self._hands.market.known(category, symbol):
            raise ValueError(f"symbol: {symbol} is not listed in {category.value}")

    def _lives(self, symbol: str) -> None:
        """A contract that has been delivered has neither prices nor funding any more."""
        self._known(Category.LINEAR, symbol)
        if slot(Category.LINEAR, symbol) in self._over.closed:
            raise ValueError(f"symbol: {symbol} has been delivered")

    def _holds(self, symbol: str) -> None:
        self._known(Category.LINEAR, symbol)
        if not self._hands.account.size(symbol):
            raise ValueError(f"symbol: no position in {symbol}")

    def _coin_of(self, symbol: str) -> str:
        """The coin whose prices a symbol follows: of a multiplied contract the coin itself."""
        for category in (Category.SPOT, Category.LINEAR):
            if self._hands.market.known(category, symbol):
                base = self._hands.market.instruments(category)[symbol].base_coin
                coins = [coin for coin, _ in readings(base)]
                spot = (coin for coin in coins if self._hands.market.known(Category.SPOT, f"{coin}USDT"))
                return next(spot, coins[-1])
        raise ValueError(f"symbol: {symbol} is not listed")

    def _moved(self, symbol: str) -> None:
        self._hands.market.touch(symbol)
        self._hands.timeline.touch_resting()
        self._hands.timeline.check_risk()


def _positive(name: str, value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError(f"{name}: {value} is not positive")
    return value


def _amount(value: Decimal) -> Decimal:
    if value <= 0 or not is_multiple(value, CASH_STEP):
        raise ValueError(f"amount: {value} is not a positive multiple of {CASH_STEP}")
    return value
