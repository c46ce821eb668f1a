"""Simulated exchanges: a market source handed to the sandbox server, in this process or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fundarb.core.money import Money

if TYPE_CHECKING:
    from fundarb.sandbox.options import SandboxOptions
    from fundarb.venue.feed import MarketFeed

DEFAULT_PORT = 8899
_LONGEST_DELAY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlan:
    """What a person says about a sandbox: where it listens, which market it shows, whose time it keeps.

    ``replay`` is a folder of recorded prices instead of the synthetic market; ``start`` is where a virtual
    clock begins (None with a real clock). ``match_delay`` is how long an order waits for its matching (None:
    2 ms on a real clock, nothing on a virtual one).
    """

    port: int = DEFAULT_PORT
    seed: int = 1
    replay: Path | None = None
    virtual: bool = False
    start: datetime | None = None
    state: Path | None = None
    balances: tuple[Money, ...] = field(default=(Money(Decimal(100_000), "USDT"),))
    key: str = "demo"
    secret: str = "demo"  # noqa: S105 - the sandbox's documented default
    match_delay: timedelta | None = None


def sandbox_options(plan: SandboxPlan) -> SandboxOptions:
    """The server's options; ``ConfigError`` where the replay's folder or library is missing."""
    from fundarb.sandbox.options import ClockKind, SandboxOptions

    balances: dict[str, Decimal] = {}
    for money in plan.balances:
        balances[money.coin] = balances.get(money.coin, Decimal(0)) + money.amount
    return SandboxOptions(
        market=_market(plan),
        port=plan.port,
        clock=ClockKind.VIRTUAL if plan.virtual else ClockKind.REAL,
        start=plan.start,
        balances=balances,
        key=plan.key,
        secret=plan.secret,
        seed=plan.seed,
        replay="" if plan.replay is None else str(plan.replay),
        state=plan.state,
        match_delay=plan.match_delay,
    )


def matching_delay(text: str) -> timedelta:
    """How long matching takes, as a person writes it (``5ms``, ``2s``); ``ValueError`` beyond a minute."""
    from fundarb.sandbox.timekeeping import duration

    found = duration(text)
    if found > _LONGEST_DELAY:
        msg = f"{text!r} is longer than a minute"
        raise ValueError(msg)
    return found


def serve(plan: SandboxPlan) -> None:
    """Serve until a signal ends it; the first line on stdout says where."""
    from fundarb.sandbox import server

    server.serve(sandbox_options(plan))


def _market(plan: SandboxPlan) -> Callable[[datetime], MarketFeed]:
    if plan.replay is not None:
        from fundarb.markets.replay import replay

        return partial(replay, plan.replay)
    from fundarb.markets.synthetic import synthetic

    return partial(synthetic, plan.seed)
