"""Quantities of both legs: golden figures, minimums, clips, and neutrality to one lot over random filters."""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fundarb.core.correcting import Correction, corrected, correction, top_up, trim
from fundarb.core.market import Category, Pair
from fundarb.core.money import floor_to, is_multiple
from fundarb.core.orders import Leg, Side
from fundarb.core.position import EMPTY, Book
from fundarb.core.reasons import Refused
from fundarb.core.sizing import (
    EntryPlan,
    Frame,
    cap_price,
    clip_contracts,
    clip_targets,
    contracts_covered,
    contracts_target,
    depth_for,
    flat,
    hedge_contracts,
    keep_contracts,
    lot,
    min_quantity,
    perp_close_quantity,
    plan_entry,
    spot_buy_quantity,
    spot_is_coarser,
    spot_sell_quantity,
    thin_leg,
)
from tests.core.make import D, book, pair

PEPE = pair(
    "PEPE",
    1000,
    spot_qty_step=D(1),
    spot_tick_size=D("1e-9"),
    perp_qty_step=D(100),
    perp_min_qty=D(100),
    perp_tick_size=D("1e-6"),
)
COIN = pair("XRP", spot_qty_step=D("0.01"), perp_qty_step=D(1), perp_min_qty=D(1))
COARSE = pair("OLD", spot_qty_step=D(10), perp_qty_step=D("0.1"), perp_min_qty=D("0.1"))
FEE = D("0.001")


def frame(of: Pair = COIN, spot: str = "1", perp: str = "1", fee: Decimal = FEE) -> Frame:
    """A frame at the given prices."""
    return Frame(pair=of, spot_price=D(spot), perp_price=D(perp), fee=fee)


# ------------------------------------------------------------------------------------------- golden figures


def test_target_is_in_contracts() -> None:
    """1000PEPEUSDT at 0.0098 with step 100: 1000 USDT are 102,000 contracts."""
    assert contracts_target(PEPE, D(1000), perp_bid=D("0.0098")) == 102_000


def test_spot_target_covers_the_base_fee() -> None:
    """With qp = 1, qs = 0.01, f = 0.1 %, T = 1234.57: buy 1235.24, net 1234.00476, excess 0.00476."""
    contracts = contracts_target(COIN, D("1234.57"), perp_bid=D(1))
    assert contracts == 1234
    bought = spot_buy_quantity(COIN, contracts, owned=D(0), fee=FEE)
    assert bought == D("1235.24")
    assert bought * (1 - FEE) == D("1234.00476")
    plan = plan_entry(frame(), D("1234.57"), max_clip=D(5000))
    assert isinstance(plan, EntryPlan)
    assert (plan.contracts, plan.spot_buy, plan.spot_net) == (D(1234), D("1235.24"), D("1234.00476"))
    assert plan.excess == D("0.00476")
    assert (plan.spot_value, plan.perp_value, plan.lot) == (D("1235.24"), D(1234), D(5))


def test_lot_is_what_the_finer_leg_cannot_correct() -> None:
    """BTC at 100,000 with qtyStep 0.001, basePrecision 1e-6 and minOrderAmt 5 has a lot of 0.00005."""
    assert lot(pair(), spot_price=D(100_000), perp_price=D(100_000)) == D("0.00005")


def test_lot_of_a_multiplied_contract_is_in_coins() -> None:
    """The perp's share of the lot counts the coins that its contracts hedge."""
    assert lot(PEPE, spot_price=D("0.0000000001"), perp_price=D("0.01")) == 500 * 1000


def test_equal_quantities_would_leave_a_naked_short() -> None:
    """Only what is missing is grossed up: coins already owned are net of their fee."""
    first = spot_buy_quantity(COIN, D(50), owned=D(0), fee=FEE)
    assert first == D("50.06")
    owned = first * (1 - FEE)
    second = spot_buy_quantity(COIN, D(100), owned=owned, fee=FEE)
    assert 0 <= owned + second * (1 - FEE) - 100 < D("0.01")
    assert spot_buy_quantity(COIN, D(50), owned=D(51), fee=FEE) == 0


