"""Whether a fault can ever happen: its path must be one that answers, its verb one that means something
there; it arms nothing.
"""

from __future__ import annotations

from fundarb.sandbox.arguments import Arguments
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.streams.faults import VERBS as ON_STREAMS
from fundarb.sandbox.streams.topics import Path

_MATCHED = ("fill", "reject_async")
_CREATES = ("/v5/order/create", "/v5/order/create-batch")
_OF_READS = ("lag_reads", "stale_reads", "duplicate_rows", "drop_rows", "reorder", "loop_cursor")


def fitting(body: Arguments) -> None:
    """Refuse a path that is none, and a verb that could not do anything on it. What is missing or of a wrong
    type is left to the fault book to refuse.
    """
    match, do = body.nested("match"), body.nested("do")
    path, verb = match.raw("path"), do.raw("verb")
    if not isinstance(path, str) or not isinstance(verb, str):
        return
    if path in set(Path):
        if verb not in ON_STREAMS:
            raise do.fail("verb", f"does nothing on a stream; there are {', '.join(sorted(ON_STREAMS))}")
        return
    endpoint = TABLE.get(path)
    if endpoint is None:
        raise match.fail("path", "is no path of this sandbox")
    useless = (
        verb == "mute"
        or (verb in _MATCHED and path not in _CREATES)
        or (verb in _OF_READS and endpoint.method != "GET")
    )
    if useless:
        raise do.fail("verb", f"{verb} does nothing on {path}")
