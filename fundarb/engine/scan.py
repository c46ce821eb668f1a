"""The scan: the whole market in two requests, paired, judged and ranked; order books only where the best
sizes do not tell.

Owns which requests are made and which rows are shown; what an opportunity is worth is decided in
``core.opportunity``. It only reads. The venue's own time is what settlements are counted from, so a wrong
clock here distorts nothing and is warned of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Protocol

from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.core.account import VIP0_SPOT
from fundarb.core.market import Book, Instruments, MarketSnapshot, Pair, SettledFunding
from fundarb.core.money import plain, seconds
from fundarb.core.opportunity import (
    Evidence,
    Near,
    Opportunity,
    SortKey,
    Terms,
    nearest,
    ordered,
    rank,
    unpaired,
)
from fundarb.core.orders import Leg
from fundarb.core.pairing import Pairing, Unpaired, pair_market
from fundarb.core.reasons import Reason
from fundarb.engine.doctor import NTP_REMEDY, clock_offset
from fundarb.engine.ports import MarketData
from fundarb.engine.schedule import Schedule, ScheduleBook, nobody
from fundarb.errors import BadAnswer, ConfigError, Problem, Unavailable

BOOK_DEPTH = 50
NEAREST = 5
"""How many of the refused are named at most when nothing is eligible."""

_MINIMUMS = frozenset({"below_perp_minimum", "below_spot_minimum"})


class SettledRates(Protocol):
    """Where settled funding rates are kept that need no request."""

    def cached(self, symbols: Collection[str]) -> Mapping[str, tuple[SettledFunding, ...]]:
        """What is known of these perps, oldest first; a symbol that nothing is known of may be missing."""


class NoHistory:
    """Nothing is kept: every forecast is naive."""

    def cached(self, symbols: Collection[str]) -> Mapping[str, tuple[SettledFunding, ...]]:  # noqa: ARG002 - the interface gives it
        """Nothing."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanQuery:
    """What is asked. ``notional`` is the quote value of one leg; ``coins`` narrows the scan, by coin or
    symbol.

    ``why`` names one coin to be explained in full. ``refused`` lists the refused, too.
    """

    notional: Decimal
    horizon: timedelta
    min_net_apr: Decimal
    top: int = 20
    sort: SortKey = SortKey.NET_APR
    coins: tuple[str, ...] = ()
    refused: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Linear contracts that the venue lists, those that pair with a spot market, and those worth opening."""

    listed: int
    paired: int
    eligible: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What was found. ``requests`` were made over the network for it; ``as_of`` is the venue's time of the
    older half.

    ``refusal`` lists why the question itself is refused; there are no rows then. ``explained`` is the coin of
    ``why``. ``fee_source`` is ``account`` or ``schedule``: whose taker rates were reckoned with.
    """

    query: ScanQuery
    as_of: datetime
    opportunities: tuple[Opportunity, ...] = ()
    nearest: tuple[Near, ...] = ()
    explained: tuple[Opportunity, ...] = ()
    counts: Counts = Counts(0, 0, 0)
    requests: int = 0
    warnings: tuple[Reason, ...] = ()
    refusal: tuple[Reason, ...] = ()
    terms: Terms | None = None
    fee_source: str = VIP0_SPOT.source


@dataclass(slots=True)
class _Run:
    """One scan under way."""

    query: ScanQuery
    snapshot: MarketSnapshot
    terms: Terms
    pairing: Pairing
    evidence: dict[str, Evidence]
    fees: Schedule
    warnings: list[Reason] = field(default_factory=list)


