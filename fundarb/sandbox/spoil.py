"""Answers gone bad: garbage in place of a body, and lists with rows doubled, missing, shuffled or going
round in circles.
"""

from __future__ import annotations

import json
from typing import Any

from fundarb.sandbox.faults import Plan
from fundarb.sandbox.wire import Answer, Response, envelope

_HTML = b"<html><head><title>Bybit</title></head><body><h1>System maintenance</h1></body></html>"


def garbage(kind: str, response: Response | None, *, now_ms: int) -> Response:
    """A 200 with a body that must not pass for an answer; ``response`` is the true one, if the request was
    applied.
    """
    good = (
        response.body
        if response is not None
        else envelope(0, "OK", result='{"orderId":"","orderLinkId":""}', now_ms=now_ms)
    )
    if kind == "html":
        return Response(200, _HTML, None, content_type=b"text/html")
    bodies = {
        "empty": b"",
        "null": b"null",
        "cut": good[: max(1, len(good) // 2)],
        "bad_json": b"{retCode: 0, retMsg: 'OK', result: {}}",
        "no_result": f'{{"retCode":0,"retMsg":"OK","retExtInfo":{{}},"time":{now_ms}}}'.encode(),
        "no_order_id": envelope(0, "OK", result="{}", now_ms=now_ms),
    }
    return Response(200, bodies[kind], None)


def reshaped(answer: Answer, plan: Plan) -> Answer:
    """The answer with its rows as the plan wants them; the same answer where nothing is planned."""
    drop = plan.first("drop_rows")
    double, shuffle = plan.first("duplicate_rows"), plan.first("reorder")
    if drop is None and double is None and shuffle is None:
        return answer
    result: dict[str, Any] = json.loads(answer.text) if answer.text is not None else dict(answer.result or {})
    rows = result.get("list")
    if not isinstance(rows, list):
        return answer
    if drop is not None:
        rows = rows[drop.count :]
    if double is not None:
        rows = [row for row in rows for _ in range(2)]
    if shuffle is not None:
        rows = rows[1::2][::-1] + rows[::2]
    result["list"] = rows
    return Answer(result, message=answer.message, ext=answer.ext)
