"""Starting and stopping a sandbox: in this process until a signal ends it, in a thread, or in a process of
its own.

Loopback only. The first line on stdout tells the address; at exit the state file is written, whole or not
at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from fundarb.core.money import CASH_STEP, is_multiple, plain
from fundarb.errors import ConfigError, FundarbError, Problem
from fundarb.sandbox import state_file
from fundarb.sandbox.app import SandboxApp
from fundarb.sandbox.bounds import in_calendar, sane
from fundarb.sandbox.connections import KeptWebSocket, Register, WatchedHttp
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.house import House
from fundarb.sandbox.options import LOOPBACK, ClockKind, SandboxOptions

_BACKLOG = 1024
_GRACE_SECONDS = 1
_KEEP_ALIVE_SECONDS = 75
_START_SECONDS = 60
_STOP_SECONDS = 20
_MOST_FRAME = 64 * 1024
READY = "fundarb sandbox listening on "


def serve(options: SandboxOptions) -> None:
    """Run a sandbox in this thread until SIGTERM, SIGINT or SIGHUP; ``ConfigError`` if it cannot start,
    ``StateUnavailable`` if its world cannot be written at the end.
    """

    def ready(url: str) -> None:
        sys.stdout.write(f"{READY}{url}\n")
        sys.stdout.flush()

    service = _Service(options)
    _allow_many_connections()
    gc.freeze()  # the market never goes away: no collection need look at it again
    service.run(ready)


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that runs beside us. ``stop`` returns when it has ended and its state file is written; where
    it cannot be, a sandbox in a thread raises ``StateUnavailable`` and another process says so on stderr.
    """

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
        except (OSError, FundarbError) as error:
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
        if failed:
            raise failed[0]

    return Running(found[0], stop, service.house)


def start_process(options: SandboxOptions) -> Running:
    """Run a sandbox in a process of its own (on another core); it ends with ``stop``, or when this process
    does.

    ``options.market`` must pickle: a function of a module, or ``functools.partial`` of one.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "fundarb.sandbox"],  # no module of the current folder
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the parent, which still needs us to finish its step
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
    """uvicorn, with signals left to us, a word when it listens, and an end without waiting for a tick."""

    def __init__(
        self, config: uvicorn.Config, connections: Register, *, listening: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._listening = listening
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._listening()

    async def main_loop(self) -> None:
        """Once a second look for requests that take too long; until ``end``."""
        while not self.should_exit:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1)
            self._connections.second()

    def end(self) -> None:
        """Stop serving soon: open connections are cut. Safe from any thread."""
        self.should_exit = self.force_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ended.set)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: a sandbox in a thread has no business with signals, and ours are set elsewhere."""
        yield


class _Service:
    """One sandbox from opening its port to writing its state."""

    def __init__(self, options: SandboxOptions) -> None:
        _check(options)
        self.house = House(options)
        _check_coins(self.house)
        self._options = options
        self._connections = Register()
        self._server: _Server | None = None
        self._held = contextlib.ExitStack()
        if options.state is not None:
            with contextlib.ExitStack() as held:
                held.enter_context(state_file.held(options.state))
                self._load(options.state)
                self._held = held.pop_all()

    def _load(self, state: Path) -> None:
        """The world in the file, if there is one."""
        if not state.exists():
            return
        state_file.load(state, Desk(self.house).restore)
        if self._options.start not in {None, self.house.start}:
            raise ConfigError(
                Problem(
                    "--start",
                    f"the world in {state} began at {self.house.start:%Y-%m-%dT%H:%M:%SZ}",
                    "leave --start out, or give another --state",
                )
            )

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until told to end, then write the state file."""
        with self._held:
            desk = Desk(self.house)
            self._run(desk, ready)
            if self._options.state is not None:
                desk.catch_up()
                state_file.save(self._options.state, self.house.snapshot())

    def _run(self, desk: Desk, ready: Callable[[str], None]) -> None:
        """Serve. The market is looked at once before, so that the first client need not wait."""
        desk.catch_up()
        self.house.look()
        app = SandboxApp(desk, self._connections.transports)
        known = {"register": self._connections, "door": app}
        config = uvicorn.Config(
            app,
            http=type("Http", (WatchedHttp,), known),
            ws=type("WebSocket", (KeptWebSocket,), known),
            ws_max_size=_MOST_FRAME,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        with _listener(self._options) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._server = _Server(config, self._connections, listening=lambda: ready(url))
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        server = self._server
        if server is None:
            return
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    loop.add_signal_handler(number, self.end)
        await server.serve(sockets=[listener])

    def end(self) -> None:
        """Stop serving soon. Safe from any thread."""
        if self._server is not None:
            self._server.end()


def _allow_many_connections() -> None:
    """Thousands of clients need as many file descriptors: take what the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems say "unlimited" and mean less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _check(options: SandboxOptions) -> None:
    problems: list[Problem] = []
    if options.host not in LOOPBACK:
        problems.append(
            Problem("--host", f"{options.host} is not a loopback address; a sandbox serves this machine only")
        )
    if options.clock is ClockKind.REAL and options.start is not None:
        problems.append(Problem("--start", "the real clock has no start", "add --clock virtual"))
    if options.start is not None and not in_calendar(options.start):
        problems.append(Problem("--start", f"{options.start:%Y-%m-%d} is not in this century"))
    if not 0 <= options.port <= 65535:
        problems.append(Problem("--port", f"{options.port} is no port"))
    problems += [
        Problem(
            "--balance", f"{coin}={plain(amount)} is not zero or a positive multiple of {plain(CASH_STEP)}"
        )
        for coin, amount in options.balances.items()
        if amount < 0 or not sane(amount) or not is_multiple(amount, CASH_STEP)
    ]
    if options.state is not None and (problem := state_file.unwritable(options.state)) is not None:
        problems.append(problem)
    if problems:
        raise ConfigError(*problems)


def _check_coins(house: House) -> None:
    known = house.coins()
    problems = [
        Problem("--balance", f"{coin} is no coin of this market", "name one of its spot pairs, like BTC")
        for coin in house.options.balances
        if coin not in known
    ]
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