def test_where_spot_is_coarser_it_is_sized_first() -> None:
    """With spot steps of 10 and perp steps of 0.1 the short is what a whole number of spot steps covers."""
    assert spot_is_coarser(COARSE, FEE)
    contracts = contracts_target(COARSE, D(1234), perp_bid=D(1), fee=FEE)
    assert contracts == D("1228.7")
    assert spot_buy_quantity(COARSE, contracts, owned=D(0), fee=FEE) == 1230
    assert hedge_contracts(COARSE, Book(D(1230) * (1 - FEE), D(1000))) == D("228.7")


# ------------------------------------------------------------------------------------------------ both exits


def test_the_smallest_order_is_the_largest_of_three_limits() -> None:
    """Step, quantity minimum and value minimum all bind, each rounded up to the step."""
    instrument = pair(perp_qty_step=D("0.1"), perp_min_qty=D("0.25"), perp_min_notional=D(5)).perp
    assert min_quantity(instrument, D(1000)) == D("0.3")
    assert min_quantity(instrument, D(9)) == D("0.6")
    assert min_quantity(pair(spot_min_notional=D(0)).spot, D(1)) == D("0.000001")


@pytest.mark.parametrize(
    ("notional", "expected"),
    [
        ("3", {"below_perp_minimum", "below_spot_minimum", "below_exit_minimum"}),
        ("5.9", set()),
        ("6", set()),
    ],
)
def test_both_legs_and_the_exit_have_minimums(notional: str, expected: set[str]) -> None:
    """Too small a notional is refused with every leg that is too small, the later exit included."""
    plan = plan_entry(frame(), D(notional), max_clip=D(500))
    found = {reason.code for reason in plan.reasons} if isinstance(plan, Refused) else set()
    assert found == expected


def test_an_exit_below_the_minimum_is_refused_at_the_entry() -> None:
    """What arrives net of the base fee may be too little to be sold again: refused before
    anything is bought.
    """
    coin = pair("XRP", spot_qty_step=D(1), spot_min_notional=D(5), perp_qty_step=D(1), perp_min_notional=D(1))
    plan = plan_entry(frame(coin, fee=D("0.2")), D(4), max_clip=D(500))
    assert isinstance(plan, Refused)
    assert [reason.code for reason in plan.reasons] == ["below_exit_minimum"]


@pytest.mark.parametrize(("max_clip", "notional"), [("3", "100"), ("0.5", "100"), ("6", "7.9")])
def test_a_clip_below_the_minimum_is_refused(max_clip: str, notional: str) -> None:
    """When max_clip cuts an entry into orders that the venue refuses, the entry is refused."""
    plan = plan_entry(frame(), D(notional), max_clip=D(max_clip))
    assert isinstance(plan, Refused)
    assert [reason.code for reason in plan.reasons] == ["clip_too_small"]


def test_adding_counts_what_is_held() -> None:
    """An addition buys only what both legs still lack, and its clips start at the present short."""
    held = Book(D("100.5"), D(100))
    plan = plan_entry(frame(), D(200), max_clip=D(101), book=held)
    assert isinstance(plan, EntryPlan)
    assert plan.contracts == 200
    assert plan.spot_net + held.spot_owned - 300 == plan.excess < D("0.01")
    assert plan.clips == (D(200), D(300))


def test_leftovers_never_leave_dust_beyond_one_step() -> None:
    """The whole exit sells whole steps only and never more than is free."""
    owned = Book(D("1234.00476"), D(0))
    assert spot_sell_quantity(COIN, owned, keep=D(0), wallet_free=D(10_000)) == D("1234.00")
    assert spot_sell_quantity(COIN, owned, keep=D(0), wallet_free=D("3.337")) == D("3.33")
    assert spot_sell_quantity(COIN, Book(D(10), D(20)), keep=D(20), wallet_free=D(10)) == 0
    assert flat(COIN, Book(D("0.00476"), D(0)), spot_price=D(1))
    assert flat(COIN, Book(D("4.999"), D(0)), spot_price=D(1))
    assert not flat(COIN, Book(D(5), D(0)), spot_price=D(1))
    assert not flat(COIN, Book(D(0), D(1)), spot_price=D(1))


