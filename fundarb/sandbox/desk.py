"""One request from raw bytes to an answer: faults, limits, signature, end point; synchronous, and without
any socket.

The order is the exchange's: what never arrives is never counted; a key is checked before anything is done;
a request that arrives late is judged by the clock at which it arrives.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fundarb.core.instants import to_ms
from fundarb.errors import Rejected
from fundarb.sandbox.auth import ApiKey, Right, Signed, require
from fundarb.sandbox.endpoints.common import Endpoint
from fundarb.sandbox.endpoints.market import all_tickers
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.faults import OF_ORDERS, Effect, FaultBook, Plan
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.limits import Allowance
from fundarb.sandbox.spoil import garbage, reshaped
from fundarb.sandbox.trial import live_an_hour
from fundarb.sandbox.wire import Answer, Parameters, Response, WireError, answered, forbidden, refused
from fundarb.venue.rows import Directive

_SPOT, _LINEAR = ("Spot", "SpotTrade"), ("ContractTrade", "Order")
_TRADE = {"spot": (_SPOT,), "linear": (_LINEAR,)}
_SETTING = ("ContractTrade", "Position")
_OPEN_IN_MAINTENANCE = ("/v5/system/status", "/v5/market/time", "/v5/announcements/index")


class Raw:
    """A request as it came over the socket, with its parameters (or why they cannot be read) and its
    signature.
    """

    __slots__ = ("address", "body", "headers", "method", "misfit", "parameters", "path", "signed")

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes,
        address: str,
    ) -> None:
        self.method = method
        self.path = path
        self.body = body
        self.address = address
        self.headers = headers
        self.signed = Signed.of(headers, body if method == "POST" else query)
        self.parameters: Parameters | None = None
        self.misfit: WireError | None = None
        try:
            self.parameters = Parameters.of_body(body) if method == "POST" else Parameters.of_query(query)
        except WireError as error:
            self.misfit = error

    def word(self, name: str) -> str:
        """A parameter as text, "" where there is none."""
        return (self.parameters.peek(name) if self.parameters is not None else None) or ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the socket is to do: send ``response``, or lose it in the way ``lost`` says; ``delay_ms`` of
    wall time first.
    """

    response: Response
    lost: str = ""
    delay_ms: int = 0


