"""Which market stands behind an address: a real venue is its name, a sandbox also says which world it is.

Asked without a signature and outside the venue's own interface, so that the paper account, which signs
nothing, can tell one world from another. Decides nothing: ``Owner`` holds it against what is expected.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fundarb.errors import BadAnswer, Problem

if TYPE_CHECKING:
    from fundarb.exchange.wire import Transport

Complaint = Callable[[str, str], Problem]
"""What to tell a person: from the expected name and the one that was found."""
_PATH = "/sandbox/clock"


@runtime_checkable
class Origin(Protocol):
    """Optional face of market data: which market it is of."""

    def world(self) -> str:
        """Its name; ``Unavailable`` if it cannot be had."""

    def stay_in(self, world: str, complaint: Complaint) -> None:
        """From now on every answer must be of this market: ``OtherAccount`` where it is of another."""

    def in_place(self) -> bool:
        """Whether it is known to be, on the connections that there are."""


def sandbox_world(transport: Transport, url: str, *, patience: timedelta) -> str:
    """The uid of a sandbox's account, which is another one for each world; ``Unavailable`` if it does not
    say.
    """
    from fundarb.exchange.wire import Call

    wire = transport.wire
    call = Call(nonce=0, recv_window=patience, deadline=wire.now() + patience)
    outer, wire.current.call = wire.current.call, call
    try:
        status, content = transport.fetch("GET", f"{url}{_PATH}", headers={}, body=None)
    finally:
        wire.current.call = outer
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    uid = document.get("uid") if isinstance(document, dict) else None
    if status == 200 and isinstance(uid, str) and uid:
        return uid
    raise BadAnswer(f"the sandbox at {url} does not say which world it is")
