"""The sandbox's clock: when somebody sets the machine's, and while a long move of a virtual one goes on."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from starlette.requests import Request

from fundarb.clock import SystemClock
from fundarb.sandbox.arguments import ControlError
from fundarb.sandbox.control import Control
from fundarb.sandbox.options import ClockKind
from tests.sandbox.conformance import until
from tests.sandbox.harness import OPTIONS, START, InProcess, Json

HOUR = timedelta(hours=1)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> dict[str, timedelta]:
    """By how much the machine's clock is wrong."""
    found, machine = {"by": timedelta()}, SystemClock.now

    def wrong(self: SystemClock) -> datetime:
        return machine(self) + found["by"]

    monkeypatch.setattr(SystemClock, "now", wrong)
    return found


def test_a_clock_that_is_set_back_stops_nothing(setting: dict[str, timedelta]) -> None:
    """The venue's time goes on, an order is matched within moments; what is set forward it follows."""
    desk = InProcess(replace(OPTIONS, clock=ClockKind.REAL, start=None))
    before = desk.house.present()
    setting["by"] = -HOUR
    assert desk.buy(orderLinkId="one")["retCode"] == 0
    found = until(
        lambda: desk.rows("order/realtime", category="spot", orderLinkId="one")[0]["orderStatus"],
        lambda status: status == "Filled",
    )
    assert found == "Filled"
    assert before < desk.house.present() < before + HOUR / 2
    setting["by"] = HOUR
    assert desk.house.present() > before + HOUR


def request(body: Json) -> Request:
    """A request to the control API."""

    async def receive() -> Json:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def test_nothing_is_restored_under_a_move(desk: InProcess) -> None:
    """A world is not exchanged while a long move goes through it: 409, as for a second move; afterwards it
    is.
    """
    saved = desk.house.snapshot()
    answers: list[int] = []

    async def passing() -> None:
        with pytest.raises(ControlError) as refused:
            await control.restore(request({"snapshot": saved}))
        answers.append(refused.value.status)

    control = Control(desk.desk, stride=lambda: HOUR, passing=passing)
    asyncio.run(control.clock(request({"advance": "4h"})))
    assert set(answers) == {409}
    assert desk.house.venue.now == START + 4 * HOUR
    asyncio.run(control.restore(request({"snapshot": saved})))
    assert desk.house.venue.now == START
