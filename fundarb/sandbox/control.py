"""The control API under ``/sandbox``: clock, faults, world, truth, snapshot and restore. JSON in, JSON out,
strict.

A wrong verb or argument is answered with 400 ``{"error", "path"}`` and changes nothing.
"""

from __future__ import annotations

import json
from asyncio import Lock
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fundarb.core.instants import iso, to_ms
from fundarb.sandbox import wire
from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.arming import fitting
from fundarb.sandbox.bounds import LAST, LIFE
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.house import House
from fundarb.sandbox.rows import coin_row, execution_row, optional, order_row, position_row, transaction_row
from fundarb.sandbox.timekeeping import LONGEST_STEP, duration
from fundarb.sandbox.world import perform
from fundarb.venue.rows import Order

_MAX_BODY = 64 * 1024 * 1024  # a snapshot of a long run is large
_TOLD = 400


class _Json(JSONResponse):
    """JSON in ASCII: no text that was ever let in can make an answer impossible."""

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return json.dumps(content, separators=(",", ":"), ensure_ascii=True).encode()


class Control:
    """The functions behind the routes; one request at a time, like everything here.

    ``stride`` is how far time may move before ``passing`` must tell the streams of what has been (None: at
    once to the end).
    """

    def __init__(
        self, desk: Desk, *, stride: Callable[[], timedelta | None], passing: Callable[[], Awaitable[None]]
    ) -> None:
        self._desk = desk
        self._house = desk.house
        self._stride = stride
        self._passing = passing
        self._moving = Lock()

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
            exception_handlers={ControlError: _refused, HTTPException: _not_here},
        )

    async def clock(self, request: Request) -> Response:
        """GET: what time it is, in which world, and where its recording ends. POST: move a virtual clock."""
        if request.method == "GET":
            now, until = self._desk.catch_up(), self._house.until
            kind, uid = self._house.clock.kind.value, self._house.venue.uid
            ends = {} if until is None else {"until": to_ms(until)}
            return _Json({"now": to_ms(now), "clock": kind, "uid": uid, **ends})
        body = await _body(request)
        async with self._moving:
            target = self._target(body)
            while (step := self._stride()) is not None and self._house.venue.now + step < target:
                self._desk.catch_up(self._house.venue.now + step)
                await self._passing()
            return _Json(self._arrived(target))

    def moved(self, body: bytes) -> wire.Response:
        """The same move, for a request that came the short way."""
        try:
            status, answer = 200, self._moved(body)
        except ControlError as error:
            status, answer = error.status, _said(error)
        return wire.Response(status, wire.compact(answer).encode(), content_type=b"application/json")

    def _moved(self, body: bytes) -> dict[str, Any]:
        self._stand_still()
        return self._arrived(self._target(_arguments(body)))

    def _stand_still(self) -> None:
        """Refused while a long move is under way: it would go on in another world than it began in."""
        if self._moving.locked():
            raise ControlError("the clock is being moved", "", status=409)

    def _target(self, body: Arguments) -> datetime:
        """Where a request wants a virtual clock to be."""
        if not self._house.clock.virtual:
            raise ControlError(
                "this sandbox runs on the real clock; start it with --clock virtual", "", status=409
            )
        now = self._desk.catch_up()
        if body.has("advance") == body.has("to"):
            raise ControlError('give either "advance" or "to"', "advance")
        name = "advance" if body.has("advance") else "to"
        try:
            target = now + body.parsed(name, duration) if name == "advance" else body.instant(name)
        except OverflowError:
            raise ControlError("is beyond the calendar", name) from None
        body.done()
        if target < now:
            raise ControlError("time does not go backwards", name)
        if target > min(self._house.start + LIFE, LAST):
            raise ControlError(f"a world lasts {LIFE.days} days", name)
        if self._house.until is not None and target > self._house.until:
            raise ControlError(f"the recording ends at {iso(self._house.until)}", name)
        if target - now > LONGEST_STEP:
            raise ControlError(f"a step is {LONGEST_STEP.days} days at most; make several", name)
        return target

    def _arrived(self, target: datetime) -> dict[str, Any]:
        now = self._desk.catch_up(target)
        self._house.settled_reads()
        return {"now": to_ms(now)}

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
            return _Json({"faults": rows})
        body = await _body(request)
        fitting(body)
        self._desk.catch_up()
        return _Json({"id": self._house.arm(body)}, status_code=201)

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
        return _Json({"now": to_ms(self._house.venue.now)})

    async def truth(self, request: Request) -> Response:
        """GET: everything the venue knows, and every request it saw; ``detail=1``: more about each order."""
        self._desk.catch_up()
        return _Json(known(self._house, detailed=request.query_params.get("detail") == "1"))

    async def snapshot(self, _request: Request) -> Response:
        """POST: the complete state."""
        self._desk.catch_up()
        return _Json({"snapshot": self._house.snapshot()})

    async def restore(self, request: Request) -> Response:
        """POST: become what a snapshot says."""
        body = await _body(request)
        state = body.raw("snapshot")
        body.done()
        if not isinstance(state, dict):
            raise ControlError("must be what POST /sandbox/snapshot gave", "snapshot")
        self._stand_still()
        try:
            now = self._desk.restore(state)
        except ValueError as error:
            raise ControlError(f"cannot be restored: {str(error)[:_TOLD]}", "snapshot") from error
        return _Json({"now": to_ms(now)})


