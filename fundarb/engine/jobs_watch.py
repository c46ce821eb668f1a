"""``watch``: the quick look at everything that can hurt a held position between two settlements.

Delta, margin, deleveraging rank, borrowing, delisting, stale data, clock. With nothing held it asks the venue
nothing, but whether it lets us in again or has another time than we; otherwise for the wallet, whose
balances give away whatever was booked; for quotes once a minute; for positions when a balance moved, when the
margin is tight, and every few minutes. It repairs what the rules say must be repaired at once, and alerts
once per incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.events import DecisionMade
from fundarb.core.exits import leave_at_once
from fundarb.core.market import MarketSnapshot
from fundarb.core.money import ONE, ZERO, plain
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, PositionRecord
from fundarb.core.risk import CASH, DEPEGGED, USDT_BAND, usdt_price
from fundarb.core.states import PositionState
from fundarb.engine.account_view import coins_there, sizes_agree
from fundarb.engine.alerts import alert_once, alert_over, block_for, was_told
from fundarb.engine.clocks import glance_at_clock
from fundarb.engine.jobs import IDLE, JobParts, JobReport, lift
from fundarb.engine.jobs_margin import MarginWatch
from fundarb.engine.lifecycle import measure, settle
from fundarb.engine.reconcile import REASON
from fundarb.engine.safety import AT_ONCE
from fundarb.engine.shut_out import kept_out, let_in, look_out, shut_out
from fundarb.engine.stillness import Stillness
from fundarb.engine.told import NOT_CLOSED, left, shortfall
from fundarb.errors import Unavailable

_ADL_ALERT = 5
"""The highest of the five deleveraging ranks: next in line."""
_DELISTING = "delisting: "
_FROZEN_FOR = timedelta(days=1)
_HURRY = timedelta(hours=2)
_NOW = timedelta()
_UNSAFE = frozenset({PositionState.EXPOSED, PositionState.UNCERTAIN})
_MINUTE = timedelta(seconds=50)
"""What the quotes are needed for here changes slowly."""
_SLOWLY = timedelta(minutes=5)
"""Sizes change only together with a balance; what else a position tells changes slowly."""


class Watch:
    """The job."""

    def __init__(self, parts: JobParts) -> None:
        """Nothing was looked at yet."""
        self._parts = parts
        self._margin = MarginWatch(parts)
        self._stillness = Stillness(parts.desk.store, parts.desk.clock)
        self._done: list[str] = []
        self._missed: list[str] = []
        self._short = False
        """Whether something that should be left or smaller is not."""
        self._snapshot: MarketSnapshot | None = None
        self._walked = False
        """Whether what is naked was worked on in this run."""

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """One look; ``Unavailable`` if account or market cannot be read, and then nothing may be opened."""
        desk, account = self._parts.desk, self._parts.account
        look_out(desk.store, desk.exchange)
        glance_at_clock(desk)
        held = desk.store.positions.active()
        if not held:
            if kept_out(desk.store):
                account.wallet()
                let_in(desk.store)
            lift(desk.store, BlockKind.STALE_DATA)
            return IDLE
        self._done, self._missed, self._short = [], [], False
        self._first_of_all(held)
        try:
            wallet = account.wallet()
            moved = account.moved(wallet)
            tight = self._margin.tight(wallet, account.positions(_SLOWLY))
            reports = account.positions(_NOW if moved or tight else _SLOWLY)
        except Unavailable as error:
            self._stale(str(error))
            raise
        let_in(desk.store)
        with self._check("margin"):
            self._done += self._margin.look(wallet, reports)
            self._short = self._margin.short
        known, snapshot = self._snapshot, None
        with self._check("market"):
            snapshot = desk.market.at_most(_MINUTE)
        if moved:
            with self._check("books"):
                self._book(wallet)
        if snapshot is not None:
            self._snapshot = snapshot
            if moved or snapshot is not known or tight:
                self._look(wallet, snapshot=snapshot)
        return self._report()

    def _first_of_all(self, held: tuple[PositionRecord, ...]) -> None:
        """What is naked or in doubt, before anything else is asked: the venue may answer again."""
        self._walked = bool(self._parts.desk.store.intents.open()) or any(
            position.state in _UNSAFE for position in held
        )
        if self._walked:
            with self._check("orders"):
                self._reconcile()

    def _report(self) -> JobReport:
        """What was done. What could not be looked at forbids opens, and is an error at the end."""
        if self._done:
            self._parts.account.forget()
        if self._missed:
            self._snapshot = None  # the next look is a whole one
            self._stale("; ".join(self._missed))
            raise Unavailable("; ".join([*self._done, *self._missed]))
        lift(self._parts.desk.store, BlockKind.STALE_DATA)
        if self._done:
            result = "incomplete" if self._short else "acted"
            return JobReport(result=result, message="; ".join(self._done), notable=True)
        return self._frozen() or JobReport(message="all is in order")

    def _frozen(self) -> JobReport | None:
        """What stands still among what is held: a difference that waits for its answer above all. It was told
        when it came; None: nothing does.
        """
        store = self._parts.desk.store
        held = {position.base for position in store.positions.active()}
        active = store.blocks.active(self._parts.desk.clock.now())
        frozen = [block for block in active if block.kind is BlockKind.FREEZE and block.scope in held]
        if not frozen:
            return None
        differs = any(block.reason.startswith(REASON) for block in frozen)
        text = "; ".join(f"{block.scope} is frozen: {block.reason}" for block in frozen)
        return JobReport(result="mismatch" if differs else "frozen", message=text)

    @contextmanager
    def _check(self, what: str) -> Iterator[None]:
        """One check by itself: what cannot be read for it keeps no other one from being made."""
        try:
            yield
        except Unavailable as error:
            shut_out(self._parts.desk.store, error)
            self._missed.append(f"{what}: {error}")

    def _book(self, wallet: Wallet) -> None:
        """A balance moved: book what the venue shows."""
        self._parts.account.booked(wallet, self._parts.collector.collect())

    def _look(self, wallet: Wallet, *, snapshot: MarketSnapshot) -> None:
        """Every check beside the margin, the most pressing first."""
        store = self._parts.desk.store
        reports: Mapping[str, PositionReport] = {}
        agree = True
        with self._check("positions"):
            reports = self._parts.account.positions(_SLOWLY)
            agree = self._agree(wallet, reports)
        with self._check("books"):
            if not agree:
                self._reconcile()
        for position in store.positions.active():
            with self._check(position.base):
                self._look_at_delta(position)
        for item in store.positions.active():
            position = store.positions.get(item.position_id)  # another one's order may have been waited for
            if position.state.final:
                continue
            with self._check(position.base):
                self._look_at_listing(position, snapshot)
                self._look_at_rank(position, reports.get(position.perp_symbol))
        self._look_at_borrowing(wallet)
        self._look_at_the_dollar(wallet, snapshot)
        self._stillness.look(store.positions.active(), snapshot)

    def _agree(self, wallet: Wallet, reports: Mapping[str, PositionReport]) -> bool:
        """Whether the venue holds both legs of everything."""
        held, nothing = self._parts.desk.store.positions.active(), self._parts.desk.rules.tolerance
        return sizes_agree(held, reports) and coins_there(held, wallet, tolerance=nothing)

    # -------------------------------------------------------------------------------------- the checks

    def _reconcile(self) -> None:
        """An order is in doubt, or the venue's contracts are not ours: somebody else traded, or a forced
        reduction took some.
        """
        result = self._parts.reconciler.run(patience=AT_ONCE)
        if result.unread is not None:
            raise result.unread
        found = ", ".join(item.id for item in result.loud)
        self._done.append("reconciled" + (f": {found}" if found else ""))

    def _look_at_delta(self, position: PositionRecord) -> None:
        """A book that is not neutral is hedged or unwound now."""
        desk = self._parts.desk
        if position.state is PositionState.HEDGED and measure(desk, position).neutral:
            return
        position = settle(desk, position.position_id)
        if position.state is PositionState.EXPOSED and not self._walked:
            after = self._parts.hedger.repair(position.position_id)
            self._done.append(f"{position.base} repaired: {after.state}")

    def _look_at_listing(self, position: PositionRecord, snapshot: MarketSnapshot) -> None:
        """A delisting, or a market that is gone: the coin is frozen, and the position closed before it."""
        desk = self._parts.desk
        quote = snapshot.perp.get(position.perp_symbol)
        perp = desk.market.instruments().perp.get(position.perp_symbol)
        reasons = leave_at_once(perp, quote, margin_rate=None, margin_limit=ONE)
        if not reasons:
            alert_over(desk.store, ("delisting",), subject=position.perp_symbol)
            self._thaw(position.base)
            return
        text = "; ".join(reason.message for reason in reasons)
        self._freeze(position.base, _DELISTING + text)
        alert_once(desk.store, "delisting", subject=position.perp_symbol, message=f"{position.base}: {text}")
        if position.state is not PositionState.HEDGED or (perp is None and quote is None):
            return
        delivery = quote.delivery_time if quote is not None else None
        hurry = delivery is None or delivery - desk.clock.now() < _HURRY
        if not was_told(desk.store, NOT_CLOSED, subject=position.position_id):
            desk.store.events.record(DecisionMade(base=position.base, decision="close", reason=text))
        missing = shortfall(self._parts.trader.close(position.position_id, emergency=hurry))
        done = f"closed ({reasons[0].code})"
        self._short = self._short or bool(missing)
        self._done.append(left(desk.store, position, missing=missing, code=NOT_CLOSED, done=done))

    def _freeze(self, base: str, reason: str) -> None:
        """No opens of a coin as long as this is seen, and for a day after; then the scan judges alone, which
        refuses what is announced to end.
        """
        store, now = self._parts.desk.store, self._parts.desk.clock.now()
        held = store.blocks.get(base, BlockKind.FREEZE)
        if held is not None and held.active(now) and (held.reason == reason or not _of_delisting(held)):
            return
        block_for(store, base, kind=BlockKind.FREEZE, reason=reason, lasts=_FROZEN_FOR)

    def _thaw(self, base: str) -> None:
        """The end was withdrawn: what was frozen for it alone is free again."""
        store = self._parts.desk.store
        held = store.blocks.get(base, BlockKind.FREEZE)
        if held is not None and _of_delisting(held):
            store.blocks.clear(base, BlockKind.FREEZE)

    def _look_at_rank(self, position: PositionRecord, report: PositionReport | None) -> None:
        """Next in line to be deleveraged: a person should know."""
        if report is None:
            return
        if report.adl_rank < _ADL_ALERT:
            alert_over(self._parts.desk.store, ("adl_rank",), subject=position.perp_symbol)
        else:
            text = f"{position.perp_symbol} is among the first to be deleveraged (rank {report.adl_rank})"
            alert_once(self._parts.desk.store, "adl_rank", subject=position.perp_symbol, message=text)

    def _look_at_borrowing(self, wallet: Wallet) -> None:
        """Borrowed coins cost interest and end in a forced sale of the spot leg."""
        for coin, balance in sorted(wallet.coins.items()):
            if balance.borrowed > ZERO:
                text = f"the account borrows {plain(balance.borrowed)} {coin}: bring {coin} in, or reduce"
                alert_once(self._parts.desk.store, "borrowed", subject=coin, message=text)
            else:
                alert_over(self._parts.desk.store, ("borrowed",), subject=coin)

    def _look_at_the_dollar(self, wallet: Wallet, snapshot: MarketSnapshot) -> None:
        """USDT off its dollar: nothing is opened (the rule of every open), and a person should know."""
        price = usdt_price(snapshot, wallet)
        if price is None:
            return
        if abs(price - ONE) <= USDT_BAND:
            alert_over(self._parts.desk.store, (DEPEGGED,), subject=CASH)
        else:
            text = f"USDT stands at {price:.4f} dollars: nothing is opened"
            alert_once(self._parts.desk.store, DEPEGGED, subject=CASH, message=text)

    # ---------------------------------------------------------------------------------------- the data

    def _stale(self, why: str) -> None:
        """The market or the account cannot be seen: nothing is opened until it can."""
        store = self._parts.desk.store
        store.blocks.set(
            Block(scope=GLOBAL_SCOPE, kind=BlockKind.STALE_DATA, reason=why, since=store.clock.now())
        )


def _of_delisting(block: Block) -> bool:
    return block.reason.startswith(_DELISTING) and not block.needs_person
