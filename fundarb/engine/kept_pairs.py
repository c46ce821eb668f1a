"""The instruments of held positions as they were last read, kept in the database: a position is hedged and
closed by them while the instrument list cannot be read.

What they lack is only what changed since: an order that does not fit any more is refused, and nothing is
lost. Nothing is opened by them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fundarb.core.market import Instrument, Pair, PerpInstrument, SpotInstrument
from fundarb.core.money import plain
from fundarb.core.records import PositionRecord
from fundarb.engine.gone import GONE
from fundarb.store.database import Store

_KEY: Final = "pair."


class KeptPairs:
    """The pairs of one database's positions, by position id."""

    def __init__(self, store: Store) -> None:
        """Kept in its small texts."""
        self._store = store

    def keep(self, position: PositionRecord, pair: Pair) -> None:
        """Keep what is known now; writes only where it differs from what is kept."""
        if pair.perp.status == GONE:
            return
        text = json.dumps({"spot": _written(pair.spot), "perp": _written(pair.perp)}, sort_keys=True)
        if self._store.meta.get(_KEY + position.position_id) != text:
            self._store.meta.set(_KEY + position.position_id, text)

    def of(self, position: PositionRecord) -> Pair | None:
        """The pair of a position as it was kept, None if it never was."""
        text = self._store.meta.get(_KEY + position.position_id)
        if text is None:
            return None
        rows: Mapping[str, Mapping[str, Any]] = json.loads(text)
        return Pair(
            base=position.base,
            spot=SpotInstrument(**_read(rows["spot"])),
            perp=PerpInstrument(**_read(rows["perp"])),
            multiplier=position.multiplier,
        )


def _written(item: Instrument) -> dict[str, object]:
    """A row that JSON can carry; values that it has no form for carry their kind."""
    return {field.name: _value(getattr(item, field.name)) for field in fields(item)}


def _value(value: object) -> object:
    if isinstance(value, Decimal):
        return {"decimal": plain(value)}
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"minutes": value // timedelta(minutes=1)}
    return value


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _unwritten(value) for name, value in row.items()}


def _unwritten(value: Any) -> Any:
    match value:
        case {"decimal": text}:
            return Decimal(text)
        case {"time": text}:
            return datetime.fromisoformat(text)
        case {"minutes": number}:
            return timedelta(minutes=number)
    return value
