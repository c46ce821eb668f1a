"""What the account is worth and what it needs: collateral, initial and maintenance margin, available,
liquidation estimates.

Cross margin of the unified account (Bybit V5 API): account figures in USD; a coin's collateral value is
tiered; a negative equity counts in full and costs margin as a borrowing; ``available = margin balance −
haircut and losses of open orders − initial margin``. Reads only; changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.market import Category, PerpInstrument
from fundarb.core.money import ONE, ZERO, cash, ceil_to, floor_to
from fundarb.core.orders import Side
from fundarb.errors import Rejected
from fundarb.venue.account import Account
from fundarb.venue.claims import claim
from fundarb.venue.feed import CoinRules, RiskTier
from fundarb.venue.fees import Fees
from fundarb.venue.market import Market
from fundarb.venue.register import Register
from fundarb.venue.rows import CoinView, Order, PositionView, WalletView
from fundarb.venue.state import Coin, Position, Rules
from fundarb.venue.totals import Totals

_STABLE = frozenset({"USDT", "USDC"})
_LOOKS = 5
"""How often a liquidation price is looked for, each time with the tier and the debt of the last one."""
DEFAULT_TIER = RiskTier(
    limit=Decimal(1_000_000_000),
    mm_rate=Decimal("0.02"),
    im_rate=Decimal("0.04"),
    max_leverage=Decimal(25),
)


@dataclass(frozen=True, slots=True)
class _Need:
    """Margin of one perp in its settle coin."""

    position_im: Decimal
    position_mm: Decimal
    order_im: Decimal
    order_loss: Decimal
    unrealised: Decimal
    value: Decimal
    tier: RiskTier


class Margin:
    """Valuation of one account in one market."""

    def __init__(
        self, market: Market, account: Account, *, register: Register, rules: Rules, fees: Fees
    ) -> None:
        """Introduce what it reads."""
        self._market = market
        self._account = account
        self._register = register
        self._rules = rules
        self._fees = fees

    @property
    def borrow_im(self) -> Decimal:
        """Initial margin per borrowed value, a fraction."""
        return self._rules.borrow_im

    # ------------------------------------------------------------------------------------------ perps

    def perp(self, symbol: str) -> PerpInstrument:
        """The contract."""
        instrument = self._market.listing(Category.LINEAR, symbol).instrument
        if not isinstance(instrument, PerpInstrument):
            raise Rejected("params error: symbol invalid", code=10001)
        return instrument

    def leverage(self, symbol: str) -> Decimal:
        """What was set, else the default within the instrument's maximum."""
        found = self._account.leverage(symbol)
        return (
            found if found is not None else min(self._rules.default_leverage, self.perp(symbol).max_leverage)
        )

    def tier(self, symbol: str, value: Decimal) -> RiskTier:
        """The risk tier of a position value; the last one beyond all limits."""
        tiers = self._market.listing(Category.LINEAR, symbol).tiers or (DEFAULT_TIER,)
        return next((tier for tier in tiers if value <= tier.limit), tiers[-1])

    def im_rate(self, symbol: str, tier: RiskTier) -> Decimal:
        """Initial margin as a fraction of value."""
        return max(ONE / self.leverage(symbol), tier.im_rate)

    def _taker(self, symbol: str) -> Decimal:
        """The fee of closing at once, never a rebate."""
        return max(self._fees.rates(Category.LINEAR, symbol).taker, ZERO)

    def _need(self, position: Position, orders: list[Order]) -> _Need:
        """Initial margin by the tier of position and open orders together, maintenance by the position's."""
        symbol = position.symbol
        mark = self._market.point(Category.LINEAR, symbol).mark
        value = abs(position.size) * mark
        claimed = claim(position.size, mark, orders=orders)
        tier = self.tier(symbol, value)
        rate = self.im_rate(symbol, self.tier(symbol, claimed.size * mark))
        taker = self._taker(symbol)
        return _Need(
            position_im=value * (rate + taker),
            position_mm=max(value * tier.mm_rate - tier.mm_deduction, ZERO) + value * taker,
            order_im=claimed.growth * (rate + taker) + claimed.traded * taker,
            order_loss=claimed.loss,
            unrealised=position.size * mark - position.cost,
            value=value,
            tier=tier,
        )

    def reach(self, symbol: str) -> Decimal:
        """The largest value that position and open orders of one side can come to, at the mark."""
        mark = self._market.point(Category.LINEAR, symbol).mark
        orders = self._register.open(Category.LINEAR, symbol)
        return claim(self._account.size(symbol), mark, orders=orders).size * mark

    def _needs(self, orders: list[Order]) -> dict[str, tuple[str, _Need]]:
        """By symbol: settle coin and margin, for every symbol with a position or an open order."""
        by_symbol: dict[str, list[Order]] = {position.symbol: [] for position in self._account.held()}
        for order in orders:
            if order.category is Category.LINEAR:
                by_symbol.setdefault(order.symbol, []).append(order)
        positions = self._account.book.positions
        return {
            symbol: (
                self.perp(symbol).settle_coin,
                self._need(positions.get(symbol) or Position(symbol=symbol), by_symbol[symbol]),
            )
            for symbol in sorted(by_symbol)
        }

    # ------------------------------------------------------------------------------------------ account

    def collateral_value(self, coin: str, quantity: Decimal) -> Decimal:
        """USD that a positive quantity of a coin counts for: marginal tiers × price."""
        rules = self._market.coin_rules().get(coin)
        held = self._account.book.coins.get(coin)
        if rules is None or not rules.tiers or (held is not None and not held.collateral_switch):
            return ZERO
        return tiered(rules, quantity) * self._market.usd_price(coin)

    def totals(self, extra: Order | None = None) -> Totals:
        """Account figures now, or as they would be with one more order open."""
        return self._sum({}, extra)

    def affords(self, order: Order) -> bool:
        """Whether what the order claims is available; one that claims nothing always is."""
        before, after = self.totals().available, self.totals(order).available
        return after >= min(before, ZERO)

    def affords_leverage(self, symbol: str, leverage: Decimal) -> bool:
        """Whether the margin that another leverage asks of a contract is available."""
        chosen = self._account.book.leverage
        before, usual = self.totals().available, chosen.get(symbol)
        chosen[symbol] = leverage
        try:
            return self.totals().available >= min(before, ZERO)
        finally:
            if usual is None:
                del chosen[symbol]
            else:
                chosen[symbol] = usual

    def _haircut(self, orders: list[Order]) -> Decimal:
        """USD that open spot buys would take off the margin balance by turning cash into coins that count for
        less.
        """
        bought: dict[str, Decimal] = {}
        for order in orders:
            if order.category is Category.SPOT and order.side is Side.BUY:
                base = self._market.instruments(Category.SPOT)[order.symbol].base_coin
                usd = order.locked * self._market.usd_price(order.locked_coin)
                bought[base] = bought.get(base, ZERO) + usd
        return sum((max(usd - self._gain(base, usd), ZERO) for base, usd in bought.items()), ZERO)

    def _gain(self, coin: str, usd: Decimal) -> Decimal:
        """By how much the collateral grows when so much is spent on a coin."""
        price = self._market.usd_price(coin)
        if price <= 0:
            return ZERO
        held = max(self._account.wallet(coin), ZERO)
        return self.collateral_value(coin, held + usd / price) - self.collateral_value(coin, held)

    def withdrawable(self, coin: str) -> Decimal:
        """How much of a coin may leave: what no order ties up, no unrealised loss needs and no margin rests
        on.
        """
        totals = self.totals()
        free = self._account.free(coin) + min(totals.unrealised_by_coin.get(coin, ZERO), ZERO)
        rules = self._market.coin_rules().get(coin)
        weight = max((tier.ratio for tier in rules.tiers), default=ZERO) if rules is not None else ZERO
        weight *= self._market.usd_price(coin)
        if totals.initial > 0 and weight > 0:
            free = min(free, totals.available / weight)
        return max(free, ZERO)

    def wallet(self) -> WalletView:
        """The whole account with its coins."""
        views: dict[str, CoinView] = {}
        totals = self._sum(views)
        return WalletView(
            total_equity=totals.equity,
            total_wallet=totals.wallet,
            margin_balance=totals.balance,
            available=max(totals.available, ZERO),
            unrealised=totals.unrealised,
            initial_margin=totals.initial,
            maintenance_margin=totals.maintenance,
            im_rate=totals.rate(totals.initial),
            mm_rate=totals.rate(totals.maintenance),
            coins=views,
        )

    def _sum(self, views: dict[str, CoinView], extra: Order | None = None) -> Totals:
        orders = self._register.open() if self._register.any_open else []
        if extra is not None:
            orders.append(extra)
        totals = Totals(reserved=self._haircut(orders))
        by_coin: dict[str, list[_Need]] = {}
        for coin, need in self._needs(orders).values():
            by_coin.setdefault(coin, []).append(need)
            usd = self._market.usd_price(coin)
            totals.reserved += need.order_loss * usd
            totals.gross += need.value * usd
        coins = self._account.book.coins
        locks = {extra.locked_coin: extra.locked} if extra is not None and extra.locked else {}
        missing = {name: Coin() for name in (*by_coin, *locks) if name not in coins}
        for name, coin_state in (*coins.items(), *missing.items()):
            locked = coin_state.locked + locks.get(name, ZERO)
            view = self._coin_view(name, coin_state, needs=by_coin.get(name, []), locked=locked)
            if coin_state.wallet or view.equity or view.position_im or view.order_im or view.borrowed:
                views[name] = view
                self._add(totals, view)
        return totals

    def _coin_view(self, name: str, coin: Coin, *, needs: list[_Need], locked: Decimal) -> CoinView:
        unrealised = sum((need.unrealised for need in needs), ZERO)
        equity = coin.wallet - coin.borrowed + unrealised
        return CoinView(
            coin=name,
            wallet=coin.wallet,
            locked=locked,
            borrowed=coin.debt(equity, locked),
            spot_borrowed=coin.borrowed,
            accrued_interest=coin.accrued_interest,
            equity=equity,
            usd_value=equity * self._market.usd_price(name),
            unrealised=unrealised,
            realised_total=coin.realised,
            order_im=sum((need.order_im for need in needs), ZERO),
            position_im=sum((need.position_im for need in needs), ZERO),
            position_mm=sum((need.position_mm for need in needs), ZERO),
            collateral=bool(self._market.coin_rules().get(name, CoinRules(coin=name, tiers=())).tiers),
            collateral_switch=coin.collateral_switch,
        )

    def _add(self, totals: Totals, view: CoinView) -> None:
        usd = self._market.usd_price(view.coin)
        totals.equity += view.usd_value
        totals.wallet += view.wallet * usd
        totals.unrealised += view.unrealised * usd
        totals.unrealised_by_coin[view.coin] = view.unrealised
        owed = view.borrowed * usd
        if view.coin not in _STABLE:
            totals.gross += abs(view.usd_value)
        if view.equity > 0:
            totals.balance += self.collateral_value(view.coin, view.equity)
        else:
            totals.balance += view.equity * usd
        totals.initial += (view.position_im + view.order_im) * usd + owed * self._rules.borrow_im
        totals.maintenance += view.position_mm * usd + owed * self._rules.borrow_mm

    # ------------------------------------------------------------------------------------------ views

    def held(self) -> tuple[PositionView, ...]:
        """Every position with a size."""
        totals = self.totals()
        return tuple(self._view(position.symbol, totals) for position in self._account.held())

    def position(self, symbol: str) -> PositionView:
        """One position with its margins; flat ones included."""
        return self._view(symbol, self.totals())

    def _view(self, symbol: str, totals: Totals) -> PositionView:
        position = self._account.book.positions.get(symbol) or Position(symbol=symbol)
        need = self._need(position, self._register.open(Category.LINEAR, symbol))
        mark = self._market.point(Category.LINEAR, symbol).mark
        flat = not position.size
        return PositionView(
            symbol=symbol,
            size=position.size,
            entry_price=None if flat else position.cost / position.size,
            value=cash(abs(position.cost)),
            mark=mark,
            leverage=self.leverage(symbol),
            liquidation_price=None if flat else self._liquidation_price(position, need, totals=totals),
            initial_margin=ZERO if flat else need.position_im,
            maintenance_margin=ZERO if flat else need.position_mm,
            unrealised=need.unrealised,
            realised=position.realised,
            realised_total=position.realised_total,
            adl_rank=0 if flat else (position.adl_rank or self._adl_rank(need)),
            status=position.status,
            reduce_only=False,
            risk_limit=need.tier.limit,
            created=position.created,
            opened=position.opened,
            updated=position.updated,
            sequence=position.sequence,
        )

    @staticmethod
    def _adl_rank(need: _Need) -> int:
        """A rough rank by profit on margin, 1 to 5; only its growth matters."""
        ratio = need.unrealised / need.position_im if need.position_im else ZERO
        return 1 + sum(1 for bound in (ZERO, Decimal(1), Decimal(3), Decimal(6)) if ratio > bound)

    def _liquidation_price(self, position: Position, need: _Need, *, totals: Totals) -> Decimal | None:
        """Where the account would be at 100 % maintenance if only this contract's mark moved, on the
        nearer tick; None if nowhere. Tier and debt are those at that price: each look takes them from the
        last one's, and what is left of the error is a twentieth.
        """
        perp = self.perp(position.symbol)
        usd = self._market.usd_price(perp.settle_coin)
        if usd <= 0:
            return None
        mark = price = self._market.point(Category.LINEAR, position.symbol).mark
        coin = self._account.book.coins.get(perp.settle_coin, Coin())
        before = coin.wallet - coin.borrowed + totals.unrealised_by_coin.get(perp.settle_coin, ZERO)
        spare = (totals.balance - totals.maintenance) / usd + need.position_mm
        spare -= self._counts(perp.settle_coin, before) - coin.debt(before) * self._rules.borrow_mm
        size = abs(position.size)
        sign = 1 if position.size > 0 else -1
        for _ in range(_LOOKS):
            equity = before + position.size * (price - mark)
            tier = self.tier(position.symbol, size * price)
            rate = tier.mm_rate + self._taker(position.symbol)
            free = spare + self._counts(perp.settle_coin, equity) - coin.debt(equity) * self._rules.borrow_mm
            free += tier.mm_deduction - position.size * price
            price = free / (size * (rate - sign))
            if price <= 0:
                return None
        return (floor_to if sign < 0 else ceil_to)(price, perp.tick_size) or None

    def _counts(self, coin: str, equity: Decimal) -> Decimal:
        """What an equity of the settle coin is worth as margin, in that coin: a negative one in full."""
        if equity <= 0:
            return equity
        return self.collateral_value(coin, equity) / self._market.usd_price(coin)


def tiered(rules: CoinRules, quantity: Decimal) -> Decimal:
    """The quantity weighted by its marginal collateral tiers."""
    value, below = ZERO, ZERO
    for tier in rules.tiers:
        upper = quantity if tier.limit is None else min(quantity, tier.limit)
        if upper > below:
            value += (upper - below) * tier.ratio
            below = upper
        if below >= quantity:
            break
    return value
