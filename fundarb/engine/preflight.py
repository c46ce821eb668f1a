"""Everything that is looked at before a position is opened; it reads, ``core.risk`` decides.

``open`` is a person's decision: limits, minimums, pairing and blocks apply, yield gates only warn. A job's
open is ``automatic``: the yield gate refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core import freshness
from fundarb.core.account import PositionReport, Wallet
from fundarb.core.market import Book, MarketSnapshot, Pair
from fundarb.core.money import ONE, ZERO, plain
from fundarb.core.opportunity import Evidence, Terms, assess
from fundarb.core.reasons import Reason, Refused, Verdict, verdict
from fundarb.core.records import BlockKind
from fundarb.core.risk import CASH, DEPEGGED, OpenFacts, check_open, usdt_price
from fundarb.engine.alerts import alert_once, block_for
from fundarb.engine.desk import Desk
from fundarb.engine.fees import FeeBook, PairFees
from fundarb.engine.outlook import Entry, Outlook, outlook
from fundarb.engine.set_aside import for_a_person


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """What a decision to open expects: net APR on capital and the least that is wanted, both fractions."""

    net_apr: Decimal
    min_net_apr: Decimal
    automatic: bool = False


class Preflight:
    """Gathers the facts for the rules of an open."""

    def __init__(self, desk: Desk, fees: FeeBook) -> None:
        """Look through one desk."""
        self._desk = desk
        self._fees = fees

    def fees(self, pair: Pair) -> PairFees:
        """The account's fees for a pair."""
        return self._fees.of(pair)

    def check(
        self, pair: Pair, notional: Decimal, *, snapshot: MarketSnapshot, expected: Yield | None = None
    ) -> tuple[Verdict, Outlook | None]:
        """Every rule at once, and how the margin would stand (None for an order that can be none);
        ``Unavailable`` if the account or the books cannot be read. Without an ``expected`` yield the one of
        now is reckoned, of which a person is told.
        """
        desk = self._desk
        server = desk.exchange.server_time()
        offset, wallet = desk.exchange.clock_offset, desk.exchange.wallet()
        books = desk.market.any_books(pair)
        expected = expected or self._yield(pair, notional, snapshot=snapshot, books=books)
        automatic = expected is not None and expected.automatic
        active = desk.store.blocks.active(desk.clock.now())
        facts = OpenFacts(
            pair=pair,
            notional=notional,
            held={item.base: item.notional for item in desk.store.positions.active()},
            blocks=active if automatic else for_a_person(active, pair.base),
            now=server,
            quote_age=max(desk.market.age(), server - snapshot.as_of),
            quotes_apart=snapshot.spot_as_of - snapshot.perp_as_of,
            clock_offset=offset if offset is not None else desk.clock.now() - server,
            spot=snapshot.spot[pair.spot.symbol],
            perp=snapshot.perp[pair.perp.symbol],
            wallet=wallet,
            spot_fee=self._fees.of(pair).spot.taker,
            usdt_price=usdt_price(snapshot, wallet),
            net_apr=None if expected is None else expected.net_apr,
            min_net_apr=None if expected is None else expected.min_net_apr,
            automatic=automatic,
        )
        found = check_open(facts, desk.rules.limits)
        reports = desk.exchange.positions()
        ahead = self._outlook(facts, {item.symbol: item for item in reports})
        more = [*self._foreign(pair, reports), *self._unusable(pair, snapshot, books=books, now=server)]
        more += _owed(pair, wallet)
        more += () if ahead is None else ahead.against()
        reasons = found.reasons if isinstance(found, Refused) else ()
        warnings = (*found.warnings, *(() if ahead is None else ahead.warnings()))
        return verdict([*reasons, *(item for item in more if item not in reasons)], warnings), ahead

    def _yield(
        self, pair: Pair, notional: Decimal, *, snapshot: MarketSnapshot, books: tuple[Book, Book]
    ) -> Yield | None:
        """What `fundarb scan` would say of this coin at this size; None where it cannot be reckoned."""
        rules, fees = self._desk.rules, self._fees.of(pair)
        if notional <= ZERO:
            return None
        terms = Terms(
            now=max(snapshot.spot_as_of, snapshot.perp_as_of),
            notional=notional,
            horizon=rules.horizon,
            leverage=rules.limits.leverage,
            buffer=rules.limits.usdt_buffer,
            min_net_apr=rules.min_net_apr,
            price_cap=rules.limits.price_cap,
        )
        spot, perp = (None if book.crossed else book for book in books)
        evidence = Evidence(spot_book=spot, perp_book=perp, spot_fees=fees.spot, perp_fees=fees.perp)
        found = assess(pair, snapshot, terms=terms, evidence=evidence).result
        return None if found is None else Yield(net_apr=found.net_apr, min_net_apr=rules.min_net_apr)

    def _outlook(self, facts: OpenFacts, reports: Mapping[str, PositionReport]) -> Outlook | None:
        """The account's margin with the entry in it, at the prices of the quotes."""
        pair, notional = facts.pair, facts.notional
        if notional <= ZERO or min(facts.perp.bid, facts.spot.ask) <= ZERO:
            return None
        contracts = notional / facts.perp.bid
        entry = Entry(
            pair=pair,
            contracts=contracts,
            price=facts.perp.bid,
            coins=contracts * pair.multiplier,
            cost=contracts * pair.multiplier * facts.spot.ask * (ONE + facts.spot_fee),
        )
        return outlook(entry, facts.wallet, held=self._desk.store.positions.active(), reports=reports)

    def note(self, base: str, refusal: Refused) -> None:
        """What a refused open leaves behind: quotes that stand still forbid opens in the coin for a while,
        and a dollar coin off its dollar is told to a person.
        """
        store = self._desk.store
        found = {reason.code: reason.message for reason in refusal.reasons}
        still = found.get("frozen_quotes") or found.get("stale_quotes")
        if still is not None:
            block_for(store, base, kind=BlockKind.STALE_DATA, reason=still, lasts=freshness.FROZEN_AFTER)
        if DEPEGGED in found:
            alert_once(store, DEPEGGED, subject=CASH, message=found[DEPEGGED])

    def _unusable(
        self, pair: Pair, snapshot: MarketSnapshot, *, books: tuple[Book, Book], now: datetime
    ) -> tuple[Reason, ...]:
        """Books from which nothing may be decided: crossed, standing still, or of another moment than each
        other or than the quotes.
        """
        unusable = freshness.crossed(*books)
        if unusable:
            return unusable
        quotes = snapshot.spot[pair.spot.symbol], snapshot.perp[pair.perp.symbol]
        collar = self._desk.rules.limits.collar
        return (
            *freshness.frozen(*books, now=now),
            *freshness.implausible(*books, multiplier=pair.multiplier, collar=collar),
            *freshness.of_two_moments(books, quotes),
        )

    def _foreign(self, pair: Pair, reports: tuple[PositionReport, ...]) -> list[Reason]:
        """Somebody else's position in the same perp: its funding could not be told from ours."""
        held = self._desk.store.positions.active_for(pair.base)
        ours = held.contracts if held is not None else ZERO
        size = sum((item.size for item in reports if item.symbol == pair.perp.symbol), ZERO)
        if size == -ours:
            return []
        text = f"the account holds {size} {pair.perp.symbol}, of which {-ours} is ours"
        return [Reason("foreign_position", text)]


def _owed(pair: Pair, wallet: Wallet) -> list[Reason]:
    """Coins that the account owes: what is bought would pay them back, and hedge nothing."""
    owned = wallet.owned(pair.base)
    if owned >= ZERO:
        return []
    return [
        Reason("coins_owed", f"the account owes {plain(-owned)} {pair.base}: what is bought would pay it")
    ]
