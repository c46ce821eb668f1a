"""Which spot pair belongs to which perpetual: names propose, the price ratio decides, and every refusal says
why.

The multiplier of a contract stands only in its name, as a prefix (``1000PEPE``) or a suffix (``SHIB1000``). A
candidate counts only if the perp's mark is within 5 % of multiplier × spot price, so that a same-ticker
different asset is refused. The multiplier is judged here and never again for a held position.
Only USDT against USDT is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from fundarb.core.instants import iso
from fundarb.core.market import Instruments, MarketSnapshot, Pair, PerpInstrument, SpotInstrument
from fundarb.core.money import ONE, ZERO, plain
from fundarb.core.reasons import Reason

QUOTE = "USDT"
RATIO_TOLERANCE = Decimal("0.05")
"""How far the price ratio may be from the multiplier, as a fraction; equality passes."""
_LEAST_ZEROS = 3
_CRYPTO_TYPES = frozenset({"", "innovation", "adventure"})
_NO_REASONS: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaired:
    """A linear contract that cannot be traded as a pair: what is known of it, and *all* reasons.

    ``base`` is the best guess of the coin. ``spot`` and ``multiplier`` are what the name proposes, None where
    no spot pair fits the name; ``ratio`` is perp mark ÷ spot mid where both prices are known.
    """

    perp: PerpInstrument
    base: str
    reasons: tuple[Reason, ...]
    spot: SpotInstrument | None = None
    multiplier: Decimal | None = None
    ratio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Pairing:
    """The result for a whole market: pairs by base coin, refused contracts by perp symbol."""

    pairs: Mapping[str, Pair]
    refused: Mapping[str, Unpaired]
    _bases: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Pair | None:
        """The pair of a base coin (``PEPE``), a perp's base (``1000PEPE``) or a symbol (``1000PEPEUSDT``);
        None if not paired.
        """
        return self.pairs.get(name) or self.pairs.get(self._bases.get(name, ""))

    def refusals(self, name: str) -> tuple[Unpaired, ...]:
        """Every refused contract of a coin or symbol, to explain why it does not pair; empty for an unknown
        name.
        """
        return tuple(
            item for symbol, item in self.refused.items() if name in {symbol, item.base, item.perp.base_coin}
        )


def readings(name: str) -> Iterator[tuple[str, Decimal]]:
    """Every (coin, multiplier) that a perp's base name may mean, the name as it stands first.

    Multipliers are powers of ten from 1000 up, before or behind the coin. ``1INCH``, ``1CAT``, ``C98``,
    ``API3`` have none. A coin that itself begins with a zero makes the split ambiguous: all splits are given,
    prices decide.
    """
    yield name, ONE
    if name.startswith("1"):
        rest = name[1:].lstrip("0")
        most = len(name) - len(rest) - 1
        for zeros in range(most, _LEAST_ZEROS - 1, -1):
            coin = name[1 + zeros :]
            if coin.strip("0123456789"):
                yield coin, Decimal(10**zeros)
    if name.endswith("0"):
        stem = name.rstrip("0")
        zeros = len(name) - len(stem)
        coin = stem[:-1]
        if zeros >= _LEAST_ZEROS and stem.endswith("1") and coin.strip("0123456789"):
            yield coin, Decimal(10**zeros)


def pair_market(instruments: Instruments, snapshot: MarketSnapshot | None = None) -> Pairing:
    """Pair every linear contract with its spot market, or refuse it with all reasons.

    Without a snapshot names alone decide (for offline use); with one, a contract whose price cannot be
    compared is refused.
    """
    spots = {item.base_coin: item for item in instruments.spot.values() if item.quote_coin == QUOTE}
    pairs: dict[str, Pair] = {}
    refused: dict[str, Unpaired] = {}
    bases: dict[str, str] = {}
    for symbol, perp in instruments.perp.items():
        found = _judge(perp, spots, snapshot=snapshot)
        if isinstance(found, Unpaired):
            refused[symbol] = found
            continue
        other = pairs.get(found.base)
        if other is not None:
            found, loser = _prefer((found, other), snapshot)
            refused[loser.perp.symbol] = _outdone(loser, found)
        pairs[found.base] = found
    for base, pair in pairs.items():
        for name in (pair.perp.symbol, pair.perp.base_coin, pair.spot.symbol):
            bases.setdefault(name, base)
    return Pairing(pairs, refused, bases)


def _judge(
    perp: PerpInstrument, spots: Mapping[str, SpotInstrument], *, snapshot: MarketSnapshot | None
) -> Pair | Unpaired:
    """The pair that a contract makes, or why it makes none."""
    reasons = list(_contract_reasons(perp, snapshot))
    base, spot, multiplier, ratio = perp.base_coin, None, None, None
    doubts: tuple[Reason, ...] = _NO_REASONS
    for coin, factor in readings(perp.base_coin):
        candidate = spots.get(coin)
        if candidate is None:
            if spot is None and base == perp.base_coin:  # the first multiplier read is the whole run of zeros
                base = coin
            continue
        seen, wrong = _compare(perp, candidate, multiplier=factor, snapshot=snapshot)
        if spot is None or not wrong:
            base, spot, multiplier, ratio, doubts = coin, candidate, factor, seen, wrong
        if not wrong:
            break
    if spot is None or multiplier is None:
        reasons.append(Reason("no_spot", f"no spot pair {base}/{QUOTE} for {perp.symbol}"))
    else:
        reasons.extend(_spot_reasons(spot))
        reasons.extend(doubts)
        if not reasons:
            return Pair(base=base, spot=spot, perp=perp, multiplier=multiplier)
    return Unpaired(
        perp=perp, base=base, reasons=tuple(reasons), spot=spot, multiplier=multiplier, ratio=ratio
    )


def _contract_reasons(perp: PerpInstrument, snapshot: MarketSnapshot | None) -> Iterator[Reason]:
    """What speaks against the contract itself."""
    if not perp.perpetual:
        yield Reason("not_perpetual", f"{perp.symbol} is a {perp.contract_type or 'contract'} with an expiry")
    if perp.settle_coin == "USDC":
        yield Reason("usdc_settled", f"{perp.symbol} settles in USDC; only USDT contracts are traded")
    elif perp.settle_coin != QUOTE or perp.quote_coin != QUOTE:
        yield Reason(
            "not_usdt",
            f"{perp.symbol} is quoted in {perp.quote_coin} and settles in {perp.settle_coin}, not {QUOTE}",
        )
    if perp.symbol_type not in _CRYPTO_TYPES:
        yield _type_reason(perp.symbol, perp.symbol_type, known=("stock", "commodity", "forex"))
    if perp.pre_listing or perp.status == "PreLaunch":
        yield Reason("pre_launch", f"{perp.symbol} is in pre-market trading")
    elif not perp.trading:
        yield Reason("not_trading", f"{perp.symbol} has status {perp.status}")
    delivery = perp.delivery_time
    if delivery is None and snapshot is not None:
        quote = snapshot.perp.get(perp.symbol)
        delivery = quote.delivery_time if quote is not None else None
    if perp.perpetual and delivery is not None:
        yield Reason("delisting", f"{perp.symbol} is delisted at {iso(delivery)}")


def _spot_reasons(spot: SpotInstrument) -> Iterator[Reason]:
    """What speaks against the spot pair."""
    if spot.symbol_type not in _CRYPTO_TYPES:
        yield _type_reason(f"spot {spot.symbol}", spot.symbol_type, known=("xstocks",))
    if spot.special_treatment:
        yield Reason("special_treatment", f"spot {spot.symbol} carries the venue's special-treatment warning")
    if not spot.trading:
        yield Reason("spot_not_trading", f"spot {spot.symbol} has status {spot.status}")


def _type_reason(symbol: str, kind: str, *, known: tuple[str, ...]) -> Reason:
    """A kind of asset that is not a coin, or one that nobody here has heard of."""
    if kind in known:
        return Reason(kind, f"{symbol} is of type {kind}, not a coin")
    return Reason("unknown_type", f"{symbol} is of a type unknown to this version: {kind}")


def _compare(
    perp: PerpInstrument, spot: SpotInstrument, *, multiplier: Decimal, snapshot: MarketSnapshot | None
) -> tuple[Decimal | None, tuple[Reason, ...]]:
    """Perp mark ÷ spot mid and what is wrong with it; a dated future has a basis of its own and is not
    compared.
    """
    if snapshot is None:
        return None, _NO_REASONS
    perp_quote, spot_quote = snapshot.perp.get(perp.symbol), snapshot.spot.get(spot.symbol)
    if perp_quote is None or spot_quote is None:
        missing = [
            _no_quote(symbol, snapshot)
            for symbol, quote in ((perp.symbol, perp_quote), (spot.symbol, spot_quote))
            if quote is None
        ]
        return None, tuple(dict.fromkeys(missing))
    mid = spot_quote.mid
    if mid <= ZERO:
        return None, (Reason("unreadable_quote", f"spot {spot.symbol} has no positive price"),)
    ratio = perp_quote.mark / mid
    if not perp.perpetual or abs(ratio - multiplier) <= RATIO_TOLERANCE * multiplier:
        return ratio, _NO_REASONS
    return ratio, (
        Reason(
            "look_alike",
            f"{perp.symbol} at {plain(perp_quote.mark)} is {ratio:.6g} times spot {spot.symbol} at "
            f"{plain(mid)}, not {plain(multiplier)} times within 5 %: another asset under the same name",
        ),
    )


def _no_quote(symbol: str, snapshot: MarketSnapshot) -> Reason:
    """Why there is no price: the row could not be trusted, or there was none."""
    why = snapshot.unreadable.get(symbol)
    if why is not None:
        return Reason("unreadable_quote", f"the quote of {symbol} cannot be trusted: {why}")
    return Reason("no_quote", f"the venue shows no quote for {symbol}")


def _prefer(rivals: tuple[Pair, Pair], snapshot: MarketSnapshot | None) -> tuple[Pair, Pair]:
    """Of two contracts on one coin the one with more open interest, else the smaller multiplier, then the
    name.
    """

    def rank(pair: Pair) -> tuple[Decimal, Decimal, str]:
        quote = snapshot.perp.get(pair.perp.symbol) if snapshot is not None else None
        interest = quote.open_interest_notional if quote is not None else ZERO
        return (-interest, pair.multiplier, pair.perp.symbol)

    winner, loser = sorted(rivals, key=rank)
    return winner, loser


def _outdone(loser: Pair, winner: Pair) -> Unpaired:
    """The refusal of a second contract on the same coin."""
    message = f"{loser.base} is traded through {winner.perp.symbol}, which has more open interest"
    return Unpaired(
        perp=loser.perp,
        base=loser.base,
        reasons=(Reason("second_contract", message),),
        spot=loser.spot,
        multiplier=loser.multiplier,
    )
