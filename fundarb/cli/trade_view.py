"""How trades, plans and queued commands look to a person."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fundarb.cli.figures import points
from fundarb.core.money import dec, parse_duration
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from fundarb.cli.session import Session
    from fundarb.engine.documents import Document

STATE_STYLE = {
    "HEDGED": "green",
    "CLOSED": "green",
    "PLANNED": "cyan",
    "ABORTED": "yellow",
    "EXPOSED": "bold red",
    "UNCERTAIN": "bold red",
}
_ORDER_STYLE = {"DONE": "green", "REFUSED": "yellow", "ABSENT": "yellow", "UNCERTAIN": "bold red"}
_OVER = frozenset({"CLOSED", "ABORTED"})
_LATEST = 12
"""So many orders are shown."""

_WIDE = 110
"""Columns from which the orders show their link ids."""


def waiting(text: str, *, no_wait: bool) -> timedelta | None:
    """How long to wait for a daemon's answer; None for not at all."""
    try:
        return None if no_wait else parse_duration(text)
    except ValueError as error:
        raise ConfigError(Problem("--wait", str(error))) from error


def render(session: Session, data: Document | None, *, console: Console | None = None) -> None:
    """One trade, several, or the number of a queued command; on stdout unless a console is given."""
    out = console or session.out
    if data is None:
        return
    if "command_id" in data:
        out.print(f"queued as command {data['command_id']}; `fundarb events -f` shows what becomes of it")
        return
    closed = data.get("closed")
    if not isinstance(closed, list):
        _trade(out, data)
        return
    if not closed:
        out.print("no open positions")
    for number, item in enumerate(closed):
        if number:
            out.print()
        _trade(out, item)


def state(name: str) -> Text:
    """A state in its colour."""
    from rich.text import Text

    return Text(name, style=STATE_STYLE.get(name, ""))


def _trade(out: Console, data: Any) -> None:
    """A headline, both legs, the delta, then the orders of this and earlier commands."""
    from rich.text import Text

    planned = data["state"] == "PLANNED"
    name = data["position_id"] or "new position"
    out.print(Text.assemble((name, "bold"), "  ", (data["base"], "bold"), "  ", state(data["state"])))
    if "keep_contracts" in data["plan"]:
        _closing(out, data)
    elif data["state"] in _OVER:
        out.print("nothing is held; `fundarb report` shows what it brought")
    else:
        _legs(out, data)
    if planned:
        out.print(_plan_line(data), style="dim")
        return
    _orders(out, data["orders"])


def _legs(out: Console, data: Any) -> None:
    """Both legs as they are held (or planned), with their value and fees, and what is between them."""
    from rich.table import Table

    from fundarb.cli.money_view import amount

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("leg", "symbol"):
        table.add_column(header, no_wrap=True)
    for header in ("quantity", "price", "value USDT"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("fees", overflow="fold")
    for leg, key, sign in (("spot", "quantity", 1), ("perp", "contracts", -1)):
        row = data[leg]
        quantity, price = sign * dec(row[key]), row["average_price"]
        value = None if price is None else quantity * dec(price)
        fees = ", ".join(f"{short(fee['amount'])} {fee['coin']}" for fee in row["fees"])
        cells = [number(quantity), "–" if price is None else number(dec(price)), amount(value)]
        table.add_row(leg, row["symbol"], *cells, fees)
    out.print(table)
    out.print(_delta_line(data))


def _delta_line(data: Any) -> str:
    """Delta against the lot, the basis of the entry, and what was paid in fees."""
    drift = dec(data["drift"]) * 100
    parts = [f"delta {short(data['delta'])} {data['base']} = {drift:.3f} %"]
    if data["lot"] is not None:
        parts[0] += f" (lot {short(data['lot'])})"
    basis = data["plan"].get("entry_basis")
    if basis is not None:
        parts.append(f"basis {points(dec(basis), 1)} bp")
    paid = [fee["value_quote"] for leg in ("spot", "perp") for fee in data[leg]["fees"]]
    if paid and None not in paid:
        parts.append(f"fees {sum(dec(value) for value in paid):.2f} USDT")
    return " · ".join(parts)


def _plan_line(data: Any) -> str:
    plan = data["plan"]
    if "keep_contracts" in plan:
        return "a plan; nothing was sent"
    clips = len(plan["clips"])
    how = "one clip" if clips == 1 else f"{clips} clips"
    margin = plan["margin"]
    bare = None if margin is None else margin["liquidation_price_bare"]
    at = "" if bare is None else f"; without collateral {number(dec(short(bare)))} would liquidate it"
    return f"a plan: {number(dec(data['notional']))} USDT per leg in {how}; nothing was sent{at}"


def _closing(out: Console, data: Any) -> None:
    """What is held now and what will be left."""
    plan, base = data["plan"], data["base"]
    spot, perp = data["spot"], data["perp"]
    out.print(f"held: {short(spot['quantity'])} {base} against {perp['contracts']} {perp['symbol']} short")
    kept = f"{plan['keep_contracts']} stay" if plan["keep_contracts"] != "0" else "nothing stays"
    out.print(f"buys back {plan['close_contracts']} {perp['symbol']} and sells the coins behind it; {kept}")


def _orders(out: Console, orders: Any) -> None:
    """The latest orders of the position, oldest first; what went wrong with one stands beside it."""
    if not orders:
        return
    earlier, orders = len(orders[:-_LATEST]), orders[-_LATEST:]
    from rich.table import Table
    from rich.text import Text

    wide = out.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("order" if wide else "#", no_wrap=True)
    for header in ("leg", "purpose", "side"):
        table.add_column(header, no_wrap=True)
    for header in ("quantity", "filled", "price"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in orders:
        name = row["link_id"] if wide else str(row["seq"])
        price = "–" if row["average_price"] is None else number(dec(row["average_price"]))
        said = "" if row["state"] == "DONE" and row["filled"] == row["quantity"] else row["message"]
        cells = [name, row["leg"], row["purpose"], row["side"], row["quantity"], row["filled"], price]
        table.add_row(*cells, Text(row["state"], style=_ORDER_STYLE.get(row["state"], "")), said)
    out.print()
    if earlier:
        out.print(f"{earlier} earlier orders; --json lists them all", style="dim")
    out.print(table)


def number(value: Decimal) -> str:
    """A quantity or price with at most ten significant digits and its thousands apart."""
    return _grouped(short(f"{value:f}")) if value else "0"


def _grouped(text: str) -> str:
    whole, dot, fraction = text.partition(".")
    return f"{int(whole):,}{dot}{fraction}" if abs(int(whole)) >= 10_000 else text


def short(text: str, digits: int = 10) -> str:
    """A plain decimal cut to so many significant digits, for the screen only; never for a script."""
    whole, dot, fraction = text.partition(".")
    if not dot:
        return text
    fraction = fraction.rstrip("0")
    if len(whole.lstrip("-")) + len(fraction) > digits:
        if whole.lstrip("-") == "0":
            zeros = len(fraction) - len(fraction.lstrip("0"))
            fraction = fraction[: zeros + 6]
        else:
            fraction = fraction[: max(digits - len(whole), 2)]
    return f"{whole}.{fraction}".rstrip("0").rstrip(".")
