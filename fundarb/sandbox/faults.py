"""Faults: which requests are to go wrong, and how. Rules are armed over the control API and consulted for
every request.

A rule fires from its ``nth`` matching request on, ``times`` times (0 = for ever). Several rules may fire on
one request: their effects add up, of contradicting ones the rule that was armed first wins. Nothing here
touches the venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.wire import Parameters

HOWS = ("hang", "reset", "close")
BODIES = ("html", "empty", "null", "cut", "bad_json", "no_result", "no_order_id")
_METHODS = ("GET", "POST")
_CATEGORIES = ("spot", "linear", "inverse", "option")
_SIDES = ("Buy", "Sell")
_LONGEST_ID = 100
CREATES = ("/v5/order/create", "/v5/order/create-batch")
OF_ORDERS = ("fill", "reject_async")
"""What these do happens to orders, when they are matched."""
_LATE = ("lag_reads", "stale_reads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests a rule means; None matches everything, ``path`` is exact (``/v5/order/create``). A rule
    with a ``topic`` means messages of a stream, never requests.
    """

    method: str | None
    path: str | None
    category: str | None
    symbol: str | None
    link_id: str | None
    side: str | None
    topic: str | None = None

    def fits(self, method: str, path: str, *, parameters: Parameters | None) -> bool:
        """Whether a request is meant: of a batch one fitting order is enough. A request whose parameters
        cannot be read has none.
        """
        if self.topic is not None or self.method not in {None, method} or self.path not in {None, path}:
            return False
        wanted = (
            ("category", self.category),
            ("symbol", self.symbol),
            ("orderLinkId", self.link_id),
            ("side", self.side),
        )
        return all(
            value is None or (parameters is not None and value in parameters.said(name))
            for name, value in wanted
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a rule does; each verb uses the arguments that concern it (see ``docs/sandbox.md``)."""

    verb: str
    how: str = "close"
    applied: bool = False
    ms: int = 0
    status: int = 502
    text: str = ""
    kind: str = ""
    code: int = 0
    count: int = 1
    fractions: tuple[Decimal, ...] = ()


@dataclass(slots=True, kw_only=True)
class Rule:
    """One armed fault and how often it has matched and fired."""

    id: str
    match: Match
    effect: Effect
    nth: int
    times: int
    seen: int = 0
    fired: int = 0

    def means(self, method: str, path: str, *, parameters: Parameters | None) -> bool:
        """Whether a request is meant; what becomes of orders is about requests that make some only."""
        if self.effect.verb in OF_ORDERS and (method != "POST" or path not in CREATES):
            return False
        return self.match.fits(method, path, parameters=parameters)

    def strikes(self) -> bool:
        """Count one match; whether the fault happens to it."""
        self.seen += 1
        if self.seen < self.nth or (self.times and self.fired >= self.times):
            return False
        self.fired += 1
        return True


@dataclass(slots=True)
class Plan:
    """What is to happen to one request: the effects that fired, in the order in which they were armed."""

    effects: list[tuple[Rule, Effect]] = field(default_factory=list)

    def first(self, *verbs: str, applied: bool | None = None) -> Effect | None:
        """The first effect with one of these verbs (and, if said, with that ``applied``)."""
        for _, effect in self.effects:
            if effect.verb in verbs and (applied is None or effect.applied == applied):
                return effect
        return None

    def without_orders(self) -> None:
        """The request has made no order: what was to become of one is left for the next."""
        for rule, effect in self.effects:
            if effect.verb in OF_ORDERS:
                rule.fired -= 1

    def fill(self) -> Decimal | None:
        """The fraction that this order is to fill: the rule's k-th on its k-th order, the last one from
        then on.
        """
        for rule, effect in self.effects:
            if effect.verb == "fill":
                return effect.fractions[min(rule.fired - 1, len(effect.fractions) - 1)]
        return None

    def cutoff(self, now: datetime) -> datetime | None:
        """The instant up to which a read may see what has happened; None: everything."""
        late = self.first(*_LATE)
        if late is None or late.verb != "lag_reads":
            return None
        return now - timedelta(milliseconds=late.ms)

    def stale(self) -> str | None:
        """The id of the rule at whose arming a read sees the account; None: not a stale read."""
        late = next(((rule, effect) for rule, effect in self.effects if effect.verb in _LATE), None)
        return late[0].id if late is not None and late[1].verb == "stale_reads" else None


_NOTHING = Plan()


class FaultBook:
    """All armed rules."""

    def __init__(self) -> None:
        """Nothing goes wrong."""
        self._rules: dict[str, Rule] = {}
        self._count = 0

    def arm(self, body: Arguments) -> str:
        """Add a rule from the control API's JSON; its id. ``ControlError`` leaves everything as it was."""
        ident = body.text("id", "")
        if "/" in ident or ident in {".", ".."} or len(ident) > _LONGEST_ID:
            raise body.fail("id", f"must fit into a path: no slash, {_LONGEST_ID} characters at most")
        match = body.nested("match")
        effect = _effect(body.nested("do"))
        rule = Rule(
            id=ident or f"f{self._count + 1}",
            match=_match(match),
            effect=effect,
            nth=match.whole("nth", 1, low=1),
            times=match.whole("times", _usual_times(effect)),
        )
        match.done()
        body.done()
        if rule.id in self._rules:
            raise ControlError(f"a fault with the id {rule.id} is armed already", "id")
        self._count += 1
        self._rules[rule.id] = rule
        return rule.id

    def disarm(self, ident: str | None = None) -> None:
        """Remove one rule, or all; ``ControlError`` 404 for an unknown id."""
        if ident is None:
            self._rules.clear()
        elif self._rules.pop(ident, None) is None:
            raise ControlError(f"no fault {ident} is armed", "id", status=404)

    def stale(self, ident: str) -> bool:
        """Whether a rule makes reads stale."""
        return self._rules[ident].effect.verb == "stale_reads"

    def armed(self) -> tuple[Rule, ...]:
        """All rules in the order of arming."""
        return tuple(self._rules.values())

    def plan(self, method: str, path: str, *, parameters: Parameters | None) -> Plan:
        """Count a request and say what goes wrong with it."""
        if not self._rules:
            return _NOTHING
        plan = Plan()
        for rule in list(self._rules.values()):
            if rule.means(method, path, parameters=parameters) and rule.strikes():
                plan.effects.append((rule, rule.effect))
        return plan


def _match(match: Arguments) -> Match:
    method = match.word("method", _METHODS) if match.has("method") else None
    path = match.text("path") if match.has("path") else None
    if path is not None and not path.startswith("/v5/"):
        raise match.fail("path", 'must be exact and start with "/v5/"')
    return Match(
        method=method,
        path=path,
        category=match.word("category", _CATEGORIES) if match.has("category") else None,
        symbol=match.text("symbol") if match.has("symbol") else None,
        topic=match.text("topic") if match.has("topic") else None,
        link_id=match.text("link_id") if match.has("link_id") else None,
        side=match.word("side", _SIDES) if match.has("side") else None,
    )


def _usual_times(effect: Effect) -> int:
    """Once; a list of fractions once each; stale reads as often as said."""
    if effect.verb == "fill":
        return len(effect.fractions)
    return effect.count if effect.verb == "stale_reads" else 1


def _effect(do: Arguments) -> Effect:
    verb = do.text("verb")
    read = FAULTS.get(verb)
    if read is None:
        raise do.fail("verb", f"must be one of {', '.join(sorted(FAULTS))}")
    effect = read(verb, do)
    do.done()
    return effect


def _plain(verb: str, _do: Arguments) -> Effect:
    return Effect(verb=verb)


def _lost(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, how=do.word("how", HOWS, default="close"))


def _later(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, ms=do.whole("ms", high=86_400_000), how=do.word("how", HOWS, default="close"))


def _http(verb: str, do: Arguments) -> Effect:
    return Effect(
        verb=verb,
        status=do.whole("status", low=200, high=599),
        text=do.text("body", ""),
        applied=do.flag("applied", default=False),
    )


def _body(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, kind=do.word("kind", BODIES), applied=do.flag("applied", default=False))


def _ret_code(verb: str, do: Arguments) -> Effect:
    return Effect(
        verb=verb,
        code=do.whole("code", low=-10_000, high=10_000_000),
        text=do.text("message", ""),
        applied=do.flag("applied", default=False),
    )


def _fill(verb: str, do: Arguments) -> Effect:
    fractions = do.numbers("fractions")
    if not all(0 <= fraction <= 1 for fraction in fractions):
        raise do.fail("fractions", "must lie between 0 and 1")
    return Effect(verb=verb, fractions=fractions)


def _reject(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, text=do.text("reason", "EC_NoImmediateQtyToFill"))


def _milliseconds(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, ms=do.whole("ms", low=1, high=86_400_000))


def _number(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, count=do.whole("n", 1, low=1, high=10_000))


def _ban(verb: str, do: Arguments) -> Effect:
    return Effect(verb=verb, count=do.whole("seconds", 600, low=1, high=86_400))


FAULTS: Mapping[str, Callable[[str, Arguments], Effect]] = {
    "drop_request": _lost,
    "apply_then_lose": _lost,
    "apply_after": _later,
    "http": _http,
    "body": _body,
    "ret_code": _ret_code,
    "fill": _fill,
    "reject_async": _reject,
    "lag_reads": _milliseconds,
    "stale_reads": _number,
    "duplicate_rows": _plain,
    "drop_rows": _number,
    "reorder": _plain,
    "loop_cursor": _plain,
    "delay": _milliseconds,
    "mute": _plain,
    "rate_limit": _plain,
    "ban": _ban,
}
