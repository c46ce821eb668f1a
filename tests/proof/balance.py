"""Orders judged one by one, by what the venue holds: no correction may take the legs further apart, no other
order further than a clip, nothing stays apart for long without a word, and nobody is called for help with a
coin of which nothing is naked.

Books are not asked: a book that lacks what somebody took may be made neutral by an order that unhedges the
account. What the client cannot know is not held against it: reads that lag, what somebody has done since it
last read wallet and positions, and coins in whose perp the contracts of a stranger lie among ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

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
T = TypeVar("T")
LOT: Final = D(5)
"""Quote value of one lot of every coin: the smallest order."""
_DUST: Final = 5 * LOT
"""What earlier positions may have left as dust beside a lot."""
_STEPS: Final = {"BTC": D("0.001")}
"""Coins of one step of the perp, where that is worth more than a lot."""
_CORRECTIONS: Final = frozenset({Purpose.TOP_UP, Purpose.TRIM, Purpose.UNWIND})
_MOVES: Final = D("1.1")
"""How much more than its worth when it was sized a clip may be worth by what prices have done since."""
_LONGEST: Final = timedelta(seconds=10)
"""``t_hedge`` for a known shortfall, and what the client needs to see and hedge it through a slow venue."""
_READS: Final = frozenset({"wallet", "positions"})


@dataclass
class Over:
    """More than a clip of a coin is naked: since which event and when it was looked at last, and how much of
    this time somebody was at work who could see it.
    """

    event: int
    last: datetime
    seen: timedelta = timedelta()


@dataclass
class Balance:
    """What is naked at the venue, all the while. ``clip`` is the quote value that a walk may leave so,
    ``wrong`` must stay empty; ``mingled`` are the coins of which strangers hold contracts.
    """

    venue: Venue
    clip: Decimal
    mingled: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    _seen: list[tuple[int, Mapping[str, Decimal]]] = field(default_factory=list)
    """What was naked when so many events had been written, since the act began."""
    _told: int = 0
    _unread: set[str] = field(default_factory=set)
    """Of wallet and positions what the client has not read since somebody acted."""
    _over: dict[str, Over] = field(default_factory=dict)

    def naked(self, base: str) -> Decimal:
        """Quote value of the coins that no contract covers (+), or of contracts that no coin covers (−)."""
        coin = self.venue.wallet().coins.get(base)
        coins = D(0) if coin is None else coin.wallet - coin.spot_borrowed
        sizes = [view.size for view in self.venue.positions() if view.symbol == PERPS[base]]
        price = self.venue.point(Category.SPOT, f"{base}USDT").last
        return (coins + sum(sizes, D(0)) * MULTIPLIERS.get(base, 1)) * price

    def begin(self, store: Store) -> None:
        """An act begins: what is naked now is what it finds, and nobody was at work until now."""
        self._told, self._seen, self._unread = store.events.newest_id(), [], set()
        for over in self._over.values():
            over.last = self.venue.now
        self._note(store)

    def disturbed(self, store: Store) -> None:
        """Somebody has acted between two orders of one walk: what it sends before it has read that again is
        not held against it.
        """
        self._unread = set(_READS)
        self._note(store)

    def watch(self, exchange: TroubledExchange) -> None:
        """Judge every order of one life."""
        create, store = exchange.create, exchange.store
        exchange.wallet = self._noted("wallet", exchange.wallet)  # type: ignore[method-assign]
        exchange.positions = self._noted("positions", exchange.positions)  # type: ignore[method-assign]
        self.begin(store)

        def judged(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
            base = next(base for base in BASES if request.symbol in {PERPS[base], f"{base}USDT"})
            intent, before = store.intents.find(request.link_id), self.naked(base)
            self._note(store)
            try:
                return create(request, signed_at=signed_at)
            finally:
                if intent is not None and not exchange.trouble.lag:
                    self._judge(intent, base, before=before)
                if not exchange.dead:
                    self._note(store)
                    self._overdue(exchange)

        exchange.create = judged  # type: ignore[method-assign]

    def _noted(self, name: str, read: Callable[[], T]) -> Callable[[], T]:
        """A read that tells what others have done since."""

        def reading() -> T:
            answer = read()
            self._unread.discard(name)
            return answer

        return reading

    def after(self, exchange: TroubledExchange) -> None:
        """Judge every call for help of an act that is over, and how long more than a clip was naked in it."""
        store = exchange.store
        self._note(store)
        self._overdue(exchange)
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
        """No correction may unhedge, whoever acted meanwhile if that was read; no other order beyond a clip.
        Less than a step of the perp may be bought for books that stand until a person has said what becomes
        of a short that a hand has closed.
        """
        after, more = self.naked(base), D(0)
        if intent.purpose is Purpose.TOP_UP:
            more = _STEPS.get(base, D(0)) * self.venue.point(Category.SPOT, f"{base}USDT").last
        most = LOT + _DUST if intent.purpose in _CORRECTIONS else self.clip * _MOVES + _DUST
        if abs(after) > max(abs(before) + more, most) and base not in self.mingled and not self._unread:
            what = f"{intent.purpose} {intent.link_id}"
            self.wrong.append(f"{what}: {before:.2f} USDT of {base} were naked before, {after:.2f} after it")

    def _note(self, store: Store) -> None:
        naked = {base: self.naked(base) for base in BASES}
        self._seen.append((store.events.newest_id(), naked))
        for base, value in naked.items():
            if abs(value) <= self.clip * _MOVES + _DUST or base in self.mingled:
                self._over.pop(base, None)
            else:
                self._over.setdefault(base, Over(store.events.newest_id(), self.venue.now))

    def _overdue(self, exchange: TroubledExchange) -> None:
        """More than a clip is naked for longer than it may be, somebody is at work who could see it, no order
        is in doubt, and nobody was told.
        """
        store, now = exchange.store, self.venue.now
        for base, over in self._over.items():
            blind = exchange.trouble.dim or store.intents.open_count() > 0
            over.seen += timedelta() if blind else now - over.last
            over.last = now
            if over.seen > _LONGEST and not _told(store, base, since=over.event):
                text = f"more than a clip of {base} naked for {over.seen.total_seconds():.0f} s of one's work"
                self.wrong.append(f"{text}, and nobody was told")


def _told(store: Store, base: str, *, since: int) -> bool:
    """Whether an alert about a coin has come since an event."""
    ids = {item.plan_id for item in store.positions.all() if item.base == base}
    names = {base, PERPS[base], f"{base}USDT"}
    rows = store.events.after(since, 1000, kind="alert_raised")
    subjects = [json.loads(row.payload)["subject"] for row in rows]
    return any(subject in names or any(one in subject for one in ids) for subject in subjects)


def _asked(store: Store, base: str) -> bool:
    """Whether a difference of this coin waits for a person's answer: its books stand until then."""
    block = store.blocks.get(base, BlockKind.FREEZE)
    if block is None or block.reason.startswith(REASON):
        return block is not None
    open_now = set((store.meta.get(TOLD) or "").split("\n"))  # the freeze may stand for an earlier reason
    return bool(open_now & {f"spot_short:{base}", f"perp_size:{PERPS[base]}"})
