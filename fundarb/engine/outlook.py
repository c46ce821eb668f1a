"""The account as the margin formulas want it, now and after an entry: from the venue's own figures, and
judged as if no coin counted as collateral.

Pure: wallet and position reports are handed in. What is opened must bear a jump of the price without the
coins' help, for a coin may stop counting overnight; nothing here opens or reduces anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.margin import SHOCKS, Hedge, MarginAccount, Stress, liquidation_price, stress_table
from fundarb.core.market import Pair
from fundarb.core.money import ONE, ZERO
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.risk import CASH

_HALF: Final = ONE / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be opened: ``contracts`` short at ``price`` (per contract) against ``coins``, which cost
    ``cost`` of the cash.
    """

    pair: Pair
    contracts: Decimal
    price: Decimal
    coins: Decimal
    cost: Decimal

    @property
    def hedge(self) -> Hedge:
        """Both legs. Maintenance is half the least initial margin, as in the venue's lowest tier."""
        multiplier = self.pair.multiplier
        return Hedge(
            coins=self.coins,
            short=self.contracts * multiplier,
            entry=self.price / multiplier,
            mark=self.price / multiplier,
            maintenance=_HALF / self.pair.perp.max_leverage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How the account stands after an entry. Prices are per contract: ``liquidation`` with what the coins
    count for now (``p*(c)``), ``bare`` without any collateral (``p*(0)``, what is sized on); None where no
    price liquidates. ``stress`` is without collateral, too.
    """

    liquidation: Decimal | None
    bare: Decimal | None
    price: Decimal
    stress: tuple[Stress, ...]

    def against(self) -> Iterator[Reason]:
        """Why the entry is too large: the first shock would liquidate it if the coins counted for nothing."""
        if self.stress[0].liquidated:
            yield Reason("margin_stress", self._words(self.stress[0]))

    def warnings(self) -> Iterator[Reason]:
        """What a larger shock would do, where the first one is borne."""
        hit = [item for item in self.stress[1:] if item.liquidated]
        if hit and not self.stress[0].liquidated:
            yield Reason("margin_stress", self._words(hit[0]))

    def _words(self, hit: Stress) -> str:
        """The shock moves every coin; the price is of this one while the others stay, so it may be higher."""
        known = self.bare is not None and self.bare > ZERO  # none where it is liquidated at any price
        alone = f" (this short alone: at {self.bare:.6g}, now {self.price:.6g})" if known else ""
        rise = f"a rise of all coins by {hit.shock * 100:.0f} % at once"
        return f"{rise} would liquidate the account if no coin counted as collateral{alone}"


def margin_account(
    wallet: Wallet, held: Sequence[PositionRecord], *, reports: Mapping[str, PositionReport]
) -> MarginAccount:
    """The account as it is now; positions that the venue holds none of are left out."""
    ratio = collateral_ratio(wallet)
    hedges = [hedge for item in held if (hedge := _hedge(wallet, item, reports=reports, ratio=ratio))]
    return MarginAccount(cash=wallet.owned(CASH), hedges=hedges)


def bare_prices(
    wallet: Wallet, held: Sequence[PositionRecord], *, reports: Mapping[str, PositionReport]
) -> Mapping[str, Decimal]:
    """``p*(0)`` per contract by position id: the price that liquidates its short if no coin counts as
    collateral and every other mark stays; a position that no price liquidates is missing.
    """
    short = [item for item in held if (report := reports.get(item.perp_symbol)) and report.size]
    account = margin_account(wallet, short, reports=reports)
    prices = {
        item.position_id: (liquidation_price(account, number, collateral=ZERO), item.multiplier)
        for number, item in enumerate(short)
    }
    return {name: price * many for name, (price, many) in prices.items() if price is not None}


def outlook(
    entry: Entry, wallet: Wallet, *, held: Sequence[PositionRecord], reports: Mapping[str, PositionReport]
) -> Outlook:
    """The account with ``entry`` added to what is held."""
    base, ratio = entry.pair.base, collateral_ratio(wallet)
    others = margin_account(wallet, [item for item in held if item.base != base], reports=reports)
    own = entry.hedge
    for item in held:
        before = _hedge(wallet, item, reports=reports, ratio=ratio) if item.base == base else None
        own = own if before is None else _together(before, own)
    account = MarginAccount(cash=others.cash - entry.cost, hedges=(*others.hedges, own))
    last, multiplier = len(others.hedges), entry.pair.multiplier
    with_coins, bare = (liquidation_price(account, last, collateral=how) for how in (None, ZERO))
    return Outlook(
        liquidation=None if with_coins is None else with_coins * multiplier,
        bare=None if bare is None else bare * multiplier,
        price=entry.price,
        stress=stress_table(account, SHOCKS, collateral=ZERO),
    )


def _hedge(
    wallet: Wallet, position: PositionRecord, *, reports: Mapping[str, PositionReport], ratio: Decimal
) -> Hedge | None:
    """One position's legs by the venue's report; None where it holds none of the perp."""
    report = reports.get(position.perp_symbol)
    if report is None or not report.size:
        return None
    value = abs(report.size) * report.mark_price
    balance = wallet.coins.get(position.base)
    return Hedge(
        coins=position.spot_owned,
        short=position.contracts * position.multiplier,
        entry=(report.average_price or report.mark_price) / position.multiplier,
        mark=report.mark_price / position.multiplier,
        maintenance=(report.maintenance_margin or ZERO) / value,
        collateral=ratio if balance is not None and balance.collateral else ZERO,
    )


def _together(before: Hedge, more: Hedge) -> Hedge:
    """What is held and what is added as one hedge."""
    short = before.short + more.short
    return Hedge(
        coins=before.coins + more.coins,
        short=short,
        entry=(before.entry * before.short + more.entry * more.short) / short if short else more.entry,
        mark=more.mark,
        maintenance=max(before.maintenance, more.maintenance),
        collateral=before.collateral,
    )


def collateral_ratio(wallet: Wallet) -> Decimal:
    """At which ratio coins count on the whole, as the venue's own margin balance says: what it holds beyond
    USDT against what the coins are worth. Zero where it does not say.
    """
    cash = wallet.coins.get(CASH)
    if wallet.margin_balance is None or cash is None:
        return ZERO
    worth = sum(
        (
            item.usd_value
            for name, item in wallet.coins.items()
            if name != CASH and item.collateral and item.usd_value is not None
        ),
        ZERO,
    )
    beyond = wallet.margin_balance - (cash.usd_value if cash.usd_value is not None else cash.equity)
    return min(max(beyond / worth, ZERO), ONE) if worth > ZERO else ZERO
