"""Whether a fault can ever happen: its path must be one that answers, to the method it names, and its verb
one that means something there; it arms nothing.
"""

from __future__ import annotations

from fundarb.sandbox.arguments import Arguments
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.faults import CREATES, OF_ORDERS
from fundarb.sandbox.streams.faults import VERBS as ON_STREAMS
from fundarb.sandbox.streams.topics import Path

_OF_READS = ("lag_reads", "stale_reads", "duplicate_rows", "drop_rows", "reorder", "loop_cursor")


def fitting(body: Arguments) -> None:
    """Refuse what could never happen. What is missing or of a wrong type is the fault book's to refuse."""
    match, do = body.nested("match"), body.nested("do")
    path, verb, method = match.raw("path"), do.raw("verb"), match.raw("method")
    if not isinstance(verb, str) or not isinstance(path, str | None):
        return
    if path in set(Path):
        if verb not in ON_STREAMS:
            raise do.fail("verb", f"does nothing on a stream; there are {', '.join(sorted(ON_STREAMS))}")
        if method is not None:
            raise match.fail("method", "messages of a stream have none")
        return
    if match.has("topic"):
        raise match.fail(
            "topic", "only messages of a stream have one: name its path, /v5/private for example"
        )
    if path is not None and path not in TABLE:
        raise match.fail("path", "is no path of this sandbox")
    meant = [TABLE[path].method] if path is not None else ["GET", "POST"]
    if method is not None and method not in meant:
        raise match.fail("method", f"{path} answers to {meant[0]} only")
    methods = meant if method is None else [method]
    useless = (
        verb == "mute"
        or (verb in OF_ORDERS and ("POST" not in methods or path not in {None, *CREATES}))
        or (verb in _OF_READS and "GET" not in methods)
    )
    if useless:
        raise do.fail("verb", f"{verb} does nothing on {path or f'a {methods[0]}'}")
