"""The margin part of ``watch``: how the account would stand after one more jump, and what is done while there
is still time.

The venue's own rate tells too late: a coin at 1 % maintenance passes from half the limit to liquidation
within one percent of its price. So the account is judged as it would be after a rise of ``SHOCKS[0]``, too;
what is then above the limit is reduced now, both legs of every position together, never one. Also here: a
coin that stopped counting as collateral, for that is what the margin stands on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.events import DecisionMade
from fundarb.core.margin import (
    SHOCKS,
    MarginAccount,
    reduce_fraction,
    stressed,
)
from fundarb.core.money import BP, ONE, ZERO, parse_ratio
from fundarb.core.reasons import Refused
from fundarb.core.records import BlockKind, PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.alerts import alert_once, alert_over, block_for
from fundarb.engine.jobs import JobParts
from fundarb.engine.outlook import bare_prices, margin_account
from fundarb.engine.repair import BY_HAND
from fundarb.engine.shut_out import met
from fundarb.engine.told import NOT_REDUCED, left, shortfall
from fundarb.errors import Unavailable

_LEAST_CUT = parse_ratio("5%")
_CLOSE_COST = 40 * BP
_EMERGENCY_MARGIN = parse_ratio("85%")
_THIN = parse_ratio("35%")
"""A balance below this share of all shorts is looked at closely: one shock would take most of it."""
_TOO_SMALL = frozenset({"fraction_too_small", "rest_too_small"})
_COLLATERAL: Final = "collateral."
_FROZEN_FOR = timedelta(days=1)
"""The block of a coin that is no collateral any more is renewed while the coin is held."""


class MarginWatch:
    """Looks at the margin, and shrinks what it cannot bear."""

    def __init__(self, parts: JobParts) -> None:
        """Work with the collaborators of the jobs."""
        self._parts = parts
        self.short = False
        """Whether the last look left something as large as it was, that should be smaller."""

    def tight(self, wallet: Wallet, reports: Mapping[str, PositionReport]) -> bool:
        """Whether the margin must be looked at closely; ``reports`` may be some minutes old."""
        rate = wallet.maintenance_margin_rate
        if rate is not None and rate >= self._parts.rules.margin_warn:
            return True
        shorts = sum((abs(report.size) * report.mark_price for report in reports.values()), ZERO)
        return wallet.margin_balance is not None and wallet.margin_balance < _THIN * shorts

    def look(self, wallet: Wallet, reports: Mapping[str, PositionReport]) -> list[str]:
        """Warn, then shrink both legs together, before the venue acts; what was done, or not (``short``).
        ``reports`` are of now.
        """
        self.short = False
        store, rules = self._parts.desk.store, self._parts.rules
        held = [item for item in store.positions.active() if item.state is PositionState.HEDGED]
        account = margin_account(wallet, held, reports=reports)
        lost = self._look_at_collateral(held, wallet, reports=reports)
        if not lost and not self.tight(wallet, reports):
            alert_over(store, ("margin",), subject="account")
            return []
        after = stressed(account, SHOCKS[0]).rate
        rate = wallet.maintenance_margin_rate or ZERO
        worst = ONE if after is None and account.hedges else max(rate, after or ZERO)
        if worst < rules.margin_warn:
            alert_over(store, ("margin",), subject="account")
            return []
        text = _words(rate, after)
        alert_once(store, "margin", subject="account", message=text)
        if worst < rules.margin_reduce:
            return []
        return self._reduce(held, account, rate=rate, text=text)

    def _reduce(
        self, held: list[PositionRecord], account: MarginAccount, *, rate: Decimal, text: str
    ) -> list[str]:
        target = self._parts.rules.margin_target
        cut = max(
            reduce_fraction(account, target, cost=_CLOSE_COST, venue_rate=rate),
            reduce_fraction(_after_shock(account), target, cost=_CLOSE_COST),
            _LEAST_CUT,
        )
        done, store = [], self._parts.desk.store
        reason = f"{text}: {cut * 100:.1f} % of both legs is closed"
        for position in held:
            # another one's order may have been waited for, and this one closed or touched meanwhile
            if store.positions.get(position.position_id).state is not PositionState.HEDGED:
                continue
            store.events.record(DecisionMade(base=position.base, decision="reduce", reason=reason))
            try:
                missing = self._shrink(position, min(cut, ONE), emergency=rate >= _EMERGENCY_MARGIN)
            except Unavailable as error:  # one coin that cannot be read keeps no other from being reduced
                met(self._parts.desk, error)
                missing = str(error)
            self.short = self.short or bool(missing)
            done.append(left(store, position, missing=missing, code=NOT_REDUCED, done="reduced"))
        return done

    def _shrink(self, position: PositionRecord, cut: Decimal, *, emergency: bool) -> str:
        """Close a part; a larger one where the venue takes no order that small, or none for the rest; where a
        hand took of it and nobody has answered yet, that counts as reduced. What is missing then, in words.
        """
        while True:
            close = partial(self._parts.trader.close, position.position_id, cut, emergency=emergency)
            outcome = close()
            if isinstance(outcome, Refused) and _unanswered(outcome):
                outcome = close(take_over=True)
            small = isinstance(outcome, Refused) and all(item.code in _TOO_SMALL for item in outcome.reasons)
            if not small or cut == ONE:
                return shortfall(outcome)
            cut = min(2 * cut, ONE)

    # -------------------------------------------------------------------------------------- collateral

    def _look_at_collateral(
        self, held: list[PositionRecord], wallet: Wallet, *, reports: Mapping[str, PositionReport]
    ) -> bool:
        """Whether a held coin stopped counting as collateral; it is frozen and a person told as long as it
        does, and the price named at which its short would be liquidated without any.
        """
        store, lost = self._parts.desk.store, False
        for position in held:
            balance = wallet.coins.get(position.base)
            if balance is None:
                continue
            key = _COLLATERAL + position.base
            if balance.collateral:
                if store.meta.get(key) is None:
                    store.meta.set(key, "on")
            elif store.meta.get(key) is not None:
                price = bare_prices(wallet, held, reports=reports).get(position.position_id)
                self._freeze(position, "no price" if price is None else f"{price:.6g}")
                lost = True
        return lost

    def _freeze(self, position: PositionRecord, price: str) -> None:
        store, now = self._parts.desk.store, self._parts.desk.clock.now()
        held = store.blocks.get(position.base, BlockKind.FREEZE)
        text = (
            f"{position.base} does not count as collateral any more; without it {price} liquidates the short"
        )
        if held is None or not (held.needs_person or held.active(now)):
            block_for(store, position.base, kind=BlockKind.FREEZE, reason=text, lasts=_FROZEN_FOR)
        alert_once(store, "collateral_off", subject=position.base, message=text)


def _unanswered(refusal: Refused) -> bool:
    """Whether all that is against a close is that the venue holds less than our books say."""
    return all(item.code in BY_HAND for item in refusal.reasons)


def _words(rate: Decimal, after: Decimal | None) -> str:
    then = "nothing is left" if after is None else f"it would be {after * 100:.1f} %"
    return (
        f"the margin rate is {rate * 100:.1f} % of the limit at which the venue liquidates; "
        f"after a rise of {SHOCKS[0] * 100:.0f} % {then}"
    )


def _after_shock(account: MarginAccount) -> MarginAccount:
    """The account with every mark risen by the shock."""
    return replace(
        account, hedges=[replace(hedge, mark=hedge.mark * (ONE + SHOCKS[0])) for hedge in account.hedges]
    )
