"""Scenarios in which the venue, another hand or another process changes the account: families D and H, over
the sandbox's control API, through real command lines.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.clock import SystemClock
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from tests.e2e.stage import LOT, Stage

D = Decimal
PERP = "perp_size:BTCUSDT"


def policy(stage: Stage, word: str) -> None:
    """What ``fundarb.toml`` says about legs that were closed by hand."""
    (stage.home / "fundarb.toml").write_text(f'[reconcile]\nmanual_close = "{word}"\n', encoding="utf-8")


def matched(stage: Stage) -> None:
    """Both legs agree at the venue."""
    assert abs(stage.coins() - stage.short()) <= max(LOT, D("0.02") * stage.short())


def frozen(stage: Stage) -> bool:
    """Whether BTC is frozen."""
    with stage.store() as store:
        return store.blocks.get("BTC", BlockKind.FREEZE) is not None


def states(stage: Stage) -> list[PositionState]:
    """The states of all positions, oldest first."""
    with stage.store() as store:
        return [position.state for position in store.positions.all()]


# ---------------------------------------------------------------------------------------- D: the venue acts


def test_d01_adl_takes_a_part_of_the_short(stage: Stage) -> None:
    """D01: 40 % of the short is deleveraged: the coins follow, recorded as ADL, frozen, one alert; the audit
    finds nothing.
    """
    stage.open()
    short = stage.short()
    stage.world("adl", symbol="BTCUSDT", fraction="0.4")
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert [row["kind"] for row in ran.data["repaired"]] == ["unhedged"]
    assert short * D("0.5") < stage.short() < short * D("0.7")
    matched(stage)
    assert stage.alerts() == ["adl"]
    assert frozen(stage)
    stage.check()
    assert stage.json("audit").code == 0
    assert stage.open("BTC", "100", "--add").code == 3


@pytest.mark.parametrize("fraction", ["1", "0.9"])
def test_d01_adl_takes_a_strangers_short_too(stage: Stage, fraction: str) -> None:
    """D01: a stranger is short in the same symbol and ADL takes more than ours alone: ours is booked as taken
    and its coins go at once, without being asked; what is left is the stranger's.
    """
    stage.open()
    stage.world("manual_order", category="linear", symbol="BTCUSDT", side="Sell", qty="0.006")
    stage.json("reconcile")
    stage.world("adl", symbol="BTCUSDT", fraction=fraction)
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert [row["kind"] for row in ran.data["repaired"]] == ["unhedged"]
    assert stage.coins() < LOT
    assert states(stage) == [PositionState.CLOSED]
    assert stage.short() <= D("0.006")
    assert "adl" in stage.alerts()
    assert frozen(stage)


def test_d05_the_venue_sells_coins_to_repay(stage: Stage) -> None:
    """D05: the venue sells 10 % of the coins: its act, the perp is reduced to match without being asked."""
    stage.open()
    stage.world("auto_repay", coin="BTC", fraction="0.1")
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert [row["kind"] for row in ran.data["repaired"]] == ["spot_short", "unhedged"]
    assert "SPOT_REPAYMENT_SELL" in ran.data["repaired"][0]["action"]
    matched(stage)
    assert stage.alerts() == ["coins_taken"]
    assert frozen(stage)
    stage.check()
    assert stage.json("audit").code == 0


def test_d07_a_perp_is_delivered_before_anybody_looked(stage: Stage) -> None:
    """D07: the perp is settled and gone while nobody watched: the coins are sold, the position ends, frozen,
    one alert; later starts work with the market missing.
    """
    stage.open()
    stage.world("delist", symbol="BTCUSDT", at="2026-01-05T01:00:00Z")
    stage.advance("2h")
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert states(stage) == [PositionState.CLOSED]
    assert stage.coins() < LOT
    assert frozen(stage)
    assert stage.alerts() == ["delivery"]
    for _ in range(2):
        assert stage.json("reconcile").code == 0
    stage.advance("9h")
    assert stage.json("reconcile").code == 0
    assert stage.json("open", "ETH", "--notional", "200", "--yes").code == 0


def test_a_deposit_that_the_log_shows_late_is_in_the_opening(stage: Stage) -> None:
    """The account was funded in the instant of the first start and the log shows it later: it is in the
    opening balance, and not booked once more.
    """
    stage.fault("lag_reads", ms=20_000, match={"path": "/v5/account/transaction-log", "times": 0})
    assert stage.json("reconcile").code == 0
    stage.heal()
    stage.advance("2m")
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    stage.healed()


def test_what_a_stranger_did_before_ends_no_proof(stage: Stage) -> None:
    """A stranger closed what they held in the instant of our plan; later a request is lost: what counts is
    what changed since, so the order is proved absent and the deed is done.
    """
    for side, pause in (("Buy", "10s"), ("Sell", "0s")):
        stage.world("manual_order", category="linear", symbol="BTCUSDT", side=side, qty="0.002")
        stage.advance(pause)
        stage.json("reconcile")
    assert stage.open().code == 0
    stage.advance("10m")
    stage.fault("drop_request", how="close")
    ran = stage.open("BTC", "400", "--add")
    assert ran.code == 0, ran.out
    assert "ABSENT" in {order["state"] for order in ran.data["orders"]}
    assert stage.json("reconcile").code == 0
    assert stage.json("audit").code == 0


# ---------------------------------------------------------------------------------------- H: other hands


def test_h01_a_second_writer_is_refused(stage: Stage) -> None:
    """H01: while another process is the writer, reconcile and resolve end with 7 and change nothing."""
    stage.open()
    newest = stage.truth()["requests"]
    with Store.open(url_of(stage.database), clock=SystemClock()) as store:
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("command")
        try:
            for words in (("reconcile",), ("resolve", PERP, "--unwind")):
                ran = stage.json(*words, "--lock-wait", "0s")
                assert ran.code == 7, ran.out
                assert ran.envelope["error"]["kind"] == "locked"
        finally:
            lock.release()
    assert [
        row for row in stage.truth()["requests"][len(newest) :] if row["path"] == "/v5/order/create"
    ] == []


@pytest.mark.parametrize("answer", ["unwind", "adopt", "rehedge"])
def test_h03_closed_by_hand_and_answered(stage: Stage, answer: str) -> None:
    """H03, policy ask: frozen and alerted; the answer settles it: exit 0, both legs agree, nothing stays."""
    stage.open()
    short = stage.short()
    stage.world("manual_close", symbol="BTCUSDT")
    asked = stage.json("reconcile", "--repair")
    assert asked.code == 6
    (row,) = asked.data["mismatches"]
    assert row["id"] == PERP
    assert set(row["answers"]) == {"rehedge", "unwind", "adopt", "ignore"}
    assert f"fundarb resolve {PERP}" in row["action"]
    ran = stage.json("resolve", PERP, f"--{answer}")
    assert ran.code == 0, ran.out
    assert ran.data["settled"]
    assert ran.data["answer"] == answer
    assert stage.short() == (short if answer == "rehedge" else 0)
    matched(stage)
    assert stage.alerts() == ["perp_size"]
    assert not frozen(stage)
    stage.check()
    assert stage.json("audit").code == 0


@pytest.mark.parametrize("word", ["unwind", "rehedge"])
def test_h03_closed_by_hand_and_mended_by_policy(stage: Stage, word: str) -> None:
    """H03 by policy: ``reconcile`` alone only says so, ``--dry-run`` says what would be done, ``--repair``
    does it.
    """
    policy(stage, word)
    stage.open()
    short = stage.short()
    stage.world("manual_close", symbol="BTCUSDT")
    assert stage.json("reconcile").code == 6
    dry = stage.json("reconcile", "--repair", "--dry-run")
    assert dry.code == 6
    said = {"unwind": "reduced to match", "rehedge": "restored"}[word]
    assert said in dry.data["mismatches"][0]["action"]
    assert stage.short() == 0
    ran = stage.json("reconcile", "--repair")
    assert ran.code == 0, ran.out
    assert stage.short() == (short if word == "rehedge" else 0)
    matched(stage)
    stage.check()


def test_h03_ignored_until_it_changes(stage: Stage) -> None:
    """An ignored difference is not shown again, the coin stays frozen, and a change brings it back."""
    stage.open()
    stage.world("manual_order", category="linear", symbol="BTCUSDT", side="Buy", qty="0.002")
    assert stage.json("reconcile").code == 6
    assert stage.json("resolve", PERP, "--ignore").code == 0
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert [row["id"] for row in ran.data["ignored"]] == [PERP]
    assert "ignored" in stage.run("reconcile").out
    assert frozen(stage)
    stage.world("manual_order", category="linear", symbol="BTCUSDT", side="Buy", qty="0.001")
    assert stage.json("reconcile").code == 6


def test_h05_a_foreign_position_in_our_symbol(stage: Stage) -> None:
    """H05: somebody else's contracts in the same perp: untouched whatever is asked, ours can be closed."""
    policy(stage, "unwind")
    stage.open()
    stage.world("manual_order", category="linear", symbol="BTCUSDT", side="Sell", qty="0.003")
    for words in (("reconcile",), ("reconcile", "--repair")):
        ran = stage.json(*words)
        assert ran.code == 6
        assert [row["kind"] for row in ran.data["mismatches"]] == ["foreign_position"]
    assert frozen(stage)
    assert stage.close().code == 0
    assert stage.short() == D("0.003")
    assert states(stage) == [PositionState.CLOSED]


