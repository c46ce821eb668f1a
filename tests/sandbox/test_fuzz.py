"""Mutated requests on every end point, with time, the world and faults between them."""

from tests.sandbox.fuzzing import Fuzzer, check_identities

COUNT = 1500


def test_mutated_requests_neither_crash_nor_corrupt() -> None:
    """Each gets an envelope or a page of the exchange's own, many are done and many refused in many ways, and
    afterwards log, fills, orders, positions and wallets still tie.
    """
    fuzzer = Fuzzer(7)
    fuzzer.fire(COUNT)
    truth = fuzzer.finish()
    check_identities(truth)
    assert len(truth["executions"]) > 50
    assert len(fuzzer.codes) > 15
    assert fuzzer.codes[0] > COUNT / 5
