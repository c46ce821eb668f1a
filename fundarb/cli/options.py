"""Parsers of option values: exact, with units, and with a sentence about what would have been right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import typer

from fundarb.core.instants import iso
from fundarb.core.money import dec, parse_duration, parse_ratio


def amount(text: str) -> Decimal:
    """An amount above zero: ``1000``."""
    try:
        number = dec(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an amount; write it like 1000 or 250.5") from error
    if number <= 0:
        raise typer.BadParameter(f"{text} is not above zero")
    return number


def ratio(text: str) -> Decimal:
    """A fraction from text with its unit: ``5%``, ``20bp``."""
    try:
        return parse_ratio(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def instant(text: str) -> datetime:
    """An instant, UTC unless it names another zone (``+02:00``, ``local``): ``2026-11-22``,
    ``2026-11-22T15:00``, ``2026-11-22 15:00 local``.
    """
    words = text.removesuffix(" local")
    try:
        found = datetime.fromisoformat(words)
    except ValueError as error:
        message = (
            f"{text!r} is not a time; write it like 2026-11-22, 2026-11-22T15:00 or 2026-11-22T15:00:00Z"
        )
        raise typer.BadParameter(message) from error
    if found.tzinfo and words != text:
        raise typer.BadParameter(f"{text!r} names two zones; leave out `local`, or the other one")
    if words == text and not found.tzinfo:
        return found.replace(tzinfo=UTC)
    try:
        return _certain(text, found)
    except (OverflowError, ValueError) as error:
        raise typer.BadParameter(f"{text!r} is outside the years 1 to 9999 in UTC") from error


def _certain(text: str, found: datetime) -> datetime:
    """In UTC. Without a zone ``astimezone`` takes the machine's own, whose clock may leave an hour out or
    show it twice: the two readings of ``fold`` (PEP 495) differ there, and what is skipped cannot be read
    back.
    """
    first, second = (found.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    if first.astimezone().replace(tzinfo=None) != found:
        message = f"{text!r} never happens here, clocks skip it; write UTC or an offset (+02:00) instead"
        raise typer.BadParameter(message)
    either = " or ".join(iso(moment) for moment in (first, second))
    raise typer.BadParameter(f"{text!r} happens twice here; write {either}")


def duration(text: str) -> timedelta:
    """A duration above zero with its unit: ``30d``."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not found:
        raise typer.BadParameter(f"{text} is no time at all")
    return found
