"""The rule books: every limit at its boundary, all reasons at once, and hedges that no entry gate
holds back.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import CoinBalance, Wallet
from fundarb.core.correcting import corrected, top_up, trim
from fundarb.core.instants import iso
from fundarb.core.market import MarketSnapshot
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Approved, Refused, Verdict
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.risk import (
    OpenFacts,
    RiskLimits,
    Traffic,
    WireOrder,
    blocks,
    check_correction,
    check_entry_order,
    check_open,
    cool_down,
    day_breaker,
    freezes,
    usdt_price,
)
from fundarb.core.settling import settlement_wait
from fundarb.core.sizing import Frame
from tests.core.make import EIGHT_HOURS, NOW, D, funding, pair, perp_quote, spot_quote

LIMITS = RiskLimits()
SECOND = timedelta(seconds=1)
SPOT = spot_quote(price="100", bid=D("99.99"), ask=D("100.01"))
PERP = perp_quote(price="100", bid=D("99.99"), ask=D("100.01"), funding=funding(ahead=timedelta(hours=4)))


def usdt(wallet: str = "10000", **changes: Any) -> CoinBalance:
    """A USDT balance."""
    balance = CoinBalance(
        coin="USDT",
        wallet=D(wallet),
        locked=D(0),
        borrowed=D(0),
        spot_borrowed=D(0),
        accrued_interest=D(0),
        equity=D(wallet),
        usd_value=D(wallet),
        unrealised_pnl=D(0),
        collateral=True,
    )
    return replace(balance, **changes)


def purse(*coins: CoinBalance, available: str | None = None) -> Wallet:
    """An account with the given coins."""
    return Wallet(
        total_equity=D(10_000),
        margin_balance=None,
        available=D(available) if available else None,
        initial_margin_rate=None,
        maintenance_margin_rate=None,
        coins={coin.coin: coin for coin in coins},
    )


def facts(**changes: Any) -> OpenFacts:
    """A healthy moment to open 1000 USDT of BTC."""
    return replace(
        OpenFacts(
            pair=pair(),
            notional=D(1000),
            held={},
            blocks=(),
            now=NOW,
            quote_age=SECOND,
            quotes_apart=timedelta(),
            clock_offset=timedelta(),
            spot=SPOT,
            perp=PERP,
            wallet=purse(usdt()),
        ),
        **changes,
    )


def codes(verdict: Verdict) -> list[str]:
    """The reason codes of a refusal; empty for an approval."""
    return [reason.code for reason in verdict.reasons] if isinstance(verdict, Refused) else []


def block(scope: str = GLOBAL_SCOPE, kind: BlockKind = BlockKind.PAUSE, **changes: Any) -> Block:
    """An active block."""
    return replace(Block(scope=scope, kind=kind, reason="a reason", since=NOW), **changes)


# ------------------------------------------------------------ the rules of opening


def test_a_healthy_open_is_approved_without_warnings() -> None:
    """Nothing stands against it, nothing is remarked."""
    assert check_open(facts(), LIMITS) == Approved(())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"notional": D(0)}, ["bad_notional"]),
        ({"notional": D("1000.01")}, ["max_per_coin"]),
        ({"held": {"BTC": D("0.01")}}, ["max_per_coin"]),
        ({"held": {"ETH": D("4000.01")}}, ["max_gross"]),
        ({"held": {"ETH": D(4000)}}, []),
        ({"held": {c: D(1) for c in "ABCDE"}}, ["max_positions"]),
        ({"held": {c: D(1) for c in "ABCD"}}, []),
        ({"held": {**{c: D(1) for c in "ABCD"}, "BTC": D(1)}, "notional": D(999)}, []),
        ({"quote_age": 5 * SECOND}, []),
        ({"quote_age": 5 * SECOND + timedelta(microseconds=1)}, ["stale_quotes"]),
        ({"quotes_apart": 2.5 * SECOND}, []),
        ({"quotes_apart": -3 * SECOND}, ["quotes_apart"]),
        ({"clock_offset": timedelta(milliseconds=-500)}, []),
        ({"clock_offset": timedelta(milliseconds=-501)}, ["clock_offset"]),
        ({"spot": replace(SPOT, bid=D(0))}, ["bad_price"]),
        ({"perp": replace(PERP, mark=D(-1))}, ["bad_price"]),
        ({"spot": replace(SPOT, bid=SPOT.ask)}, ["crossed_quote"]),
        ({"perp": replace(PERP, bid=D(101))}, ["crossed_quote"]),
        ({"perp": replace(PERP, mark=D(103))}, []),
        ({"perp": replace(PERP, mark=D("103.01"))}, ["basis_implausible"]),
        ({"perp": replace(PERP, mark=D("96.9"))}, ["basis_implausible"]),
        ({"perp": replace(PERP, funding=None)}, ["no_funding"]),
        ({"perp": replace(PERP, funding=funding(ahead=timedelta(0)))}, ["next_funding_past"]),
        ({"usdt_price": D("0.98")}, []),
        ({"usdt_price": D("0.97")}, ["usdt_depegged"]),
        ({"wallet": purse(usdt(borrowed=D(1)))}, ["usdt_borrowed"]),
        ({"wallet": purse()}, ["insufficient_spot_balance", "insufficient_margin"]),
        ({"wallet": purse(usdt("1500"))}, ["insufficient_margin"]),
        ({"wallet": purse(usdt("1703.01"))}, []),
        ({"wallet": purse(usdt("1703"))}, ["insufficient_margin"]),
        ({"wallet": purse(usdt("2000", locked=D(500)))}, ["insufficient_margin"]),
        ({"wallet": purse(usdt("2000", unrealised_pnl=D(-500)))}, ["insufficient_margin"]),
        ({"wallet": purse(usdt("1703.01", unrealised_pnl=D(500)))}, []),
        ({"wallet": purse(usdt("2000", spot_borrowed=D(500)))}, ["insufficient_margin"]),
        ({"wallet": purse(usdt(), available="499")}, ["insufficient_margin"]),
        ({"wallet": purse(usdt(), available="500")}, []),
        ({"held": {"ETH": D(1000)}, "wallet": purse(usdt("2403.01"))}, []),
        ({"held": {"ETH": D(1000)}, "wallet": purse(usdt("2403"))}, ["insufficient_margin"]),
    ],
)
def test_every_rule_at_its_boundary(changes: dict[str, Any], expected: list[str]) -> None:
    """Each rule refuses just beyond its limit and not at it, with exactly its own reason."""
    assert codes(check_open(facts(**changes), LIMITS)) == expected


def test_all_reasons_are_listed_together() -> None:
    """One answer names everything that would have to change."""
    bad = facts(
        notional=D(6000),
        blocks=(block(),),
        quote_age=timedelta(minutes=1),
        spot=replace(SPOT, bid=D(0)),
        wallet=purse(usdt("100")),
    )
    assert codes(check_open(bad, LIMITS)) == [
        "block_pause",
        "max_per_coin",
        "max_gross",
        "stale_quotes",
        "bad_price",
        "insufficient_spot_balance",
        "insufficient_margin",
    ]


def test_a_yield_below_the_minimum_only_warns_a_person() -> None:
    """The gate refuses a job's open and warns a person; unknown figures do neither."""
    low = facts(net_apr=D("0.01"), min_net_apr=D("0.05"))
    warned = check_open(low, LIMITS)
    assert isinstance(warned, Approved)
    assert [reason.code for reason in warned.warnings] == ["net_apr_below_minimum"]
    assert codes(check_open(replace(low, automatic=True), LIMITS)) == ["net_apr_below_minimum"]
    equal = facts(net_apr=D("0.05"), min_net_apr=D("0.05"), automatic=True)
    assert check_open(equal, LIMITS) == Approved(())
    assert check_open(facts(net_apr=D(-1), automatic=True), LIMITS) == Approved(())


