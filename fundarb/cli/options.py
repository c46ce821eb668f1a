"""Parsers of option values: exact, with units, and with a sentence about what would have been right."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import typer

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


def duration(text: str) -> timedelta:
    """A duration above zero with its unit: ``30d``."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not found:
        raise typer.BadParameter(f"{text} is no time at all")
    return found
