"""Ranked opportunities: what a hedged position in each coin should earn over the horizon, every term kept,
every refusal explained.

The arithmetic: cost ``C`` from taker fees and impact against mid, basis at mids, expected
funding at the instants of settlement only, net APR on the capital tied up. Nothing here fetches or decides to
trade; ``yields`` holds the bare formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from fundarb.core import sizing
from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates
from fundarb.core.forecast import Forecast, forecast, print_weight
from fundarb.core.instants import iso
from fundarb.core.market import Book, FundingRate, MarketSnapshot, Pair, PerpQuote, Quote, SettledFunding
from fundarb.core.money import ZERO, plain, seconds
from fundarb.core.orders import Leg
from fundarb.core.pairing import Pairing, Unpaired
from fundarb.core.reasons import Reason
from fundarb.core.yields import Costs, Holding, LegCost, Yield, basis, costs, leg_cost, yield_of

_HOUR = Decimal(3600)
_NONE = timedelta()


class SortKey(StrEnum):
    """What the ranking goes by; break-even ascending, everything else descending."""

    NET_APR = "net_apr"
    GROSS_APR = "gross_apr"
    RATE = "rate"
    BREAK_EVEN = "break_even"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an opportunity is judged by. Ratios are fractions, ``notional`` is quote value of one leg.

    ``leverage`` and ``buffer`` make the capital: ``notional × (1 + 1/leverage + buffer)``. ``price_cap``
    bounds the depth that counts. ``market_reasons`` forbid every coin alike (a stale snapshot, a depegged
    USDT).
    """

    now: datetime
    notional: Decimal
    horizon: timedelta
    leverage: Decimal
    buffer: Decimal
    min_net_apr: Decimal = ZERO
    price_cap: Decimal = Decimal("0.002")
    spot_fees: FeeRates = VIP0_SPOT
    perp_fees: FeeRates = VIP0_LINEAR
    market_reasons: tuple[Reason, ...] = ()

    @property
    def holding(self) -> Holding:
        """How long and how much capital is tied up."""
        return Holding.of(now=self.now, horizon=self.horizon, leverage=self.leverage, buffer=self.buffer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one coin beyond the snapshot; everything may be missing.

    Fees are the account's own. ``trailing_basis`` is the mean of past bases at mids. ``history`` is oldest
    first.
    """

    spot_book: Book | None = None
    perp_book: Book | None = None
    spot_fees: FeeRates | None = None
    perp_fees: FeeRates | None = None
    history: tuple[SettledFunding, ...] = ()
    trailing_basis: Decimal | None = None


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opportunity:
    """One coin in the ranking. Figures are None where they could not be computed; then a reason says why.

    ``turnover_24h`` and ``open_interest_notional`` are the perp's, in quote. ``depth_notional`` is the quote
    value that all four sides offer within the price cap: a lower bound from the best sizes until books are
    known (``needs_book`` names the legs).
    """

    base: str
    spot_symbol: str | None
    perp_symbol: str
    multiplier: Decimal | None
    reasons: tuple[Reason, ...]
    funding: FundingRate | None = None
    forecast: Forecast | None = None
    costs: Costs | None = None
    result: Yield | None = None
    basis: Decimal | None = None
    expected_exit_basis: Decimal | None = None
    spread_spot: Decimal | None = None
    spread_perp: Decimal | None = None
    depth_notional: Decimal | None = None
    turnover_24h: Decimal | None = None
    open_interest_notional: Decimal | None = None
    needs_book: tuple[Leg, ...] = ()

    @property
    def verdict(self) -> str:
        """``ok`` or ``refused``."""
        return "refused" if self.reasons else "ok"

    @property
    def interval_hours(self) -> Decimal | None:
        """Hours of the running funding interval."""
        return seconds(self.funding.interval) / _HOUR if self.funding else None

    @property
    def net_apr(self) -> Decimal | None:
        """Net APR on capital over the horizon, simple."""
        return self.result.net_apr if self.result else None

    @property
    def gross_apr(self) -> Decimal | None:
        """Expected funding a year on notional, before any cost."""
        return self.result.gross_apr if self.result else None


@dataclass(frozen=True, slots=True)
class Near:
    """A refused candidate and how much net APR it lacks (zero or less when something else refuses it)."""

    opportunity: Opportunity
    missing_apr: Decimal


def rank(
    pairing: Pairing,
    snapshot: MarketSnapshot,
    *,
    terms: Terms,
    evidence: Mapping[str, Evidence] | None = None,
    sort: SortKey = SortKey.NET_APR,
) -> tuple[Opportunity, ...]:
    """Every paired coin, eligible ones first, each group by the sort key; ``evidence`` by base coin."""
    known, view = evidence or {}, _View(snapshot, terms, terms.holding, print_weight(terms.horizon))
    found = [view.assess(pair, known.get(base, NO_EVIDENCE)) for base, pair in pairing.pairs.items()]
    return ordered(found, sort)


def assess(
    pair: Pair, snapshot: MarketSnapshot, *, terms: Terms, evidence: Evidence = NO_EVIDENCE
) -> Opportunity:
    """One coin alone, with whatever is known of it."""
    view = _View(snapshot, terms, terms.holding, print_weight(terms.horizon))
    return view.assess(pair, evidence)


@dataclass(frozen=True, slots=True)
class _View:
    """What is the same for every coin of one ranking, computed once."""

    snapshot: MarketSnapshot
    terms: Terms
    holding: Holding
    weight: Decimal

    def assess(self, pair: Pair, evidence: Evidence) -> Opportunity:
        """One coin, with every figure that its quotes allow."""
        spot = self.snapshot.spot.get(pair.spot.symbol)
        perp = self.snapshot.perp.get(pair.perp.symbol)
        reasons = list(self.terms.market_reasons)
        if spot is None or perp is None or min(spot.bid, spot.ask, perp.bid, perp.ask) <= ZERO:
            reasons.append(Reason("no_quote", f"the venue shows no two-sided quotes for {pair.base}"))
            return Opportunity(
                base=pair.base,
                spot_symbol=pair.spot.symbol,
                perp_symbol=pair.perp.symbol,
                multiplier=pair.multiplier,
                reasons=tuple(reasons),
            )
        notional = self.terms.notional
        contracts = notional / perp.bid
        on_spot = self._leg(spot, evidence.spot_book, quantity=contracts * pair.multiplier)
        on_perp = self._leg(perp, evidence.perp_book, quantity=contracts)
        price = costs(
            on_spot,
            on_perp,
            spot_fees=evidence.spot_fees or self.terms.spot_fees,
            perp_fees=evidence.perp_fees or self.terms.perp_fees,
        )
        live = basis(perp_mid=perp.mid, spot_mid=spot.mid, multiplier=pair.multiplier)
        expected = live if evidence.trailing_basis is None else evidence.trailing_basis
        outlook, result = self._outlook(perp, evidence, cost=price.total, basis_gain=live - expected)
        depth = min(on_spot.depth, on_perp.depth)
        books = ((Leg.SPOT, on_spot, evidence.spot_book), (Leg.PERP, on_perp, evidence.perp_book))
        needs = tuple(leg for leg, cost, book in books if book is None and cost.depth < notional)
        reasons += _quote_reasons(spot, perp, evidence=evidence)
        if not needs and depth < notional:
            reasons.append(_depth_reason(pair.base, depth=depth, notional=notional))
        reasons += self._funding_reasons(pair.perp.symbol, perp.funding)
        reasons += _minimum_reasons(pair, notional, spot_bid=spot.bid, perp_bid=perp.bid)
        if result is not None and result.net_apr < self.terms.min_net_apr:
            reasons.append(_yield_reason(result.net_apr, self.terms.min_net_apr))
        return Opportunity(
            base=pair.base,
            spot_symbol=pair.spot.symbol,
            perp_symbol=pair.perp.symbol,
            multiplier=pair.multiplier,
            reasons=tuple(reasons),
            funding=perp.funding,
            forecast=outlook,
            costs=price,
            result=result,
            basis=live,
            expected_exit_basis=expected,
            spread_spot=spot.spread,
            spread_perp=perp.spread,
            depth_notional=depth,
            turnover_24h=perp.turnover_24h,
            open_interest_notional=perp.open_interest_notional,
            needs_book=needs,
        )

    def _leg(self, quote: Quote, book: Book | None, *, quantity: Decimal) -> LegCost:
        return leg_cost(quote, book, quantity=quantity, cap=self.terms.price_cap)

    def _outlook(
        self, perp: PerpQuote, evidence: Evidence, *, cost: Decimal, basis_gain: Decimal
    ) -> tuple[Forecast | None, Yield | None]:
        """Expected rate and yield; None where there is no running funding period to count from."""
        running = perp.funding
        if running is None or running.interval <= _NONE or running.next_time <= self.holding.now:
            return None, None
        outlook = forecast(running, evidence.history, weight=self.weight)
        return outlook, yield_of(
            outlook.rate, running, cost=cost, basis_gain=basis_gain, holding=self.holding
        )

    def _funding_reasons(self, symbol: str, running: FundingRate | None) -> list[Reason]:
        """What makes the running funding period unusable."""
        if running is None:
            return [Reason("no_funding", f"{symbol} shows no funding rate")]
        if running.interval <= _NONE:
            return [Reason("no_interval", f"{symbol} shows no funding interval")]
        if running.next_time <= self.holding.now:
            message = f"the next settlement of {symbol}, {iso(running.next_time)}, is in the past"
            return [Reason("next_funding_past", message)]
        return []


def _quote_reasons(spot: Quote, perp: Quote, *, evidence: Evidence) -> list[Reason]:
    """Crossed or empty sides, in the quotes and in the books."""
    reasons = [
        Reason("crossed_quote", f"{name} {quote.symbol} has bid {plain(quote.bid)} ≥ ask {plain(quote.ask)}")
        for name, quote in (("spot", spot), ("perp", perp))
        if quote.bid >= quote.ask
    ]
    reasons += [
        Reason("crossed_book", f"the {book.category} book of {book.symbol} is crossed or empty on a side")
        for book in (evidence.spot_book, evidence.perp_book)
        if book is not None and book.crossed
    ]
    return reasons


def _depth_reason(base: str, *, depth: Decimal, notional: Decimal) -> Reason:
    return Reason(
        "depth_too_small",
        f"{base}: the thinnest side offers {depth:.2f} within the price cap, "
        f"{notional - depth:.2f} less than the notional",
    )


def _yield_reason(net_apr: Decimal, least: Decimal) -> Reason:
    return Reason(
        "net_apr_below_minimum",
        f"net APR {net_apr * 100:.2f} % is {(least - net_apr) * 100:.2f} points below "
        f"the minimum {least * 100:.2f} %",
    )


def _minimum_reasons(pair: Pair, notional: Decimal, *, spot_bid: Decimal, perp_bid: Decimal) -> list[Reason]:
    """Whether the notional makes an order that each leg takes."""
    least_perp = sizing.min_quantity(pair.perp, perp_bid)
    least_spot = sizing.min_quantity(pair.spot, spot_bid)
    contracts = sizing.contracts_target(pair, notional, perp_bid=perp_bid)
    reasons = []
    if contracts < least_perp:
        reasons.append(
            Reason(
                "below_perp_minimum",
                f"{plain(contracts)} contracts of {pair.perp.symbol} are below the smallest order of "
                f"{plain(least_perp)}",
            )
        )
    coins = contracts * pair.multiplier
    if coins < least_spot:
        reasons.append(
            Reason(
                "below_spot_minimum",
                f"{plain(coins)} {pair.base} are below the smallest spot order of {plain(least_spot)}",
            )
        )
    return reasons


def ordered(items: Iterable[Opportunity], sort: SortKey = SortKey.NET_APR) -> tuple[Opportunity, ...]:
    """Eligible first, then by key; what has no figure comes last; equal ones by coin."""

    def key(item: Opportunity) -> tuple[bool, bool, Decimal, str]:
        value = _sort_value(item, sort)
        return (bool(item.reasons), value is None, ZERO if value is None else value, item.perp_symbol)

    return tuple(sorted(items, key=key))


def _sort_value(item: Opportunity, sort: SortKey) -> Decimal | None:
    """Ascending is better."""
    result = item.result
    if sort is SortKey.RATE:
        return -item.funding.rate if item.funding else None
    if result is None:
        return None
    if sort is SortKey.BREAK_EVEN:
        after = result.break_even_after
        return None if after is None else seconds(after)
    return -(result.net_apr if sort is SortKey.NET_APR else result.gross_apr)


def nearest(items: Iterable[Opportunity], count: int, *, min_net_apr: Decimal) -> tuple[Near, ...]:
    """The refused candidates that miss by least: fewest reasons other than the yield first, then the highest
    net APR.
    """
    refused = [
        (sum(reason.code != "net_apr_below_minimum" for reason in item.reasons), item.net_apr, item)
        for item in items
        if item.reasons
    ]
    known = [(others, apr, item) for others, apr, item in refused if apr is not None]
    known.sort(key=lambda row: (row[0], -row[1], row[2].base))
    return tuple(Near(item, min_net_apr - apr) for _, apr, item in known[:count])


def unpaired(item: Unpaired, snapshot: MarketSnapshot) -> Opportunity:
    """A contract that does not pair as a refused row, with what its quotes tell."""
    perp = snapshot.perp.get(item.perp.symbol)
    spot = snapshot.spot.get(item.spot.symbol) if item.spot else None
    return Opportunity(
        base=item.base,
        spot_symbol=item.spot.symbol if item.spot else None,
        perp_symbol=item.perp.symbol,
        multiplier=item.multiplier,
        reasons=item.reasons,
        funding=perp.funding if perp else None,
        spread_spot=spot.spread if spot else None,
        spread_perp=perp.spread if perp else None,
        turnover_24h=perp.turnover_24h if perp else None,
        open_interest_notional=perp.open_interest_notional if perp else None,
    )
