"""What an earlier writer left that may be live or naked, in words: a failure that keeps it from being looked
after must name it. Reads the store only.
"""

from __future__ import annotations

from fundarb.core.states import PositionState
from fundarb.engine.answers import Answer
from fundarb.errors import OutcomeUncertain, Unavailable
from fundarb.store.database import Store


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
