"""Persons of seeded stories: who answers all that is asked leaves nothing open, or the verdict says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from fundarb.engine.decide import Decider
from tests.proof.episode import Episode
from tests.proof.verdict import verdict

THOROUGH = 8
"""A story with a person who is asked, and who leaves nothing unanswered in the end."""


@pytest.mark.parametrize("deaf", [False, True])
def test_the_verdict_hears_of_answers_without_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    """A short closed by hand is asked about until an answer is carried out; if none is, the story fails."""
    if deaf:
        monkeypatch.setattr(Decider, "_carry_out", lambda _decider, _item, _choice: None)
    episode = Episode(THOROUGH, tmp_path)
    episode.attempt("begin", episode.recover)
    episode.command("open", {"base": "BTC", "notional": "3300"})
    episode.venue.world.manual_close("BTCUSDT")
    episode.touched.add("BTC")
    episode.heal()
    found = verdict(episode)
    episode.life.end()
    assert any("perp_size:BTCUSDT" in line and "still asks" in line for line in found) is deaf
    assert deaf or found == []