class Desk:
    """Where requests are handled."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._late: list[tuple[datetime, int, Raw]] = []
        self._arrivals = 0

    # ------------------------------------------------------------------------------------------ time

    def catch_up(self, until: datetime | None = None) -> datetime:
        """Bring the venue to the present (or a virtual clock to ``until``); late requests arrive on the
        way, in order.
        """
        house = self.house
        target = house.clock.now() if until is None else until
        while self._late and self._late[0][0] <= target:
            due, _, raw = heapq.heappop(self._late)
            house.venue.advance(due)
            self._serve(raw, _NO_FAULT)
        if until is None:
            return house.present()
        now = house.move(target)
        for category in house.habit.step():
            all_tickers(house, category)
        return now

    def restore(self, state: Mapping[str, Any]) -> datetime:
        """Become what a snapshot says; requests that were still on their way belong to the other world.
        ``ValueError`` for a bad snapshot, with nothing changed.
        """
        self.house.restore(state, trial=live_an_hour)
        self._late.clear()
        return self.catch_up()

    # ------------------------------------------------------------------------------------------ requests

    def handle(self, raw: Raw) -> Reply:
        """Everything that happens to one request."""
        now = self.catch_up()
        plan = self.house.faults.plan(raw.method, raw.path, parameters=raw.parameters)
        orders = len(self.house.venue.all_orders()) if plan.first(*OF_ORDERS) else None
        reply = self._before(raw, plan, now=now) or self._serve(raw, plan)
        if orders is not None and len(self.house.venue.all_orders()) == orders:
            plan.without_orders()
        self.house.settled_reads()
        delay = plan.first("delay")
        return reply if delay is None else replace(reply, delay_ms=delay.ms)

    def _before(self, raw: Raw, plan: Plan, *, now: datetime) -> Reply | None:
        """What goes wrong before the venue has done anything; None if nothing does."""
        house = self.house
        ban = plan.first("ban")
        if ban is not None:
            house.limits.ban(house.clock.monotonic() + timedelta(seconds=ban.count))
        if house.limits.banned(house.clock.monotonic(), raw.address):
            return self._noted(raw, Reply(forbidden()), outcome="403")
        dropped = plan.first("drop_request")
        if dropped is not None:
            return self._noted(raw, Reply(forbidden(), lost=dropped.how), outcome="dropped")
        late = plan.first("apply_after")
        if late is not None:
            self._arrivals += 1
            heapq.heappush(self._late, (now + timedelta(milliseconds=late.ms), self._arrivals, raw))
            return self._noted(raw, Reply(forbidden(), lost=late.how), outcome="late")
        if plan.first("rate_limit") is not None:
            ms = to_ms(house.wire_now())
            response = refused(_TOO_MANY, ms)
            return self._noted(
                raw,
                Reply(replace(response, headers=_limit_headers(Allowance(0, 0, _SECOND), ms))),
                outcome="10006",
            )
        early = plan.first("http", "body", "ret_code", applied=False)
        if early is not None:
            return self._noted(raw, Reply(self._spoilt(early, None)), outcome=f"not applied, {_told(early)}")
        return None

    def _serve(self, raw: Raw, plan: Plan) -> Reply:
        """The venue's own answer, and what goes wrong after it."""
        try:
            response = self._answer(raw, plan)
        except WireError as error:  # before the request was counted
            response = self._refused(error)
        outcome = str(response.code if response.code is not None else response.status)
        lost = plan.first("apply_then_lose")
        if lost is not None:
            return self._noted(raw, Reply(response, lost=lost.how), outcome=f"{outcome}, lost")
        spoilt = plan.first("http", "body", "ret_code", applied=True)
        if spoilt is not None:
            return self._noted(
                raw, Reply(self._spoilt(spoilt, response)), outcome=f"{outcome}, {_told(spoilt)}"
            )
        return self._noted(raw, Reply(response), outcome=outcome)

    def _noted(self, raw: Raw, reply: Reply, *, outcome: str) -> Reply:
        links = raw.parameters.said("orderLinkId") if raw.parameters is not None else ()
        self.house.note(
            (raw.method, raw.path), raw.signed, link_id=",".join(links)[:_LINKS_KEPT], outcome=outcome
        )
        return reply

    def _spoilt(self, effect: Effect, response: Response | None) -> Response:
        ms = to_ms(self.house.wire_now())
        if effect.verb == "http":
            return Response(effect.status, effect.text.encode(), None, content_type=b"text/html")
        if effect.verb == "ret_code":
            return refused(WireError(effect.code, effect.text or "Server error"), ms)
        return garbage(effect.kind, response, now_ms=ms)

    # ------------------------------------------------------------------------------------------ the answer

    def _answer(self, raw: Raw, plan: Plan) -> Response:
        house = self.house
        endpoint = TABLE.get(raw.path)
        if endpoint is None or endpoint.method != raw.method:
            raise WireError(10017, "Route not found.", status=404)
        if raw.method == "GET" and raw.body:
            return forbidden()
        now_ms = to_ms(house.wire_now())
        key: ApiKey | None = None
        headers: tuple[tuple[bytes, bytes], ...] = ()
        granted: int | None = None
        if endpoint.private:
            key = self._admit(raw, endpoint)
            allowance = self._count(endpoint, raw)
            headers, granted = _limit_headers(allowance, now_ms), allowance.granted
            if allowance.exceeded:
                return replace(refused(_TOO_MANY, now_ms), headers=headers)
        try:
            if raw.parameters is None:
                raise raw.misfit or WireError(10001, "params error")
            self._maintained(raw.path, now_ms)
            call = self._call(raw, raw.parameters, plan=plan, admitted=(key, granted))
            response = answered(self._asked(endpoint, call, plan=plan), now_ms)
        except (WireError, Rejected) as error:
            response = self._refused(error)
        if raw.method == "POST":
            house.served_text.clear()
        return replace(response, headers=headers) if headers else response

    def _refused(self, error: WireError | Rejected) -> Response:
        """In the exchange's words, whether the wire or the venue refuses."""
        if isinstance(error, Rejected):
            error = WireError(error.code or 10001, str(error))
        return refused(error, to_ms(self.house.wire_now()))

    def _asked(self, endpoint: Endpoint, call: Call, *, plan: Plan) -> Answer:
        if plan.first("loop_cursor") is not None:
            call = replace(call, parameters=call.parameters.without("cursor"))
        house, stale = self.house, plan.stale()
        if call.method == "GET" and endpoint.private:
            if stale is not None:
                return reshaped(endpoint.handler(house.stills[stale], call), plan)
            if call.cutoff is not None:
                with house.venue.as_it_was(house.past.at(call.cutoff)):
                    return reshaped(endpoint.handler(house, call), plan)
        return reshaped(endpoint.handler(house, call), plan)

    def _call(
        self, raw: Raw, parameters: Parameters, *, plan: Plan, admitted: tuple[ApiKey | None, int | None]
    ) -> Call:
        now = self.house.venue.now
        fraction, rejected = plan.fill(), plan.first("reject_async")
        directive = None
        if fraction is not None or rejected is not None:
            directive = Directive(
                fill_frac=fraction, reject_reason=rejected.text if rejected is not None else ""
            )
        return Call(
            method=raw.method,
            path=raw.path,
            parameters=parameters,
            now=now,
            key=admitted[0],
            granted=admitted[1],
            cutoff=plan.cutoff(now),
            directive=directive,
        )

    def _admit(self, raw: Raw, endpoint: Endpoint) -> ApiKey:
        house = self.house
        key = house.keyring.check(
            raw.signed,
            house.venue.key,
            now=house.venue.now,
            now_ms=to_ms(house.wire_now()),
            address=raw.address,
        )
        rights: tuple[Right, ...] = (_SETTING,) if endpoint.group else ()
        if endpoint.group == "trade":
            rights = _TRADE.get(raw.word("category"), (_LINEAR, _SPOT))
        require(key, rights, write=raw.method == "POST")
        return key

    def _count(self, endpoint: Endpoint, raw: Raw) -> Allowance:
        category = "spot" if raw.word("category") == "spot" else "linear"
        limit = endpoint.limit[1] if category == "spot" else endpoint.limit[0]
        count = raw.parameters.size if endpoint.batch and raw.parameters is not None else 1
        now = self.house.clock.monotonic()
        budget = f"{raw.path}|{category}" if endpoint.apart else raw.path
        return self.house.limits.take(budget, limit, now=now, count=count)

    def _maintained(self, path: str, now_ms: int) -> None:
        if path in _OPEN_IN_MAINTENANCE:
            return
        if any(begin <= now_ms < end for begin, end in self.house.setting.maintenance):
            raise WireError(10016, "Service is under maintenance.")


_SECOND = timedelta(seconds=1)
_LINKS_KEPT = 20 * 37
_TOO_MANY = WireError(10006, "Too many visits. Exceeded the API Rate Limit.")
_NO_FAULT = FaultBook().plan("", "", parameters=None)


def _told(effect: Effect) -> str:
    return effect.kind or f"{effect.verb} {effect.code or effect.status}"


def _limit_headers(allowance: Allowance, now_ms: int) -> tuple[tuple[bytes, bytes], ...]:
    reset = now_ms - (-allowance.wait // timedelta(milliseconds=1))  # rounded up: not before it is over
    return (
        (b"X-Bapi-Limit", str(allowance.limit).encode()),
        (b"X-Bapi-Limit-Status", str(allowance.left).encode()),
        (b"X-Bapi-Limit-Reset-Timestamp", str(reset).encode()),
    )
