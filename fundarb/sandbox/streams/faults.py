"""Faults on streams: which messages are lost, late or doubled, and which cost the client its connection.

The rules are those of the control API. A rule means messages only if its ``path`` is a stream's; each message
to each socket counts as one match, answers to requests included (their ``topic`` is the operation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fundarb.sandbox.faults import Effect, FaultBook, Match
from fundarb.sandbox.streams.topics import Path

VERBS = frozenset({"drop_request", "mute", "delay", "duplicate_rows"})


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one message: so many copies leave (0: none does), so late; or the connection is
    ``cut``.
    """

    copies: int = 1
    delay_ms: int = 0
    cut: str = ""


_USUAL = Fate()


def fate(book: FaultBook, path: Path, *, topic: str, row: Mapping[str, object]) -> Fate:
    """Count one message of a topic and say what goes wrong with it. ``row`` has what rules can ask for:
    category, symbol, orderLinkId, side.
    """
    if not book.armed():
        return _USUAL
    found = {effect.verb: effect for effect in _fired(book, path, topic=topic, row=row)}
    if not found:
        return _USUAL
    dropped, delay = found.get("drop_request"), found.get("delay")
    return Fate(
        copies=0 if "mute" in found else (2 if "duplicate_rows" in found else 1),
        delay_ms=delay.ms if delay is not None else 0,
        cut=dropped.how if dropped is not None else "",
    )


def _fired(book: FaultBook, path: Path, *, topic: str, row: Mapping[str, object]) -> Iterator[Effect]:
    for rule in book.armed():
        if rule.effect.verb not in VERBS or rule.match.path != path or not _fits(rule.match, topic, row=row):
            continue
        if rule.strikes():
            yield rule.effect


def _fits(match: Match, topic: str, *, row: Mapping[str, object]) -> bool:
    wanted = (
        (match.topic, topic),
        (match.category, row.get("category")),
        (match.symbol, row.get("symbol")),
        (match.link_id, row.get("orderLinkId")),
        (match.side, row.get("side")),
    )
    return all(value in {None, found} for value, found in wanted)
