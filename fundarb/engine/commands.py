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
from fundarb.engine.compare import Mismatch
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.engine.reconcile import Reconciler, ReconcileResult
from fundarb.engine.trade import Trader
from fundarb.errors import ConfigError, Locked, OutcomeUncertain, Rejected, Unavailable

Arguments = Mapping[str, str | bool]
_KINDS = {
    Reached.UNSENT: "refused",
    Reached.INCOMPLETE: "incomplete",
    Reached.UNCERTAIN: "outcome_uncertain",
}


def refused(refusal: Refused) -> Answer:
    """A rule forbids it; nothing was sent."""
    message = "refused, nothing was sent: " + "; ".join(reason.message for reason in refusal.reasons)
    answer = Answer.wrong("refused", message, reasons=refusal.reasons)
    return replace(answer, warnings=refusal.warnings)


def traded(result: TradeResult) -> Answer:
    """The answer to an open or a close: done, or what the book is now and why it is not what was wanted."""
    data = documents.trade(result)
    if result.reached is Reached.DONE:
        return Answer(data=data, warnings=result.warnings)
    codes = {reason.code for reason in result.reasons}
    kind = _KINDS[result.reached]
    if kind != "outcome_uncertain" and "interrupted" in codes:
        kind = "interrupted"
    elif kind == "refused" and "market_unavailable" in codes:
        kind = "unavailable"
    message = documents.book_now(result)
    if result.reached is Reached.UNSENT:
        message = "nothing was sent: " + "; ".join(item.message for item in result.reasons) + "; " + message
    answer = Answer.wrong(kind, message, reasons=result.reasons, data=data)
    return replace(answer, warnings=result.warnings)


def difference(item: Mismatch) -> str:
    """One difference in a sentence."""
    figures = f"our books {plain(item.expected)}, the venue {plain(item.found)}"
    return f"{item.kind} of {item.symbol} ({figures}): {item.action}"


def recovered(found: ReconcileResult | None) -> tuple[Reason, ...]:
    """What the walk before a command found and did, as warnings; empty where all was in order."""
    if found is None:
        return ()
    return (
        *(Reason("recovered", f"{item.link_id} of before is {item.state}") for item in found.resolved),
        *(Reason("repaired", f"{item.position_id} of before is {item.state}") for item in found.repaired),
        *(Reason(item.kind, difference(item)) for item in found.mismatches if not item.note_only),
    )


def plan_close(trader: Trader, name: str, *, fraction: str) -> Answer:
    """What a close would do, of one position or (empty name) of all; sends nothing."""
    names = (name,) if name else tuple(item.position_id for item in trader.held())
    plans: list[documents.Json] = []
    for each in names:
        planned = trader.plan_close(each, parse_ratio(fraction))
        if isinstance(planned, Refused):
            return refused(planned)
        plans.append(documents.close_plan(*planned))
    return Answer(data=plans[0] if name else {"closed": plans})


class Executor:
    """Runs commands by name for the writer."""

    def __init__(
        self, *, trader: Trader, reconciler: Reconciler, positions: Callable[[], tuple[str, ...]]
    ) -> None:
        """``positions`` gives the ids of all open positions, for ``close --all``."""
        self._trader = trader
        self._reconciler = reconciler
        self._positions = positions
        self._commands: dict[str, Callable[[Arguments], Answer]] = {
            "open": self._open,
            "close": self._close,
            "reconcile": self._reconcile,
        }

    def execute(self, name: str, arguments: Arguments) -> Answer:
        """Run one command to its end; every expected failure becomes a result, a bug is raised."""
        command = self._commands.get(name)
        if command is None:
            return Answer.of_error(ConfigError(f"there is no command {name}"))
        try:
            return command(arguments)
        except (ConfigError, Unavailable, Rejected, OutcomeUncertain, Locked) as error:
            return Answer.of_error(error)

    def _open(self, arguments: Arguments) -> Answer:
        notional = dec(str(arguments["notional"]))
        result = self._trader.open(
            str(arguments["base"]).upper(), notional, add=bool(arguments.get("add", False))
        )
        return refused(result) if isinstance(result, Refused) else traded(result)

    def _close(self, arguments: Arguments) -> Answer:
        emergency = bool(arguments.get("emergency", False))
        if arguments.get("all", False):
            return self._close_each(self._positions(), emergency=emergency)
        fraction = parse_ratio(str(arguments.get("fraction", "100%")))
        return self._close_one(str(arguments["name"]), fraction, emergency=emergency)

    def _close_one(self, name: str, fraction: Decimal, *, emergency: bool) -> Answer:
        result = self._trader.close(name, fraction, emergency=emergency)
        return refused(result) if isinstance(result, Refused) else traded(result)

    def _close_each(self, names: tuple[str, ...], *, emergency: bool) -> Answer:
        """Every position in turn; one that fails does not keep the others from being closed, a request to
        stop does.
        """
        results: list[Answer] = []
        for name in names:
            results.append(self._guarded(name, emergency=emergency))
            if results[-1].kind == "interrupted":
                break
        worst = max(results, key=lambda item: item.exit_code, default=Answer())
        wrong = [item for item in results if item.failed]
        return replace(
            worst,
            data={"closed": [item.data for item in results if item.data is not None]},
            message="; ".join(item.message for item in wrong),
            reasons=tuple(reason for item in wrong for reason in item.reasons),
        )

    def _guarded(self, name: str, *, emergency: bool) -> Answer:
        try:
            return self._close_one(name, ONE, emergency=emergency)
        except (ConfigError, Unavailable, Rejected, OutcomeUncertain) as error:
            return Answer.of_error(error)

    def _reconcile(self, arguments: Arguments) -> Answer:
        result = self._reconciler.run(dry_run=bool(arguments.get("dry_run", False)))
        data = documents.reconcile(result)
        if result.clean:
            return Answer(data=data)
        reasons = tuple(
            Reason(item.kind, difference(item)) for item in result.mismatches if not item.note_only
        )
        message = f"{len(reasons)} difference(s) between our books and the venue stay"
        return Answer.wrong("mismatch", message, reasons=reasons, data=data)
