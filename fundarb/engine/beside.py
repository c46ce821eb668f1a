"""What the venue holds in a perp beside our contracts: noted whenever books and venue were compared with no
order in doubt, carried on by the fills of strangers since, and corrected when one of them becomes ours.

An order in doubt is judged by what has changed since it was signed. So the note says how much there was
beside us before, whoever put it there and whenever: neither our clock nor the age of a plan matters.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.account import PositionReport
from fundarb.core.market import Category
from fundarb.core.money import ZERO, dec, plain
from fundarb.core.orders import Execution
from fundarb.engine.desk import MISS_SPAN
from fundarb.store.database import Store

_KEY: Final = "beside"
_KEPT: Final = timedelta(hours=1)
"""An older note is renewed, so that few fills have to be added up."""


class Beside:
    """The note of one database."""

    def __init__(self, store: Store) -> None:
        """Kept in its small texts."""
        self._store = store

    def note(
        self, positions: Iterable[PositionReport], *, at: datetime | None, unclear: Collection[str] = ()
    ) -> None:
        """Note what complete position reports, read after the fills, hold beside us; written only where what
        was noted does not say the same, or is old. ``at`` is until when the fills were read. Nothing is noted
        with an order in doubt, and nothing new of symbols whose size is ``unclear`` or in which a stranger
        has just traded: a report that lags shows contracts of before, which are nobody's.
        """
        if at is None or self._store.intents.open():
            return
        found = {report.symbol: report.size for report in positions}
        for position in self._store.positions.active():
            symbol = position.perp_symbol
            found[symbol] = found.get(symbol, ZERO) + position.contracts
        since, kept = self._read() or (at - 2 * _KEPT, {})
        unclear = {*unclear, *(symbol for symbol in found if self._fresh(symbol, at))}
        found |= {symbol: self.expected(symbol, since) for symbol in unclear}
        same = all(self.expected(symbol, since) == found.get(symbol, ZERO) for symbol in {*found, *kept})
        if same and at - since < _KEPT:
            return
        beside = {symbol: held - self._traded(symbol, at) for symbol, held in found.items()}
        self._write(at, beside)

    def adopted(self, row: Execution) -> None:
        """A stranger's fill has become ours, in the transaction that books it: what the note holds of it
        stands beside us no more. One that came after the note counts no longer by itself.
        """
        noted = self._read()
        if noted is None or row.category is not Category.LINEAR or row.time >= noted[0]:
            return
        at, held = noted
        self._write(at, held | {row.symbol: held.get(row.symbol, ZERO) - row.side.sign * row.quantity})

    def expected(self, symbol: str, since: datetime) -> Decimal:
        """Contracts that should stand beside ours now (signed, + = long); ``since`` is from when strangers'
        fills count where nothing was ever noted.
        """
        noted, held = self._read() or (since, {})
        return held.get(symbol, ZERO) + self._traded(symbol, noted)

    def _fresh(self, symbol: str, at: datetime) -> bool:
        """Whether a stranger traded so short a time ago that a report of then may lack it."""
        return bool(self._store.executions.of_strangers(Category.LINEAR, symbol, since=at - MISS_SPAN))

    def _traded(self, symbol: str, since: datetime) -> Decimal:
        """What strangers bought less what they sold; both sides of a comparison count from one instant, so
        that a fill of that very instant does no harm.
        """
        rows = self._store.executions.of_strangers(Category.LINEAR, symbol, since=since)
        return sum((row.side.sign * row.quantity for row in rows if row.kind.trades), ZERO)

    def _write(self, at: datetime, beside: Mapping[str, Decimal]) -> None:
        text = {symbol: plain(held) for symbol, held in sorted(beside.items()) if held}
        self._store.meta.set(_KEY, json.dumps({"at": at.isoformat(), "held": text}))

    def _read(self) -> tuple[datetime, dict[str, Decimal]] | None:
        text = self._store.meta.get(_KEY)
        if text is None:
            return None
        noted = json.loads(text)
        return datetime.fromisoformat(noted["at"]), {name: dec(held) for name, held in noted["held"].items()}
