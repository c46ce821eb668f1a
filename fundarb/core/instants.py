"""Instants at the edges: conversion between aware UTC datetimes and the milliseconds of wire and database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HOUR = timedelta(hours=1)


def to_ms(instant: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, truncated."""
    return (instant - _EPOCH) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """The UTC instant that so many milliseconds since the epoch name."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def iso(instant: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the second or, where it matters, to the millisecond."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    precision = "milliseconds" if utc.microsecond >= 1000 else "seconds"
    return utc.isoformat(timespec=precision) + "Z"


def floor_hour(instant: datetime) -> datetime:
    """The full hour at or before an instant."""
    return instant - (instant - _EPOCH) % _HOUR
