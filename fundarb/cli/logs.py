"""Logging of a run: to stderr, quiet by default, with secrets masked.

Loggers that are known to print headers or bodies (ccxt, urllib3) never go below WARNING, whatever ``-vv``
asks for.
"""

from __future__ import annotations

import logging
from typing import TextIO, cast

from fundarb.cli.terminal import RedactingStream

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
CHATTY = (
    "ccxt",
    "ccxt.base.exchange",
    "urllib3",
    "requests",
    "asyncio",
    "websockets",
    "httpx",
    "apprise",
    "peewee",
)


def configure(verbose: int, *, quiet: bool, stream: RedactingStream) -> None:
    """Set up the root logger for this process; calling it again replaces the earlier set-up."""
    level = logging.ERROR if quiet else LEVELS[min(verbose, len(LEVELS) - 1)]
    handler = logging.StreamHandler(cast("TextIO", stream))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
