"""The commands that change an account, by name and plain arguments: what is asked and what a row holds.

One executor serves a command that holds the writer's lock itself and the daemon that takes rows from the
database, so both give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from fundarb.core.money import ONE, dec, parse_ratio, plain
from fundarb.core.reasons import Reason, Refused
from fundarb.engine import documents
from fundarb.engine.answers import Answer
from fundarb.engine.clips import INTERRUPTED
from fundarb.engine.compare import Choice, Mismatch
from fundarb.engine.decide import Decider, outcome
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.engine.reconcile import Reconciler, ReconcileResult
from fundarb.engine.set_aside import closing_by_hand, told
from fundarb.engine.trade import Trader
from fundarb.errors import (
    ConfigError,
    FundarbError,
    Locked,
    OtherAccount,
    OutcomeUncertain,
    Problem,
    Rejected,
    Unavailable,
)
from fundarb.store.database import Store

Arguments = Mapping[str, str | bool]
_KINDS = {
    Reached.UNSENT: "refused",
    Reached.INCOMPLETE: "incomplete",
    Reached.UNCERTAIN: "outcome_uncertain",
}

_URGENCY = (
    "outcome_uncertain",
    "mismatch",
    "incomplete",
    "interrupted",
    "unavailable",
    "bad_answer",
    "refused",
    "rejected",
    "not_sent",
    "config_error",
)
"""Of several failures the first here is the answer; what is not listed comes before them all."""
_NOTHING_SENT = frozenset(_URGENCY[4:])
_NO_ORDER = "nothing was sent"


def refused(refusal: Refused) -> Answer:
    """A rule forbids it; nothing was sent."""
    message = f"refused, {_NO_ORDER}: " + "; ".join(reason.message for reason in refusal.reasons)
    answer = Answer.wrong("refused", message, reasons=refusal.reasons)
    return replace(answer, warnings=refusal.warnings)


def traded(result: TradeResult) -> Answer:
    """The answer to an open or a close: done, or what the book is now and why it is not what was wanted."""
    data = documents.trade(result)
    if result.reached is Reached.DONE:
        return Answer(data=data, warnings=result.warnings)
    codes = {reason.code for reason in result.reasons}
    kind = _KINDS[result.reached]
    if kind != "outcome_uncertain" and INTERRUPTED in codes:
        kind = "interrupted"
    elif kind == "refused" and "market_unavailable" in codes:
        kind = "unavailable"
    message = documents.book_now(result)
    if result.reached is Reached.UNSENT:
        message = f"{_NO_ORDER}: " + "; ".join(item.message for item in result.reasons) + "; " + message
    answer = Answer.wrong(kind, message, reasons=result.reasons, data=data)
    return replace(answer, warnings=result.warnings)


def after_recovery(answer: Answer, sent: int) -> Answer:
    """The answer to a command whose recovery has ``sent`` so many orders: it speaks of its own alone."""
    if not sent:
        return answer
    orders = "1 order" if sent == 1 else f"{sent} orders"
    told = f"{_NO_ORDER} for it (the recovery before it sent {orders})"
    return replace(answer, message=answer.message.replace(_NO_ORDER, told, 1))


def difference(item: Mismatch) -> str:
    """One difference in a sentence, which calls nothing the venue's that is not."""
    found = "not known" if item.found is None else plain(item.found)
    figures = f"our books {plain(item.expected)}, the venue {found}"
    if item.from_books:
        figures = f"in our books {found} against {plain(item.expected)} short"
    return f"{item.kind} of {item.symbol} ({figures}): {item.action}"


def recovered(found: ReconcileResult | None) -> tuple[Reason, ...]:
    """What the walk before a command found and did, as warnings; empty where all was in order."""
    if found is None:
        return ()
    return (
        *(Reason("recovered", f"{item.link_id} of before is {item.state}") for item in found.resolved),
        *found.taken,
        *(Reason("repaired", f"{item.position_id} of before is {item.state}") for item in found.repaired),
        *(Reason(item.kind, difference(item)) for item in found.loud),
        *((Reason("not_compared", not_compared(found.unread)),) if found.unread is not None else ()),
    )


def not_compared(error: Unavailable) -> str:
    """A walk that did not come to its end, in a sentence."""
    return f"books and venue could not be compared: {error}"


def plan_close(trader: Trader, name: str, *, fraction: str) -> Answer:
    """What a close would do, of one position or (empty name) of all; sends nothing."""
    names = (name,) if name else tuple(item.position_id for item in trader.held())
    plans: list[documents.Json] = []
    for each in names:
        planned = trader.plan_close(each, parse_ratio(fraction))
        if isinstance(planned, Refused):
            return refused(planned)
        plans.append(documents.close_plan(planned.position, planned.keep))
    return Answer(data=plans[0] if name else {"closed": plans})


