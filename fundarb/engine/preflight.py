"""Everything that is looked at before a position is opened; it reads, ``core.risk`` decides.

``open`` is a person's decision: limits, minimums, pairing and blocks apply, yield gates only warn. A job's
open is ``automatic``: the yield gate refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.market import MarketSnapshot, Pair
from fundarb.core.money import ZERO
from fundarb.core.reasons import Reason, Refused, Verdict, verdict
from fundarb.core.risk import OpenFacts, check_open, usdt_price
from fundarb.engine.desk import Desk
from fundarb.engine.fees import FeeBook, PairFees


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
    ) -> Verdict:
        """Every rule at once; ``Unavailable`` if the account cannot be read."""
        desk = self._desk
        server = desk.exchange.server_time()
        offset, wallet = desk.exchange.clock_offset, desk.exchange.wallet()
        facts = OpenFacts(
            pair=pair,
            notional=notional,
            held={item.base: item.notional for item in desk.store.positions.active()},
            blocks=desk.store.blocks.active(desk.clock.now()),
            now=server,
            quote_age=desk.market.age(),
            quotes_apart=snapshot.spot_as_of - snapshot.perp_as_of,
            clock_offset=offset if offset is not None else desk.clock.now() - server,
            spot=snapshot.spot[pair.spot.symbol],
            perp=snapshot.perp[pair.perp.symbol],
            wallet=wallet,
            spot_fee=self._fees.of(pair).spot.taker,
            usdt_price=usdt_price(snapshot, wallet),
            net_apr=None if expected is None else expected.net_apr,
            min_net_apr=None if expected is None else expected.min_net_apr,
            automatic=expected is not None and expected.automatic,
        )
        found = check_open(facts, desk.rules.limits)
        strange = self._foreign(pair)
        if not strange:
            return found
        reasons = found.reasons if isinstance(found, Refused) else ()
        return verdict([*reasons, *strange], found.warnings)

    def _foreign(self, pair: Pair) -> list[Reason]:
        """Somebody else's position in the same perp: its funding could not be told from ours."""
        held = self._desk.store.positions.active_for(pair.base)
        ours = held.contracts if held is not None else ZERO
        size = sum(
            (item.size for item in self._desk.exchange.positions() if item.symbol == pair.perp.symbol), ZERO
        )
        if size == -ours:
            return []
        text = f"the account holds {size} {pair.perp.symbol}, of which {-ours} is ours"
        return [Reason("foreign_position", text)]
