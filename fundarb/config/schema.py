"""The schema of ``fundarb.toml``: every section, key, default and bound, and the frozen ``Settings`` the
program runs on.

This file is the one list of settings: environment names, the template, the documentation test and ``config
show`` are derived from it. It reads nothing. Ratios are fractions here, durations timedeltas, amounts
Decimals (USDT unless said).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from fundarb.config.kinds import (
    Amount,
    Balance,
    Count,
    Duration,
    Ratio,
    Ratios,
    Text,
    Truth,
    Variables,
)


class VenueName(StrEnum):
    """Where prices come from and live orders go."""

    BYBIT = "bybit"
    TESTNET = "bybit-testnet"
    DEMO = "bybit-demo"
    SANDBOX = "sandbox"


class Mode(StrEnum):
    """Whether orders leave this machine."""

    PAPER = "paper"
    LIVE = "live"


HOSTNAMES = (
    "api.bybit.com",
    "api.bytick.com",
    "api.bybit.eu",
    "api.bybit.nl",
    "api.bybit.tr",
    "api.bybit.kz",
    "api.bybit.ae",
    "api.bybit.id",
    "api.bybitgeorgia.ge",
    "api.manepa.jp",
)
"""Bybit's main and regional hosts (Bybit V5 API); a key belongs to one of them."""

FIXED_HOSTS = {VenueName.TESTNET: "api-testnet.bybit.com", VenueName.DEMO: "api-demo.bybit.com"}
SANDBOX_URL = "http://127.0.0.1:8899"

_ZERO = Decimal(0)
_NONE = timedelta()


def setting(default: object, description: str, **bounds: object) -> Any:
    """A field whose default is written as in the file and parsed like it (hence ``Any``)."""
    return Field(default=default, description=description, **cast("dict[str, Any]", bounds))


class Section(BaseModel):
    """What all tables share: frozen, and a key that is not listed is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class Venue(Section):
    """The exchange and how long it may take. ``recv_window`` bounds how late a signed request may be
    admitted.
    """

    name: VenueName = VenueName.BYBIT
    hostname: Text = setting("api.bybit.com", "one of Bybit's main or regional hosts")
    recv_window: Duration = setting(
        "2s",
        "how late a signed request may arrive",
        ge=timedelta(seconds=1),
        le=timedelta(seconds=5),
    )
    read_timeout: Duration = setting("10s", "total time a read may take", gt=_NONE, le=timedelta(minutes=1))

    @field_validator("hostname")
    @classmethod
    def _known_host(cls, value: str) -> str:
        if value not in HOSTNAMES:
            raise ValueError(f"{value!r} is not one of Bybit's hosts: {', '.join(HOSTNAMES)}")
        return value


class Account(Section):
    """The account and how it is used. ``usdt_buffer`` is kept free beside the margin, as a share of the
    notional.
    """

    uid: Text = setting("", "the account that the key must belong to; needed for live trading")
    instance: Text = setting(
        "default",
        "name of this bot: one database each",
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
    )
    leverage: Amount = setting("2", "leverage of the short leg", ge=Decimal(1), le=Decimal(10))
    usdt_buffer: Ratio = setting("20%", "USDT kept free, share of notional", ge=_ZERO, le=Decimal(2))


class Risk(Section):
    """What may be lost or held. Amounts are USDT of one leg at the decision price; equality is allowed."""

    max_gross: Amount = setting("5000", "all positions together, one leg each", gt=_ZERO)
    max_per_coin: Amount = setting("1000", "one coin, one leg", gt=_ZERO)
    max_positions: Count = setting(5, "positions at the same time", ge=1, le=200)
    drift_limit: Ratio = setting("2%", "tolerated share of unhedged coins", gt=_ZERO, le=Decimal("0.2"))
    max_quote_age: Duration = setting("5s", "older quotes decide nothing", gt=_NONE, le=timedelta(minutes=5))
    max_clock_offset: Duration = setting(
        "500ms",
        "tolerated difference to the venue's clock",
        gt=_NONE,
        le=timedelta(seconds=1),
    )
    margin_warn: Ratio = setting("50%", "margin rate that warns", gt=_ZERO, lt=Decimal(1))
    margin_reduce: Ratio = setting("70%", "margin rate that reduces both legs", gt=_ZERO, lt=Decimal(1))
    max_loss_per_day: Ratio = setting("2%", "loss of equity that stops opens", gt=_ZERO, le=Decimal(1))
    max_fees_per_day: Ratio = setting("0.5%", "fees ÷ equity that stop opens", gt=_ZERO, le=Decimal(1))


class Execution(Section):
    """How orders are sent. ``max_clip`` is the USDT that may be unhedged at any moment."""

    max_clip: Amount = setting("500", "largest piece sent at once, per leg", gt=_ZERO)
    price_cap: Ratio = setting("20bp", "worst price of an order against mid", gt=_ZERO, le=Decimal("0.05"))
    unwind_caps: Ratios = setting(["20bp", "60bp", "200bp"], "price caps of an unwind, step by step")
    t_hedge: Duration = setting(
        "5s",
        "time to hedge a known shortfall",
        ge=timedelta(seconds=1),
        le=timedelta(minutes=1),
    )
    top_ups: Count = setting(3, "orders that complete a leg before it is trimmed", ge=0, le=20)
    cool_down: Duration = setting("15m", "pause of a coin after an unwind", ge=_NONE, le=timedelta(days=7))
    unwinds_per_hour: Count = setting(3, "unwinds that freeze a coin", ge=1, le=60)
    orders_per_minute: Count = setting(30, "orders that add exposure", ge=1, le=600)
    collar: Ratio = setting("3%", "farthest limit price from the mark", gt=_ZERO, le=Decimal("0.2"))
    max_open_intents: Count = setting(4, "orders under way at once", ge=1, le=50)

    @field_validator("unwind_caps")
    @classmethod
    def _ladder(cls, value: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        if any(cap <= 0 for cap in value) or any(a >= b for a, b in pairwise(value)):
            raise ValueError("the caps must be positive and grow from step to step")
        return value


class Strategy(Section):
    """When a position is worth opening and leaving."""

    horizon: Duration = setting(
        "30d",
        "how far ahead the yield is reckoned",
        ge=timedelta(hours=1),
        le=timedelta(days=365),
    )
    min_net_apr: Ratio = setting("5%", "net APR on capital that an open needs", ge=_ZERO)
    min_hold: Duration = setting("3d", "shortest time of holding", ge=_NONE, le=timedelta(days=365))
    exit_confirm: Count = setting(3, "settlements in a row that must agree on leaving", ge=1, le=100)
    switch_gain: Ratio = setting("20%", "gain that makes a switch worth its costs", ge=_ZERO)


class Reconcile(Section):
    """What to do when our books and the venue's differ."""

    manual_close: Literal["ask", "rehedge", "unwind"] = setting(
        "ask", "a leg was closed by hand: ask, rehedge or unwind"
    )
    repair: Truth = setting(False, "repair what is unambiguous without being asked")
    tolerance: Amount = setting("1e-8", "difference in coins that is nothing", ge=_ZERO, le=Decimal(1))