def known(house: House, *, detailed: bool = False) -> dict[str, Any]:
    """What ``/sandbox/truth`` tells, as JSON values."""
    venue = house.venue
    row = _detailed if detailed else _order
    return {
        "now": to_ms(venue.now),
        "uid": venue.uid,
        "orders": [row(order) for order in venue.all_orders()],
        "executions": [
            {"category": fill.category.value, **execution_row(fill)} for fill in venue.all_fills()
        ],
        "positions": [position_row(view) for view in venue.positions()],
        "wallets": [coin_row(coin) for coin in venue.wallet().coins.values()],
        "transaction_log": [transaction_row(tx) for tx in venue.all_transactions()],
        "requests": house.log.rows(),
    }


def _order(order: Order) -> dict[str, Any]:
    row = order_row(order)
    return {
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "category": order.category.value,
        "symbol": order.symbol,
        "side": order.side.value,
        "qty": row["qty"],
        "cumExecQty": row["cumExecQty"],
        "avgPrice": row["avgPrice"],
        "status": order.status.value,
        "created": to_ms(order.created),
    }


def _detailed(order: Order) -> dict[str, Any]:
    """What an audit needs beside it."""
    more = {"price": optional(order.price), "reduceOnly": order.reduce_only, "updated": to_ms(order.updated)}
    return {**_order(order), **more}


async def _body(request: Request) -> Arguments:
    """The JSON object of a request."""
    raw = bytearray()
    try:
        async for part in request.stream():
            raw += part
            if len(raw) > _MAX_BODY:
                raise ControlError("body is too large", "", status=413)
    except ClientDisconnect as gone:
        raise ControlError("the body did not come to its end", "") from gone
    return _arguments(bytes(raw))


def _arguments(body: bytes) -> Arguments:
    try:
        value = wire.decoded(body)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"body is not valid JSON: {error}", "") from error
    return Arguments(value)


def _said(error: ControlError) -> dict[str, Any]:
    return {"error": error.message, "path": error.path}


async def _not_here(_request: Request, error: Exception) -> Response:
    """An unknown path or a wrong method, said as everything else is."""
    if not isinstance(error, HTTPException):
        raise error
    return _Json({"error": error.detail, "path": ""}, status_code=error.status_code, headers=error.headers)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, ControlError):
        raise error
    return _Json(_said(error), status_code=error.status)
