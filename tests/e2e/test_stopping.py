"""SIGTERM to a command whose order is in doubt: out within twenty seconds; the next start finds the rest."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.app import signals
from fundarb.engine.desk import StopRequest
from tests.cli.test_daemon import LONGEST_END, Place, place, terminated
from tests.cli.test_daemon_hands import ask
from tests.e2e.deeds import ENTRY
from tests.e2e.stage import CREATE, LOT, Stage
from tests.e2e.test_dying import until
from tests.e2e.test_scenarios_process import struck

__all__ = ["place"]

PRIVATE = ("/v5/order/realtime", "/v5/order/history", "/v5/execution/list", "/v5/position/list")


def armed(place: Place, match: dict[str, object], **does: str) -> str:
    """A fault that is armed now."""
    return str(ask(place, "/sandbox/faults", {"match": match, "do": does})["id"])


def fired(place: Place, ident: str) -> bool:
    """Whether a fault has happened."""
    return any(rule["id"] == ident and rule["fired"] for rule in ask(place, "/sandbox/faults")["faults"])


def test_g08_a_command_in_doubt_that_is_asked_to_end(stage: Stage, repo_root: Path) -> None:
    """G08, A01: SIGTERM while the second leg's request is on its way, which never arrives: what the command
    waits for in all is less than twenty seconds by the venue's clock, the first leg is given back, exit 5.
    """
    stage.fault("drop_request", match={"nth": 2}, how="reset")
    before = int(stage.truth()["now"])
    code, said = struck(stage, repo_root, signal.SIGTERM, point="wire.after_send", hit=2, words=ENTRY.words)
    assert code == 5, said
    assert int(stage.truth()["now"]) - before <= LONGEST_END * 1000
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    assert stage.json("reconcile").code == 0
    stage.healed("uncertain_order")


def test_g08_a_step_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """G08: a step that goes on for too long after the signal is ended as by a second one; a step that ends in
    time leaves nothing behind that could strike later.
    """
    assert timedelta(seconds=LONGEST_END) > signals.HARD_LIMIT
    monkeypatch.setattr(signals, "HARD_LIMIT", timedelta(milliseconds=50))
    stop, handlers = StopRequest(), [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]

    def endless() -> None:
        with signals.finishing_clips(stop):
            signal.raise_signal(signal.SIGTERM)
            threading.Event().wait(LONGEST_END)

    with pytest.raises(KeyboardInterrupt):
        endless()
    assert stop.requested
    monkeypatch.undo()
    with signals.finishing_clips(StopRequest()):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == handlers


@pytest.mark.proof
@pytest.mark.xdist_group("daemon")
@pytest.mark.parametrize("deaf", [False, True], ids=["answers", "deaf"])
def test_g08_a_command_in_doubt_on_the_real_clock(place: Place, deaf: bool) -> None:
    """G08, A01: the same on the real clock, at a venue that answers and at one of which every private answer
    hangs from then on: out in time.
    """
    lost = armed(place, {"path": CREATE, "nth": 2}, verb="drop_request", how="reset")
    process = place.start(*place.words[3:], "--json", "open", "BTC", "--notional", "400", "--yes")
    until(lambda: fired(place, lost))
    for path in PRIVATE if deaf else ():
        armed(place, {"path": path, "times": 0}, verb="apply_then_lose", how="hang")
    code, said = terminated(process)  # fails where it lasts longer than LONGEST_END
    assert code == (130 if deaf else 5), said