class Scanner:
    """Ranks the opportunities of a market."""

    def __init__(
        self,
        market: MarketData,
        history: SettledRates,
        *,
        clock: Clock,
        settings: Settings,
        met: Callable[[Unavailable], object] = nobody,
    ) -> None:
        """``settings`` gives leverage, buffer, price cap and limits; ``met`` is told what could not be read
        and has a stand-in, by default nobody.
        """
        self._market = market
        self._history = history
        self._fees = ScheduleBook(market, clock, met=met)
        self._clock = clock
        self._settings = settings

    def query(self) -> ScanQuery:
        """The question that the settings imply: up to 1000 USDT, the strategy's horizon and minimum."""
        strategy = self._settings.strategy
        return ScanQuery(
            notional=min(Decimal(1000), self._settings.risk.max_per_coin),
            horizon=strategy.horizon,
            min_net_apr=strategy.min_net_apr,
        )

    def scan(self, query: ScanQuery) -> ScanResult:
        """Ask the market; ``ConfigError`` for an unknown coin, ``Unavailable`` if the venue does not
        answer.
        """
        refusal = self._refusal(query)
        if refusal:
            return ScanResult(query=query, as_of=self._clock.now(), refusal=refusal)
        before = self._market.requests_made
        run = self._read(query)
        chosen, strangers = _chosen(run.pairing, query.coins)
        wanted, more_strangers = _chosen(run.pairing, (query.why,)) if query.why else (Pairing({}, {}), ())
        first = rank(chosen, run.snapshot, terms=run.terms, evidence=run.evidence, sort=query.sort)
        eligible = [item for item in first if not item.reasons]
        selected = list(first) if query.coins else eligible
        candidates = selected[: query.top]
        explained = rank(wanted, run.snapshot, terms=run.terms, evidence=run.evidence)
        second = self._with_books(run, candidates + [item for item in explained if item.base in wanted.pairs])
        ranked = ordered((second.get(item.base, item) for item in first), query.sort)
        self._note_dropped(run, candidates, second=second, eligible=len(eligible))
        refused_rows = tuple(unpaired(item, run.snapshot) for item in strangers)
        result = ScanResult(
            query=query,
            as_of=run.snapshot.as_of,
            opportunities=_rows(query, ranked, candidates=candidates, strangers=refused_rows),
            explained=tuple(second.get(item.base, item) for item in explained)
            + tuple(unpaired(item, run.snapshot) for item in more_strangers),
            counts=Counts(
                listed=len(run.pairing.pairs) + len(run.pairing.refused),
                paired=len(run.pairing.pairs),
                eligible=sum(not item.reasons for item in ranked),
            ),
            warnings=tuple(run.warnings),
            refusal=_too_small(query, ranked),
            terms=run.terms,
            fee_source=run.fees.source,
        )
        if result.counts.eligible == 0:
            least = min(NEAREST, query.top)
            result = replace(result, nearest=nearest(ranked, least, min_net_apr=query.min_net_apr))
        return replace(result, requests=self._market.requests_made - before)

    def _refusal(self, query: ScanQuery) -> tuple[Reason, ...]:
        """What the limits say about the question before anything is asked of the venue; equality is
        allowed.
        """
        risk = self._settings.risk
        limits = (("max_per_coin", risk.max_per_coin), ("max_gross", risk.max_gross))
        return tuple(
            Reason(
                "notional_above_cap",
                f"a notional of {plain(query.notional)} USDT is above [risk] {name} = {plain(limit)}: "
                f"ask for at most {plain(limit)}, or raise it in fundarb.toml",
            )
            for name, limit in limits
            if query.notional > limit
        )

    def _read(self, query: ScanQuery) -> _Run:
        """Instruments (from the cache if it is fresh) and both halves of the market."""
        instruments = self._market.instruments()
        sent = self._clock.now()
        snapshot = self._market.snapshot()
        received = self._clock.now()
        pairing = pair_market(instruments, snapshot)
        settings = self._settings
        terms = Terms(
            now=max(snapshot.spot_as_of, snapshot.perp_as_of),
            notional=query.notional,
            horizon=query.horizon,
            leverage=settings.account.leverage,
            buffer=settings.account.usdt_buffer,
            min_net_apr=query.min_net_apr,
            price_cap=settings.execution.price_cap,
            market_reasons=_apart(snapshot, settings.risk.max_quote_age),
        )
        fees = self._fees.now()
        run = _Run(query, snapshot, terms, pairing, self._evidence(pairing, fees), fees)
        run.warnings += self._clock_warning(sent, received, snapshot=snapshot)
        run.warnings += _unreadable_warning(snapshot, instruments)
        run.warnings += [fees.problem] if fees.problem is not None else []
        return run

    def _evidence(self, pairing: Pairing, fees: Schedule) -> dict[str, Evidence]:
        """What is known of each pair before any book: the account's fees, and settled rates that are kept."""
        known = self._history.cached([pair.perp.symbol for pair in pairing.pairs.values()])
        if not known and not fees.spot:
            return {}
        found = {}
        for base, pair in pairing.pairs.items():
            spot, perp = fees.of(pair)
            past = known.get(pair.perp.symbol, ())
            found[base] = Evidence(spot_fees=spot, perp_fees=perp, history=past)
        return found

    def _with_books(self, run: _Run, candidates: Iterable[Opportunity]) -> dict[str, Opportunity]:
        """The candidates judged again with the order books that they need, each book read once. A book that
        cannot be trusted is its coin's trouble, and so is one that nobody answers for; a second such one is
        the venue's: ``Unavailable``.
        """
        found: dict[str, Opportunity] = {}
        unanswered = 0
        for item in candidates:
            if item.base in found or not item.needs_book:
                continue
            pair = run.pairing.pairs[item.base]
            books: dict[Leg, Book] = {}
            unread: list[Reason] = []
            for leg in item.needs_book:
                symbol = pair.spot.symbol if leg is Leg.SPOT else pair.perp.symbol
                try:
                    books[leg] = self._market.book(leg.category, symbol, depth=BOOK_DEPTH)
                except Unavailable as error:
                    unanswered += not isinstance(error, BadAnswer)
                    if unanswered > 1:
                        raise
                    unread.append(
                        Reason("unreadable_book", f"the {leg} book of {symbol} cannot be trusted: {error}")
                    )
            evidence = replace(
                run.evidence.get(item.base, Evidence()),
                spot_book=books.get(Leg.SPOT),
                perp_book=books.get(Leg.PERP),
            )
            one = Pairing({item.base: pair}, {})
            judged = rank(one, run.snapshot, terms=run.terms, evidence={item.base: evidence})[0]
            found[item.base] = replace(judged, reasons=(*judged.reasons, *unread))
        return found

    def _note_dropped(
        self, run: _Run, candidates: list[Opportunity], *, second: Mapping[str, Opportunity], eligible: int
    ) -> None:
        """Say so when order books refused a candidate while others, unseen, were left out."""
        dropped = [
            item.base for item in candidates if not item.reasons and second.get(item.base, item).reasons
        ]
        if dropped and not run.query.coins and eligible > len(candidates):
            run.warnings.append(
                Reason(
                    "dropped",
                    f"{', '.join(dropped)} fell out once the order book was read; "
                    f"{eligible - len(candidates)} more were not looked at: raise --top to see them",
                )
            )

    def _clock_warning(self, sent: datetime, received: datetime, *, snapshot: MarketSnapshot) -> list[Reason]:
        """A clock that is off by more than is allowed; the network's share does not count."""
        halves = (snapshot.spot_as_of, snapshot.perp_as_of)
        offset = max((clock_offset(half, sent=sent, received=received) for half in halves), key=abs)
        if abs(offset) <= self._settings.risk.max_clock_offset:
            return []
        word = "ahead of" if offset > timedelta() else "behind"
        by = plain(round(seconds(abs(offset)), 1))
        message = f"this machine's clock is {by} s {word} the venue's; {NTP_REMEDY}"
        return [Reason("clock", message)]


