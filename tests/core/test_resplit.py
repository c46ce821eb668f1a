"""A payment of funding split anew: the corrections lead to the books that a right split would have made."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account, Journal
from fundarb.core.resplit import received, resplit, resplit_key
from fundarb.core.transactions import Share, transaction_journal
from tests.core.test_ledger_postings import POSITION

D = Decimal
OTHER = replace(POSITION, position_id="p-ZZZZZZZZZZ")
ROW = Transaction(
    id="1",
    kind="SETTLEMENT",
    coin="USDT",
    category="linear",
    symbol="BTCUSDT",
    side=None,
    time=datetime(2026, 1, 5, 8, tzinfo=UTC),
    quantity=D("0.3"),
    size=D("-0.3"),
    price=D(50_000),
    funding=D("1.00000001"),
    fee=D(0),
    cash_flow=D(0),
    change=D("1.00000001"),
    balance=D(100),
    fee_rate=D("-0.0001"),
    trade_id="",
    order_id="",
    link_id="",
)
contracts = st.decimals(min_value=-5, max_value=5, places=3).filter(bool)
shares = st.one_of(
    st.none(),
    st.builds(Share, st.sampled_from([POSITION, OTHER]), contracts, st.one_of(st.none(), contracts)),
)


def standing(journals: list[Journal]) -> dict[tuple[Account, str | None], Decimal]:
    """What journals add up to by account and owner; nothing where that is zero."""
    found: dict[tuple[Account, str | None], Decimal] = {}
    for journal in journals:
        for entry in journal.entries:
            key = (entry.account, entry.position_id)
            found[key] = found.get(key, D(0)) + entry.amount
    return {key: amount for key, amount in found.items() if amount}


@given(split=st.lists(shares, min_size=2, max_size=5))
def test_corrections_lead_to_the_right_split(split: list[Share | None]) -> None:
    """However often a payment is split anew, what stands is what the last share alone would have booked, the
    wallet is moved once, and what each position received is told.
    """
    journals = [transaction_journal(ROW, {}, share=split[0]).journal]
    for share in split[1:]:
        booked = resplit(ROW, journals, share=share)
        if booked is not None:
            assert booked.holdings == {}
            journals.append(booked.journal)
    right = transaction_journal(ROW, {}, share=split[-1]).journal
    assert standing(journals) == standing([right])
    assert len({journal.key for journal in journals}) == len(journals)
    assert resplit(ROW, journals, share=split[-1]) is None
    told: dict[str, Decimal] = {}
    for journal in journals:
        for position_id, amount in received(journal).items():
            told[position_id] = told.get(position_id, D(0)) + amount
    assert {name: amount for name, amount in told.items() if amount} == {
        name: amount for name, amount in received(right).items() if amount
    }


def test_a_session_paid_out_is_left_as_it_was_split() -> None:
    """A row that pays a session's profit moved the entry of a short, by which fills were realised since."""
    row = replace(ROW, cash_flow=D(4), change=ROW.change + 4)
    booked = transaction_journal(row, {}, share=None).journal
    assert resplit(row, [booked], share=Share(POSITION, D("-0.3"))) is None


def test_each_correction_has_a_key_of_its_own() -> None:
    """The key names the row and which correction of it this is."""
    booked = transaction_journal(ROW, {}, share=None).journal
    correction = resplit(ROW, [booked], share=Share(POSITION, D("-0.3")))
    assert correction is not None
    assert correction.journal.key == resplit_key(ROW, 1) == f"share:1:{ROW.key}"
    assert received(correction.journal) == {POSITION.position_id: ROW.funding}
