"""Account facts as a venue reports them: positions, balances, the transaction log, fee rates and the
account's modes.

"" on the wire means "not applicable" and is None here, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.instants import to_ms
from fundarb.core.orders import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """One perp position. ``size`` is signed here: negative for a short (the wire sends it positive with a
    side).
    """

    symbol: str
    size: Decimal
    average_price: Decimal | None
    mark_price: Decimal
    leverage: Decimal | None
    liquidation_price: Decimal | None
    unrealised_pnl: Decimal
    maintenance_margin: Decimal | None
    adl_rank: int
    reduce_only: bool
    status: str
    position_idx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinBalance:
    """One coin of the unified wallet. ``owned`` is what is really ours: wallet balance without borrowed
    coins.
    """

    coin: str
    wallet: Decimal
    locked: Decimal
    borrowed: Decimal
    spot_borrowed: Decimal
    accrued_interest: Decimal
    equity: Decimal
    usd_value: Decimal | None
    unrealised_pnl: Decimal
    collateral: bool

    @property
    def owned(self) -> Decimal:
        """Coins owned: wallet balance − spot borrow."""
        return self.wallet - self.spot_borrowed

    @property
    def free(self) -> Decimal:
        """Coins owned and not tied in orders; never negative."""
        return max(self.owned - self.locked, Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """The unified account. Account-level figures are in USD; rates are fractions, None where the venue says
    "".

    A coin without an entry in ``coins`` has a zero balance (the venue omits zero coins).
    """

    total_equity: Decimal
    margin_balance: Decimal | None
    available: Decimal | None
    initial_margin_rate: Decimal | None
    maintenance_margin_rate: Decimal | None
    coins: Mapping[str, CoinBalance]

    def free(self, coin: str) -> Decimal:
        """Free coins of one kind."""
        balance = self.coins.get(coin)
        return balance.free if balance is not None else Decimal(0)

    def owned(self, coin: str) -> Decimal:
        """Owned coins of one kind."""
        balance = self.coins.get(coin)
        return balance.owned if balance is not None else Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A row of the transaction log: ``change = cash_flow + funding − fee``, ``balance`` is the coin's wallet
    after it.

    ``funding`` + = received. ``fee`` + = expense. ``quantity`` is signed for spot and unsigned for perps, as
    on the wire; ``size`` is the position after it. The id alone repeats at the venue: use ``key``.
    """

    id: str
    kind: str
    coin: str
    category: str
    symbol: str
    side: Side | None
    time: datetime
    quantity: Decimal
    size: Decimal
    price: Decimal | None
    funding: Decimal
    fee: Decimal
    cash_flow: Decimal
    change: Decimal
    balance: Decimal
    fee_rate: Decimal | None
    trade_id: str
    order_id: str
    link_id: str

    @property
    def key(self) -> str:
        """The unique key under which the ledger posts it."""
        return f"tx:{self.id}:{self.kind}:{self.coin}:{self.trade_id}:{to_ms(self.time)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRates:
    """Taker and maker rates of one market as fractions; ``source`` is "account" or "schedule" (public
    VIP0).
    """

    taker: Decimal
    maker: Decimal
    source: str = "account"


VIP0_SPOT = FeeRates(taker=Decimal("0.001"), maker=Decimal("0.001"), source="schedule")
VIP0_LINEAR = FeeRates(taker=Decimal("0.00055"), maker=Decimal("0.0002"), source="schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """Who the key belongs to and how the account is set up."""

    uid: str
    margin_mode: str
    unified_status: int
    spot_fee_deduction: bool = False
    linear_fee_deduction: bool = False
    delta_neutral_mode: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What the API key may do; ``expires`` is None for a key bound to addresses."""

    uid: str
    read_only: bool
    permissions: Mapping[str, tuple[str, ...]]
    addresses: tuple[str, ...]
    expires: datetime | None
    unified: bool
    master: bool