def test_a_close_settlement_and_a_low_leverage_are_remarked() -> None:
    """What only delays or changes the open is a warning."""
    near = facts(
        pair=pair(perp_max_leverage=D("1.5")), perp=replace(PERP, funding=funding(ahead=10 * SECOND))
    )
    verdict = check_open(near, LIMITS)
    assert isinstance(verdict, Approved)
    assert [reason.code for reason in verdict.warnings] == ["settlement_window", "leverage_reduced"]


@pytest.mark.parametrize(
    ("ahead", "settlement", "words"),
    [
        (10 * SECOND, NOW + 10 * SECOND, "a settlement is close"),
        (EIGHT_HOURS, NOW, "a settlement has just been"),
        (EIGHT_HOURS - 14 * SECOND, NOW - 14 * SECOND, "a settlement has just been"),
    ],
)
def test_the_settlement_that_an_entry_waits_for_is_named(
    ahead: timedelta, settlement: datetime, words: str
) -> None:
    """Shortly before a settlement it is the coming one, right at it and shortly after that very one."""
    verdict = check_open(facts(perp=replace(PERP, funding=funding(ahead=ahead))), LIMITS)
    (warning,) = verdict.warnings
    assert warning.message.startswith(f"{words} ({iso(settlement)})")


def test_blocks_count_for_their_scope_and_time() -> None:
    """Global blocks and those of the coin count while they last; those of other coins do not."""
    found = blocks(
        [
            block(kind=BlockKind.HALT, needs_person=True),
            block("BTC", BlockKind.FREEZE),
            block("ETH", BlockKind.FREEZE),
            block("BTC", BlockKind.COOL_DOWN, until=NOW),
            block("BTC", BlockKind.COOL_DOWN, until=NOW + SECOND),
        ],
        "BTC",
        now=NOW,
    )
    assert [reason.code for reason in found] == ["block_halt", "block_freeze", "block_cool_down"]


