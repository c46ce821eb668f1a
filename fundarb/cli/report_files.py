"""Reports as files: CSV and HTML, and where they go."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fundarb.cli.failure import is_of_the_machine
from fundarb.core.exact_json import jsonable
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.cli.document import Envelope
    from fundarb.cli.session import Session


def put(session: Session, text: str, *, output: Path | None) -> None:
    """To the file that was named, else to stdout. A file that was there stays as it was unless all of the new
    one is; ``ConfigError`` for a place that cannot be written to, ``OSError`` if the machine cannot.
    """
    if output is None:
        session.write(text)
        return
    try:
        _write(output.resolve(), text)
    except OSError as error:
        if is_of_the_machine(error):
            raise OSError(error.errno, error.strerror, str(output)) from error
        message = f"{output} cannot be written: {error.strerror}"
        raise ConfigError(Problem("-o", message, "name another place")) from error
    session.say(f"written to {output}")


def _write(target: Path, text: str) -> None:
    """Beside the target, then in its place; straight into what is no plain file (a pipe, a device)."""
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    aside = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        if target.exists():
            aside.chmod(target.stat().st_mode & 0o777)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def as_csv(kind: str, found: Any) -> str:
    """The rows, one line each under the names of their fields; nested figures are JSON texts."""
    names = columns(kind)
    rows = found if isinstance(found, tuple) else found.rows
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(jsonable(getattr(row, name))) for name in names])
    return buffer.getvalue()


def as_html(kind: str, found: Any, *, around: Envelope) -> str:
    """One self-contained file."""
    from fundarb.cli.report_html import page

    return page(kind, found, names=columns(kind), around=around)


def columns(kind: str) -> tuple[str, ...]:
    """The names of a row's fields."""
    from fundarb.engine import listings, report_days, report_rows, report_tax

    rows: dict[str, type[Any]] = {
        "pnl": report_rows.PnlRow,
        "funding": listings.FundingRow,
        "trades": listings.TradeRow,
        "equity": report_days.EquityRow,
        "ledger": listings.LedgerRow,
        "tax": report_tax.TaxRow,
    }
    return tuple(item.name for item in fields(rows[kind]))


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list)) else value
