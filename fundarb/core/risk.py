"""The rule books: what forbids an open, what an order may be at the wire, and when trading stops for a while.

Each rule book answers ``Approved`` or ``Refused`` with *all* reasons. Entry rules never apply to orders that
hedge or reduce: those are bound only by what corrects the book and by the rung of the price ladder. Nothing
here reads a clock, a venue or a database: every fact is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.account import Wallet
from fundarb.core.instants import iso
from fundarb.core.market import MarketSnapshot, Pair, PerpQuote, SpotQuote
from fundarb.core.money import ONE, ZERO, parse_ratio, plain, seconds
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Verdict, verdict
from fundarb.core.records import GLOBAL_SCOPE, Block
from fundarb.core.settling import settlement_warning

CASH = "USDT"
DEPEGGED = "usdt_depegged"
UNWINDS_REMEMBERED = timedelta(days=1)
"""An unwind makes later cool-downs longer for so long."""
USDT_BAND = parse_ratio("2%")
"""How far USDT may be from a dollar, as a fraction, before nothing is opened."""
_BASE_FEE = parse_ratio("2%")
"""More than any fee tier takes of a spot buy."""
_REFERENCE_COINS = ("BTCUSDT", "ETHUSDT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """The limits of ``fundarb.toml`` [risk], [execution] and [account] that rules compare with, in the core's
    units.

    Amounts are quote value of one leg; ratios are fractions; equality is allowed everywhere.
    """

    max_gross: Decimal = Decimal(5000)
    max_per_coin: Decimal = Decimal(1000)
    max_positions: int = 5
    max_quote_age: timedelta = timedelta(seconds=5)
    max_clock_offset: timedelta = timedelta(milliseconds=500)
    max_loss_per_day: Decimal = parse_ratio("2%")
    max_fees_per_day: Decimal = parse_ratio("0.5%")
    max_clip: Decimal = Decimal(500)
    price_cap: Decimal = parse_ratio("20bp")
    collar: Decimal = parse_ratio("3%")
    orders_per_minute: int = 30
    max_open_intents: int = 4
    unwinds_per_hour: int = 3
    cool_down: timedelta = timedelta(minutes=15)
    t_hedge: timedelta = timedelta(seconds=5)
    leverage: Decimal = Decimal(2)
    usdt_buffer: Decimal = parse_ratio("20%")


# ------------------------------------------------------------------------------------------------- opening


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFacts:
    """What is known when somebody wants to open.

    ``notional`` is the quote value of one leg to be added; ``held`` the notional of every active position by
    base coin. ``quote_age`` is how long ago the snapshot was received, ``quotes_apart`` the distance of its
    spot and perp halves, ``clock_offset`` ours to the venue's clock, ``now`` the venue's time. ``spot_fee``
    is the taker fee. ``net_apr`` and ``min_net_apr`` are compared if both are known; a miss refuses only when
    ``automatic`` (a person's open is a person's decision).
    """

    pair: Pair
    notional: Decimal
    held: Mapping[str, Decimal]
    blocks: tuple[Block, ...]
    now: datetime
    quote_age: timedelta
    quotes_apart: timedelta
    clock_offset: timedelta
    spot: SpotQuote
    perp: PerpQuote
    wallet: Wallet
    spot_fee: Decimal = Decimal("0.001")
    usdt_price: Decimal | None = None
    net_apr: Decimal | None = None
    min_net_apr: Decimal | None = None
    automatic: bool = False


def check_open(facts: OpenFacts, limits: RiskLimits) -> Verdict:
    """Every rule of an open at once: blocks, limits, freshness, quotes, balances, yield."""
    warnings: list[Reason] = []
    reasons = [
        *blocks(facts.blocks, facts.pair.base, now=facts.now),
        *_size_reasons(facts, limits),
        *_freshness_reasons(facts, limits),
        *_quote_reasons(facts, limits),
        *balance_reasons(facts, limits),
    ]
    if facts.net_apr is not None and facts.min_net_apr is not None and facts.net_apr < facts.min_net_apr:
        text = f"net APR {_percent(facts.net_apr)} is below the minimum of {_percent(facts.min_net_apr)}"
        (reasons if facts.automatic else warnings).append(Reason("net_apr_below_minimum", text))
    if facts.perp.funding is not None:
        warnings += settlement_warning(facts.now, facts.perp.funding, t_hedge=limits.t_hedge)
    if facts.pair.perp.max_leverage < limits.leverage:
        text = f"{facts.pair.perp.symbol} allows a leverage of {plain(facts.pair.perp.max_leverage)} only"
        warnings.append(Reason("leverage_reduced", text))
    return verdict(reasons, warnings)


def blocks(active: Iterable[Block], base: str, *, now: datetime) -> tuple[Reason, ...]:
    """The blocks that forbid opening ``base``: the global ones and its own, as reasons ``block_<kind>``."""
    return tuple(
        Reason(f"block_{block.kind}", f"{block.kind} {_span(block)}: {block.reason}")
        for block in active
        if block.scope in {GLOBAL_SCOPE, base} and block.active(now)
    )


def _span(block: Block) -> str:
    """Since when a block holds, and until when, or what ends it."""
    since = f"since {iso(block.since)}"
    if block.until is not None:
        return f"{since}, until {iso(block.until)}"
    return f"{since}, until `fundarb resume`" if block.needs_person else f"{since}, until its cause is gone"


def _size_reasons(facts: OpenFacts, limits: RiskLimits) -> Iterator[Reason]:
    """Notional caps (one leg at the decision price) and the number of positions."""
    base, notional = facts.pair.base, facts.notional
    if notional <= ZERO:
        yield Reason("bad_notional", f"a notional must be positive, not {plain(notional)}")
    coin = facts.held.get(base, ZERO) + notional
    if coin > limits.max_per_coin:
        text = f"{plain(coin)} in {base} would be above max_per_coin {plain(limits.max_per_coin)}"
        yield Reason("max_per_coin", text)
    gross = sum(facts.held.values(), ZERO) + notional
    if gross > limits.max_gross:
        text = f"{plain(gross)} in all would be above max_gross {plain(limits.max_gross)}"
        yield Reason("max_gross", text)
    if base not in facts.held and len(facts.held) >= limits.max_positions:
        yield Reason("max_positions", f"{len(facts.held)} positions are open, max_positions allows no more")


def _freshness_reasons(facts: OpenFacts, limits: RiskLimits) -> Iterator[Reason]:
    """Quotes and clock: nothing is decided from the past, nor from two moments at once."""
    limit = limits.max_quote_age
    if facts.quote_age > limit:
        yield Reason(
            "stale_quotes", f"the quotes are {_secs(facts.quote_age)} old, {_secs(limit)} are allowed"
        )
    if abs(facts.quotes_apart) > limit / 2:
        text = (
            f"spot and perp quotes are {_secs(abs(facts.quotes_apart))} apart, {_secs(limit / 2)} are allowed"
        )
        yield Reason("quotes_apart", text)
    if abs(facts.clock_offset) > limits.max_clock_offset:
        yield Reason("clock_offset", f"our clock is {_secs(facts.clock_offset)} off the venue's")


def _quote_reasons(facts: OpenFacts, limits: RiskLimits) -> Iterator[Reason]:
    """Prices from which nothing may be decided."""
    spot, perp = facts.spot, facts.perp
    prices = (spot.bid, spot.ask, perp.bid, perp.ask, perp.mark)
    if min(prices) <= ZERO:
        yield Reason("bad_price", f"a price of {facts.pair.base} is not positive")
        return
    for name, quote in (("spot", spot), ("perp", perp)):
        if quote.bid >= quote.ask:
            yield Reason("crossed_quote", f"the {name} market of {facts.pair.base} is crossed")
    distance = perp.mark / (facts.pair.multiplier * spot.mid) - ONE
    if abs(distance) > limits.collar:
        text = f"perp mark and spot are {_percent(distance)} apart, the collar is {_percent(limits.collar)}"
        yield Reason("basis_implausible", text)
    if perp.funding is None:
        yield Reason("no_funding", f"{perp.symbol} shows no funding period")
    elif perp.funding.next_time <= facts.now:
        yield Reason("next_funding_past", f"the next settlement of {perp.symbol} is in the past")
    if facts.usdt_price is not None and abs(facts.usdt_price - ONE) > USDT_BAND:
        yield Reason(DEPEGGED, f"USDT stands at {facts.usdt_price:.4f} dollars")


def balance_reasons(facts: OpenFacts, limits: RiskLimits) -> Iterator[Reason]:
    """Whether the cash covers the spot leg, and what is left then the margin and buffer of all shorts.

    Cash is USDT owned, less what is tied in orders and less the unrealised loss of the shorts. The venue's
    own available balance, where it says one, must cover the new margin too.
    """
    usdt = facts.wallet.coins.get(CASH)
    cash = usdt.owned - usdt.locked + min(usdt.unrealised_pnl, ZERO) if usdt is not None else ZERO
    leverage = min(limits.leverage, facts.pair.perp.max_leverage)
    spot_cost = facts.notional * (ONE + limits.price_cap) * (ONE + facts.spot_fee)
    margin = facts.notional / leverage
    reserve = sum(facts.held.values(), ZERO) * (ONE / limits.leverage + limits.usdt_buffer)
    needed = margin + facts.notional * limits.usdt_buffer + reserve
    if usdt is not None and usdt.borrowed > ZERO:
        yield Reason("usdt_borrowed", f"the account borrows {plain(usdt.borrowed)} {CASH}")
    if cash < spot_cost:
        text = f"the spot leg needs {spot_cost:.2f} {CASH}, free are {cash:.2f}"
        yield Reason("insufficient_spot_balance", text)
    if cash - spot_cost < needed:
        text = (
            f"after the spot leg {cash - spot_cost:.2f} {CASH} are left, "
            f"margin and buffer of all shorts need {needed:.2f}"
        )
        yield Reason("insufficient_margin", text)
    elif facts.wallet.available is not None and facts.wallet.available < margin:
        text = f"the venue shows {facts.wallet.available:.2f} available, the short needs {margin:.2f}"
        yield Reason("insufficient_margin", text)


def usdt_price(snapshot: MarketSnapshot, wallet: Wallet | None = None) -> Decimal | None:
    """Dollars per USDT: as the account values its own USDT, else by a major coin's dollar index against its
    USDT price.

    None where neither is shown.
    """
    usdt = wallet.coins.get(CASH) if wallet is not None else None
    if usdt is not None and usdt.usd_value is not None and usdt.equity >= ONE:
        return usdt.usd_value / usdt.equity
    for symbol in _REFERENCE_COINS:
        quote = snapshot.spot.get(symbol)
        if quote is not None and quote.usd_index is not None and quote.mid > ZERO:
            return quote.usd_index / quote.mid
    return None


# ------------------------------------------------------------------------------------------------- the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOrder:
    """An order as it would leave: quantity in base units of its leg, ``limit_price`` the worst price
    accepted.
    """

    leg: Leg
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reduce_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is under way besides this order. Only orders that add exposure count in ``entries_last_minute``;
    ``gross`` is the notional of all active positions, this one's goal included.
    """

    entries_last_minute: int
    open_intents: int
    gross: Decimal


