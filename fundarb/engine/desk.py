"""The trading desk: the collaborators of every use case that sends orders, handed in once by ``app``.

Nothing here decides; ``TradeRules`` are the settings that trading obeys, in the units of the core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Protocol

from fundarb.clock import Clock
from fundarb.core.money import parse_ratio
from fundarb.core.records import Identity
from fundarb.core.risk import RiskLimits
from fundarb.engine.market import MarketView
from fundarb.engine.ports import Exchange, Ids
from fundarb.errors import InvariantBroken
from fundarb.store.database import Store

MISS_SPAN = timedelta(seconds=30)
MISSES = 3
ONE_READ = 3
"""The last look at an order in doubt may take so many times the patience of a hedge: it is to be a proof."""

_REMEMBERED = 1000
"""So many of the orders that left the process are remembered: far more than can be unfinished at once."""

LAST_LOOKS = timedelta(seconds=3)
"""So long an order in doubt is still looked for when the process is to end, and until its lease is over: what
follows (the other leg is reduced, the last words are written) must have room within twenty seconds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRules:
    """What trading obeys beside the limits: ratios as fractions, durations (``fundarb.toml``).

    ``manual_close`` (``ask``, ``rehedge``, ``unwind``) is what becomes of a leg that was closed by hand where
    repairs are on. ``patience`` is how long one read may take while a leg is naked: short enough to be
    repeated within ``t_hedge``. ``horizon`` and ``min_net_apr`` are what a person's open is warned by.
    """

    limits: RiskLimits = field(default_factory=RiskLimits)
    drift_limit: Decimal = parse_ratio("2%")
    unwind_caps: tuple[Decimal, ...] = (parse_ratio("20bp"), parse_ratio("60bp"), parse_ratio("200bp"))
    top_ups: int = 3
    recv_window: timedelta = timedelta(seconds=2)
    tolerance: Decimal = Decimal("1e-8")
    patience: timedelta = timedelta(seconds=1)
    repair: bool = False
    manual_close: str = "ask"
    horizon: timedelta = timedelta(days=30)
    min_net_apr: Decimal = parse_ratio("5%")

    @property
    def t_hedge(self) -> timedelta:
        """How long a known shortfall may stay naked."""
        return self.limits.t_hedge

    @property
    def t_recover(self) -> timedelta:
        """How long an uncertain leg may stay unknown: lease, three misses over 30 s, one read."""
        return self.recv_window + timedelta(seconds=1) + self.limits.max_clock_offset + MISS_SPAN


class Writer(Protocol):
    """The writer's lock as the engine sees it."""

    @property
    def epoch(self) -> int:
        """The epoch of this writer; stored with each intent."""

    def still_ours(self) -> bool:
        """Whether this process is still the writer."""


@dataclass(slots=True)
class StopRequest:
    """Somebody wants the process to end: no further clip is begun, the one under way is finished, and an
    order whose fate stays unknown is left to the next start.
    """

    requested: bool = False
    _seen: timedelta | None = None

    def seen(self, now: timedelta) -> timedelta | None:
        """When (monotonic) the work first saw the request, which a signal makes without asking for the time;
        None while there is none.
        """
        if not self.requested:
            self._seen = None
        elif self._seen is None:
            self._seen = now
        return self._seen


def _nothing() -> None:
    """Nothing is looked at."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a trading use case touches; ``written`` is shared with the wire gate (when each intent was
    committed). ``sent`` are the last link ids that left this process for the wire, oldest first.

    ``before_entry`` is asked before each order that adds exposure: the file HALT may have appeared.
    """

    store: Store
    exchange: Exchange
    clock: Clock
    ids: Ids
    writer: Writer
    rules: TradeRules
    market: MarketView
    stop: StopRequest = field(default_factory=StopRequest)
    written: dict[str, timedelta] = field(default_factory=dict)
    sent: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    before_entry: Callable[[], object] = _nothing

    def hurried(self, waited: timedelta = timedelta()) -> AbstractContextManager[None]:
        """Within it a read comes before all others and ends soon: something may be naked. What it does not
        answer is unknown, and the protocol goes on. Whoever ``waited`` in vain already waits as long again,
        so that a venue that is merely slow is understood in the end.
        """
        return self.exchange.urgent(max(self.rules.patience, waited))

    def identity(self) -> Identity:
        """What the database belongs to; ``InvariantBroken`` before it has been given an identity."""
        identity = self.store.identity.read()
        if identity is None:
            raise InvariantBroken("the database has no identity, so no order of ours could be told again")
        return identity

    def tag(self) -> str:
        """The four characters that mark our link ids."""
        return self.identity().tag