def test_the_perp_closes_no_more_than_the_venue_shows() -> None:
    """A buy-back is clamped to the venue's size, to steps, and never below zero."""
    held = Book(D(100), D(100))
    assert perp_close_quantity(COIN, held, keep=D(0), venue_size=D(100)) == 100
    assert perp_close_quantity(COIN, held, keep=D(40), venue_size=D(100)) == 60
    assert perp_close_quantity(COIN, held, keep=D(0), venue_size=D("60.5")) == 60
    assert perp_close_quantity(COIN, held, keep=D(120), venue_size=D(100)) == 0


@pytest.mark.parametrize(("fraction", "kept"), [("0.5", "51"), ("1", "0"), ("0", "101"), ("0.001", "101")])
def test_a_fraction_is_closed_in_whole_steps(fraction: str, kept: str) -> None:
    """Closing a part rounds what is closed down; closing everything leaves nothing."""
    assert keep_contracts(COIN, D(101), fraction=D(fraction)) == D(kept)


# ------------------------------------------------------------------------------------------ prices and depth


@pytest.mark.parametrize(
    ("reference", "cap", "side", "tick", "expected"),
    [
        ("100", "0.002", Side.BUY, "0.1", "100.2"),
        ("100.05", "0.002", Side.BUY, "0.1", "100.2"),
        ("100", "0.002", Side.SELL, "0.1", "99.8"),
        ("100.05", "0.002", Side.SELL, "0.1", "99.9"),
        ("0.1", "1", Side.SELL, "0.1", "0.1"),
    ],
)
def test_price_caps_are_never_exceeded_by_rounding(
    reference: str, cap: str, side: Side, tick: str, expected: str
) -> None:
    """A cap lies on the tick and on the safe side of the exact value; a sell never falls to zero."""
    assert cap_price(D(reference), D(cap), side=side, tick=D(tick)) == D(expected)


def test_depth_is_counted_up_to_the_cap() -> None:
    """A buy counts the asks up to its cap, a sell the bids down to it."""
    orders = book(Category.SPOT, "XRPUSDT", [("99", "1"), ("98", "2")], [("101", "1"), ("103", "5")])
    assert depth_for(orders, Side.BUY, cap=D(102)) == 101
    assert depth_for(orders, Side.SELL, cap=D(98)) == 99 + 196
    assert depth_for(orders, Side.SELL, cap=D(100)) == 0


@pytest.mark.parametrize(
    ("of", "spot_depth", "perp_depth", "expected"),
    [
        (COIN, 100, 200, Leg.SPOT),
        (COIN, 200, 100, Leg.PERP),
        (COIN, 100, 100, Leg.PERP),
        (COARSE, 200, 100, Leg.SPOT),
    ],
)
def test_the_thin_leg_goes_first(of: Pair, spot_depth: int, perp_depth: int, expected: Leg) -> None:
    """Less depth goes first; a tie takes the perp; a coarser spot step puts spot first whatever the depth."""
    assert thin_leg(of, spot_depth=D(spot_depth), perp_depth=D(perp_depth), fee=FEE) is expected


# ------------------------------------------------------------------------------------------------ corrections


@pytest.mark.parametrize(
    ("owned", "short", "grow", "expected"),
    [
        ("100", "60", True, Correction(leg=Leg.PERP, side=Side.SELL, quantity=D(40))),
        ("100", "60", False, Correction(leg=Leg.SPOT, side=Side.SELL, quantity=D(40))),
        ("60", "100", True, Correction(leg=Leg.SPOT, side=Side.BUY, quantity=D("40.05"))),
        ("60", "100", False, Correction(leg=Leg.PERP, side=Side.BUY, quantity=D(40))),
        ("100", "95", True, None),
        ("95", "100", False, None),
        ("105.7", "100", False, Correction(leg=Leg.SPOT, side=Side.SELL, quantity=D("5.7"))),
    ],
)
def test_corrections(owned: str, short: str, grow: bool, expected: Correction | None) -> None:
    """Topping up completes the smaller leg, trimming reduces the larger one; within one lot
    nothing is sent.
    """
    assert correction(frame(), Book(D(owned), D(short)), grow=grow) == expected


def test_what_a_correction_does_is_told() -> None:
    """Adding and reduce-only follow from leg and side."""
    made = {(leg, side): Correction(leg=leg, side=side, quantity=D(1)) for leg in Leg for side in Side}
    assert {key for key, order in made.items() if order.adds} == {
        (Leg.SPOT, Side.BUY),
        (Leg.PERP, Side.SELL),
    }
    assert {key for key, order in made.items() if order.reduce_only} == {(Leg.PERP, Side.BUY)}


