"""The control API under ``/sandbox``: clock, faults, world, truth, snapshot and restore. JSON in, JSON out,
strict.

A wrong verb or argument is answered with 400 ``{"error", "path"}`` and changes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fundarb.core.instants import to_ms
from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.rows import coin_row, execution_row, optional, order_row, position_row, transaction_row
from fundarb.sandbox.timekeeping import duration
from fundarb.sandbox.world import perform
from fundarb.venue.rows import Order

_MAX_BODY = 64 * 1024 * 1024  # a snapshot of a long run is large


class Control:
    """The functions behind the routes; one request at a time, like everything here."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._house = desk.house

    def app(self) -> Starlette:
        """The routes as an application."""
        return Starlette(
            routes=[
                Route("/sandbox/clock", self.clock, methods=["GET", "POST"]),
                Route("/sandbox/faults", self.faults, methods=["GET", "POST", "DELETE"]),
                Route("/sandbox/faults/{id}", self.fault, methods=["DELETE"]),
                Route("/sandbox/world", self.world, methods=["POST"]),
                Route("/sandbox/truth", self.truth, methods=["GET"]),
                Route("/sandbox/snapshot", self.snapshot, methods=["POST"]),
                Route("/sandbox/restore", self.restore, methods=["POST"]),
            ],
            exception_handlers={ControlError: _refused},
        )

    async def clock(self, request: Request) -> Response:
        """GET: what time it is. POST: move a virtual clock."""
        if request.method == "GET":
            now = self._desk.catch_up()
            return JSONResponse({"now": to_ms(now), "clock": self._house.clock.kind.value})
        body = await _body(request)
        if not self._house.clock.virtual:
            raise ControlError(
                "this sandbox runs on the real clock; start it with --clock virtual", "", status=409
            )
        now = self._desk.catch_up()
        if body.has("advance") == body.has("to"):
            raise ControlError('give either "advance" or "to"', "advance")
        target = now + body.parsed("advance", duration) if body.has("advance") else body.instant("to")
        body.done()
        if target < now:
            raise ControlError("time does not go backwards", "to")
        now = self._desk.catch_up(target)
        self._house.settled_reads()
        return JSONResponse({"now": to_ms(now)})

    async def faults(self, request: Request) -> Response:
        """POST arms a fault, GET lists them, DELETE removes all."""
        book = self._house.faults
        if request.method == "DELETE":
            book.disarm()
            return Response(status_code=204)
        if request.method == "GET":
            rows = [
                {
                    "id": rule.id,
                    "verb": rule.effect.verb,
                    "seen": rule.seen,
                    "fired": rule.fired,
                    "times": rule.times,
                }
                for rule in book.armed()
            ]
            return JSONResponse({"faults": rows})
        body = await _body(request)
        ident = book.arm(body, self._desk.catch_up())
        self._house.settled_reads()
        return JSONResponse({"id": ident}, status_code=201)

    async def fault(self, request: Request) -> Response:
        """DELETE one fault."""
        self._house.faults.disarm(str(request.path_params["id"]))
        return Response(status_code=204)

    async def world(self, request: Request) -> Response:
        """POST: let something happen now."""
        body = await _body(request)
        self._desk.catch_up()
        perform(self._house, body)
        self._house.settled_reads()
        return JSONResponse({"now": to_ms(self._house.venue.now)})

    async def truth(self, _request: Request) -> Response:
        """GET: everything the venue knows, and every request it saw."""
        now = self._desk.catch_up()
        venue = self._house.venue
        return JSONResponse(
            {
                "now": to_ms(now),
                "uid": venue.uid,
                "orders": [_order(order) for order in venue.all_orders()],
                "executions": [
                    {"category": fill.category.value, **execution_row(fill)} for fill in venue.all_fills()
                ],
                "positions": [position_row(view) for view in venue.positions()],
                "wallets": [coin_row(coin) for coin in venue.wallet().coins.values()],
                "transaction_log": [transaction_row(tx) for tx in venue.all_transactions()],
                "requests": self._house.log.rows(),
            }
        )

    async def snapshot(self, _request: Request) -> Response:
        """POST: the complete state."""
        self._desk.catch_up()
        return JSONResponse({"snapshot": self._house.snapshot()})

    async def restore(self, request: Request) -> Response:
        """POST: become what a snapshot says."""
        body = await _body(request)
        state = body.raw("snapshot")
        body.done()
        if not isinstance(state, dict):
            raise ControlError("must be what POST /sandbox/snapshot gave", "snapshot")
        try:
            self._house.restore(state)
        except (ValueError, KeyError, TypeError) as error:
            raise ControlError(f"cannot be restored: {error}", "snapshot") from error
        return JSONResponse({"now": to_ms(self._desk.catch_up())})


def _order(order: Order) -> dict[str, Any]:
    row = order_row(order)
    return {
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "category": order.category.value,
        "symbol": order.symbol,
        "side": order.side.value,
        "qty": row["qty"],
        "price": optional(order.price),
        "cumExecQty": row["cumExecQty"],
        "avgPrice": row["avgPrice"],
        "status": order.status.value,
        "reduceOnly": order.reduce_only,
        "created": to_ms(order.created),
        "updated": to_ms(order.updated),
    }


async def _body(request: Request) -> Arguments:
    """The JSON object of a request."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > _MAX_BODY:
            raise ControlError("body is too large", "", status=413)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"body is not valid JSON: {error}", "") from error
    return Arguments(value)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ControlError):
        raise error
    return JSONResponse({"error": error.message, "path": error.path}, status_code=error.status)