@pytest.mark.parametrize(
    ("before", "wait"),
    [
        (timedelta(hours=4), 0),
        (15.001 * SECOND, 0),
        (15 * SECOND, 30),
        (5 * SECOND, 20),
        (timedelta(0), 15),
        (-10 * SECOND, 5),
        (-20 * SECOND, 0),
        (EIGHT_HOURS, 15),
        (EIGHT_HOURS - 14 * SECOND, 1),
        (EIGHT_HOURS - 15 * SECOND, 0),
        (EIGHT_HOURS + SECOND, 16),
        (EIGHT_HOURS + 6 * SECOND, 0),
    ],
)
def test_entries_wait_for_a_settlement(before: timedelta, wait: int) -> None:
    """None starts unless now + 2·t_hedge is before the settlement less 5 s, and none until 15 s after one."""
    assert settlement_wait(NOW, funding(ahead=before), t_hedge=5 * SECOND) == wait * SECOND


def test_the_dollar_price_of_usdt() -> None:
    """The account's own valuation counts first, then a major coin's index; without either it is unknown."""
    snapshot = MarketSnapshot(
        spot={"BTCUSDT": replace(SPOT, usd_index=D(97))}, perp={}, spot_as_of=NOW, perp_as_of=NOW
    )
    assert usdt_price(snapshot) == D("0.97")
    assert usdt_price(snapshot, purse()) == D("0.97")
    assert usdt_price(snapshot, purse(usdt("100", usd_value=D(99)))) == D("0.99")
    assert usdt_price(snapshot, purse(usdt("0.5", usd_value=D("0.6")))) == D("0.97")
    assert usdt_price(snapshot, purse(usdt(usd_value=None))) == D("0.97")
    for broken in ({}, {"BTCUSDT": SPOT}, {"ETHUSDT": replace(SPOT, usd_index=D(1), bid=D(0), ask=D(0))}):
        assert usdt_price(replace(snapshot, spot=broken)) is None


# ------------------------------------------------------------ the rules of the wire


def order(leg: Leg = Leg.SPOT, side: Side = Side.BUY, **changes: Any) -> WireOrder:
    """A spot buy of 4 coins at 100."""
    return replace(
        WireOrder(leg=leg, side=side, quantity=D(4), limit_price=D(100), reduce_only=False), **changes
    )


CALM = Traffic(entries_last_minute=29, open_intents=3, gross=D(5000))


