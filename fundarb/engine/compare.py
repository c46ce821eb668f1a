"""Books against venue: every difference as a value with what was expected, what was found, and what will be
done about it.

Pure over its inputs; ``reconcile`` reads both sides and acts. A missing report is never read as zero: the
inputs must be complete answers of this very cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, OrderReport, parse_link_id
from fundarb.core.records import Identity, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One difference. ``found − expected = difference``; ``base`` is the coin to freeze, empty for none.

    ``halts`` marks the strangers that stop every open: an order with one of our tags and no row, or a second
    instance. ``note_only`` differences are reported but leave the account clean (somebody else's position in
    another symbol). ``subject`` tells incidents of one symbol apart.
    """

    kind: str
    symbol: str
    expected: Decimal
    found: Decimal
    tolerance: Decimal
    action: str
    base: str = ""
    halts: bool = False
    note_only: bool = False
    subject: str = ""

    @property
    def id(self) -> str:
        """Stable over cycles, so that one incident gives one alert."""
        return f"{self.kind}:{self.subject or self.symbol}"

    @property
    def difference(self) -> Decimal:
        """What the venue has more than our books."""
        return self.found - self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueFacts:
    """Complete answers of one cycle. ``recent`` holds the fills with a fundarb link id that no row of ours
    has.

    ``executions`` is how many were looked at.
    """

    positions: tuple[PositionReport, ...]
    wallet: Wallet
    orders: tuple[OrderReport, ...]
    recent: tuple[Execution, ...]
    executions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Our side of the comparison. ``since`` is when this database was made or restored: fills of other
    databases before that are history.
    """

    identity: Identity
    since: datetime
    positions: tuple[PositionRecord, ...]
    intents: tuple[IntentRecord, ...]
    known_links: frozenset[str]
    balances: Mapping[str, Decimal]


def compare(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> tuple[Mismatch, ...]:
    """Every difference, in a fixed order."""
    return (
        *_contracts(books, facts),
        *_coins(books, facts, tolerance=tolerance),
        *_balances(books, facts, tolerance=tolerance),
        *_strangers(books, facts),
        *_unresolved(books),
        *_unfinished(books),
    )


def _contracts(books: Books, facts: VenueFacts) -> Iterable[Mismatch]:
    expected: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    bases = {}
    for position in books.positions:
        expected[position.perp_symbol] -= position.contracts
        bases[position.perp_symbol] = position.base
    found = {report.symbol: report.size for report in facts.positions}
    uncertain = {intent.symbol for intent in books.intents if intent.state is IntentState.UNCERTAIN}
    for symbol, size in sorted(expected.items()):
        held = found.get(symbol, ZERO)
        if held != size and symbol not in uncertain:
            yield Mismatch(
                kind="perp_size",
                symbol=symbol,
                expected=size,
                found=held,
                tolerance=ZERO,
                action="coin frozen; find out who traded, then resolve",
                base=bases[symbol],
            )
    for report in facts.positions:
        if report.symbol not in expected and report.size:
            yield Mismatch(
                kind="foreign_position",
                symbol=report.symbol,
                expected=ZERO,
                found=report.size,
                tolerance=ZERO,
                action="not ours: left alone, nothing is opened in this symbol",
                note_only=True,
            )


def _coins(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> Iterable[Mismatch]:
    """Fewer coins in the wallet than our positions own: sold, spent or taken."""
    owned: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for position in books.positions:
        owned[position.base] += position.spot_owned
    for base, coins in sorted(owned.items()):
        found = facts.wallet.owned(base)
        if found < coins - tolerance:
            yield Mismatch(
                kind="spot_short",
                symbol=base,
                expected=coins,
                found=found,
                tolerance=tolerance,
                action="coin frozen; find out where the coins went, then resolve",
                base=base,
            )


def _balances(books: Books, facts: VenueFacts, *, tolerance: Decimal) -> Iterable[Mismatch]:
    uncertain = any(intent.state is IntentState.UNCERTAIN for intent in books.intents)
    coins = sorted({*books.balances, *facts.wallet.coins})
    for coin in coins:
        expected, found = books.balances.get(coin, ZERO), facts.wallet.owned(coin)
        if abs(found - expected) > tolerance and not uncertain:
            yield Mismatch(
                kind="balance",
                symbol=coin,
                expected=expected,
                found=found,
                tolerance=tolerance,
                action="the venue's log does not explain it yet; looked at again next time",
                base=coin,
            )


def _strangers(books: Books, facts: VenueFacts) -> Iterable[Mismatch]:
    """Orders and fills that are not in our books: of other people, of another fundarb, or our own without a
    row.
    """
    for order in sorted(facts.orders, key=lambda item: (item.symbol, item.order_id)):
        if parse_link_id(order.link_id) is None:
            yield _foreign(books, order)
        elif order.link_id not in books.known_links:
            yield _unknown(books, order.link_id, symbol=order.symbol, quantity=order.quantity)
    open_links = {order.link_id for order in facts.orders}
    filled: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    latest = {row.link_id: row for row in facts.recent if parse_link_id(row.link_id) is not None}
    for row in facts.recent:
        filled[row.link_id] += row.quantity
    for link, row in sorted(latest.items()):
        old = row.time < books.since and not _ours(books, link)
        if link not in books.known_links and link not in open_links and not old:
            yield _unknown(books, link, symbol=row.symbol, quantity=filled[link])


def _ours(books: Books, link: str) -> bool:
    """Whether a link id carries one of our tags."""
    parts = parse_link_id(link)
    return parts is not None and parts.tag in {books.identity.tag, *books.identity.old_tags}


def _unknown(books: Books, link: str, *, symbol: str, quantity: Decimal) -> Mismatch:
    """A fundarb link id that no row of ours has: an orphan of ours, or a second instance at work."""
    ours = _ours(books, link)
    why = f"{link} carries our tag but is in no row" if ours else f"{link} was sent by another fundarb"
    return Mismatch(
        kind="orphan_order" if ours else "second_instance",
        symbol=symbol,
        expected=ZERO,
        found=quantity,
        tolerance=ZERO,
        action=f"halted: {why}",
        halts=True,
        subject=link,
    )


def _foreign(books: Books, order: OrderReport) -> Mismatch:
    held = {name: item.base for item in books.positions for name in (item.spot_symbol, item.perp_symbol)}
    base = held.get(order.symbol, "")
    return Mismatch(
        kind="foreign_order",
        symbol=order.symbol,
        expected=ZERO,
        found=order.quantity,
        tolerance=ZERO,
        action="coin frozen; not ours: left alone" if base else "not ours: left alone",
        base=base,
        note_only=not base,
        subject=order.order_id,
    )


def _unresolved(books: Books) -> Iterable[Mismatch]:
    bases = {position.position_id: position.base for position in books.positions}
    for intent in books.intents:
        if intent.state is IntentState.UNCERTAIN:
            yield Mismatch(
                kind="uncertain_order",
                symbol=intent.link_id,
                expected=ZERO,
                found=intent.quantity,
                tolerance=ZERO,
                action="looked up again; nothing new is sent for this coin",
                base=bases.get(intent.position_id, ""),
            )


def _unfinished(books: Books) -> Iterable[Mismatch]:
    """Positions whose legs do not match, or whose book could not be judged (a market that is not listed)."""
    for position in books.positions:
        exposed = position.state is PositionState.EXPOSED
        if not exposed and position.state not in _UNJUDGED:
            continue
        yield Mismatch(
            kind="unhedged" if exposed else "unsettled",
            symbol=position.base,
            expected=position.contracts * position.multiplier,
            found=position.spot_owned,
            tolerance=ZERO,
            action="hedged or unwound"
            if exposed
            else f"{position.state}: no prices to judge it by; tried again",
            base=position.base,
            subject=position.position_id,
        )


_UNJUDGED = frozenset({PositionState.OPENING, PositionState.CHANGING, PositionState.REPAIRING})
"""States in which nobody leaves a position of whose orders all is known."""