def check_entry_order(
    order: WireOrder, traffic: Traffic, *, reference: Decimal | None, limits: RiskLimits
) -> Verdict:
    """The hard caps for orders that add exposure, whatever the strategy asked.

    ``reference``: the mark of a perp, the mid of a spot pair; an order without one does not leave.
    """
    reasons: list[Reason] = []
    value, cap = order.quantity * order.limit_price, limits.max_clip * (ONE + limits.collar)
    if order.quantity <= ZERO or value > cap:
        reasons.append(
            Reason("order_too_large", f"an order of {plain(value)} is outside the cap of {plain(cap)}")
        )
    if traffic.entries_last_minute >= limits.orders_per_minute:
        text = f"{traffic.entries_last_minute} orders added exposure in the last minute"
        reasons.append(Reason("too_many_orders", text))
    if traffic.open_intents >= limits.max_open_intents:
        reasons.append(Reason("too_many_open", f"{traffic.open_intents} orders are not settled yet"))
    if traffic.gross > limits.max_gross:
        text = f"gross notional {plain(traffic.gross)} is above max_gross {plain(limits.max_gross)}"
        reasons.append(Reason("max_gross", text))
    reasons += _price_reasons(order, reference, limit=limits.collar, code="outside_collar")
    return verdict(reasons)