@pytest.mark.parametrize(
    ("changes", "traffic", "reference", "expected"),
    [
        ({}, {}, "100", []),
        ({"quantity": D("5.15")}, {}, "100", []),
        ({"quantity": D("5.1501")}, {}, "100", ["order_too_large"]),
        ({"quantity": D(0)}, {}, "100", ["order_too_large"]),
        ({}, {"entries_last_minute": 30}, "100", ["too_many_orders"]),
        ({}, {"open_intents": 4}, "100", ["too_many_open"]),
        ({}, {"gross": D("5000.01")}, "100", ["max_gross"]),
        ({"limit_price": D(103)}, {}, "100", []),
        ({"limit_price": D("103.1")}, {}, "100", ["outside_collar"]),
        ({"limit_price": D("96.9")}, {}, "100", ["outside_collar"]),
        ({"limit_price": D(0)}, {}, "100", ["outside_collar"]),
        ({}, {}, None, ["no_reference_price"]),
        ({}, {}, "0", ["no_reference_price"]),
        (
            {"quantity": D(99)},
            {"entries_last_minute": 99, "open_intents": 9, "gross": D(9999)},
            None,
            ["order_too_large", "too_many_orders", "too_many_open", "max_gross", "no_reference_price"],
        ),
    ],
)
def test_hard_caps_of_entries(
    changes: dict[str, Any], traffic: dict[str, Any], reference: str | None, expected: list[str]
) -> None:
    """Each cap holds just beyond its limit, whatever the strategy asked, and all are named."""
    verdict = check_entry_order(
        order(**changes),
        replace(CALM, **traffic),
        reference=D(reference) if reference else None,
        limits=LIMITS,
    )
    assert codes(verdict) == expected


@pytest.mark.parametrize(
    ("leg", "side", "quantity", "reduce_only", "book", "expected"),
    [
        (Leg.SPOT, Side.SELL, "10", False, ("10", "0"), []),
        (Leg.SPOT, Side.SELL, "10.01", False, ("10", "0"), ["sells_too_much"]),
        (Leg.SPOT, Side.BUY, "4", False, ("6", "10"), []),
        (Leg.SPOT, Side.BUY, "4.19", False, ("6", "10"), []),
        (Leg.SPOT, Side.BUY, "4.2", False, ("6", "10"), ["over_hedges"]),
        (Leg.SPOT, Side.BUY, "0.2", False, ("20", "10"), ["over_hedges"]),
        (Leg.PERP, Side.SELL, "4.1", False, ("10", "6"), []),
        (Leg.PERP, Side.SELL, "4.2", False, ("10", "6"), ["over_hedges"]),
        (Leg.PERP, Side.BUY, "10", True, ("0", "10"), []),
        (Leg.PERP, Side.BUY, "10", False, ("0", "10"), ["not_reduce_only"]),
        (Leg.PERP, Side.BUY, "11", False, ("0", "10"), ["not_reduce_only", "closes_too_much"]),
        (Leg.PERP, Side.BUY, "0", True, ("0", "10"), ["bad_quantity"]),
    ],
)
def test_corrections_are_bound_by_the_book(
    *, leg: Leg, side: Side, quantity: str, reduce_only: bool, book: tuple[str, str], expected: list[str]
) -> None:
    """Reductions never exceed their leg, hedges overshoot by one lot at most, buy-backs are reduce-only."""
    wanted = order(leg, side, quantity=D(quantity), reduce_only=reduce_only)
    held = Book(D(book[0]), D(book[1]))
    assert codes(check_correction(wanted, held, multiplier=D(1), lot=D("0.11"))) == expected


@pytest.mark.parametrize("delta", ["0", "-0.04", "0.04"])
@pytest.mark.parametrize(("leg", "side"), [(Leg.SPOT, Side.BUY), (Leg.PERP, Side.SELL)])
def test_no_exposure_passes_as_a_hedge(delta: str, leg: Leg, side: Side) -> None:
    """However small an order and however large the lot: what does not leave less delta is no correction."""
    held = Book(D(10) + D(delta), D(10))
    entry = order(leg, side, quantity=D("0.1"))
    assert codes(check_correction(entry, held, multiplier=D(1), lot=D(5))) == ["over_hedges"]


def test_corrections_of_multiplied_contracts_count_coins() -> None:
    """One contract of a thousand coins hedges a thousand."""
    held = Book(D(5000), D(2))
    sale = order(Leg.PERP, Side.SELL, quantity=D(3))
    assert codes(check_correction(sale, held, multiplier=D(1000), lot=D(0))) == []
    more = replace(sale, quantity=D(4))
    assert codes(check_correction(more, held, multiplier=D(1000), lot=D(0))) == ["over_hedges"]


