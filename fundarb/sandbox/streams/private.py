"""Private messages: one notice of the venue becomes the rows that the exchange would push for it.

Rows are those of REST with the few names that differ on a stream (recorded messages: ``entryPrice`` of a
position, ``category`` everywhere). They are read while the notice is told, so that each shows the account of
its own instant. Source: Bybit V5 API, private streams; that every order event pushes the position too was
observed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.core.orders import ExecKind
from fundarb.sandbox.closings import closings
from fundarb.sandbox.endpoints.account import empty_coin
from fundarb.sandbox.house import House
from fundarb.sandbox.rows import Row, execution_row, order_row, position_row, wallet_row
from fundarb.sandbox.wire import compact
from fundarb.venue.rows import Fill, Notice, Order, Topic

_FAST = (
    "category",
    "symbol",
    "execId",
    "execPrice",
    "execQty",
    "orderId",
    "isMaker",
    "orderLinkId",
    "side",
    "execTime",
    "seq",
)
_SPOT_ONLY: Row = {"smpGroup": "0", "slippageTolerance": "", "rpiTakerAccess": False, "rpiMatchedQty": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One row for the subscribers of ``base`` and, unless it is a wallet, of ``base.category``. Fast
    executions have no ``ident``.
    """

    base: str
    row: Row
    ident: str

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics it goes to."""
        category = self.row.get("category")
        return (self.base,) if category is None else (self.base, f"{self.base}.{category}")

    def text(self, topic: str, now_ms: int) -> str:
        """The message under one topic."""
        ident = {"id": self.ident} if self.ident else {}
        return compact({"topic": topic, **ident, "creationTime": now_ms, "data": [self.row]})


class PrivateRows:
    """Turns notices into pushes. ``wanted`` says whether anybody listens: rows that nobody wants are not
    made.
    """

    def __init__(self, house: House, wanted: Callable[[str], bool]) -> None:
        self._house = house
        self._wanted = wanted
        self._shown: set[str] = set()
        self._just_filled = ""
        self._count = 0

    def of(self, notice: Notice) -> Iterator[Push]:
        """The pushes of one notice, in order."""
        payload = notice.payload
        if isinstance(payload, Order):
            yield from self._order(payload)
        elif isinstance(payload, Fill):
            yield from self._execution(payload)
        elif notice.topic is Topic.POSITION:
            yield from self._position(payload)
        elif notice.topic is Topic.WALLET:
            yield from self._wallet()

    def _ident(self, name: str) -> str:
        self._count += 1
        return f"{self._house.venue.uid}_{name}_{self._count}"

    # ------------------------------------------------------------------------------------------ orders

    def _order(self, order: Order) -> Iterator[Push]:
        """An order event; one without a fill moves margin and locked coins, so position and wallet follow
        (after a fill their own notices do).
        """
        if self._wanted("order"):
            yield Push(base="order", row=self._order_row(order), ident=self._ident(order.symbol))
        if order.order_id != self._just_filled:
            if order.category is Category.LINEAR:
                yield from self._position(order.symbol)
            yield from self._wallet()
        self._just_filled = ""

    def _order_row(self, order: Order) -> Row:
        row = _without(order_row(order), "extraFees")
        coins = list(order.fees)
        row |= {"category": order.category.value, "feeCurrency": coins[0] if len(coins) == 1 else ""}
        if order.category is Category.SPOT:
            return {**_without(row, "createType"), **_SPOT_ONLY}
        return {**row, "marketUnit": "", "closedPnl": plain(self._closed_pnl(order))}

    def _closed_pnl(self, order: Order) -> Decimal:
        """What the order has earned by closing, after fees; zero unless it has closed something."""
        venue = self._house.venue
        if not any(fill.closed for fill in venue.fills_of(order)):
            return Decimal(0)
        fills = (
            fill
            for fill in venue.all_fills()
            if fill.symbol == order.symbol and fill.category is order.category
        )
        found = [item.pnl for item in closings(fills) if item.last.order_id == order.order_id]
        return found[-1] if found else Decimal(0)

    # ------------------------------------------------------------------------------------------ executions

    def _execution(self, fill: Fill) -> Iterator[Push]:
        """A fill, a settlement of funding and every act of the venue that has an execution row."""
        self._just_filled = fill.order_id
        row = {
            **_without(execution_row(fill), "marketUnit"),
            "category": fill.category.value,
            "isLeverage": "0",
            "execPnl": plain(self._gain(fill)),
        }
        if self._wanted("execution"):
            yield Push(base="execution", row=row, ident=self._ident(fill.symbol))
        if fill.kind is ExecKind.TRADE and self._wanted("execution.fast"):
            fast = {name: row[name] for name in _FAST}
            yield Push(base="execution.fast", row=fast, ident="")

    def _gain(self, fill: Fill) -> Decimal:
        """``execPnl``: the cash flow of the fill's row in the transaction log, for what it has closed."""
        if not fill.closed:
            return Decimal(0)
        rows = self._house.venue.transactions(fill.time, fill.time)
        return sum((tx.cash_flow for tx in rows if tx.trade_id == fill.exec_id), Decimal(0))

    # ------------------------------------------------------------------------------------------ account

    def _position(self, symbol: str) -> Iterator[Push]:
        if self._wanted("position"):
            row = position_row(self._house.venue.position(symbol))
            entry = {"entryPrice": row["avgPrice"], "category": Category.LINEAR.value}
            row = {**entry, **_without(row, "avgPrice", "breakEvenPrice", "openTime")}
            yield Push(base="position", row=row, ident=self._ident(symbol))

    def _wallet(self) -> Iterator[Push]:
        """The whole wallet. A coin that has left it is shown once more, as zero."""
        if not self._wanted("wallet"):
            return
        view = self._house.venue.wallet()
        here = {name for name, coin in view.coins.items() if coin.wallet or coin.equity or coin.borrowed}
        gone = {
            name: empty_coin(name, collateral=False) for name in self._shown - here if name not in view.coins
        }
        self._shown = here
        yield Push(base="wallet", row=wallet_row(view, {**view.coins, **gone}), ident=self._ident("wallet"))


def _without(row: Row, *names: str) -> Row:
    """A row of REST without what the stream does not have."""
    return {name: value for name, value in row.items() if name not in names}
