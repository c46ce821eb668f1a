"""Rules between settings: what is fine alone and wrong together, and what live trading takes.

Every rule that is broken is reported, with the places of the values it concerns. Live trading on a real venue
needs three confirmations at once; nothing here ever turns a doubtful configuration into a live one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from fundarb.config.schema import FileSettings, Mode, VenueName
from fundarb.errors import Problem

_Rule = tuple[str, str, Callable[[FileSettings], bool], str]

_RULES: tuple[_Rule, ...] = (
    (
        "risk.max_per_coin",
        "risk.max_gross",
        lambda s: s.risk.max_per_coin <= s.risk.max_gross,
        "may not be above",
    ),
    (
        "execution.max_clip",
        "risk.max_per_coin",
        lambda s: s.execution.max_clip <= s.risk.max_per_coin,
        "may not be above",
    ),
    (
        "risk.margin_warn",
        "risk.margin_reduce",
        lambda s: s.risk.margin_warn < s.risk.margin_reduce,
        "must be below",
    ),
    (
        "execution.price_cap",
        "execution.unwind_caps",
        lambda s: s.execution.price_cap <= s.execution.unwind_caps[-1],
        "may not be above the last of",
    ),
    (
        "execution.price_cap",
        "execution.collar",
        lambda s: s.execution.price_cap <= s.execution.collar,
        "may not be above",
    ),
    (
        "strategy.min_hold",
        "strategy.horizon",
        lambda s: s.strategy.min_hold <= s.strategy.horizon,
        "may not be longer than",
    ),
)

NOT_RELEASED = "live trading on {venue} is not released yet"


def cross_problems(
    settings: FileSettings, places: Mapping[str, str], *, failed: Collection[str] = ()
) -> list[Problem]:
    """Every broken rule between two settings that fit by themselves; ``places`` says where each value
    stands.
    """
    found = []
    for left, right, holds, word in _RULES:
        if left not in failed and right not in failed and not holds(settings):
            place, other = (_named(key, places) for key in (left, right))
            other = other.removeprefix(place.partition("[")[0])  # the file is named once
            found.append(Problem(place, f"{word} {other}", "change one of the two"))
    return found


def _named(key: str, places: Mapping[str, str]) -> str:
    """Where a value stands; of a default which key it is."""
    section, _, name = key.partition(".")
    return places.get(key) or f"[{section}] {name} (its default)"


@dataclass(frozen=True, slots=True)
class _Given:
    """The confirmation of this start, and what the file itself says."""

    live: bool
    toml: Mapping[str, Any]


def live_problems(settings: FileSettings, *, live: bool, toml: Mapping[str, Any]) -> list[Problem]:
    """What is missing for the chosen mode: nothing for paper, three confirmations for live on a real
    venue.
    """
    return _CONFIRMATIONS[settings.mode](settings, _Given(live, toml))


def _nothing(_settings: FileSettings, _given: _Given) -> list[Problem]:
    return []


def _confirmed(settings: FileSettings, given: _Given) -> list[Problem]:
    found = []
    if not given.live:
        remedy = "add --live, or set FUNDARB_LIVE=yes, at each start"
        found.append(Problem("flag --live", "live mode must be confirmed at each start", remedy))
    if settings.venue.name is VenueName.SANDBOX:
        return found
    if given.toml.get("mode") != Mode.LIVE.value:
        remedy = 'write mode = "live" into fundarb.toml; a flag or an environment variable is not enough'
        found.append(Problem("fundarb.toml mode", "a real venue must be confirmed in the file", remedy))
    account = given.toml.get("account")
    if not (isinstance(account, dict) and account.get("uid")):
        remedy = 'write the uid of your account: [account] uid = "…"'
        found.append(
            Problem("fundarb.toml [account] uid", "is missing, and the key must belong to it", remedy)
        )
    if settings.venue.name is VenueName.BYBIT:
        remedy = "use --mode paper, or --venue bybit-testnet, bybit-demo or sandbox"
        found.append(Problem("mode", NOT_RELEASED.format(venue=settings.venue.name), remedy))
    return found


_CONFIRMATIONS: Mapping[Mode, Callable[[FileSettings, _Given], list[Problem]]] = {
    Mode.PAPER: _nothing,
    Mode.LIVE: _confirmed,
}
