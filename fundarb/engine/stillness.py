"""Quotes of held coins that stand still while the rest of the market moves: nothing is opened in such a coin
until they move again.

A book's own time tells it at once where the venue is honest about it (``core.freshness``); this looks at the
prices themselves, over minutes, and so also sees a picture that is served with a fresh date.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import islice

from fundarb.clock import Clock
from fundarb.core.market import MarketSnapshot, Quote
from fundarb.core.records import BlockKind, PositionRecord
from fundarb.engine.alerts import alert_once, alert_over, block_for
from fundarb.store.database import Store

_STILL = timedelta(minutes=3)
_BLOCKED_FOR = timedelta(minutes=30)
_WITNESSES = 20
"""So many other coins are asked whether the market moves."""

Figures = tuple[Decimal, ...]


@dataclass(slots=True)
class _Seen:
    """What one coin showed last: since when it shows that, and whether others moved meanwhile."""

    figures: Figures
    since: timedelta
    alone: bool = False


class Stillness:
    """Compares each snapshot with the one before."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Nothing was seen yet."""
        self._store = store
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._others: dict[str, Figures] = {}

    def look(self, held: Iterable[PositionRecord], snapshot: MarketSnapshot) -> None:
        """Set or lift the block of each held coin; a snapshot that was looked at before says nothing new."""
        positions = tuple(held)
        symbols = {position.spot_symbol for position in positions}
        others = {
            name: _figures(quote)
            for name, quote in islice(snapshot.spot.items(), _WITNESSES + len(symbols))
            if name not in symbols
        }
        moved = any(others[name] != before for name, before in self._others.items() if name in others)
        self._others = others
        now = self._clock.monotonic()
        for position in positions:
            spot = snapshot.spot.get(position.spot_symbol)
            perp = snapshot.perp.get(position.perp_symbol)
            if spot is None or perp is None:
                continue
            figures = (*_figures(spot), *_figures(perp), perp.mark, perp.index)
            seen = self._seen.get(position.base)
            if seen is None or seen.figures != figures:
                self._seen[position.base] = _Seen(figures, now)
                self._lift(position)
                continue
            seen.alone = seen.alone or moved
            if seen.alone and now - seen.since >= _STILL:
                self._block(position)

    def _block(self, position: PositionRecord) -> None:
        """As long as this is seen, and for a while after: a coin that is held no more is not looked at."""
        now = self._store.clock.now()
        held = self._store.blocks.get(position.base, BlockKind.STALE_DATA)
        if held is not None and held.active(now + _BLOCKED_FOR / 2):
            return
        text = f"{position.base}: the quotes stand still while others move"
        block_for(self._store, position.base, kind=BlockKind.STALE_DATA, reason=text, lasts=_BLOCKED_FOR)
        alert_once(self._store, "frozen_quotes", subject=position.base, message=text)

    def _lift(self, position: PositionRecord) -> None:
        if self._store.blocks.get(position.base, BlockKind.STALE_DATA) is not None:
            self._store.blocks.clear(position.base, BlockKind.STALE_DATA)
            alert_over(self._store, ("frozen_quotes",), subject=position.base)


def _figures(quote: Quote) -> Figures:
    return (quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.last)
