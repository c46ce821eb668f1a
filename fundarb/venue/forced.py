"""What the venue does to an account without being asked: funding, liquidation, ADL, delisting. Debts and
their repayment are in ``loans``.

Facts: Bybit V5 API. Signs: an execution row of type Funding has ``fee`` + = paid, the transaction log
``funding`` + = received. A liquidation takes whole positions, the one with the largest maintenance margin
first, at the mark worsened by the tier's maintenance rate, until the account is below 100 %; a real venue
may be a little kinder, never harsher in steps. Debts come last: they are paid until the account is safe or
empty.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fundarb.core.market import Category, SettledFunding
from fundarb.core.money import ONE, ZERO, cash, ceil_to, floor_to, round_to
from fundarb.core.orders import ExecKind, Side
from fundarb.venue.account import Account, Entry
from fundarb.venue.loans import Loans
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.matching import Matching, Trade
from fundarb.venue.rows import Fill, Notice, Topic
from fundarb.venue.state import State, slot

SETTLEMENT_SAMPLES = 30
_MINUTE = timedelta(minutes=1)


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
        self.loans = Loans(state, market, account=account, margin=margin, matching=matching)

    # ------------------------------------------------------------------------------------------ funding

    def settle_funding(self, row: SettledFunding) -> None:
        """Exchange ``size × mark × rate`` for the position held at this instant (state.now), if any."""
        size = self._account.size(row.symbol)
        if size:
            self._pay(row, size)

    def settle_late(self, row: SettledFunding, *, mark: Decimal | None) -> bool:
        """Book a settlement after its instant: the size held then, today's time, today's mark if none is
        given.
        """
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
            self._pay(row, size, mark=mark)
        return bool(size)

    def _pay(self, row: SettledFunding, size: Decimal, *, mark: Decimal | None = None) -> None:
        perp = self._margin.perp(row.symbol)
        if mark is None:
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

    # ------------------------------------------------------------------------------------------ liquidation

    def check_risk(self) -> Decimal:
        """Liquidate while maintenance is not covered; returns how far it is from that afterwards
        (``Totals.distance``).
        """
        totals = self._margin.totals()
        if not totals.liquidable:
            return totals.distance
        self._matching.cancel_open(None, None, cancel_type="CancelByPrepareLiq")
        self.loans.give_back()
        while self._in_danger():
            held = self._margin.held()
            if not held:
                self.loans.settle(self._in_danger)
                break
            worst = max(held, key=lambda item: item.maintenance_margin)
            self.liquidate(worst.symbol)
        return self._margin.totals().distance

    def short_of_margin(self) -> bool:
        """Whether positions, debts and open orders claim more than the margin balance."""
        return self._margin.totals().available < ZERO

    def _in_danger(self) -> bool:
        return self._margin.totals().liquidable

    def liquidate(self, symbol: str) -> None:
        """Take the whole position over at the mark worsened by the maintenance rate (BustTrade)."""
        size = self._account.size(symbol)
        if not size:
            return
        self._matching.cancel_open(symbol, Category.LINEAR, cancel_type="CancelByPrepareLiq")
        self._close(symbol, abs(size), price=self._worsened(symbol), kind=ExecKind.BUST)

    def _worsened(self, symbol: str) -> Decimal:
        """The mark moved against the position by the maintenance rate of its tier, on the tick."""
        perp, size = self._margin.perp(symbol), self._account.size(symbol)
        mark = self._market.point(Category.LINEAR, symbol).mark
        rate = self._margin.tier(symbol, abs(size) * mark).mm_rate
        if size > 0:
            return max(floor_to(mark * (ONE - rate), perp.tick_size), perp.tick_size)
        return ceil_to(mark * (ONE + rate), perp.tick_size)

    def deleverage(self, symbol: str, fraction: Decimal) -> None:
        """ADL: a fraction of the position is closed free of charge at the bankruptcy price of whoever is
        being liquidated, taken to be a maintenance margin beyond the mark: worse than the market, as nobody
        there would take the other side over.
        """
        size = abs(self._account.size(symbol))
        self._close(symbol, size * fraction, price=self._worsened(symbol), kind=ExecKind.ADL)

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
        """The mean index over the last half hour, one sample a minute, each as it was shown then: of a
        frozen contract that of the freeze.
        """
        feed, now = self._market.feed, self._state.now
        frozen = self._state.market.frozen.get(symbol, now)
        perp = self._margin.perp(symbol)
        instants = [
            now - k * _MINUTE for k in range(SETTLEMENT_SAMPLES) if now - k * _MINUTE >= self._state.start
        ]
        total = sum(
            (
                feed.point(Category.LINEAR, symbol, at=min(at, frozen)).index
                * self._market.moves.factor(perp, at)
                for at in instants
            ),
            ZERO,
        )
        return max(round_to(total / len(instants), perp.tick_size), perp.tick_size)

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
