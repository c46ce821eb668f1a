"""What the reports are made of: the query, the rows (their field names are the JSON keys of the command
line), groups of positions.

Values only; who fills them is ``report`` and ``listings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from fundarb.core.instants import iso
from fundarb.core.money import plain
from fundarb.core.pnl import EMPTY, CoinTotal, Coverage, Pnl, TieOut, Valuation
from fundarb.core.records import PositionRecord
from fundarb.engine.report_time import Stretch

Json: TypeAlias = "str | int | bool | list[Json] | dict[str, Json] | None"

ACCOUNT_ROW: Final = "account"
"""The key of what belongs to no position: interest, what strangers traded and received, the value of their
coins and of dust, suspense."""


_LAST: Final = datetime.max.replace(tzinfo=UTC) - timedelta(days=62)
"""Beyond it the month after a day cannot be named."""


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

    def by_now(self, now: datetime) -> ReportQuery:
        """The same without an end in the future, until which nothing more has happened, and without a
        beginning beyond which no day can be named.
        """
        since = None if self.since is None else min(self.since, _LAST)
        until = None if self.until is None or self.until > now else self.until
        return replace(self, since=since, until=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlRow:
    """One row, or the total. ``net = funding + basis_pnl − fees − interest``, ``basis_pnl = realised +
    unrealised``.

    ``funding`` and ``net`` are None while nothing is known of the funding that was due (coverage
    "missing" or all of it pending), ``fees`` and ``interest`` at "missing" as well, and each of these and
    ``realised`` where a coin moved whose worth nobody knew. ``unrealised``, ``basis_pnl`` and ``net`` are
    None where a price is missing, or a day was not measured.
    ``slippage`` is contained in ``basis_pnl``. ``notional`` is the mean over ``days`` of the quote value of
    one leg, summed over positions.

    ``gross = funding + basis_pnl + slippage = net + slippage + fees + interest``: before all costs, at the
    mids that were decided by. The four yields are simple, of what positions brought (what belongs to none
    ties up no capital: it is in ``net`` and in no yield), on the notional and on the capital of the time that
    they were held; None where that was less than a day, or nothing, or the result is not known
    (``net_apr_reason``, of all four).
    """

    key: str
    funding: Decimal | None
    basis_pnl: Decimal | None
    fees: Decimal | None
    interest: Decimal | None
    slippage: Decimal
    realised: Decimal | None
    unrealised: Decimal | None
    net: Decimal | None
    notional: Decimal
    days: Decimal
    net_apr_on_capital: Decimal | None
    coverage: Coverage
    base: str
    dust: Decimal
    suspense: Decimal
    pending: int
    fees_by_coin: Mapping[str, CoinTotal]
    net_apr_reason: str | None = None
    gross: Decimal | None
    gross_apr_on_capital: Decimal | None
    net_apr_on_notional: Decimal | None
    gross_apr_on_notional: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TieOutRow:
    """The equity identity with its parts; all None while there is no equity to compare with.

    ``explained = total.net + external + suspense``, of the very facts that the rows are made of;
    ``equity_end − equity_start = explained + pending + unexplained``. ``pending`` is what the venue holds
    already and whose booking waits for another of its rows. ``revaluation``, what coins that belong to no
    position of ours gained by their prices, is part of the total, in the row of the account. ``since`` and
    ``until`` are the moments at which prices were read.
    """

    equity_start: Decimal | None
    equity_end: Decimal | None
    explained: Decimal | None
    unexplained: Decimal | None
    pending: Decimal | None = None
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
    """A row in the making: its result, its positions, and the time that they were open."""

    pnl: Pnl
    positions: list[PositionRecord]
    own: Pnl = EMPTY
    """The part of it that positions brought: what yields are of."""
    time: Stretch = field(default_factory=Stretch)
    valued: bool = True
    """Whether what is unrealised of it is known."""
    priced_at: datetime | None = None
    """The point of hours before its end that its prices are of; None where one is closer."""


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
        known.own += group.own
        known.positions += group.positions
        known.valued = known.valued and group.valued
        known.time.absorb(group.time)
    return found


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
