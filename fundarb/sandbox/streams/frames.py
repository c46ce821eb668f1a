"""What clients send and what they get back: requests out of text frames, acknowledgements, pongs and refusals
in the shapes of each path. It knows no venue.

Shapes: Bybit V5 API, "WebSocket stream / Connect" (spot, futures, options and private answers differ); texts
of refusals as observed on the real streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fundarb.sandbox.streams.topics import Path
from fundarb.sandbox.wire import compact, decoded

_LONGEST_ID = 100


class BadFrame(Exception):
    """A frame that is no request; the text is what the client is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a client. ``args`` as they came; ``req_id`` as text, empty without one."""

    op: str
    args: list[Any]
    req_id: str

    @property
    def names(self) -> list[str]:
        """The topics it names; ``BadFrame`` if it names something else, or nothing."""
        if not self.args or not all(isinstance(item, str) for item in self.args):
            raise BadFrame("error:args must be a list of topics")
        return list(self.args)


def request(text: str) -> Request:
    """Read a frame; ``BadFrame`` if it is no request."""
    try:
        value = decoded(text.encode())
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"Failed to decode incoming data:{str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise BadFrame("Failed to decode incoming data:expect an object")
    op, args, ident = value.get("op"), value.get("args"), value.get("req_id", "")
    if not isinstance(op, str) or not isinstance(ident, str | int | float) or len(str(ident)) > _LONGEST_ID:
        raise BadFrame("Failed to decode incoming data:op or req_id")
    if args is not None and not isinstance(args, list):
        raise BadFrame("Failed to decode incoming data:args")
    return Request(op=op, args=args or [], req_id=str(ident))


def acknowledged(path: Path, asked: Request, *, conn_id: str, failed: list[str]) -> str:
    """The answer to a (un)subscription. Only options tell topic by topic what has ``failed``."""
    if path is Path.OPTION:
        good = [name for name in asked.args if name not in failed]
        data = {"failTopics": failed, "successTopics": good}
        return compact({"success": bool(good), "conn_id": conn_id, "data": data, "type": "COMMAND_RESP"})
    word = asked.op if path is Path.SPOT else ""
    return _told(asked, conn_id=conn_id, success=True, message=word)


def refused(message: str, *, conn_id: str, asked: Request | None = None) -> str:
    """The answer to a request that is not granted; nothing of it was done."""
    return _told(asked or Request(op="", args=[], req_id=""), conn_id=conn_id, success=False, message=message)


def _told(asked: Request, *, conn_id: str, success: bool, message: str) -> str:
    answer = {
        "success": success,
        "ret_msg": message,
        "conn_id": conn_id,
        "req_id": asked.req_id,
        "op": asked.op,
    }
    return compact(answer)


def authenticated(asked: Request, *, conn_id: str, problem: str) -> str:
    """The answer to ``auth``: a success without a ``problem``."""
    answer: dict[str, Any] = {"req_id": asked.req_id} if asked.req_id else {}
    return compact({**answer, "success": not problem, "ret_msg": problem, "op": "auth", "conn_id": conn_id})


def pong(path: Path, asked: Request, *, conn_id: str, now_ms: int) -> str:
    """The answer to ``ping``."""
    if path is Path.OPTION:
        return compact({"args": [str(now_ms)], "op": "pong"})
    if path is Path.PRIVATE:
        return compact({"req_id": asked.req_id, "op": "pong", "args": [str(now_ms)], "conn_id": conn_id})
    return _told(asked, conn_id=conn_id, success=True, message="pong")