def check_correction(
    order: WireOrder,
    book: Book,
    *,
    multiplier: Decimal,
    lot: Decimal,
    reference: Decimal | None = None,
    rung: Decimal | None = None,
) -> Verdict:
    """What a hedge or a reduction may be: no more than corrects or empties the book, at a price within its
    rung.

    A reduction never exceeds what its leg holds, a buy-back is reduce-only. A hedge may overshoot by one
    ``lot`` at most and must leave less delta than before, so that a new exposure never passes as a hedge.
    ``rung`` is a fraction from ``reference``; without one (the last rung) the venue's own band is the bound.
    """
    reasons: list[Reason] = []
    if order.quantity <= ZERO:
        reasons.append(Reason("bad_quantity", f"a quantity must be positive, not {plain(order.quantity)}"))
    delta = book.delta(multiplier)
    missing = max(-delta if order.leg is Leg.SPOT else delta, ZERO)
    if order.leg is Leg.PERP and order.side is Side.BUY:
        if not order.reduce_only:
            reasons.append(Reason("not_reduce_only", "a short is only ever bought back reduce-only"))
        if order.quantity > book.contracts:
            reasons.append(Reason("closes_too_much", f"only {plain(book.contracts)} contracts are short"))
    elif order.leg is Leg.SPOT and order.side is Side.SELL:
        if order.quantity > book.spot_owned:
            reasons.append(Reason("sells_too_much", f"only {plain(book.spot_owned)} coins are ours"))
    elif _coins(order, multiplier) > missing + min(lot, missing):
        reasons.append(Reason("over_hedges", f"{plain(missing)} coins are unhedged on this side"))
    if rung is not None:
        reasons += _price_reasons(order, reference, limit=rung, code="outside_rung")
    return verdict(reasons)


