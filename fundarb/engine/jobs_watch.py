"""``watch``: the quick look at everything that can hurt a held position between two settlements.

Delta, margin, deleveraging rank, borrowing, delisting, stale data. With nothing held it asks the venue
nothing; otherwise for the wallet, whose balances give away whatever was booked; for quotes once a minute; for
positions when a balance moved, when the margin is tight, and every few minutes. It repairs what the rules say
must be repaired at once, and alerts once per incident.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.events import DecisionMade
from fundarb.core.exits import leave_at_once
from fundarb.core.margin import Hedge, MarginAccount, reduce_fraction
from fundarb.core.market import MarketSnapshot
from fundarb.core.money import BP, ONE, ZERO, parse_ratio, plain
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.account_view import require_same_account, sizes_agree
from fundarb.engine.alerts import alert_once
from fundarb.engine.jobs import IDLE, JobParts, JobReport, lift
from fundarb.engine.lifecycle import measure, settle
from fundarb.errors import Unavailable

CASH = "USDT"
_ADL_ALERT = 5
"""The highest of the five deleveraging ranks: next in line."""
_LEAST_CUT = parse_ratio("5%")
_CLOSE_COST = 40 * BP
_EMERGENCY_MARGIN = parse_ratio("85%")
_DELISTING = "delisting: "
_HURRY = timedelta(hours=2)
_NOW = timedelta()
_MINUTE = timedelta(seconds=50)
"""What the quotes are needed for here changes slowly."""
_SLOWLY = timedelta(minutes=5)
"""Sizes change only together with a balance; what else a position tells changes slowly."""


class Watch:
    """The job."""

    def __init__(self, parts: JobParts) -> None:
        """Nothing was looked at yet."""
        self._parts = parts
        self._done: list[str] = []
        self._snapshot: MarketSnapshot | None = None

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002
        """One look; ``Unavailable`` if account or market cannot be read, and then nothing may be opened."""
        desk, account = self._parts.desk, self._parts.account
        held = desk.store.positions.active()
        if not held:
            lift(desk.store, BlockKind.STALE_DATA)
            return IDLE
        self._done = []
        try:
            wallet = account.wallet()
            moved = account.moved(wallet)
            reports = account.positions(_NOW if moved or self._is_tight(wallet) else _SLOWLY)
            known, snapshot = self._snapshot, desk.market.at_most(_MINUTE)
            if moved:
                self._book(wallet)
        except Unavailable as error:
            self._stale(str(error))
            raise
        lift(desk.store, BlockKind.STALE_DATA)
        self._snapshot = snapshot
        if moved or snapshot is not known or self._is_tight(wallet):
            self._look(held, wallet, reports=reports, snapshot=snapshot)
        if self._done:
            account.forget()
            return JobReport(result="acted", message="; ".join(self._done), notable=True)
        return JobReport(message="all is in order")

    def _is_tight(self, wallet: Wallet) -> bool:
        """Whether the margin is used enough to be looked at closely."""
        rate = wallet.maintenance_margin_rate
        return rate is not None and rate >= self._parts.rules.margin_warn

    def _book(self, wallet: Wallet) -> None:
        """A balance moved: book what the venue shows, if it is still the same account."""
        require_same_account(self._parts.desk)
        self._parts.account.booked(wallet, self._parts.collector.collect())

    def _look(
        self,
        held: tuple[PositionRecord, ...],
        wallet: Wallet,
        *,
        reports: Mapping[str, PositionReport],
        snapshot: MarketSnapshot,
    ) -> None:
        """Every check, the most pressing first."""
        if not sizes_agree(held, reports):
            self._reconcile()
            held = self._parts.desk.store.positions.active()
        for position in held:
            self._look_at_delta(position)
        self._look_at_margin(wallet, reports)
        for position in held:
            self._look_at_listing(position, snapshot)
            self._look_at_rank(position, reports.get(position.perp_symbol))
        self._look_at_borrowing(wallet)

    # -------------------------------------------------------------------------------------- the checks

    def _reconcile(self) -> None:
        """The venue's contracts are not ours: somebody else traded, or a forced reduction took some."""
        result = self._parts.reconciler.run()
        found = ", ".join(item.id for item in result.mismatches if not item.note_only)
        self._done.append("reconciled" + (f": {found}" if found else ""))

    def _look_at_delta(self, position: PositionRecord) -> None:
        """A book that is not neutral is hedged or unwound now."""
        desk = self._parts.desk
        if position.state is PositionState.HEDGED and measure(desk, position).neutral:
            return
        position = settle(desk, position.position_id)
        if position.state is PositionState.EXPOSED:
            after = self._parts.hedger.repair(position.position_id)
            self._done.append(f"{position.base} repaired: {after.state}")
        elif position.state is PositionState.UNCERTAIN:
            self._reconcile()

    def _look_at_margin(self, wallet: Wallet, reports: Mapping[str, PositionReport]) -> None:
        """Warn, then shrink both legs together, before the venue acts."""
        rate, rules = wallet.maintenance_margin_rate, self._parts.rules
        if rate is None or not self._is_tight(wallet):
            return
        store = self._parts.desk.store
        text = f"the margin rate is {rate * 100:.1f} % of the limit at which the venue liquidates"
        alert_once(store, "margin", subject="account", message=text)
        if rate < rules.margin_reduce:
            return
        held = [item for item in store.positions.active() if item.state is PositionState.HEDGED]
        account = _margin_account(wallet, held, reports=reports)
        cut = reduce_fraction(account, rules.margin_target, cost=_CLOSE_COST, venue_rate=rate)
        cut = min(max(cut, _LEAST_CUT), ONE)
        for position in held:
            reason = f"{text}: {cut * 100:.1f} % of both legs is closed"
            store.events.record(DecisionMade(base=position.base, decision="reduce", reason=reason))
            self._parts.trader.close(position.position_id, cut, emergency=rate >= _EMERGENCY_MARGIN)
            self._done.append(f"{position.base} reduced")

    def _look_at_listing(self, position: PositionRecord, snapshot: MarketSnapshot) -> None:
        """A delisting, or a market that is gone: the coin is frozen, and the position closed before it."""
        desk = self._parts.desk
        quote = snapshot.perp.get(position.perp_symbol)
        perp = desk.market.instruments().perp.get(position.perp_symbol)
        reasons = leave_at_once(perp, quote, margin_rate=None, margin_limit=ONE)
        if not reasons:
            return
        text = "; ".join(reason.message for reason in reasons)
        desk.store.blocks.set(
            Block(
                scope=position.base,
                kind=BlockKind.FREEZE,
                reason=_DELISTING + text,
                since=desk.clock.now(),
            )
        )
        alert_once(desk.store, "delisting", subject=position.perp_symbol, message=f"{position.base}: {text}")
        if position.state is not PositionState.HEDGED or (perp is None and quote is None):
            return
        delivery = quote.delivery_time if quote is not None else None
        hurry = delivery is None or delivery - desk.clock.now() < _HURRY
        desk.store.events.record(DecisionMade(base=position.base, decision="close", reason=text))
        self._parts.trader.close(position.position_id, emergency=hurry)
        self._done.append(f"{position.base} closed: {reasons[0].code}")

    def _look_at_rank(self, position: PositionRecord, report: PositionReport | None) -> None:
        """Next in line to be deleveraged: a person should know."""
        if report is not None and report.adl_rank >= _ADL_ALERT:
            text = f"{position.perp_symbol} is among the first to be deleveraged (rank {report.adl_rank})"
            alert_once(self._parts.desk.store, "adl_rank", subject=position.perp_symbol, message=text)

    def _look_at_borrowing(self, wallet: Wallet) -> None:
        """Borrowed coins cost interest and end in a forced sale of the spot leg."""
        for coin, balance in sorted(wallet.coins.items()):
            if balance.borrowed > ZERO:
                text = f"the account borrows {plain(balance.borrowed)} {coin}: bring {coin} in, or reduce"
                alert_once(self._parts.desk.store, "borrowed", subject=coin, message=text)

    # ---------------------------------------------------------------------------------------- the data

    def _stale(self, why: str) -> None:
        """The market or the account cannot be seen: nothing is opened until it can."""
        store = self._parts.desk.store
        store.blocks.set(
            Block(scope=GLOBAL_SCOPE, kind=BlockKind.STALE_DATA, reason=why, since=store.clock.now())
        )


def _margin_account(
    wallet: Wallet, held: list[PositionRecord], *, reports: Mapping[str, PositionReport]
) -> MarginAccount:
    """The account as the margin formulas want it, from the venue's own figures."""
    hedges = []
    for position in held:
        report = reports.get(position.perp_symbol)
        if report is None or not report.size:
            continue
        value = abs(report.size) * report.mark_price
        balance = wallet.coins.get(position.base)
        hedges.append(
            Hedge(
                coins=position.spot_owned,
                short=position.contracts * position.multiplier,
                entry=(report.average_price or report.mark_price) / position.multiplier,
                mark=report.mark_price / position.multiplier,
                maintenance=(report.maintenance_margin or ZERO) / value,
                collateral=_COLLATERAL if balance is not None and balance.collateral else ZERO,
            )
        )
    return MarginAccount(cash=wallet.owned(CASH), hedges=hedges)


_COLLATERAL = Decimal("0.8")
"""A cautious ratio for coins that count as collateral: reducing a little too much is the safe side."""
