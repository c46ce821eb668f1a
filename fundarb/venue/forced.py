"""What the venue does to an account without being asked: funding, interest, liquidation, ADL, delisting,
forced repayment.

Facts: Bybit V5 API. Signs: an execution row of type Funding has ``fee`` + = paid, the transaction log
``funding`` + = received. A liquidation takes whole positions, the one with the largest maintenance margin
first, at the mark worsened by the tier's maintenance rate, until the account is below 100 %; a real venue
may be a little kinder, never harsher in steps.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fundarb.core.market import Category, SettledFunding
from fundarb.core.money import ONE, ZERO, cash, ceil_to, floor_to, round_to
from fundarb.core.orders import ExecKind, Side
from fundarb.venue.account import Account, Entry
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.matching import Matching, Trade
from fundarb.venue.rows import Fill, Notice, Topic
from fundarb.venue.state import State, slot

SETTLEMENT_SAMPLES = 30
_MINUTE = timedelta(minutes=1)
_REPAY_FEE = Decimal("0.001")


class Forced:
    """The venue's own acts on one account."""

    def __init__(
        self, state: State, market: Market, *, account: Account, margin: Margin, matching: Matching
    ) -> None:
        """Introduce the collaborators."""
        self._state = state
        self._market = market
        self._account = account
        self._margin = margin
        self._matching = matching

    # ------------------------------------------------------------------------------------------ funding

    def settle_funding(self, row: SettledFunding) -> None:
        """Exchange ``size × mark × rate`` for the position held at this instant (state.now), if any."""
        size = self._account.size(row.symbol)
        if size:
            self._pay(row, size)

    def settle_late(self, row: SettledFunding) -> bool:
        """Book a settlement after its instant, for the size held then, at today's mark and time."""
        after = ZERO
        for fill in reversed(self._account.book.fills):
            if fill.time < row.time:
                break
            if fill.symbol == row.symbol and fill.category is Category.LINEAR:
                if fill.kind is ExecKind.FUNDING and fill.time == row.time:
                    return False
                after += fill.quantity * fill.side.sign if fill.kind.trades else ZERO
        size = self._account.size(row.symbol) - after
        if size:
            self._pay(row, size)
        return bool(size)

    def _pay(self, row: SettledFunding, size: Decimal) -> None:
        perp = self._margin.perp(row.symbol)
        mark = self._market.point(Category.LINEAR, row.symbol).mark
        received = cash(-size * mark * row.rate)
        side = Side.BUY if size > 0 else Side.SELL
        exec_id = self._account.unique("exec")
        self._account.post(
            Entry(
                kind="SETTLEMENT",
                coin=perp.settle_coin,
                funding=received,
                category=Category.LINEAR.value,
                symbol=row.symbol,
                side=side,
                quantity=abs(size),
                size=size,
                price=mark,
                fee_rate=row.rate if side is Side.BUY else -row.rate,
                trade_id=exec_id,
            )
        )
        self._account.realise(row.symbol, received, coin=perp.settle_coin)
        fill = Fill(
            exec_id=exec_id,
            order_id=self._account.unique("order"),
            link_id="",
            category=Category.LINEAR,
            symbol=row.symbol,
            side=side,
            order_type="UNKNOWN",
            order_price=ZERO,
            order_quantity=ZERO,
            leaves=ZERO,
            price=mark,
            quantity=abs(size),
            value=cash(mark * abs(size)),
            fee=-received,
            fee_coin=perp.settle_coin,
            fee_rate=row.rate,
            maker=False,
            kind=ExecKind.FUNDING,
            time=self._state.now,
            mark=mark,
            closed=ZERO,
            create_type="",
            sequence=self._state.count(),
        )
        self._account.book.fills.append(fill)
        self._matching.tell(Notice(Topic.EXECUTION, self._state.now, fill))
        self._matching.tell(Notice(Topic.WALLET, self._state.now, ""))

    # ------------------------------------------------------------------------------------------ interest

    def charge_interest(self) -> None:
        """One hour's interest on every borrowed coin; the free allowance covers unrealised losses of perps
        only.
        """
        rules = self._market.coin_rules()
        for name, view in self._margin.wallet().coins.items():
            rule = rules.get(name)
            if view.borrowed <= 0 or rule is None:
                continue
            free = min(rule.free_borrow, max(-view.unrealised, ZERO))
            interest = cash(max(view.borrowed - free, ZERO) * rule.hourly_borrow_rate)
            if interest:
                self._account.post(
                    Entry(kind="INTEREST", coin=name, cash_flow=-interest, fee_rate=rule.hourly_borrow_rate)
                )
                self._matching.tell(Notice(Topic.WALLET, self._state.now, ""))

    def borrow(self, coin: str, amount: Decimal) -> None:
        """Spot borrowing: the wallet grows, so does the debt."""
        self._account.post(Entry(kind="BORROW", coin=coin, cash_flow=amount, quantity=amount))
        self._account.coin(coin).borrowed += amount

    def wallet_moved(self) -> None:
        """Tell subscribers that balances have changed."""
        self._matching.tell(Notice(Topic.WALLET, self._state.now, ""))

    def sell_collateral(self, coin: str, quantity: Decimal) -> None:
        """Sell coins of the account for USDT at the fair price less a fee (no execution row: only the log
        tells).
        """
        price = self._market.usd_price(coin) / self._market.usd_price("USDT")
        quantity = floor_to(min(quantity, self._account.wallet(coin)), Decimal("1e-8"))
        if quantity <= 0 or price <= 0:
            return
        self._matching.cancel_open(f"{coin}USDT", Category.SPOT, cancel_type="CancelByPrepareLiq")
        proceeds = cash(quantity * price * (ONE - _REPAY_FEE))
        symbol = f"{coin}USDT"
        for name, flow in ((coin, -quantity), ("USDT", proceeds)):
            self._account.post(
                Entry(
                    kind="SPOT_REPAYMENT_SELL",
                    coin=name,
                    cash_flow=flow,
                    category=Category.SPOT.value,
                    symbol=symbol,
                    side=Side.SELL,
                    quantity=flow,
                    price=price,
                )
            )
        self._matching.tell(Notice(Topic.WALLET, self._state.now, ""))

    # ------------------------------------------------------------------------------------------ liquidation

    def check_risk(self) -> Decimal:
        """Liquidate while maintenance is not covered; returns the maintenance rate afterwards."""
        totals = self._margin.totals()
        rate = totals.rate(totals.maintenance)
        if rate < ONE:
            return rate
        self._matching.cancel_open(None, None, cancel_type="CancelByPrepareLiq")
        while self._rate() >= ONE:
            held = self._margin.held()
            if not held:
                self._sell_everything()
                break
            worst = max(held, key=lambda item: item.maintenance_margin)
            self.liquidate(worst.symbol)
        return self._rate()

    def _rate(self) -> Decimal:
        totals = self._margin.totals()
        return totals.rate(totals.maintenance)

    def _sell_everything(self) -> None:
        """Debts without positions: coins are sold, the dearest first, until nothing is owed."""
        coins = self._margin.wallet().coins
        for name, view in sorted(coins.items(), key=lambda item: -item[1].usd_value):
            if name in {"USDT", "USDC"} or view.wallet <= 0 or self._rate() < ONE:
                continue
            self.sell_collateral(name, view.wallet)

    def liquidate(self, symbol: str) -> None:
        """Take the whole position over at the mark worsened by the maintenance rate (BustTrade)."""
        size = self._account.size(symbol)
        if not size:
            return
        self._matching.cancel_open(symbol, Category.LINEAR, cancel_type="CancelByPrepareLiq")
        perp = self._margin.perp(symbol)
        mark = self._market.point(Category.LINEAR, symbol).mark
        rate = self._margin.tier(symbol, abs(size) * mark).mm_rate
        worse = mark * (ONE - rate) if size > 0 else mark * (ONE + rate)
        price = floor_to(worse, perp.tick_size) if size > 0 else ceil_to(worse, perp.tick_size)
        self._close(symbol, abs(size), price=max(price, perp.tick_size), kind=ExecKind.BUST)

    def deleverage(self, symbol: str, fraction: Decimal) -> None:
        """ADL: a fraction of the position is closed at the mark, free of charge."""
        perp = self._margin.perp(symbol)
        mark = round_to(self._market.point(Category.LINEAR, symbol).mark, perp.tick_size)
        self._close(
            symbol,
            abs(self._account.size(symbol)) * fraction,
            price=max(mark, perp.tick_size),
            kind=ExecKind.ADL,
        )

    def deliver(self, symbol: str) -> None:
        """Delisting: cancel, settle at the mean index of the last thirty minutes, close the instrument for
        good.
        """
        self._matching.cancel_open(symbol, Category.LINEAR, cancel_type="CancelBySettle")
        if self._account.size(symbol):
            self._close(
                symbol,
                abs(self._account.size(symbol)),
                price=self.delivery_price(symbol),
                kind=ExecKind.DELIVERY,
            )
        self._state.market.closed[slot(Category.LINEAR, symbol)] = self._state.now
        self._market.touch(symbol)

    def delivery_price(self, symbol: str) -> Decimal:
        """The mean index over the last half hour, one sample a minute."""
        feed, now = self._market.feed, self._state.now
        perp = self._margin.perp(symbol)
        factor = self._market.factor(perp)
        total = sum(
            (
                feed.point(Category.LINEAR, symbol, at=now - k * _MINUTE).index
                for k in range(SETTLEMENT_SAMPLES)
                if now - k * _MINUTE >= self._state.start
            ),
            ZERO,
        )
        count = min(SETTLEMENT_SAMPLES, (now - self._state.start) // _MINUTE + 1)
        return max(round_to(total * factor / count, perp.tick_size), perp.tick_size)

    def _close(self, symbol: str, quantity: Decimal, *, price: Decimal, kind: ExecKind) -> None:
        log_kind, create_type = _WORDS[kind]
        trade = Trade(
            instrument=self._margin.perp(symbol),
            side=Side.BUY,
            price=price,
            quantity=quantity,
            kind=kind,
            log_kind=log_kind,
            create_type=create_type,
            free_of_charge=kind is not ExecKind.BUST,
        )
        self._matching.close_at(symbol, quantity, trade=trade)


_WORDS = {
    ExecKind.BUST: ("LIQUIDATION", "CreateByLiq"),
    ExecKind.ADL: ("ADL", "CreateByAdl_PassThrough"),
    ExecKind.DELIVERY: ("DELIVERY", "CreateBySettle"),
}
