"""The channels as apprise knows them: e-mail, chat, push, webhooks, each named by a URL that is a secret.

The library is imported when the first message is sent: it is large, and most runs never send one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fundarb.errors import ConfigError, Problem

Channel = Callable[[str, str], bool]
"""Send title and text; whether it was accepted. Blocks until it is known."""


def channels(names: Sequence[str], urls: Sequence[str]) -> dict[str, Channel]:
    """One channel for each URL, under the name of the environment variable that holds it."""
    return {name: _channel(url) for name, url in zip(names, urls, strict=True)}


def check(names: Sequence[str], urls: Sequence[str]) -> None:
    """``ConfigError`` naming every variable whose URL apprise does not understand; the URL itself is never
    shown.
    """
    problems = [
        Problem(name, "is not a notification URL", "see https://appriseit.com for the form of each service")
        for name, url in zip(names, urls, strict=True)
        if _service(url) is None
    ]
    if problems:
        raise ConfigError(*problems)


def _channel(url: str) -> Channel:
    def send(title: str, text: str) -> bool:
        service = _service(url)
        return service is not None and bool(service.notify(body=text, title=title, body_format="text"))

    return send


def _service(url: str) -> Any:
    """The service behind a URL, None if there is none."""
    with warnings.catch_warnings():  # its plug-ins import what Python is about to drop
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        service = apprise.Apprise()
        return service if service.add(url) else None
