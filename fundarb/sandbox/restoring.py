"""From a snapshot to a world: read, examined and built beside the one that is running, which it may replace
only when all of it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fundarb.core.instants import from_ms, to_ms
from fundarb.sandbox.bounds import FIRST, LAST
from fundarb.sandbox.examining import examine
from fundarb.sandbox.options import SandboxOptions
from fundarb.sandbox.setting import Setting
from fundarb.venue.codec import decode
from fundarb.venue.engine import Venue
from fundarb.venue.feed import EndingFeed, MarketFeed
from fundarb.venue.state import State

SNAPSHOT_SCHEMA = "fundarb.sandbox/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a restore puts in place."""

    start: datetime
    feed: MarketFeed
    venue: Venue
    setting: Setting


def written(world: World, options: SandboxOptions) -> dict[str, Any]:
    """A world as JSON values."""
    return {
        "schema": SNAPSHOT_SCHEMA,
        "start": to_ms(world.start),
        "seed": options.seed,
        "replay": options.replay,
        "setting": world.setting.state(),
        "venue": world.venue.snapshot(),
    }


def read(saved: Mapping[str, Any], options: SandboxOptions, *, here: World) -> World:
    """The world of a snapshot; ``ValueError``, or whatever reading nonsense brings about, if it is none. Over
    the same market as ``here`` it shares its feed.
    """
    if saved.get("schema") != SNAPSHOT_SCHEMA:
        msg = f"not a sandbox snapshot of this version ({SNAPSHOT_SCHEMA})"
        raise ValueError(msg)
    if (saved.get("seed"), saved.get("replay")) != (options.seed, options.replay):
        msg = "the snapshot was taken over another market (seed or replay differ)"
        raise ValueError(msg)
    start, setting, inner = saved.get("start"), saved.get("setting"), saved.get("venue")
    if not isinstance(start, int) or not isinstance(setting, dict) or not isinstance(inner, dict):
        msg = "the snapshot is incomplete"
        raise ValueError(msg)  # noqa: TRY004 - every bad snapshot alike
    if not to_ms(FIRST) <= start < to_ms(LAST):
        msg = "start: is beyond the calendar"
        raise ValueError(msg)
    same = start == to_ms(here.start)
    began = here.start if same else from_ms(start)
    feed = here.feed if same else options.market(began)
    state = decode(State, inner.get("state"))
    if to_ms(state.start) != start:
        msg = "start: is not where the venue began"
        raise ValueError(msg)
    examine(state, feed)
    listed = frozenset(listing.symbol for listing in feed.listings())
    venue = Venue.restore(feed, inner, rules=options.venue_rules())
    if isinstance(feed, EndingFeed) and venue.now > feed.until:
        msg = "now: is behind the end of the recording"
        raise ValueError(msg)
    return World(start=began, feed=feed, venue=venue, setting=Setting.of(setting, listed=listed))


def untouched(world: World, saved: Mapping[str, Any], *, options: SandboxOptions) -> World:
    """The same world again, as it was before anybody lived in it."""
    return replace(world, venue=Venue.restore(world.feed, saved["venue"], rules=options.venue_rules()))
