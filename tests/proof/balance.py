"""Corrections judged one by one, by what the venue holds: none may take the legs further apart, and nobody is
called for help with a coin of which nothing is naked.

Books are not asked: a book that lacks what somebody took may be made neutral by an order that unhedges the
account. What the client cannot know is not held against it: reads that lag, and coins in whose perp the
contracts of a stranger lie among ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Purpose, WriteAnswer
from fundarb.core.records import GLOBAL_SCOPE, BlockKind, IntentRecord
from fundarb.core.states import PositionState
from fundarb.engine.reconcile import REASON
from fundarb.engine.remembered import TOLD
from fundarb.store.database import Store
from fundarb.venue.engine import Venue
from tests.proof.market import BASES, MULTIPLIERS, PERPS
from tests.proof.trouble import TroubledExchange

D = Decimal
LOT: Final = D(5)
"""Quote value of one lot of every coin: the smallest order."""
_DUST: Final = 5 * LOT
"""What earlier positions may have left as dust beside a lot."""
_STEPS: Final = {"BTC": D("0.001")}
"""Coins of one step of the perp, where that is worth more than a lot."""
_CORRECTIONS: Final = frozenset({Purpose.TOP_UP, Purpose.TRIM, Purpose.UNWIND})


@dataclass
class Balance:
    """What is naked at the venue, all the while. ``wrong`` must stay empty; ``mingled`` are the coins of
    which strangers hold contracts.
    """

    venue: Venue
    mingled: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    _seen: list[tuple[int, Mapping[str, Decimal]]] = field(default_factory=list)
    """What was naked when so many events had been written, since the act began."""
    _told: int = 0
    _excused: bool = False

    def naked(self, base: str) -> Decimal:
        """Quote value of the coins that no contract covers (+), or of contracts that no coin covers (−)."""
        coin = self.venue.wallet().coins.get(base)
        coins = D(0) if coin is None else coin.wallet - coin.spot_borrowed
        sizes = [view.size for view in self.venue.positions() if view.symbol == PERPS[base]]
        price = self.venue.point(Category.SPOT, f"{base}USDT").last
        return (coins + sum(sizes, D(0)) * MULTIPLIERS.get(base, 1)) * price

    def begin(self, store: Store) -> None:
        """An act begins: what is naked now is what it finds."""
        self._told, self._seen, self._excused = store.events.newest_id(), [], False
        self._note(store)

    def disturbed(self, store: Store) -> None:
        """Somebody has acted between two orders of one walk: what it sends before it has read that again is
        not held against it.
        """
        self._excused = True
        self._note(store)

    def watch(self, exchange: TroubledExchange) -> None:
        """Judge every correction of one life."""
        create, store = exchange.create, exchange.store
        self.begin(store)

        def judged(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
            base = next(base for base in BASES if request.symbol in {PERPS[base], f"{base}USDT"})
            intent, before = store.intents.find(request.link_id), self.naked(base)
            self._note(store)
            try:
                return create(request, signed_at=signed_at)
            finally:
                seen = not (exchange.trouble.lag or self._excused)
                if seen and intent is not None and intent.purpose in _CORRECTIONS:
                    self._judge(intent, base, before=before)
                if not exchange.dead:
                    self._note(store)

        exchange.create = judged  # type: ignore[method-assign]

    def after(self, exchange: TroubledExchange) -> None:
        """Judge every call for help of an act that is over."""
        store = exchange.store
        for event in store.events.after(self._told, 1000, kind="alert_raised"):
            fields, halted = json.loads(event.payload), store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT)
            halts = halted is not None and halted.reason == fields["message"]
            if fields["code"] == "unhedged" and halts and not exchange.trouble.lag:
                base = store.positions.get(fields["subject"]).base
                naked = next(naked[base] for number, naked in self._seen[::-1] if number < event.id)
                if abs(naked) <= LOT and base not in self.mingled:
                    self.wrong.append(f"{fields['message']}: {naked:.2f} USDT are naked at the venue")

    def at_the_end(self, store: Store) -> list[str]:
        """Positions that wait for help of which the venue holds nothing naked, and no person is asked."""
        return [
            f"{item.position_id} ({item.base}) stays {item.state}, and nothing is naked at the venue"
            for item in store.positions.active()
            if item.state is PositionState.EXPOSED
            and item.base not in self.mingled
            and abs(self.naked(item.base)) <= LOT
            and not _asked(store, item.base)
        ]

    def _judge(self, intent: IntentRecord, base: str, *, before: Decimal) -> None:
        """Nothing that gives back may unhedge. Less than a step of the perp may be bought for books that
        stand until a person has said what becomes of a short that a hand has closed.
        """
        after, more = self.naked(base), D(0)
        if intent.purpose is Purpose.TOP_UP:
            more = _STEPS.get(base, D(0)) * self.venue.point(Category.SPOT, f"{base}USDT").last
        if abs(after) > max(abs(before) + more, LOT + _DUST) and base not in self.mingled:
            what = f"{intent.purpose} {intent.link_id}"
            self.wrong.append(f"{what}: {before:.2f} USDT of {base} were naked before, {after:.2f} after it")

    def _note(self, store: Store) -> None:
        self._seen.append((store.events.newest_id(), {base: self.naked(base) for base in BASES}))


def _asked(store: Store, base: str) -> bool:
    """Whether a difference of this coin waits for a person's answer: its books stand until then."""
    block = store.blocks.get(base, BlockKind.FREEZE)
    if block is None or block.reason.startswith(REASON):
        return block is not None
    open_now = set((store.meta.get(TOLD) or "").split("\n"))  # the freeze may stand for an earlier reason
    return bool(open_now & {f"spot_short:{base}", f"perp_size:{PERPS[base]}"})
