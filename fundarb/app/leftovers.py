"""What an earlier writer left that may be live or naked, in words: a failure that keeps it from being looked
after must name it. Reads the store only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fundarb.core.states import PositionState
from fundarb.engine.answers import Answer
from fundarb.engine.unfinished import may_be_live
from fundarb.errors import FundarbError, OutcomeUncertain, StateUnavailable, Unavailable
from fundarb.store.database import Store

_NAMED: Final = 4
"""So many of the orders that were sent are named: those of the clip under way, and of the one before."""


def with_leftovers(store: Store, error: Unavailable, *, epoch: int) -> Unavailable | OutcomeUncertain:
    """The same failure, naming what may be live or naked from before; uncertain if an order of this very
    writer may be.
    """
    waiting = store.intents.open()
    ours = [intent.link_id for intent in waiting if intent.epoch == epoch]
    if ours:
        return OutcomeUncertain(f"{error}; {', '.join(ours)} may be live: run `fundarb reconcile` next")
    found = leftovers(store)
    return error.reworded(f"{error}; {found}") if found else error


def books_lost(store: Store, error: StateUnavailable, *, sent: Collection[str], epoch: int) -> FundarbError:
    """The database failed in the middle of work: the same failure, uncertain where something may be live or
    naked, which it names. Where that cannot be read any more, whatever this writer ``sent`` may be.
    """
    try:
        found = _may_be_live(store, sent=sent, epoch=epoch)
    except FundarbError:
        names = ", ".join(tuple(sent)[-_NAMED:])
        found = (f"what became of the orders that were sent (last: {names}) cannot be read",) if sent else ()
    if not found:
        return error
    return OutcomeUncertain(f"{error}; {'; '.join(found)}: run `fundarb reconcile` next")


def _may_be_live(store: Store, *, sent: Collection[str], epoch: int) -> tuple[str, ...]:
    """As our own connection sees it, or a new one where that is lost."""
    try:
        return may_be_live(store, sent=sent, epoch=epoch)
    except FundarbError:
        with Store.open(store.url, clock=store.clock, readonly=True) as reader:
            return may_be_live(reader, sent=sent, epoch=epoch)


def cannot_begin(store: Store, error: Unavailable, *, epoch: int, sent: int) -> Answer:
    """The answer where books and venue could not be compared before something that needs it. The very error
    is raised as long as the recovery has ``sent`` no order: of that alone it is true that nothing changed.
    """
    if not sent:
        raise error
    return Answer.of_error(with_leftovers(store, error, epoch=epoch))


def leftovers(store: Store) -> str:
    """What an earlier writer left that may be live or naked, in words; empty if nothing."""
    found = [
        f"{item.position_id} ({item.base}) is {item.state}"
        for item in store.positions.active()
        if item.state is not PositionState.HEDGED
    ]
    found += [f"{intent.link_id} is {intent.state}" for intent in store.intents.open()]
    return f"unfinished from before: {', '.join(found)}" if found else ""
