"""Worlds of their own: a sandbox in another process with its virtual clock, and the settings that trade in
it.

For simulations and the demo. Every start is a new world; nothing of the user's own account is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fundarb import config
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.config import Flags, Settings

START = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a synthetic world begins unless somebody says otherwise: the same seed, the same month."""


REPLAY_START = datetime(2025, 4, 12, tzinfo=UTC)
"""Where a replay begins: the first full day of Bybit's own five-minute recordings of spot and perp."""


@contextmanager
def world(plan: SandboxPlan) -> Iterator[str]:
    """A sandbox in a process of its own for as long as needed; its address. ``ConfigError`` if it does not
    start.
    """
    from fundarb.sandbox.server import start_process

    running = start_process(sandbox_options(plan))
    try:
        yield running.url
    finally:
        running.stop()


def settings_in(
    url: str, home: Path, *, like: Settings | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings that trade live in the sandbox at ``url`` with all files below ``home``; limits and strategy
    as in ``like`` or by default.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = Flags(
        config=like.config_file if like is not None else None,
        jobs=like.jobs_file if like is not None else None,
        env_file=None,
        venue="sandbox",
        venue_url=url,
        mode="live",
        live=True,
        db=f"sqlite:///{home / 'fundarb.sqlite3'}",
    )
    kept = {name: text for name, text in (environ or {}).items() if _applies(name)}
    return config.load(flags, {**kept, "FUNDARB_HOME": str(home)}, cwd=home)


def _applies(name: str) -> bool:
    """Whether a variable of the environment holds in another world: limits do, places and keys do not."""
    elsewhere = (
        "FUNDARB_HOME",
        "FUNDARB_DB",
        "FUNDARB_VENUE",
        "FUNDARB_MODE",
        "FUNDARB_LIVE",
        "FUNDARB_CONFIG",
    )
    return name.startswith("FUNDARB_") and not name.startswith(elsewhere) and "ACCOUNT_UID" not in name