def test_the_finer_leg_corrects_where_the_other_is_too_coarse() -> None:
    """A delta below the perp's smallest order is trimmed on spot although topping up was preferred."""
    bitcoin = Frame(pair=pair(), spot_price=D(100_000), perp_price=D(100_000), fee=FEE)
    held = Book(D("0.0109"), D("0.010"))
    assert top_up(bitcoin, held) is None
    assert correction(bitcoin, held, grow=True) == Correction(
        leg=Leg.SPOT, side=Side.SELL, quantity=D("0.0009")
    )


def test_the_venues_largest_order_bounds_a_correction() -> None:
    """A correction beyond the largest order is sent in parts."""
    small = frame(pair("XRP", spot_qty_step=D("0.01"), perp_qty_step=D(1), perp_max_limit_qty=D(15)))
    order = top_up(small, Book(D(100), D(60)))
    assert order is not None
    assert order.quantity == 15


def test_nothing_is_sold_that_is_not_held() -> None:
    """When the smallest order is more than the leg holds there is nothing to send."""
    tiny = frame(pair("XRP", spot_qty_step=D(10), spot_min_notional=D(10), perp_qty_step=D(7)))
    assert trim(tiny, Book(D(8), D(0))) is None


# --------------------------------------------------------------------------------- properties: random filters

POWERS = [D(10) ** n for n in range(-6, 3)]


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """A pair with any combination of steps, minimums, multiplier and prices, and a fee in the base coin."""
    multiplier = draw(st.sampled_from([1, 1000, 10**6]))
    price = draw(st.decimals("0.001", "5000", places=5))
    perp_step = draw(st.sampled_from(POWERS)) * draw(st.sampled_from([1, 2, 5])) / multiplier
    spot_step = draw(st.sampled_from(POWERS)) * draw(st.sampled_from([1, 3, 7]))
    minimums = st.sampled_from([D(0), D(1), D(5), D(10)])
    return Frame(
        pair=pair(
            "XYZ",
            multiplier,
            spot_qty_step=spot_step,
            spot_min_notional=draw(minimums),
            perp_qty_step=perp_step,
            perp_min_qty=perp_step * draw(st.sampled_from([1, 3])),
            perp_min_notional=draw(minimums),
        ),
        spot_price=price,
        perp_price=price * multiplier * (1 + draw(st.decimals("-0.01", "0.01", places=4))),
        fee=draw(st.sampled_from([D(0), D("0.001"), D("0.0018"), D("0.01")])),
    )


def delta(of: Frame, held: Book) -> Decimal:
    """The book's delta in coins."""
    return held.delta(of.pair.multiplier)


def repair(of: Frame, held: Book, *, grow: bool, fill: Callable[[Book, Correction], Book]) -> Book:
    """Correct until nothing helps any more; bounded, as it is for real."""
    for _ in range(12):
        order = correction(of, held, grow=grow)
        if order is None:
            return held
        step = of.pair.spot.qty_step if order.leg is Leg.SPOT else of.pair.perp.qty_step
        assert is_multiple(order.quantity, step)
        assert order.quantity > 0
        held = fill(held, order)
    raise AssertionError(f"does not settle: {held}")


def enter(of: Frame, plan: EntryPlan, *, real_fee: Decimal, first: Leg, fills: list[Decimal]) -> Book:
    """An entry in clips: the first leg fills in part, the second is sized to what the first
    really delivered.
    """
    pair_, held = of.pair, EMPTY
    for number, target in enumerate(plan.clips):
        part = fills[number % len(fills)]
        if first is Leg.SPOT:
            wanted = spot_buy_quantity(pair_, target, owned=held.spot_owned, fee=of.fee)
            got = floor_to(wanted * part, pair_.spot.qty_step)
            held = Book(held.spot_owned + got * (1 - real_fee), held.contracts)
            held = Book(held.spot_owned, held.contracts + hedge_contracts(pair_, held))
        else:
            got = floor_to(max(target - held.contracts, D(0)) * part, pair_.perp.qty_step)
            held = Book(held.spot_owned, held.contracts + got)
            bought = spot_buy_quantity(pair_, held.contracts, owned=held.spot_owned, fee=of.fee)
            held = Book(held.spot_owned + bought * (1 - real_fee), held.contracts)
    return held