def test_foreign_business_elsewhere_is_told_once(stage: Stage) -> None:
    """A position and coins in symbols that we do not hold: reported as a note, clean, nothing frozen."""
    stage.open()
    stage.world("manual_order", category="linear", symbol="ETHUSDT", side="Sell", qty="0.1")
    stage.world("transfer", coin="ETH", amount="1")
    for _ in range(2):
        ran = stage.json("reconcile")
        assert ran.code == 0, ran.out
        assert [row["kind"] for row in ran.data["mismatches"]] == ["foreign_position"]
    assert stage.alerts() == []
    assert not frozen(stage)


def test_a_second_instance_halts_until_a_person_has_looked(stage: Stage, tmp_path: Path) -> None:
    """Another database trades on the same account: halted, exit 6, never mended; the answer lets it go on."""
    other = Stage.__new__(Stage)
    other.home, other.url, other.clock = tmp_path / "other", stage.url, stage.clock
    other.home.mkdir()
    assert other.json("reconcile").code == 0  # born before the other one trades
    stage.open()
    stage, other = other, stage
    ran = stage.json("reconcile", "--repair")
    assert ran.code == 6
    kinds = {row["kind"] for row in ran.data["mismatches"]}
    assert "second_instance" in kinds
    with stage.store() as store:
        assert store.blocks.get("*", BlockKind.HALT) is not None
    for row in ran.data["mismatches"]:
        if row["kind"] == "second_instance":
            assert stage.json("resolve", row["id"], "--rehedge").code == 3
            stage.json("resolve", row["id"], "--ignore")
    assert stage.json("reconcile").code == 0
    assert stage.json("resume").code == 0


