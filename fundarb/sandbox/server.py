"""Starting and stopping a sandbox: in this process until a signal ends it, in a thread, or in a process of
its own.

Loopback only. The first line on stdout tells the address; at exit the state file is written, whole or not
at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from fundarb.errors import ConfigError, Problem
from fundarb.sandbox.app import SandboxApp, Transports
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.house import House
from fundarb.sandbox.options import LOOPBACK, ClockKind, SandboxOptions

_BACKLOG = 1024
_GRACE_SECONDS = 1
_KEEP_ALIVE_SECONDS = 75
_START_SECONDS = 60
_STOP_SECONDS = 20
READY = "fundarb sandbox listening on "


def serve(options: SandboxOptions) -> None:
    """Run a sandbox in this thread until SIGTERM or SIGINT; ``ConfigError`` if it cannot start."""

    def ready(url: str) -> None:
        sys.stdout.write(f"{READY}{url}\n")
        sys.stdout.flush()

    service = _Service(options)
    gc.freeze()  # the market never goes away: no collection need look at it again
    service.run(ready)


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that runs beside us. ``stop`` returns when it has ended and its state file is written."""

    url: str
    stop: Callable[[], None]
    house: House | None = None
    """The live objects of a sandbox in a thread, for tests that look inside; None in another process."""


def start_in_thread(options: SandboxOptions) -> Running:
    """Run a sandbox on a thread of this process; its port may be 0."""
    service = _Service(options)
    started = threading.Event()
    found: list[str] = []
    failed: list[BaseException] = []

    def ready(url: str) -> None:
        found.append(url)
        started.set()

    def work() -> None:
        try:
            service.run(ready)
        except (OSError, ConfigError) as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="sandbox", daemon=True)
    thread.start()
    if not started.wait(_START_SECONDS) or not found:
        raise failed[0] if failed else ConfigError("the sandbox did not start")

    def stop() -> None:
        service.end()
        thread.join(_STOP_SECONDS)

    return Running(found[0], stop, service.house)


def start_process(options: SandboxOptions) -> Running:
    """Run a sandbox in a process of its own (on another core); it ends with ``stop``, or when this process
    does.

    ``options.market`` must pickle: a function of a module, or ``functools.partial`` of one.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "fundarb.sandbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stdin, stdout = child.stdin, child.stdout
    if stdin is None or stdout is None:
        raise ConfigError("the sandbox process has no pipes")
    with contextlib.suppress(BrokenPipeError):
        payload = pickle.dumps(options)
        stdin.write(len(payload).to_bytes(8, "big") + payload)
        stdin.flush()
    line = stdout.readline().decode().strip()

    def stop() -> None:
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        stdout.close()

    if not line.startswith(READY):
        stop()
        raise ConfigError(f"the sandbox process did not start: {line or 'see its messages above'}")
    return Running(line.removeprefix(READY), stop)


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us and a word when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: a sandbox in a thread has no business with signals, and ours are set elsewhere."""
        yield


class _Service:
    """One sandbox from opening its port to writing its state."""

    def __init__(self, options: SandboxOptions) -> None:
        _check(options)
        self.house = House(options)
        self._options = options
        self._transports: Transports = {}
        self._server: _Server | None = None
        if options.state is not None and options.state.exists():
            _load(self.house, options.state)

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until told to end. The market is looked at once before, so that the first client need not
        wait.
        """
        desk = Desk(self.house)
        desk.catch_up()
        self.house.look()
        config = uvicorn.Config(
            SandboxApp(desk, self._transports),
            http=_protocol(self._transports),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        with _listener(self._options) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._server = _Server(config, lambda: ready(url))
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self._serve(listener))
        if self._options.state is not None:
            desk.catch_up()
            _save(self.house, self._options.state)

    async def _serve(self, listener: socket.socket) -> None:
        server = self._server
        if server is None:
            return
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.end)
        await server.serve(sockets=[listener])

    def end(self) -> None:
        """Stop serving soon: open connections are cut. Safe from any thread."""
        server = self._server
        if server is not None:
            server.should_exit = True
            server.force_exit = True


def _check(options: SandboxOptions) -> None:
    problems: list[Problem] = []
    if options.host not in LOOPBACK:
        problems.append(
            Problem("--host", f"{options.host} is not a loopback address; a sandbox serves this machine only")
        )
    if options.clock is ClockKind.REAL and options.start is not None:
        problems.append(Problem("--start", "the real clock has no start", "add --clock virtual"))
    if not 0 <= options.port <= 65535:
        problems.append(Problem("--port", f"{options.port} is no port"))
    if any(amount < 0 for amount in options.balances.values()):
        problems.append(Problem("--balance", "a balance is negative"))
    if problems:
        raise ConfigError(*problems)


def _listener(options: SandboxOptions) -> contextlib.closing[socket.socket]:
    """The listening socket. Its protocol is said outright: asyncio turns Nagle's algorithm off (40 ms an
    answer) only for sockets that name TCP.
    """
    host = "127.0.0.1" if options.host == "localhost" else options.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        problem = f"cannot listen on {host}:{options.port}: {error.strerror}"
        raise ConfigError(Problem("--port", problem, "choose another, or 0")) from error
    return contextlib.closing(listener)


def _protocol(transports: Transports) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, keeping a list of open connections so that one can be cut."""
    base: Any = AutoHTTPProtocol

    class Protocol(base):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if self.client is not None:
                transports[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                transports.pop(self.client, None)
            super().connection_lost(exc)

    return Protocol


def _load(house: House, path: Path) -> None:
    try:
        house.restore(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            Problem(
                "--state",
                f"{path} cannot be loaded: {error}",
                "give another file, or move it away to begin anew",
            )
        ) from error


def _save(house: House, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(house.snapshot()), encoding="utf-8")
    temporary.replace(path)
