"""``sandbox serve``: the simulated exchange on a local port, for practice and for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli.common import family
from fundarb.cli.options import instant
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
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="TIME",
            help="Where a virtual clock begins, ISO 8601. [today, 00:00 UTC]",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Snapshot: loaded if it exists, written at exit.")
    ] = None,
    balance: Annotated[
        list[str] | None, typer.Option(metavar="COIN=N", help="Opening balance; repeatable. [USDT=100000]")
    ] = None,
    match_delay: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long orders wait to be matched, like 5ms. [2ms; virtual clock: 0ms]"
        ),
    ] = None,
    key: Annotated[str, typer.Option(metavar="TEXT", help="API key that is accepted.")] = "demo",
    secret: Annotated[str, typer.Option(metavar="TEXT", help="Its secret.")] = "demo",  # noqa: S107 - documented
) -> None:
    """Serve the sandbox on a loopback port until Ctrl-C or SIGTERM."""
    from fundarb.app.sandboxes import SandboxPlan
    from fundarb.app.sandboxes import serve as run

    if clock not in {"real", "virtual"}:
        raise ConfigError(Problem("--clock", f"{clock!r} is neither real nor virtual"))
    if start is not None and clock == "real":
        raise ConfigError(Problem("--start", "a real clock starts now", "add --clock virtual"))
    plan = SandboxPlan(
        port=port,
        seed=seed,
        replay=replay,
        virtual=clock == "virtual",
        start=start,
        state=state,
        key=key,
        secret=secret,
        match_delay=None if match_delay is None else _delay(match_delay),
    )
    if balance:
        plan = _with_balances(plan, balance)
    run(plan)


def _delay(text: str) -> timedelta:
    from fundarb.app.sandboxes import matching_delay

    try:
        return matching_delay(text)
    except ValueError as error:
        raise ConfigError(Problem("--match-delay", str(error), "like 5ms or 2s, a minute at most")) from error


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
