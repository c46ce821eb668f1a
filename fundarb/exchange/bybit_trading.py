"""The private side of Bybit: one unified account, its orders, fills, positions, balances and its log.

Reads are complete or raise. Writes are sent at most once and answered by class; a create
leaves only past the wire gate. Nothing here remembers an order: that is the store's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from fundarb.core.account import AccountInfo, KeyInfo, PositionReport, Transaction, Wallet
from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.core.orders import Execution, OrderReport, OrderRequest, Outcome, WriteAnswer
from fundarb.errors import BadAnswer, InvariantBroken, Rejected, Unavailable
from fundarb.exchange import endpoints, parse_account, parse_orders
from fundarb.exchange.budget import Lane
from fundarb.exchange.endpoints import Endpoint
from fundarb.exchange.gateway import Gateway, Params, Sending
from fundarb.exchange.outcomes import NO_CHANGE
from fundarb.exchange.parse import ParseError, Row, each, rows, text
from fundarb.exchange.strict import Answer, VenueRefused, WireGate

T = TypeVar("T")

_WINDOW = timedelta(days=7)
_MILLISECOND = timedelta(milliseconds=1)
_SETTLE_COINS = ("USDT", "USDC")
_CROSS = "REGULAR_MARGIN"
_NOT_IN_DEMO = 10032
_ONE_WAY = 0
_FILLS = 100
"""Rows of a page of executions, the venue's most."""