@pytest.mark.parametrize(
    ("limit", "rung", "reference", "expected"),
    [
        ("99.8", "0.002", "100", []),
        ("99.7", "0.002", "100", ["outside_rung"]),
        ("99.7", "0.006", "100", []),
        ("50", None, "100", []),
        ("50", None, None, []),
        ("99.8", "0.002", None, ["no_reference_price"]),
    ],
)
def test_corrections_stay_on_their_rung(
    limit: str, rung: str | None, reference: str | None, expected: list[str]
) -> None:
    """A price beyond the rung is held back; the last rung leaves the bound to the venue's band."""
    verdict = check_correction(
        order(Leg.SPOT, Side.SELL, limit_price=D(limit)),
        Book(D(10), D(0)),
        multiplier=D(1),
        lot=D(0),
        reference=D(reference) if reference else None,
        rung=D(rung) if rung else None,
    )
    assert codes(verdict) == expected


@given(
    owned=st.decimals(0, 1000, places=3),
    short=st.integers(0, 1000),
    fee=st.sampled_from([D(0), D("0.001"), D("0.01")]),
    spot_step=st.sampled_from([D("0.001"), D("0.7"), D(3)]),
    least=st.sampled_from([D(0), D(5), D(10)]),
)
def test_the_gate_lets_every_correction_pass(
    *, owned: Decimal, short: int, fee: Decimal, spot_step: Decimal, least: Decimal
) -> None:
    """What sizing proposes to correct a book is always within what the gate allows."""
    coin = pair(
        "X", spot_qty_step=spot_step, spot_min_notional=least, perp_qty_step=D(1), perp_min_notional=least
    )
    frame, held = Frame(pair=coin, spot_price=D(1), perp_price=D(1), fee=fee), Book(owned, D(short))
    for proposed in (top_up(frame, held), trim(frame, held)):
        if proposed is None:
            continue
        wanted = WireOrder(
            leg=proposed.leg,
            side=proposed.side,
            quantity=proposed.quantity,
            limit_price=D(1),
            reduce_only=proposed.reduce_only,
        )
        assert codes(check_correction(wanted, held, multiplier=D(1), lot=frame.lot)) == []
        after = corrected(frame, held, order=proposed)
        assert min(after.spot_owned, after.contracts) >= 0


# ------------------------------------------------------------ the rules of the day


@pytest.mark.parametrize(
    ("profit", "fees", "expected"),
    [
        ("-200", "50", []),
        ("-200.01", "50", ["max_loss_per_day"]),
        ("100", "50.01", ["max_fees_per_day"]),
        ("-300", "90", ["max_loss_per_day", "max_fees_per_day"]),
    ],
)
def test_the_day_ends_with_its_loss_or_fees(profit: str, fees: str, expected: list[str]) -> None:
    """2 % of the day's first equity may be lost and 0.5 % paid in fees, equality allowed."""
    found = day_breaker(equity_start=D(10_000), profit=D(profit), fees=D(fees), limits=LIMITS)
    assert [reason.code for reason in found] == expected


@pytest.mark.parametrize(
    ("unwinds", "minutes"), [(0, 15), (1, 15), (2, 30), (3, 60), (4, 120), (500, 10_080)]
)
def test_a_cool_down_doubles_up_to_a_week(unwinds: int, minutes: int) -> None:
    """Each unwind of a coin doubles its rest."""
    assert cool_down(unwinds, LIMITS) == timedelta(minutes=minutes)


@pytest.mark.parametrize(("unwinds", "frozen"), [(2, False), (3, True), (4, True)])
def test_three_unwinds_in_an_hour_freeze(unwinds: int, frozen: bool) -> None:
    """The third unwind within an hour asks for a person."""
    assert freezes(unwinds, LIMITS) is frozen


def test_a_block_says_what_ends_it() -> None:
    """A refusal by a block names its end: an instant, a person, or the cause that has to go."""
    since, until = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)
    plain_block = Block(scope="BTC", kind=BlockKind.COOL_DOWN, reason="an unwind", since=since)
    told = blocks(
        (plain_block, replace(plain_block, until=until), replace(plain_block, needs_person=True)),
        "BTC",
        now=since,
    )
    ends = ("until its cause is gone", "until 2026-01-06T00:00:00Z", "until `fundarb resume`")
    assert all(end in reason.message for end, reason in zip(ends, told, strict=True))
