"""Mutated requests on every end point, with time, the world and faults between them."""

import pytest

from fundarb.sandbox.world import VERBS
from tests.sandbox.fuzzing import PLAUSIBLE, Fuzzer, check_identities

COUNT = 1000


def test_every_verb_of_the_world_is_tried() -> None:
    """None is left out because of what it does to the others."""
    assert PLAUSIBLE.keys() == VERBS.keys()


@pytest.mark.proof
def test_mutated_requests_neither_crash_nor_corrupt() -> None:
    """Each gets an envelope or a page of the exchange's own, many are done and many refused in many ways, and
    afterwards log, fills, orders, positions and wallets still tie.
    """
    fuzzer = Fuzzer(7)
    fuzzer.fire(COUNT)
    truth = fuzzer.finish()
    check_identities(truth)
    assert len(truth["executions"]) > 50
    coins = {row["feeCurrency"] for row in truth["executions"] if row["execType"] == "Trade"}
    assert {"MNT", "USDT", "BTC"} <= coins
    assert len(fuzzer.codes) > 15
    assert fuzzer.codes[0] > COUNT / 5
