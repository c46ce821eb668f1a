"""A hypothesis state machine over the same world as the seeded episodes: it searches for the shortest story
that breaks something.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.proof.episode import Episode
from tests.proof.verdict import verdict

DICE = st.randoms(use_true_random=False)


class Trading(RuleBasedStateMachine):
    """Whatever order things happen in: the wire is clean all the while, and all is well in the end."""

    def __init__(self) -> None:
        """A bot at rest."""
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="fundarb-")
        self.episode = Episode(0, Path(self._folder.name))
        self.episode.attempt("begin", self.episode.recover)

    @rule(die=DICE)
    def trade(self, die: Random) -> None:
        """A person's command."""
        self.episode.throw_with(die)
        self.episode.trade()

    @rule(die=DICE)
    def work(self, die: Random) -> None:
        """A job."""
        self.episode.throw_with(die)
        self.episode.work()

    @rule(die=DICE)
    def nap(self, die: Random) -> None:
        """Time."""
        self.episode.throw_with(die)
        self.episode.nap()

    @rule(die=DICE)
    def world(self, die: Random) -> None:
        """Prices, the venue, strangers."""
        self.episode.throw_with(die)
        self.episode.world()

    @rule(die=DICE)
    def mood(self, die: Random) -> None:
        """A better or worse venue."""
        self.episode.throw_with(die)
        self.episode.mood()

    @rule(die=DICE)
    def doom(self, die: Random) -> None:
        """A death to come, or a restart."""
        self.episode.throw_with(die)
        self.episode.doom()

    @invariant()
    def the_wire_is_clean(self) -> None:
        """Every request had its row, once, with its very parameters, outside any transaction."""
        assert not self.episode.witness.wrong, self.episode.witness.wrong

    def teardown(self) -> None:
        """Calm, and the verdict."""
        self.episode.throw_with(Random(0))
        self.episode.heal()
        found = verdict(self.episode)
        self.episode.life.end()
        self._folder.cleanup()
        assert not found, "\n".join([*found, "story:", *self.episode.story])


TestTrading = pytest.mark.proof(Trading.TestCase)
TestTrading.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
