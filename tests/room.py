"""Where the tests keep their files: in memory where the machine has plenty of it, for every commit of a
database waits for its disk. A process that is killed leaves there what it wrote, as on a disk; only a power
cut would not, and no test makes one.
"""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
PLENTY = 2 << 30
"""Bytes: the tests of one run need a tenth of it."""


def room() -> Path:
    """The folder to make folders in."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > PLENTY:
        return MEMORY
    return Path(tempfile.gettempdir())
