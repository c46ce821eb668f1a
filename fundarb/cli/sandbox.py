"""``sandbox serve``: the simulated exchange on a local port, for practice and for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli.common import family
from fundarb.core.money import Money, dec
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.app.sandboxes import SandboxPlan

app = family("A simulated exchange on this machine that speaks Bybit's protocol.")


@app.command(epilog="Example: fundarb sandbox serve --port 8899 --seed 7 --balance USDT=25000")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 picks a free one.")] = 8899,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which synthetic market.")] = 1,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Recorded prices (parquet) instead of the synthetic market."),
    ] = None,
    clock: Annotated[
        str, typer.Option(metavar="KIND", help="real, or virtual: moved by its control API.")
    ] = "real",
    start: Annotated[
        str, typer.Option(metavar="TIME", help="Where a virtual clock begins, ISO 8601. [today, 00:00 UTC]")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Snapshot: loaded if it exists, written at exit.")
    ] = None,
    balance: Annotated[
        list[str] | None, typer.Option(metavar="COIN=N", help="Opening balance; repeatable. [USDT=100000]")
    ] = None,
    key: Annotated[str, typer.Option(metavar="TEXT", help="API key that is accepted.")] = "demo",
    secret: Annotated[str, typer.Option(metavar="TEXT", help="Its secret.")] = "demo",  # noqa: S107 - documented
) -> None:
    """Serve the sandbox on a loopback port until Ctrl-C or SIGTERM."""
    from fundarb.app.sandboxes import SandboxPlan
    from fundarb.app.sandboxes import serve as run

    if clock not in {"real", "virtual"}:
        raise ConfigError(Problem("--clock", f"{clock!r} is neither real nor virtual"))
    if start and clock == "real":
        raise ConfigError(Problem("--start", "a real clock starts now", "add --clock virtual"))
    plan = SandboxPlan(
        port=port,
        seed=seed,
        replay=replay,
        virtual=clock == "virtual",
        start=_instant(start) if clock == "virtual" else None,
        state=state,
        key=key,
        secret=secret,
    )
    if balance:
        plan = _with_balances(plan, balance)
    run(plan)


def _with_balances(plan: SandboxPlan, texts: list[str]) -> SandboxPlan:
    from dataclasses import replace as changed

    return changed(plan, balances=tuple(_balance(text) for text in texts))


def _balance(text: str) -> Money:
    coin, sign, number = text.partition("=")
    try:
        amount = dec(number)
    except ValueError as error:
        raise ConfigError(Problem("--balance", f"{text!r} is not COIN=AMOUNT", "like USDT=10000")) from error
    if not sign or not coin.isalnum() or amount < 0:
        raise ConfigError(Problem("--balance", f"{text!r} is not COIN=AMOUNT", "like USDT=10000"))
    return Money(amount, coin.upper())


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            Problem("--start", f"{text!r} is not a time", "like 2026-01-01T00:00:00Z")
        ) from error
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
