"""A sandbox in a process of its own, for ``start_process``: options come pickled on stdin, its end ends the
sandbox.

Only the parent that started it writes to that pipe; for people there is ``fundarb sandbox serve``.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading

from fundarb.errors import ConfigError, StateUnavailable
from fundarb.sandbox.options import SandboxOptions
from fundarb.sandbox.server import serve

_EXIT_CONFIG, _EXIT_STATE = 2, 6


def main() -> int:
    """Read the options, serve, and end when the parent closes the pipe."""
    pipe = sys.stdin.buffer
    size = int.from_bytes(pipe.read(8), "big")
    options = pickle.loads(pipe.read(size))  # noqa: S301 - written by our own parent process
    if not isinstance(options, SandboxOptions):
        sys.stderr.write("no sandbox options on stdin\n")
        return _EXIT_CONFIG

    def watch() -> None:
        # not through the buffered reader: a thread that waits inside its lock aborts the interpreter's exit
        while os.read(pipe.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        serve(options)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_CONFIG
    except StateUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_STATE
    return 0


if __name__ == "__main__":
    sys.exit(main())
