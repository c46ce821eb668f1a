"""What the reports are made of: the query, the rows (their field names are the JSON keys of the command
line), groups of positions.

Values only; who fills them is ``report`` and ``listings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from fundarb.core.instants import iso
from fundarb.core.money import ZERO, plain
from fundarb.core.pnl import Coverage, FeeTotal, Pnl, TieOut, Valuation, days
from fundarb.core.records import PositionRecord

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

ACCOUNT_ROW: Final = "account"
"""The key of what belongs to no position: interest, fees of strangers' doings, suspense."""


class By(StrEnum):
    """What a row of the report stands for."""

    POSITION = "position"
    SYMBOL = "symbol"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """Which rows: grouped how, of facts in ``[since, until)``."""

    by: By = By.POSITION
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlRow:
    """One row, or the total. ``net = funding + basis_pnl − fees − interest``, ``basis_pnl = realised +
    unrealised``.

    ``funding`` and ``net`` are None while nothing is known of the funding that was due (coverage
    "missing" or all of it pending). ``slippage`` is contained in ``basis_pnl``. ``net_apr_on_capital`` is
    simple and only as meaningful as ``days`` is long; None without capital or time. ``notional`` is the
    quote value of one leg at the decision, summed over positions.
    """

    key: str
    funding: Decimal | None
    basis_pnl: Decimal
    fees: Decimal
    interest: Decimal
    slippage: Decimal
    realised: Decimal
    unrealised: Decimal
    net: Decimal | None
    notional: Decimal
    days: Decimal
    net_apr_on_capital: Decimal | None
    coverage: Coverage
    base: str
    dust: Decimal
    suspense: Decimal
    pending: int
    fees_by_coin: Mapping[str, FeeTotal]


@dataclass(frozen=True, slots=True, kw_only=True)
class TieOutRow:
    """The equity identity with its parts; all None while there is no equity to compare with.

    ``explained = total.net + external + revaluation + suspense``: ``revaluation`` is what coins that
    belong to no position of ours gained by their prices.
    """

    equity_start: Decimal | None
    equity_end: Decimal | None
    explained: Decimal | None
    unexplained: Decimal | None
    since: datetime | None = None
    until: datetime | None = None
    parts: TieOut | None = None
    revaluation: Decimal | None = None
    venue_equity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlReport:
    """The answer to ``report pnl``. ``live`` tells whether unrealised figures are of this moment or of
    the last snapshot.
    """

    rows: tuple[PnlRow, ...]
    total: PnlRow
    tie_out: TieOutRow
    coverage: Mapping[str, Coverage]
    by: By
    valuation: Valuation
    valued_at: datetime | None
    live: bool
    method: str
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Group:
    """A row in the making: its positions, its result, and ``Σ capital · years`` for the yield."""

    pnl: Pnl
    positions: list[PositionRecord]
    since: datetime | None = None
    until: datetime | None = None
    capital_years: Decimal = ZERO

    def absorb_time(self, other: Group) -> None:
        """Take over another group's time and capital."""
        self.capital_years += other.capital_years
        if other.since is not None and other.until is not None:
            self.since = other.since if self.since is None else min(self.since, other.since)
            self.until = other.until if self.until is None else max(self.until, other.until)


_DAY: Final = timedelta(days=1)


def as_json(value: object) -> Json:
    """A report as JSON knows it: decimals in plain notation, times ISO 8601, words as text, rows as
    objects.
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    if is_dataclass(value):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    return _word(value)


def _word(value: object) -> str | int | bool | None:
    """A single value."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return iso(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)
    message = f"no JSON for {type(value).__name__}"
    raise TypeError(message)


def by_symbol(groups: Mapping[str, Group]) -> dict[str, Group]:
    """Rows of positions put together by their perp symbol; what belongs to no position stays by itself."""
    found: dict[str, Group] = {}
    for key, group in groups.items():
        name = group.positions[0].perp_symbol if group.positions else key
        known = found.get(name)
        if known is None:
            found[name] = group
            continue
        known.pnl += group.pnl
        known.positions += group.positions
        known.absorb_time(group)
    return found


def group_days(group: Group) -> Decimal:
    """The time from the first to the last moment of a group, in days; zero where nothing was ever open."""
    if group.since is None or group.until is None:
        return ZERO
    return days(group.since, group.until).quantize(Decimal("1e-6"))


def period(at: datetime, by: By) -> str:
    """The day or month of an instant, UTC: ``2026-11-22`` or ``2026-11``."""
    return at.astimezone(UTC).date().isoformat()[: 7 if by is By.MONTH else 10]


def bounds(key: str) -> tuple[datetime, datetime]:
    """Begin and end of a day or month named by ``period``."""
    month = len(key) == len("2026-11")
    begin = datetime.fromisoformat(f"{key}-01" if month else key).replace(tzinfo=UTC)
    if not month:
        return begin, begin + _DAY
    following = begin.replace(day=28) + 4 * _DAY
    return begin, following.replace(day=1)
