"""The file ``HALT`` and the two blocks that a person sets: no opens; hedging, reducing and closing go on.

The file works without any command and without a database: whoever is about to open looks for it. Removing
it does not resume.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.store.database import Store

HALT_FILE = "HALT"
ASKED = "asked for by a person"


class HaltFile:
    """The file whose presence halts: ``touch HALT`` in the home folder."""

    def __init__(self, home: Path) -> None:
        """The file is looked for in ``home``."""
        self.path = home / HALT_FILE

    def present(self) -> bool:
        """Whether it is there; a folder that cannot be read counts as no file."""
        try:
            return self.path.exists()
        except OSError:
            return False

    def create(self) -> None:
        """Put it there, for whoever reads it; nothing happens if it is there already."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch(mode=0o600, exist_ok=True)

    def seen(self, active: tuple[Block, ...]) -> tuple[Block, ...]:
        """The blocks that hold, with the one that the file stands for until a writer has written it down."""
        if any(block.scope == GLOBAL_SCOPE and block.kind is BlockKind.HALT for block in active):
            return active
        try:
            made = self.path.stat().st_mtime_ns // 1_000_000_000
        except OSError:
            return active
        since = datetime.fromtimestamp(made, UTC)
        return (*active, _halt(self._reason(), since))

    def _reason(self) -> str:
        return f"asked for by the file {self.path}: remove it, then resume"

    def obey(self, store: Store) -> bool:
        """Turn the file into the halt block; True if it is there. Without the file nothing changes."""
        if not self.present():
            return False
        held = store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT)
        if held is None or not held.needs_person:
            set_halt(store, self._reason())
        return True


def set_halt(store: Store, reason: str) -> None:
    """No opens until a person has looked and resumed."""
    store.blocks.set(_halt(reason, store.clock.now()))


def _halt(reason: str, since: datetime) -> Block:
    return Block(scope=GLOBAL_SCOPE, kind=BlockKind.HALT, reason=reason, since=since, needs_person=True)


def set_pause(store: Store, reason: str) -> None:
    """No opens until somebody resumes."""
    store.blocks.set(
        Block(
            scope=GLOBAL_SCOPE,
            kind=BlockKind.PAUSE,
            reason=reason,
            since=store.clock.now(),
            needs_person=True,
        )
    )