def _coins(order: WireOrder, multiplier: Decimal) -> Decimal:
    """The coins that a hedging order surely brings: a spot buy is grossed up by the fee taken in the coin."""
    return order.quantity * (multiplier if order.leg is Leg.PERP else ONE - _BASE_FEE)


def _price_reasons(
    order: WireOrder, reference: Decimal | None, *, limit: Decimal, code: str
) -> Iterator[Reason]:
    """Whether the limit price is positive and within ``limit`` of the reference, either way."""
    if reference is None or reference <= ZERO:
        yield Reason("no_reference_price", "there is no price to hold the limit price against")
    elif order.limit_price <= ZERO or abs(order.limit_price - reference) > limit * reference:
        text = f"limit {plain(order.limit_price)} is more than {_percent(limit)} from {plain(reference)}"
        yield Reason(code, text)


# -------------------------------------------------------------------------------------- stopping for a while


def day_breaker(
    *, equity_start: Decimal, profit: Decimal, fees: Decimal, limits: RiskLimits
) -> tuple[Reason, ...]:
    """Why today is over for opens: loss or fees above their share of the equity at the start of the day.

    ``profit`` excludes deposits and withdrawals; ``fees`` + = expense.
    """
    reasons = []
    if -profit > limits.max_loss_per_day * equity_start:
        share = _percent(limits.max_loss_per_day)
        text = f"a loss of {-profit:.2f} today is above {share} of {equity_start:.2f}"
        reasons.append(Reason("max_loss_per_day", text))
    if fees > limits.max_fees_per_day * equity_start:
        text = f"fees of {fees:.2f} today are above {_percent(limits.max_fees_per_day)} of {equity_start:.2f}"
        reasons.append(Reason("max_fees_per_day", text))
    return tuple(reasons)


def cool_down(unwinds: int, limits: RiskLimits) -> timedelta:
    """How long a coin rests after its ``unwinds``-th unwind (counted from 1): doubled each time, at most a
    week.
    """
    doublings = min(max(unwinds - 1, 0), 20)
    return min(limits.cool_down * (1 << doublings), timedelta(days=7))


def freezes(unwinds_in_hour: int, limits: RiskLimits) -> bool:
    """Whether so many unwinds within an hour freeze the coin until a person has looked."""
    return unwinds_in_hour >= limits.unwinds_per_hour


def _percent(fraction: Decimal) -> str:
    return f"{fraction * 100:.2f} %"


def _secs(duration: timedelta) -> str:
    return f"{seconds(duration):.1f} s"
