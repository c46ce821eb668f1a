"""Where the databases of the matrix lie: in memory where the machine has such a place, for a kill spares what
was written and only a power cut would not.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="fundarb-", dir=MEMORY) as folder:
        yield Path(folder)
