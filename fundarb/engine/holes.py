"""The holes in the balance chain: between which two rows of the log one is missing. They are kept until the
chain is whole there, so that the missing row is looked for and no report calls itself complete beside one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from fundarb.core.events import AlertRaised
from fundarb.core.ledger import ChainBreak
from fundarb.store.database import Store

PATIENCE: Final = timedelta(days=1)
"""How long after it was found a hole is read again each time, and from then on how often."""
DEEPEST: Final = timedelta(days=30)
"""How far back a missing row is looked for."""
_KEY: Final = "collect.gap"
_ANY: Final = "?"
"""The coin of a hole that an older version kept, without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A row of ``coin`` is missing between ``since`` and ``until``; ``found`` is when that was seen, ``read``
    when it was looked for last after the patience was over.
    """

    coin: str
    since: datetime
    until: datetime
    found: datetime
    read: datetime

    def due(self, now: datetime) -> bool:
        """Whether it is time to read back to it."""
        patient = now - self.found <= PATIENCE or now - self.read >= PATIENCE
        return patient and now - self.until <= DEEPEST


def holes(store: Store) -> tuple[Hole, ...]:
    """Every known hole, by coin and time."""
    return tuple(_hole(line) for line in (store.meta.get(_KEY) or "").splitlines())


def judge(store: Store, breaks: Iterable[ChainBreak], *, since: datetime, now: datetime) -> None:
    """Keep the holes as a proof of the chains from ``since`` on found them, and those before it as they are;
    tell of each new one.
    """
    before = {(hole.coin, hole.since): hole for hole in holes(store)}
    opened = store.ledger.opened_at
    kept = {key: hole for key, hole in before.items() if hole.until < since}
    new = []
    for item in breaks:
        key = (item.coin, item.after or opened or item.at)
        old = before.get(key)
        if old is None:
            new.append(item)
            old = Hole(coin=item.coin, since=key[1], until=item.at, found=now, read=now)
        kept[key] = replace(old, read=now) if now - old.found > PATIENCE else old
    text = "\n".join(_line(kept[key]) for key in sorted(kept))
    if text != (store.meta.get(_KEY) or ""):
        with store.transaction():
            store.meta.set(_KEY, text)
            for item in new:
                message = (
                    f"{item.coin}: the balance is {item.found} after {item.key}, but {item.expected} "
                    "follows from the row before it: a row is missing"
                )
                store.events.record(AlertRaised(code="chain_break", subject=item.coin, message=message))


def _line(hole: Hole) -> str:
    moments = (hole.since, hole.until, hole.found, hole.read)
    return " ".join((hole.coin, *(moment.isoformat() for moment in moments)))


def _hole(line: str) -> Hole:
    words = line.split()
    if len(words) == len(("since", "until")):
        words = [_ANY, *words, words[1], words[1]]
    since, until, found, read = map(datetime.fromisoformat, words[1:])
    return Hole(coin=words[0], since=since, until=until, found=found, read=read)
