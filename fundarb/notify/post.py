"""The post office: events are queued and sent by a thread of its own; ``tell`` returns at once and never
raises.

A channel that fails is tried again with the next message, not in a loop; what is too much is counted and
said in one line. Alerts have a count of their own, and the first of each code is always sent, so that neither
a busy hour nor a storm of one kind drowns another. No secret passes: every text goes through the redactor.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta

from fundarb.clock import Clock, SystemClock
from fundarb.core.events import AlertRaised, Event, Severity
from fundarb.notify.channels import Channel
from fundarb.notify.words import is_told, sentence

_LOG = logging.getLogger(__name__)
_SPAN = timedelta(hours=1)
_LAST_WORDS = 3.0
"""Seconds that the end of the process waits for messages under way."""


class Post:
    """A ``Notifier`` over some channels."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        *,
        title: str,
        redact: Callable[[str], str],
        clock: Clock | None = None,
        per_hour: int = 30,
    ) -> None:
        """Messages carry ``title``; in an hour at most ``per_hour`` alerts are sent, and as many others."""
        self._channels = channels
        self._title = title
        self._redact = redact
        self._clock = clock or SystemClock()
        self._per_hour = per_hour
        self._sent: dict[bool, deque[timedelta]] = {True: deque(), False: deque()}
        self._told: dict[str, timedelta] = {}
        self._kept_back = 0
        self._queue: queue.Queue[tuple[str, str | None] | None] = queue.Queue(maxsize=500)
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Queue an event if it is worth a message; a full queue drops it (it stays in the audit trail)."""
        if is_told(event):
            code = event.code if isinstance(event, AlertRaised) else event.kind
            self._put(sentence(event), code if event.severity is Severity.ALERT else None)

    @property
    def idle(self) -> bool:
        """Whether everything told so far was dealt with."""
        return self._queue.unfinished_tasks == 0

    def close(self) -> None:
        """Send what is queued, for a few seconds at most, and end."""
        while True:
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()
        self._thread.join(_LAST_WORDS)

    def _put(self, text: str, code: str | None) -> None:
        try:
            self._queue.put_nowait((text, code))
        except queue.Full:
            _LOG.warning("too many notifications at once, one was dropped")

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            text, code = item
            if self._allowed(code):
                more = f" (and {self._kept_back} more, see fundarb events)" if self._kept_back else ""
                self._kept_back = 0
                self.send(text + more)
            else:
                self._kept_back += 1
            self._queue.task_done()

    def _allowed(self, code: str | None) -> bool:
        """Whether the hour has room for one more message, alerts (by ``code``) and others (None) apart; the
        first alert of a code within an hour is sent in any case.
        """
        now, sent = self._clock.monotonic(), self._sent[code is not None]
        while sent and now - sent[0] > _SPAN:
            sent.popleft()
        last = None if code is None else self._told.get(code)
        news = code is not None and (last is None or now - last > _SPAN)
        if len(sent) >= self._per_hour and not news:
            return False
        if code is not None:
            self._told[code] = now
        sent.append(now)
        return True

    def send(self, text: str) -> dict[str, bool]:
        """Send one text through every channel now; which of them took it. Blocks; never raises for what a
        channel does.
        """
        clean, result = self._redact(text), {}
        for name, channel in self._channels.items():
            try:
                result[name] = channel(self._title, clean)
            except Exception as error:  # noqa: BLE001 - a channel is foreign code, and this thread the only one
                result[name] = False
                _LOG.warning("channel %s failed: %s", name, self._redact(f"{type(error).__name__}: {error}"))
            else:
                if not result[name]:
                    _LOG.warning("channel %s did not take the message", name)
        return result
