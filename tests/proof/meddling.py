"""Acts of others at the worst moment: between two orders of one walk. The venue takes of a leg, of both or of
all; a hand sells, withdraws, buys back, buys more than there is short, sells coins that are only borrowed, or
locks them in an order of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

from fundarb.core.market import Category
from fundarb.core.money import floor_to
from fundarb.core.orders import OrderRequest, Side, TimeInForce, WriteAnswer
from fundarb.errors import Rejected
from fundarb.venue.engine import Venue
from fundarb.venue.rows import MarketUnit, OrderSpec, OrderType
from tests.proof.balance import Balance
from tests.proof.market import BASES, PERPS
from tests.proof.trouble import TroubledExchange

D = Decimal
_STEP = {"BTC": D("0.001"), "PEPE": D(100), "ADA": D(1)}
"""One step of the perp."""
_LEAST = D("1e-8")
"""A difference that is within every tolerance."""


@dataclass(frozen=True)
class Act:
    """What somebody may do; ``hand`` if it is a person, ``mixed`` if contracts or coins of others then lie
    among ours.
    """

    name: str
    do: Callable[[], object]
    hand: bool = False
    mixed: bool = False


@dataclass
class Meddler:
    """Throws acts; ``often`` is their share of the orders that reach the venue, ``mixing`` whether others may
    come to hold contracts or coins among ours.
    """

    venue: Venue
    balance: Balance
    die: Random
    touched: set[str]
    repaid: set[str]
    tell: Callable[[str], None]
    often: float = 0.0
    mixing: bool = True

    def watch(self, exchange: TroubledExchange) -> None:
        """Act after some orders of one life."""
        create, store = exchange.create, exchange.store

        def meddled(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
            answer = create(request, signed_at=signed_at)
            if not exchange.dead and self.die.random() < self.often:
                self.act(next(base for base in BASES if request.symbol in {PERPS[base], f"{base}USDT"}))
                self.balance.disturbed(store)
            return answer

        exchange.create = meddled  # type: ignore[method-assign]

    def act(self, base: str, *, by_hand: bool = False) -> None:
        """One act, if the venue allows it."""
        acts = [act for act in self._acts(base) if self.mixing or not act.mixed]
        act = self.die.choice([act for act in acts if act.hand or not by_hand])
        try:
            act.do()
        except (ValueError, Rejected) as error:
            self.tell(f"    meddling {act.name} {base}: {error}")
            return
        self.repaid.add(base)
        if act.hand:
            self.touched.add(base)
        if act.mixed:
            self.balance.mingled.add(base)
        self.tell(f"    meddling {act.name} {base}")

    def leave(self) -> None:
        """No act any more, and no order of a hand."""
        self.often = 0.0
        for base in BASES:
            self.venue.cancel_all(Category.SPOT, f"{base}USDT")

    def _acts(self, base: str) -> tuple[Act, ...]:
        world, symbol = self.venue.world, PERPS[base]
        part = self.die.choice((D("0.1"), D("0.4"), D(1)))
        size = sum((view.size for view in self.venue.positions() if view.symbol == symbol), D(0))
        coin = self.venue.wallet().coins.get(base)
        coins = D(0) if coin is None else max(coin.wallet, D(0))
        some = max(floor_to(abs(size) * part, _STEP[base]), _STEP[base])
        sold = floor_to(coins * part, _STEP[base])
        return (
            Act("deleverages", lambda: world.adl(symbol, part)),
            Act("repays", lambda: world.auto_repay(base, part)),
            Act("takes both", lambda: self._both(base, part)),
            Act("liquidates", lambda: world.liquidate(symbol)),
            Act("moves a grain", lambda: world.transfer(base, -_LEAST)),
            Act("buys back", lambda: self._perp(symbol, Side.BUY, some), hand=True),
            Act("closes", lambda: world.manual_close(symbol), hand=True),
            Act("sells", lambda: self._spot(base, sold), hand=True),
            Act("withdraws", lambda: world.transfer(base, -sold), hand=True),
            Act(
                "turns round",
                lambda: self._perp(symbol, Side.BUY, 2 * some + abs(size)),
                hand=True,
                mixed=True,
            ),
            Act("sells borrowed coins", lambda: self._spot(base, coins + some), hand=True, mixed=True),
            Act("locks", lambda: self._lock(base, sold), hand=True),
        )

    def _both(self, base: str, part: Decimal) -> None:
        self.venue.world.adl(PERPS[base], part)
        self.venue.world.auto_repay(base, part)

    def _perp(self, symbol: str, side: Side, quantity: Decimal) -> object:
        return self.venue.world.manual_order(Category.LINEAR, symbol, side=side, quantity=quantity)

    def _spot(self, base: str, quantity: Decimal, **terms: Any) -> object:
        """Sell coins, at market and perhaps on credit unless other terms are given."""
        at_market = {
            "order_type": OrderType.MARKET,
            "time_in_force": TimeInForce.IOC,
            "market_unit": MarketUnit.BASE,
            "leverage": True,
        }
        symbol, terms = f"{base}USDT", terms or at_market
        return self.venue.place(
            OrderSpec(category=Category.SPOT, symbol=symbol, side=Side.SELL, quantity=quantity, **terms)
        )

    def _lock(self, base: str, quantity: Decimal) -> object:
        """An order that rests far above the market."""
        return self._spot(
            base, quantity, price=self.venue.point(Category.SPOT, f"{base}USDT").last * D("1.04")
        )
