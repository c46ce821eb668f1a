"""A market kept in files, in Bybit's wire shapes, behind the port ``MarketData``: what ``fundarb demo`` shows
without a network.

The rows go through the same strict reading as live answers. Nothing here can reach a venue, and nothing
changes with time: the clock of a recording stands still at the instant of its tickers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.resources import files

from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot, SettledFunding
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange import parse_market, parse_tickers
from fundarb.exchange.parse import ParseError, rows
from fundarb.exchange.strict import Answer, read_answer

_OK = 200
FILES = ("instruments-spot", "instruments-linear", "tickers-spot", "tickers-linear", "books")


def packaged() -> Mapping[str, str]:
    """The texts of the market that comes with the program, by file name."""
    folder = files("fundarb").joinpath("data", "market")
    return {name: folder.joinpath(f"{name}.json").read_text(encoding="utf-8") for name in FILES}


class RecordedMarket:
    """Satisfies the port ``MarketData`` from the texts of five files."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take the texts by the names in ``FILES``; they are read when they are needed."""
        self._texts = texts

    @property
    def requests_made(self) -> int:
        """Always zero: nothing is asked over a network."""
        return 0

    @property
    def banned_until(self) -> datetime | None:
        """A recording bans nobody."""
        return None

    @property
    def clock_offset(self) -> timedelta:
        """A recording has no clock to compare with."""
        return timedelta()

    def server_time(self) -> datetime:
        """The instant of the recording."""
        return _time(self._answer("tickers-linear"))

    def instruments(self, *, refresh: bool = False) -> Instruments:  # noqa: ARG002 - a recording is never fresher
        """Every instrument of the recording."""
        spot, linear = self._answer("instruments-spot"), self._answer("instruments-linear")
        try:
            return Instruments(
                spot=parse_market.instruments(rows(spot), parse_market.spot_instrument)[0],
                perp=parse_market.instruments(rows(linear), parse_market.perp_instrument)[0],
                as_of=_time(linear),
            )
        except ParseError as error:
            raise BadAnswer(f"recorded instruments: {error}") from error

    def snapshot(self) -> MarketSnapshot:
        """All quotes of the recording."""
        spot_answer, perp_answer = self._answer("tickers-spot"), self._answer("tickers-linear")
        try:
            spot, bad_spot = parse_tickers.spot_quotes(spot_answer)
            perp, bad_perp = parse_tickers.perp_quotes(perp_answer)
        except ParseError as error:
            raise BadAnswer(f"recorded tickers: {error}") from error
        return MarketSnapshot(
            spot=spot,
            perp=perp,
            spot_as_of=_time(spot_answer),
            perp_as_of=_time(perp_answer),
            unreadable={**bad_spot, **bad_perp},
        )

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:  # noqa: ARG002 - as deep as recorded
        """The recorded order book; ``Unavailable`` where there is none."""
        raw = json.loads(self._texts["books"]).get(f"{category}:{symbol}")
        if raw is None:
            raise Unavailable(f"the recording has no order book of {symbol} ({category})")
        try:
            return parse_market.book(_read(json.dumps(raw)), category, symbol=symbol)
        except ParseError as error:
            raise BadAnswer(f"recorded book of {symbol}: {error}") from error

    def settled_funding(
        self,
        symbol: str,  # noqa: ARG002 - no symbol has a history here
        *,
        since: datetime | None = None,  # noqa: ARG002 - the interface gives it
        until: datetime | None = None,  # noqa: ARG002 - the interface gives it
    ) -> tuple[SettledFunding, ...]:
        """Nothing: a recording is one instant."""
        return ()

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:  # noqa: ARG002 - one schedule for all
        """The public schedule."""
        return VIP0_SPOT if category is Category.SPOT else VIP0_LINEAR

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:  # noqa: ARG002 - the interface gives it
        """Nothing: a recording belongs to no account."""
        return {}

    def _answer(self, name: str) -> Answer:
        return _read(self._texts[name])


def _read(text: str) -> Answer:
    answer = read_answer(_OK, text.encode())
    if answer.code != 0:
        raise BadAnswer(f"the recording holds the error {answer.code}: {answer.message}")
    return answer


def _time(answer: Answer) -> datetime:
    if answer.time is None:
        raise BadAnswer("the recording has no time")
    return answer.time
