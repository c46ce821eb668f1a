"""Few levels are made where few will do: what is shown and what is matched is the same as over the whole
book.
"""

import random
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.money import ceil_to
from fundarb.venue.book import Want, settled, skip, take
from fundarb.venue.market import LOOKS, MATCH_DEPTH
from tests.sandbox.harness import InProcess

SYMBOLS = ("BTCUSDT", "ETHUSDT", "TRXUSDT")
SIZES = ("0.01", "1", "30", "500", "100000", "3000000")


@pytest.mark.proof
def test_a_near_look_sees_what_the_whole_book_shows() -> None:
    """However much was taken, whatever the world has moved and however deep is asked: the levels are the
    first ones of the whole side less what is missing.
    """
    desk, rng = InProcess(), random.Random(1)
    market = desk.house.venue._market
    for _ in range(200):
        category, symbol = rng.choice(list(Category)), rng.choice(SYMBOLS)
        market.consume(category, symbol, buying=rng.random() < 0.5, quantity=Decimal(rng.choice(SIZES)))
        if rng.random() < 0.3:
            desk.wait(seconds=rng.choice((1, 5, 20)))
        if rng.random() < 0.05:
            desk.world("jump", symbol=symbol, factor=rng.choice(("1.1", "0.9")))
        depth = rng.choice((1, 5, LOOKS[0], 50, LOOKS[1], 300, MATCH_DEPTH))
        book = market.book(category, symbol, depth=depth)
        step = market.instruments(category)[symbol].qty_step
        for side, found in (("bid", book.bids), ("ask", book.asks)):
            raw = market._raw(category, symbol, depth=MATCH_DEPTH)[side == "ask"]
            missing = ceil_to(market.missing(f"{category.value}:{symbol}:{side}"), step)
            assert found == skip(raw, missing)[:depth]


@pytest.mark.proof
def test_a_walk_that_is_settled_near_by_goes_no_further() -> None:
    """Wherever the short walk says that it is done, the walk over the whole side takes the very same."""
    desk, rng = InProcess(), random.Random(2)
    market = desk.house.venue._market
    done = 0
    for _ in range(300):
        category, symbol = rng.choice(list(Category)), rng.choice(SYMBOLS)
        instrument, buying = market.instruments(category)[symbol], rng.random() < 0.5
        whole = market.book(category, symbol, depth=MATCH_DEPTH)
        levels = whole.asks if buying else whole.bids
        limit = levels[rng.choice((0, 3, *LOOKS[:-1], len(levels) - 1))].price
        amount = Decimal(rng.choice(SIZES))
        by_value = rng.random() < 0.5
        want = Want(
            buying=buying, limit=limit, step=instrument.qty_step,
            quantity=None if by_value else amount, value=amount * levels[0].price if by_value else None,
        )  # fmt: skip
        for depth in LOOKS[:-1]:
            near = take(levels[:depth], want)
            if settled(levels[:depth], near, want=want, depth=depth):
                done += 1
                assert near == take(levels, want)
        desk.wait(seconds=5)
    assert 100 < done < 600