class Executor:
    """Runs commands by name for the writer."""

    def __init__(
        self,
        store: Store,
        *,
        trader: Trader,
        reconciler: Reconciler,
        decider: Decider,
        to_know: Callable[[ReconcileResult], tuple[Reason, ...]],
        met: Callable[[FundarbError], object],
    ) -> None:
        """``to_know`` gives what a person should know beside the differences of a walk; ``met`` is told of
        every failure.
        """
        self._store = store
        self._trader = trader
        self._reconciler = reconciler
        self._decider = decider
        self._to_know = to_know
        self._met = met
        self._commands: dict[str, Callable[[Arguments], Answer]] = {
            "open": self._open,
            "close": self._close,
            "reconcile": self._reconcile,
            "resolve": self._resolve,
        }

    def execute(self, name: str, arguments: Arguments) -> Answer:
        """Run one command to its end; every expected failure becomes a result. Raised is a bug, and
        ``OtherAccount``: then nothing more may be done here.
        """
        command = self._commands.get(name)
        if command is None:
            return Answer.of_error(ConfigError(f"there is no command {name}"))
        try:
            return command(arguments)
        except OtherAccount:
            raise
        except (ConfigError, Unavailable, Rejected, OutcomeUncertain, Locked) as error:
            return self._failed(error)

    def _open(self, arguments: Arguments) -> Answer:
        notional = dec(str(arguments["notional"]))
        result = self._trader.open(
            str(arguments["base"]).upper(), notional, add=bool(arguments.get("add", False))
        )
        return refused(result) if isinstance(result, Refused) else traded(result)

    def _close(self, arguments: Arguments) -> Answer:
        emergency = bool(arguments.get("emergency", False))
        if arguments.get("all", False):
            return self._close_each(emergency=emergency, paused=bool(arguments.get("paused", False)))
        name, fraction = str(arguments["name"]), parse_ratio(str(arguments.get("fraction", "100%")))
        if fraction == ONE:
            return self._leave(name, emergency=emergency)
        return self._close_one(name, fraction, emergency=emergency)

    def _close_one(self, name: str, fraction: Decimal, *, emergency: bool) -> Answer:
        result = self._trader.close(name, fraction, emergency=emergency)
        return refused(result) if isinstance(result, Refused) else traded(result)

    def _leave(self, name: str, *, emergency: bool) -> Answer:
        """Close all of a position. Who does so is out of the coin, and stays out of it until he says more."""
        with closing_by_hand(self._store, name) as coin:
            answer = self._close_one(name, ONE, emergency=emergency)
        return replace(answer, warnings=(*answer.warnings, *told(self._store, coin)))

    def _close_each(self, *, emergency: bool, paused: bool) -> Answer:
        """Every position in turn; one that fails does not keep the others from being closed, a request to
        stop does. Where all opens are ``paused`` no coin is set aside: one word is to end it.
        """
        results: list[Answer] = []
        for position in self._trader.held():
            results.append(self._guarded(position.position_id, emergency=emergency, paused=paused))
            if any(reason.code == INTERRUPTED for reason in results[-1].reasons):
                break
        wrong = [item for item in results if item.failed]
        worst = min(wrong, key=_pressing, default=Answer())
        if worst.kind in _NOTHING_SENT and len(wrong) < len(results):
            worst = Answer.wrong("incomplete", worst.message)  # others were closed
        return replace(
            worst,
            data={"closed": [item.data for item in results if item.data is not None]},
            message="; ".join(item.message for item in wrong),
            reasons=tuple(reason for item in wrong for reason in item.reasons),
            warnings=tuple(reason for item in results for reason in item.warnings),
        )

    def _guarded(self, name: str, *, emergency: bool, paused: bool) -> Answer:
        try:
            if self._trader.is_over(name):  # while another one's order was waited for
                return traded(self._trader.ended(name))
            if paused:
                return self._close_one(name, ONE, emergency=emergency)
            return self._leave(name, emergency=emergency)
        except OtherAccount:
            raise
        except (ConfigError, Unavailable, Rejected, OutcomeUncertain) as error:
            return self._failed(error)

    def _failed(self, error: FundarbError) -> Answer:
        """What a failure means; one that shuts us out is told here, whether or not a watch comes."""
        self._met(error)
        return Answer.of_error(error)

    def _reconcile(self, arguments: Arguments) -> Answer:
        repair = True if arguments.get("repair", False) else None
        result = self._reconciler.run(dry_run=bool(arguments.get("dry_run", False)), repair=repair)
        return replace(_reconciled(result), warnings=self._to_know(result))

    def _resolve(self, arguments: Arguments) -> Answer:
        answer = str(arguments["answer"])
        if answer not in set(Choice):
            raise ConfigError(Problem("answer", f"{answer!r} is none", "one of " + ", ".join(Choice)))
        decided = self._decider.decide(str(arguments["id"]), Choice(answer))
        if isinstance(decided, Refused):
            return refused(decided)
        data = documents.decided(decided)
        kind = outcome(decided)
        if not kind:
            return Answer(data=data)
        reasons = stay(decided.after)
        message = f"{decided.mismatch.id} is not settled by --{answer}: {_how_many(decided.after)}"
        return Answer.wrong(kind, message, reasons=reasons, data=data)


def _pressing(answer: Answer) -> int:
    """The place of a failure among others: a doubt first, for it says what must be done next."""
    return _URGENCY.index(answer.kind) if answer.kind in _URGENCY else -1


def _reconciled(result: ReconcileResult) -> Answer:
    """The answer to a walk."""
    data = documents.reconcile(result)
    if result.clean:
        return Answer(data=data)
    if result.unread is not None and not result.loud:
        return replace(Answer.of_error(result.unread), data=data)
    return Answer.wrong("mismatch", _how_many(result), reasons=stay(result), data=data)


def stay(result: ReconcileResult) -> tuple[Reason, ...]:
    """The differences that stay, as reasons."""
    found = tuple(Reason(item.kind, difference(item)) for item in result.loud)
    if result.unread is None:
        return found
    return (*found, Reason("not_compared", not_compared(result.unread)))


def _how_many(result: ReconcileResult) -> str:
    """How many differences stay; of a walk that did not come to its end why not, and what is next."""
    number = len(result.loud)
    found, stays = ("1 difference", "stays") if number == 1 else (f"{number} differences", "stay")
    if result.unread is None:
        return f"{found} between our books and the venue {stays}"
    return (
        f"{found} {stays}; {not_compared(result.unread)}; run `fundarb reconcile` again when it can be read"
    )
