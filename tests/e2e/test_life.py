"""A position's life over the wire."""

from __future__ import annotations

from tests.e2e.stage import LOT, D, Stage


def test_open_and_close(stage: Stage) -> None:
    """An open ends hedged within one lot, a close ends flat, and books and venue agree after each."""
    opened = stage.open()
    assert opened.code == 0, opened.out
    assert opened.data["state"] == "HEDGED"
    assert abs(stage.coins() - stage.short()) <= LOT
    stage.check()
    closed = stage.close()
    assert closed.code == 0, closed.out
    assert closed.data["state"] == "CLOSED"
    assert stage.short() == 0
    assert stage.coins() < D("0.0002")
    stage.check()