class Paper(Section):
    """The paper account."""

    balance: Balance = setting("10000 USDT", "what the account starts with")
    # an order that travels for two seconds is too late for its receive window, in paper too
    latency: Duration = setting("200ms", "delay of paper orders", ge=_NONE, le=timedelta(seconds=1))


class Notify(Section):
    """Who is told. The addresses are secret, hence only the names of the variables that hold them stand
    here.
    """

    urls: Variables = setting([], "names of environment variables that hold notification URLs")


class FileSettings(Section):
    """What ``fundarb.toml`` may hold."""

    mode: Mode = setting(Mode.PAPER, "paper or live")
    venue: Venue = Venue()
    account: Account = Account()
    risk: Risk = Risk()
    execution: Execution = Execution()
    strategy: Strategy = Strategy()
    reconcile: Reconcile = Reconcile()
    paper: Paper = Paper()
    notify: Notify = Notify()


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key pair; never printed (``SecretStr`` hides itself, ``get_secret_value()`` is for the
    signature).
    """

    key: SecretStr
    secret: SecretStr


class Settings(FileSettings):
    """Everything the program is told at start, checked and resolved.

    ``live`` is the confirmation given at this start; whether orders go to a venue is decided by ``app`` from
    ``mode``, and ``config.load`` has refused every combination that may not run. ``venue_url`` is the base
    address of the venue. ``sources`` says for ``"risk.max_gross"`` (and ``"mode"``, ``"db"`` …) where the
    value came from, ``texts`` how it was written.
    """

    live: bool = False
    venue_url: str = "https://api.bybit.com"
    db_url: str = ""
    home: Path = Path()
    credentials: Credentials | None = None
    notify_urls: tuple[SecretStr, ...] = ()
    config_file: Path | None = None
    jobs_file: Path | None = None
    env_file: Path | None = None
    sources: Mapping[str, str] = Field(default_factory=dict)
    texts: Mapping[str, str] = Field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What one database belongs to: venue, mode and instance name."""
        return str(self.venue.name), str(self.mode), self.account.instance


def sections() -> Mapping[str, type[Section]]:
    """The tables of ``fundarb.toml`` by name, in the order of the template."""
    found: dict[str, type[Section]] = {}
    for name, field in FileSettings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found[name] = field.annotation
    return found


def keys() -> tuple[tuple[str, str], ...]:
    """Every setting as (section, key); ``mode`` has the empty section."""
    listed = [("", "mode")]
    listed += [(section, key) for section, model in sections().items() for key in model.model_fields]
    return tuple(listed)