class BybitTrading:
    """Satisfies the port ``Trading``."""

    def __init__(self, gateway: Gateway, gate: WireGate | None) -> None:
        """``gate`` has the last word on creates; without one no order can leave."""
        self._gateway = gateway
        self._gate = gate
        self._uid = ""

    def urgent(self, patience: timedelta) -> AbstractContextManager[None]:
        """Within it each read of this thread, market data included, comes before all others and ends after
        ``patience``.
        """
        return self._gateway.patience.urgent(patience)

    def stamp(self) -> datetime:
        """The timestamp for a write to be signed now; waits for a measurement only if there is none to go
        by.
        """
        return self._gateway.server.stamp(write=True)

    def belong(self, uid: str) -> None:
        """From now on every answer from which something is booked or decided must be of this account:
        ``OtherAccount`` where the venue names another.
        """
        self._gateway.owner.belong(uid)

    def sure(self) -> bool:
        """Whether the venue is known to be our account's, on the connections that there are."""
        return self._gateway.owner.sure()

    # ------------------------------------------------------------------------------------------ account

    def account(self) -> AccountInfo:
        """Whose account this is and how it is set up."""
        uid = self._uid or self.key_info().uid
        info = self._gateway.read(endpoints.ACCOUNT_INFO, {}, parse=_checked_info)
        return parse_account.account_info(info, self._user_settings(), uid=uid)

    def _user_settings(self) -> Answer | None:
        if self._gateway.settings.demo:
            return None
        try:
            return self._gateway.read(endpoints.USER_SETTINGS, {}, parse=_checked_settings)
        except VenueRefused as error:
            if error.code == _NOT_IN_DEMO:
                return None
            raise

    def key_info(self) -> KeyInfo:
        """What the key may do."""
        info = self._gateway.whose()
        self._uid = info.uid
        return info

    def wallet(self) -> Wallet:
        """All balances of the unified account."""
        return self._gateway.read(endpoints.WALLET, {"accountType": "UNIFIED"}, parse=parse_account.wallet)

    def positions(self) -> tuple[PositionReport, ...]:
        """All open linear positions, settled in USDT and USDC, complete."""
        found: dict[tuple[str, int], PositionReport] = {}
        with self._gateway.patience.one_read():
            for coin in _SETTLE_COINS:
                params = {"category": Category.LINEAR.value, "settleCoin": coin, "limit": 200}
                for report in self._gateway.read_pages(
                    endpoints.POSITIONS, params, parse=parse_account.positions
                ):
                    _keep(found, (report.symbol, report.position_idx), row=report)
        return tuple(found.values())

    # ------------------------------------------------------------------------------------------ set-up

    def prepare_symbol(self, symbol: str, leverage: Decimal) -> None:
        """Verify cross margin and one-way mode and set the leverage; does nothing where all is as it should
        be.

        ``Rejected`` if the venue refuses; ``Unavailable`` if it could not be seen to be so afterwards.
        """
        mode = self._gateway.read(
            endpoints.ACCOUNT_INFO, {}, parse=lambda answer: text(answer.result, "marginMode")
        )
        if mode != _CROSS:
            raise Rejected(
                f"the account is in {mode}, not in cross margin ({_CROSS}): change it at the venue"
            )
        one_way, current = self._symbol_setup(symbol)
        if not one_way:
            params = {"category": Category.LINEAR.value, "symbol": symbol, "mode": _ONE_WAY}
            self._set(
                endpoints.SWITCH_MODE,
                params,
                what=f"{symbol} is in hedge mode and cannot be switched to one-way",
            )
        if current != leverage:
            shown = plain(leverage)
            params = {
                "category": Category.LINEAR.value,
                "symbol": symbol,
                "buyLeverage": shown,
                "sellLeverage": shown,
            }
            self._set(
                endpoints.SET_LEVERAGE, params, what=f"the leverage of {symbol} cannot be set to {shown}"
            )
        if one_way and current == leverage:
            return
        one_way, current = self._symbol_setup(symbol)
        if not one_way or current != leverage:
            shown = "unknown" if current is None else plain(current)
            raise Unavailable(f"{symbol} is not set up as asked: leverage {shown}, one-way mode {one_way}")

    def _symbol_setup(self, symbol: str) -> tuple[bool, Decimal | None]:
        """Whether the symbol is in one-way mode, and its leverage; asked by symbol a flat position answers
        as well.
        """

        def read(answer: Answer) -> tuple[bool, Decimal | None]:
            mine = [row for row in each(answer, parse_account.position) if row.symbol == symbol]
            if not mine:
                raise ParseError(f"no row for {symbol}")
            leverages = {row.leverage for row in mine}
            return all(row.position_idx == _ONE_WAY for row in mine), leverages.pop() if len(
                leverages
            ) == 1 else None

        return self._gateway.read(
            endpoints.POSITIONS, {"category": Category.LINEAR.value, "symbol": symbol}, parse=read
        )

    def _set(self, endpoint: Endpoint, params: Params, *, what: str) -> None:
        """A setting: a definite refusal raises, an uncertain answer is left to the look that follows."""
        answer = self._gateway.write(endpoint, params, sending=Sending())
        if answer.code in NO_CHANGE or answer.outcome in {Outcome.ACCEPTED, Outcome.UNCERTAIN}:
            return
        if not answer.sent:
            raise Unavailable(f"{what}: {answer.message}")
        raise Rejected(f"{what}: {answer.code} {answer.message}", code=answer.code)

    # ------------------------------------------------------------------------------------------ writes

    def create(self, request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        """Send one order whose intent is committed; ``signed_at`` is that intent's and becomes the
        signature's time.
        """
        gate = self._gate
        if gate is None:
            raise InvariantBroken("an order was to be sent by an adapter that has no wire gate")
        params: dict[str, Any] = {
            "category": request.category.value,
            "symbol": request.symbol,
            "side": request.side.value,
            "orderType": "Limit",
            "qty": plain(request.quantity),
            "price": plain(request.limit_price),
            "timeInForce": request.time_in_force.value,
            "orderLinkId": request.link_id,
        }
        if request.category is Category.LINEAR:
            params |= {"positionIdx": _ONE_WAY, "reduceOnly": request.reduce_only}
        else:
            params |= {"isLeverage": 0}  # never borrow
        sending = Sending(
            signed_at=signed_at,
            admit=lambda: gate.admit(request, signed_at),
            needs_order_id=True,
            link_id=request.link_id,
        )
        return self._gateway.write(endpoints.CREATE, params, sending=sending)

    def cancel(self, category: Category, symbol: str, *, link_id: str) -> WriteAnswer:
        """Ask to cancel an order by our link id."""
        params = {"category": category.value, "symbol": symbol, "orderLinkId": link_id}
        return self._gateway.write(endpoints.CANCEL, params, sending=Sending())

    # ------------------------------------------------------------------------------------------ orders

    def order_realtime(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Look one order up among the open and the latest closed ones."""
        return self._one_order(endpoints.ORDER_REALTIME, category, symbol=symbol, link_id=link_id)

    def order_history(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Look one order up in the history."""
        return self._one_order(endpoints.ORDER_HISTORY, category, symbol=symbol, link_id=link_id)

    def _one_order(
        self, endpoint: Endpoint, category: Category, *, symbol: str, link_id: str
    ) -> OrderReport | None:
        params = {"category": category.value, "symbol": symbol, "orderLinkId": link_id}

        def read(answer: Answer) -> OrderReport | None:
            found: dict[str, OrderReport] = {}
            for report in each(answer, lambda row: parse_orders.order(row, category)):
                if report.link_id != link_id or report.symbol != symbol:
                    raise ParseError(f"asked for {link_id}, got {report.link_id!r} of {report.symbol}")
                found[report.order_id] = report
            if len(found) > 1:
                raise ParseError(f"{len(found)} orders have the link id {link_id}")
            return next(iter(found.values()), None)

        return self._gateway.read(endpoint, params, parse=read, lane=Lane.URGENT)

    def open_orders(self, category: Category) -> tuple[OrderReport, ...]:
        """All open orders of one market, complete."""
        found: dict[str, OrderReport] = {}
        parse = _list_of(lambda row: parse_orders.order(row, category))
        for scope in _scopes(category):
            params = {"category": category.value, "openOnly": 0, "limit": 50, **scope}
            for report in self._gateway.read_pages(endpoints.ORDER_REALTIME, params, parse=parse):
                if not report.status.final:
                    found[report.order_id] = (
                        report  # an order that moved between two pages: the later row counts
                    )
        return tuple(found.values())

    # ------------------------------------------------------------------------------------------ facts

    def executions_of(self, category: Category, symbol: str, *, link_id: str) -> tuple[Execution, ...]:
        """Every execution of one order, oldest first.

        A page that is not full is the last one: whoever follows an order compares the sum with what was
        ordered, or with the venue's own figure, and the other leg waits for it.
        """
        params = {"category": category.value, "symbol": symbol, "orderLinkId": link_id, "limit": _FILLS}

        def parse(row: Row) -> Execution:
            execution = parse_orders.execution(row, category)
            if execution.link_id != link_id or execution.symbol != symbol:
                raise ParseError(f"asked for {link_id}, got an execution of {execution.link_id!r}")
            return execution

        pages = self._gateway.read_pages(
            endpoints.EXECUTIONS, params, parse=_list_of(parse), lane=Lane.URGENT, full=_FILLS
        )
        return _in_order(pages)

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """Every execution row of [since, until], oldest first, all kinds."""
        parse = _list_of(lambda row: parse_orders.execution(row, category))
        found: list[Execution] = []
        for window in _windows(since, until):
            params = {"category": category.value, "limit": 100, **window}
            found += self._gateway.read_pages(endpoints.EXECUTIONS, params, parse=parse)
        return _in_order(found)

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Every transaction-log row of [since, until], oldest first, complete."""
        found: dict[str, Transaction] = {}
        for window in _windows(since, until):
            params = {"accountType": "UNIFIED", "limit": 50, **window}
            page = self._gateway.read_pages(
                endpoints.TRANSACTION_LOG, params, parse=_list_of(parse_account.transaction)
            )
            for row in page:
                _keep(found, row.key, row=row)
        # Newest first on the wire: turned round, rows of one millisecond are in the order of events.
        oldest_first = list(found.values())[::-1]
        return tuple(sorted(oldest_first, key=lambda row: row.time))


# ---------------------------------------------------------------------------------------------- helpers


def _list_of(parse: Callable[[Row], T]) -> Callable[[Answer], list[T]]:
    return lambda answer: [parse(row) for row in rows(answer)]


def _keep(found: dict[Any, T], key: object, *, row: T) -> None:
    """Keep a row; the same row twice is one row, two different ones under one key are a contradiction."""
    if found.setdefault(key, row) != row:
        raise BadAnswer(f"two different rows of the venue have the key {key}")


def _in_order(executions: list[Execution]) -> tuple[Execution, ...]:
    found: dict[str, Execution] = {}
    for execution in executions:
        _keep(found, execution.key, row=execution)
    return tuple(sorted(found.values(), key=lambda execution: (execution.time, execution.exec_id)))


def _windows(since: datetime, until: datetime) -> Iterator[dict[str, int]]:
    """[since, until] cut into the venue's windows of at most seven days, oldest first, without gap or
    overlap.
    """
    start = since
    while start <= until:
        end = min(start + _WINDOW - _MILLISECOND, until)
        yield {"startTime": to_ms(start), "endTime": to_ms(end)}
        start = end + _MILLISECOND


def _scopes(category: Category) -> tuple[dict[str, str], ...]:
    """What a query of open orders must name: the settle coins of linear contracts, nothing for spot."""
    if category is Category.SPOT:
        return ({},)
    return tuple({"settleCoin": coin} for coin in _SETTLE_COINS)


def _checked_info(answer: Answer) -> Answer:
    parse_account.account_info(answer, None, uid="")
    return answer


def _checked_settings(answer: Answer) -> Answer:
    probe = replace(answer, result={"marginMode": _CROSS, "unifiedMarginStatus": 6})
    parse_account.account_info(probe, answer, uid="")
    return answer