@settings(max_examples=150)
@given(
    of=frames(),
    notional=st.decimals(20, 20_000, places=2),
    max_clip=st.decimals(50, 3000, places=0),
    fills=st.lists(st.decimals(0, 1, places=3), min_size=1, max_size=4),
    real_fee=st.sampled_from([None, D(0), D("0.001"), D("0.0018")]),
    grow=st.booleans(),
    thin=st.sampled_from(list(Leg)),
)
def test_an_entry_ends_within_one_lot(
    *,
    of: Frame,
    notional: Decimal,
    max_clip: Decimal,
    fills: list[Decimal],
    real_fee: Decimal | None,
    grow: bool,
    thin: Leg,
) -> None:
    """For every combination of steps, fee coins, multipliers and partial fills: hedged to one lot, or dust.

    The fee may turn out other than expected (another coin pays it, another tier applies).
    """
    plan = plan_entry(of, notional, max_clip=max_clip)
    assume(isinstance(plan, EntryPlan))
    assert isinstance(plan, EntryPlan)
    fee = of.fee if real_fee is None else real_fee
    first = Leg.SPOT if spot_is_coarser(of.pair, of.fee) else thin

    def fill(held: Book, order: Correction) -> Book:
        real = Frame(pair=of.pair, spot_price=of.spot_price, perp_price=of.perp_price, fee=fee)
        return corrected(real, held, order=order)

    held = enter(of, plan, real_fee=fee, first=first, fills=fills)
    held = repair(of, held, grow=grow, fill=fill)
    assert abs(delta(of, held)) <= of.lot or flat(of.pair, held, spot_price=of.spot_price)


@given(of=frames(), notional=st.decimals(20, 20_000, places=2), max_clip=st.decimals(50, 3000, places=0))
def test_a_plan_keeps_its_promises(of: Frame, notional: Decimal, max_clip: Decimal) -> None:
    """Exact steps, never more than asked, within one lot, clips rising to the target, none above max_clip."""
    plan = plan_entry(of, notional, max_clip=max_clip)
    if isinstance(plan, Refused):
        assert plan.reasons
        return
    pair_ = of.pair
    assert is_multiple(plan.contracts, pair_.perp.qty_step)
    assert is_multiple(plan.spot_buy, pair_.spot.qty_step)
    assert plan.perp_value <= notional
    assert 0 <= plan.excess <= plan.lot
    assert plan.clips[-1] == plan.contracts
    for before, after in pairwise((D(0), *plan.clips)):
        assert after > before
        assert (after - before) * of.perp_price <= max_clip
        assert spot_buy_quantity(pair_, after - before, owned=D(0), fee=of.fee) * of.spot_price <= max_clip


@settings(max_examples=100)
@given(
    of=frames(),
    notional=st.decimals(20, 20_000, places=2),
    fraction=st.decimals("0.01", "1", places=2),
    filled=st.decimals(0, 1, places=3),
    first=st.sampled_from(list(Leg)),
)
def test_an_exit_ends_within_one_lot(
    of: Frame, notional: Decimal, fraction: Decimal, filled: Decimal, first: Leg
) -> None:
    """A full or partial exit with a partial fill on its first leg stays hedged to one lot and never flips."""
    plan = plan_entry(of, notional, max_clip=D(10**6))
    assume(isinstance(plan, EntryPlan))
    assert isinstance(plan, EntryPlan)
    pair_, held = of.pair, Book(plan.spot_net, plan.contracts)
    keep = keep_contracts(pair_, held.contracts, fraction=fraction)
    if first is Leg.PERP and not spot_is_coarser(pair_, of.fee):
        wanted = perp_close_quantity(pair_, held, keep=keep, venue_size=held.contracts)
        back = floor_to(wanted * filled, pair_.perp.qty_step)
        held = Book(held.spot_owned, held.contracts - back)
        sold = spot_sell_quantity(pair_, held, keep=held.contracts, wallet_free=held.spot_owned)
        held = Book(held.spot_owned - sold, held.contracts)
    else:
        wanted = spot_sell_quantity(pair_, held, keep=keep, wallet_free=held.spot_owned)
        sold = floor_to(wanted * filled, pair_.spot.qty_step)
        held = Book(held.spot_owned - sold, held.contracts)
        covered = contracts_covered(pair_, held.spot_owned)
        back = perp_close_quantity(pair_, held, keep=covered, venue_size=held.contracts)
        held = Book(held.spot_owned, held.contracts - back)
    assert held.spot_owned >= 0
    assert held.contracts >= 0
    held = repair(of, held, grow=False, fill=lambda at, order: corrected(of, at, order=order))
    assert held.spot_owned >= 0
    assert held.contracts >= 0
    assert abs(delta(of, held)) <= of.lot or flat(pair_, held, spot_price=of.spot_price)