# ------------------------------------------------------------------------------------------------ the words


@pytest.mark.parametrize("answers", [(), ("--unwind", "--ignore")])
def test_resolve_takes_exactly_one_answer(stage: Stage, answers: tuple[str, ...]) -> None:
    """No answer, or two: a usage error that names all four."""
    ran = stage.json("resolve", PERP, *answers)
    assert ran.code == 2
    assert "--rehedge" in ran.out


def test_resolve_of_nothing_is_a_usage_error(stage: Stage) -> None:
    """An id that reconcile does not show: 2, naming what there is."""
    stage.open()
    ran = stage.json("resolve", "perp_size:XXXUSDT", "--ignore")
    assert ran.code == 2
    assert "books and venue agree" in ran.out


def test_transfers_airdrops_and_dust_change_nothing(stage: Stage) -> None:
    """USDT in and out, coins of the held kind in: booked as external, clean, nothing traded or frozen."""
    stage.open()
    orders = len(stage.truth()["orders"])
    for coin, amount in (("USDT", "500"), ("USDT", "-200"), ("BTC", "0.5"), ("PEPE", "0.5")):
        stage.world("transfer", coin=coin, amount=amount)
        assert stage.json("reconcile").code == 0
    assert len(stage.truth()["orders"]) == orders
    assert not frozen(stage)
    stage.check()
    assert stage.json("audit").code == 0


def test_fees_in_another_coin(stage: Stage) -> None:
    """MNT fee deduction: the full quantity arrives, the fees come out of MNT, the books tie."""
    stage.world("transfer", coin="MNT", amount="500")
    stage.world("fees", category="spot", mnt=True)
    stage.world("fees", category="linear", mnt=True)
    assert stage.open().code == 0
    assert stage.close().code == 0
    stage.check()
    assert stage.json("audit").code == 0


def test_interest_on_a_borrowed_coin(stage: Stage) -> None:
    """Borrowed USDT costs interest every hour: booked as interest, books tie, nothing is done to the legs."""
    stage.open()
    stage.world("borrow", coin="USDT", amount="1000")
    stage.advance("3h")
    assert stage.json("reconcile").code == 0
    stage.check()
    assert stage.json("audit").code == 0
