"""Coins that a person got out of: no job enters them again until a person says so.

Whoever closes a position has judged the coin, perhaps by what no yield shows, and an unattended bot that
buys it back a quarter of an hour later undoes that and pays a round trip. Owns the block ``pause`` of a coin,
which ``resume BASE`` or an open by hand ends. The bot's own exits set none; nothing here holds an exit back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fundarb.core.reasons import Reason
from fundarb.core.records import Block, BlockKind, Goal, PositionRecord
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store


@contextmanager
def closing_by_hand(store: Store, name: str) -> Iterator[str]:
    """A person closes all of a position (an id or a coin): its coin, which is given, is set aside before the
    first order is sent, so that whoever is killed in the middle leaves it so, and the reason says no more
    than that it was begun. Where the position is not being left after all, neither is the coin.
    """
    held = next((item for item in store.positions.active() if _named(item, name)), None)
    if held is None or _aside(store, held.base) is not None:
        yield held.base if held is not None else ""
        return
    set_aside(store, held.base, reason="a close by hand was begun")
    lost = False
    try:
        yield held.base
    except StateUnavailable:  # the books take nothing more, and what failed must not be hidden
        lost = True
        raise
    finally:
        if not lost:
            _closed(store, held)


def _closed(store: Store, held: PositionRecord) -> None:
    """Say what became of a close."""
    after = store.positions.get(held.position_id)
    if after.state.final:
        set_aside(store, held.base, reason="closed by hand")
    elif after.goal is not Goal.CLOSE:
        take_up(store, held.base)


def set_aside(store: Store, base: str, *, reason: str) -> None:
    """No job opens this coin from now on."""
    block = Block(scope=base, kind=BlockKind.PAUSE, reason=reason, since=store.clock.now(), needs_person=True)
    store.blocks.set(block)


def take_up(store: Store, base: str) -> None:
    """A person opens this coin: what was said of it before is over."""
    if _aside(store, base) is not None:
        store.blocks.clear(base, BlockKind.PAUSE)


def told(store: Store, base: str) -> tuple[Reason, ...]:
    """What the answer to a close says; empty where the coin is not set aside."""
    if _aside(store, base) is None:
        return ()
    text = f"no job opens {base} again until `fundarb resume {base}`, or until you open it yourself"
    return (Reason("set_aside", text),)


def for_a_person(blocks: Iterable[Block], base: str) -> tuple[Block, ...]:
    """The blocks that forbid a person to open this coin: his own word of before does not."""
    return tuple(item for item in blocks if (item.scope, item.kind) != (base, BlockKind.PAUSE))


def _aside(store: Store, base: str) -> Block | None:
    return store.blocks.get(base, BlockKind.PAUSE)


def _named(position: PositionRecord, name: str) -> bool:
    return name == position.position_id or name.upper() == position.base