def _chosen(pairing: Pairing, names: tuple[str, ...]) -> tuple[Pairing, tuple[Unpaired, ...]]:
    """The pairs and the refused contracts that names stand for; everything without names; ``ConfigError`` if
    unknown.
    """
    if not names:
        return pairing, tuple(pairing.refused.values())
    pairs: dict[str, Pair] = {}
    strangers: list[Unpaired] = []
    problems: list[Problem] = []
    for name in names:
        key = name.strip().upper()
        pair = pairing.find(key)
        refused = pairing.refusals(key)
        if pair is not None:
            pairs[pair.base] = pair
        elif refused:
            strangers += refused
        else:
            known = [*pairing.pairs, *(item.base for item in pairing.refused.values())]
            close = get_close_matches(key, known, n=1)
            remedy = (
                f"did you mean {close[0]}?"
                if close
                else "name a coin without its multiplier, like BTC or PEPE"
            )
            shown = name.strip() or "''"
            problems.append(Problem("", f"{shown} is not listed at this venue", remedy))
    if problems:
        raise ConfigError(*problems)
    return Pairing(pairs, {}), tuple(strangers)


def _rows(
    query: ScanQuery,
    ranked: tuple[Opportunity, ...],
    *,
    candidates: list[Opportunity],
    strangers: tuple[Opportunity, ...],
) -> tuple[Opportunity, ...]:
    """What is shown: the looked-at eligible ones; with ``--all`` the refused, too; a coin that was named in
    any case.
    """
    looked_at = {item.base for item in candidates}
    shown = [item for item in ranked if not item.reasons and item.base in looked_at]
    if query.refused or query.coins:
        shown += [item for item in ranked if item.reasons] + list(strangers)
    return tuple(shown)


def _too_small(query: ScanQuery, ranked: tuple[Opportunity, ...]) -> tuple[Reason, ...]:
    """Why the notional is refused if no coin at all takes an order that small."""
    small = [[reason for reason in item.reasons if reason.code in _MINIMUMS] for item in ranked]
    if not small or not all(small):
        return ()
    message = (
        f"a notional of {plain(query.notional)} USDT is below the smallest order of every coin asked for"
    )
    return (
        Reason("notional_below_minimum", message + ": ask for more"),
        *(small[0] if len(small) == 1 else ()),
    )


def _apart(snapshot: MarketSnapshot, allowed: timedelta) -> tuple[Reason, ...]:
    """Spot and perp quotes of different moments make a false basis: nothing is worth opening on them."""
    apart = abs(snapshot.spot_as_of - snapshot.perp_as_of)
    if apart <= allowed:
        return ()
    by, most = plain(round(seconds(apart), 1)), plain(seconds(allowed))
    message = f"spot and perp quotes are {by} s apart (allowed: {most} s)"
    return (Reason("quotes_apart", message),)


def _unreadable_warning(snapshot: MarketSnapshot, instruments: Instruments) -> list[Reason]:
    """How many rows could not be trusted, with one example; rows of what is not traded do not matter."""
    bad = {
        symbol: why
        for symbol, why in snapshot.unreadable.items()
        if symbol in instruments.perp or symbol in instruments.spot
    }
    if not bad:
        return []
    symbol, why = next(iter(bad.items()))
    others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return [Reason("unreadable", f"quotes that cannot be trusted were left out: {symbol} ({why}){others}")]