@given(of=frames(), owned=st.decimals(0, 10**5, places=6), short=st.decimals(0, 10**5, places=6))
def test_a_correction_always_helps(of: Frame, owned: Decimal, short: Decimal) -> None:
    """Any order that is proposed leaves less delta, at most a lot on the other side, and no negative leg."""
    held = Book(owned, floor_to(short / of.pair.multiplier, of.pair.perp.qty_step))
    for order in (top_up(of, held), trim(of, held)):
        if order is None:
            continue
        after = corrected(of, held, order=order)
        assert abs(delta(of, after)) < abs(delta(of, held))
        assert delta(of, after) * delta(of, held) >= 0 or abs(delta(of, after)) <= of.lot
        assert after.spot_owned >= 0
        assert after.contracts >= 0
        price = of.spot_price if order.leg is Leg.SPOT else of.perp_price
        instrument = of.pair.spot if order.leg is Leg.SPOT else of.pair.perp
        whole = order.reduce_only and order.quantity == held.contracts
        assert whole or order.quantity >= min_quantity(instrument, price)


@given(start=st.integers(0, 500), target=st.integers(0, 500), clip=st.integers(1, 100))
def test_clip_targets_go_evenly_either_way(start: int, target: int, clip: int) -> None:
    """Every clip goes the right way by at most the limit, and the last one ends at the target."""
    targets = clip_targets(COIN, D(start), target=D(target), clip=D(clip))
    assert (targets[-1] if targets else D(start)) == target
    steps = [after - before for before, after in pairwise((D(start), *targets))]
    assert all(0 < step <= clip if target > start else 0 < -step <= clip for step in steps)
    assert not steps or max(map(abs, steps)) - min(map(abs, steps)) <= 1


@given(start=st.decimals("0", "500", places=2), clip=st.integers(1, 100))
def test_clip_targets_of_an_odd_size_are_whole_steps(start: Decimal, clip: int) -> None:
    """The venue has changed its steps: each clip is a whole number of them, and less than one is left."""
    targets = clip_targets(COIN, start, target=D(0), clip=D(clip))
    steps = [before - after for before, after in pairwise((start, *targets))]
    assert all(0 < step <= clip and not step % COIN.perp.qty_step for step in steps)
    assert 0 <= (targets[-1] if targets else start) < COIN.perp.qty_step


@given(of=frames(), max_clip=st.decimals("0.01", "5000", places=2))
def test_a_clip_is_never_worth_more_than_its_limit(of: Frame, max_clip: Decimal) -> None:
    """Rounding and the base fee included, on either leg."""
    contracts = clip_contracts(of, max_clip)
    assert contracts >= 0
    assert contracts * of.perp_price <= max_clip
    assert spot_buy_quantity(of.pair, contracts, owned=D(0), fee=of.fee) * of.spot_price <= max_clip


@given(
    reference=st.decimals("0.0001", "100000", places=4),
    cap=st.decimals(0, "0.5", places=4),
    tick=st.sampled_from([D("0.0001"), D("0.01"), D(1)]),
    side=st.sampled_from(list(Side)),
)
def test_a_cap_is_a_positive_tick_within_the_cap(
    reference: Decimal, cap: Decimal, tick: Decimal, side: Side
) -> None:
    """Whatever the numbers, the price is on the tick and not worse than the cap allows."""
    price = cap_price(reference, cap, side=side, tick=tick)
    assert is_multiple(price, tick)
    if side is Side.BUY:
        assert price <= reference * (1 + cap)
    else:
        assert price > 0
        assert price >= reference * (1 - cap)
