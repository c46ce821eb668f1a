"""The world verbs of the control API: JSON arguments to calls of ``venue.world`` and to the platform's own
settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address

from fundarb.core.instants import to_ms
from fundarb.core.market import Category, Level, PerpInstrument, SpotInstrument
from fundarb.core.money import dec
from fundarb.core.orders import Side
from fundarb.errors import Rejected
from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.auth import FULL_PERMISSIONS
from fundarb.sandbox.bounds import LARGEST_MOVE, LARGEST_SKEW_MS, sane
from fundarb.sandbox.chart import factor_at
from fundarb.sandbox.house import House
from fundarb.venue.filters import patched

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
Verb = Callable[[House, Arguments], Callable[[], object]]
"""Reads all arguments first and gives back what to do, so that a wrong argument changes nothing."""


def perform(house: House, body: Arguments) -> None:
    """Do what a verb says, now. ``ControlError`` for anything wrong, with an unchanged state."""
    name = body.text("verb")
    verb = VERBS.get(name)
    if verb is None:
        raise body.fail("verb", f"must be one of {', '.join(sorted(VERBS))}")
    action = verb(house, body)
    body.done()
    try:
        action()
    except ValueError as error:
        path, _, message = str(error).partition(": ")
        raise ControlError(message or path, path if message else "verb") from error
    except Rejected as refusal:
        raise ControlError(f"the venue refuses: {refusal} ({refusal.code})", "verb") from refusal
    house.forget_texts()


def _category(body: Arguments) -> Category:
    return Category(body.word("category", ("spot", "linear")))


def _coin(house: House, body: Arguments) -> str:
    """A coin that this venue deals in."""
    coin = body.text("coin")
    if coin not in house.coins():
        raise body.fail("coin", f"{coin!r} is no coin of this venue")
    return coin


def _mark(house: House, body: Arguments) -> Callable[[], object]:
    symbol, price = body.text("symbol"), body.nullable("price")
    return lambda: house.venue.world.mark(symbol, price)


def _jump(house: House, body: Arguments) -> Callable[[], object]:
    symbol, factor = body.text("symbol"), body.number("factor")

    def move() -> None:
        kinds = [kind for kind in Category if symbol in house.venue.instruments(kind)]
        if kinds and not sane(
            factor_at(house, kinds[0], symbol=symbol, at=house.venue.now) * factor, LARGEST_MOVE
        ):
            msg = f"factor: all jumps of a coin together move it {LARGEST_MOVE}-fold at most"
            raise ValueError(msg)
        house.venue.world.jump(symbol, factor)
        house.setting.jumps.append((to_ms(house.venue.now), symbol, factor))

    return move


def _levels(body: Arguments, name: str) -> tuple[Level, ...] | None:
    return tuple(Level(price, size) for price, size in body.levels(name)) if body.has(name) else None


def _book(house: House, body: Arguments) -> Callable[[], object]:
    category, symbol = _category(body), body.text("symbol")
    bids, asks = _levels(body, "bids"), _levels(body, "asks")
    return lambda: house.venue.world.book(category, symbol, bids=bids, asks=asks)


def _freeze(house: House, body: Arguments) -> Callable[[], object]:
    symbol, on = body.text("symbol"), body.flag("on")
    return lambda: house.venue.world.freeze(symbol, on=on)


def _ticker_patch(house: House, body: Arguments) -> Callable[[], object]:
    category, symbol, fields = _category(body), body.text("symbol"), body.fields("fields")
    return lambda: house.venue.world.ticker_patch(category, symbol, fields=fields)


def _funding_rate(house: House, body: Arguments) -> Callable[[], object]:
    symbol, rate = body.text("symbol"), body.nullable("rate")
    return lambda: house.venue.world.funding_rate(symbol, rate)


def _interval(house: House, body: Arguments) -> Callable[[], object]:
    symbol = body.text("symbol")
    hours = body.number("hours")
    if hours != int(hours):
        raise body.fail("hours", "must be a whole number")
    return lambda: house.venue.world.interval(symbol, int(hours))


def _settle(house: House, body: Arguments) -> Callable[[], object]:
    symbol = body.text("symbol")
    return lambda: house.venue.world.settle(symbol)


def _adl(house: House, body: Arguments) -> Callable[[], object]:
    symbol, fraction = body.text("symbol"), body.number("fraction")
    return lambda: house.venue.world.adl(symbol, fraction)


def _liquidate(house: House, body: Arguments) -> Callable[[], object]:
    symbol = body.text("symbol")
    return lambda: house.venue.world.liquidate(symbol)


def _delist(house: House, body: Arguments) -> Callable[[], object]:
    symbol, at = body.text("symbol"), body.instant("at")

    def announce() -> None:
        house.venue.world.delist(symbol, at)
        house.setting.announced[symbol] = house.venue.now

    return announce


def _halt(house: House, body: Arguments) -> Callable[[], object]:
    category, symbol, on = _category(body), body.text("symbol"), body.flag("on")
    return lambda: house.venue.world.halt(category, symbol, on=on)


def _filters(house: House, body: Arguments) -> Callable[[], object]:
    category, symbol, fields = _category(body), body.text("symbol"), body.fields("fields")

    def change() -> None:
        item = house.venue.instruments(category).get(symbol)
        for name, text in fields.items():
            _bounded(name, text)
        if item is not None:
            _sensible(patched(item, fields), fields)
        house.venue.world.filters(category, symbol, fields=fields)

    return change


def _bounded(name: str, text: str) -> None:
    """``ValueError`` for a number that is too large or too small; words are left to who knows the filters."""
    try:
        number = dec(text)
    except ValueError:
        return
    if not sane(number):
        msg = f"fields.{name}: {text} is out of range"
        raise ValueError(msg)


def _sensible(item: SpotInstrument | PerpInstrument, fields: Mapping[str, str]) -> None:
    """``ValueError`` for filters that contradict each other."""
    place = f"fields.{next(iter(fields), '')}"
    if item.min_qty > min(item.max_limit_qty, item.max_market_qty):
        msg = f"{place}: the smallest quantity would be above the largest"
        raise ValueError(msg)
    if isinstance(item, PerpInstrument):
        if item.rate_floor is not None and item.rate_cap is not None and item.rate_floor > item.rate_cap:
            msg = f"{place}: the lowest funding rate would be above the highest"
            raise ValueError(msg)
        if item.listed_interval % _HOUR or not _HOUR <= item.listed_interval <= _DAY:
            msg = "fields.fundingInterval: must be whole hours, a day at most, in minutes"
            raise ValueError(msg)


def _fees(house: House, body: Arguments) -> Callable[[], object]:
    body.some_of("taker", "maker", "mnt")
    category, symbol = _category(body), body.text("symbol") if body.has("symbol") else None
    taker, maker = body.number_or_none("taker"), body.number_or_none("maker")
    mnt = body.flag("mnt") if body.has("mnt") else None
    if symbol == "":
        raise body.fail("symbol", "must not be empty")
    return lambda: house.venue.world.fees(category, taker=taker, maker=maker, mnt=mnt, symbol=symbol or "")


def _collateral(house: House, body: Arguments) -> Callable[[], object]:
    coin, on, ratio = _coin(house, body), body.flag("on"), body.number_or_none("ratio")
    return lambda: house.venue.world.collateral(coin, on=on, ratio=ratio)


def _borrow(house: House, body: Arguments) -> Callable[[], object]:
    coin, amount = _coin(house, body), body.number("amount")
    return lambda: house.venue.world.borrow(coin, amount)


def _auto_repay(house: House, body: Arguments) -> Callable[[], object]:
    coin, fraction = _coin(house, body), body.number("fraction")
    return lambda: house.venue.world.auto_repay(coin, fraction)


def _usd(house: House, body: Arguments) -> Callable[[], object]:
    price = body.number("price")
    return lambda: house.venue.world.usd(price)


def _transfer(house: House, body: Arguments) -> Callable[[], object]:
    coin, amount = _coin(house, body), body.number("amount")
    return lambda: house.venue.world.transfer(coin, amount)


def _manual_order(house: House, body: Arguments) -> Callable[[], object]:
    category, symbol = _category(body), body.text("symbol")
    side, quantity = Side(body.word("side", ("Buy", "Sell"))), body.number("qty")
    if quantity <= Decimal(0):
        raise body.fail("qty", "must be positive")
    return lambda: house.venue.world.manual_order(category, symbol, side=side, quantity=quantity)


def _manual_close(house: House, body: Arguments) -> Callable[[], object]:
    symbol = body.text("symbol")
    return lambda: house.venue.world.manual_close(symbol)


def _address(body: Arguments, text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise body.fail("ip", f"{text!r} is no IP address") from None


def _key(house: House, body: Arguments) -> Callable[[], object]:
    body.some_of("expire", "permissions", "ip", "read_only")
    expire: datetime | None = None
    if body.has("expire"):
        expire = house.venue.now if body.raw("expire") is True else body.instant("expire")
    permissions: dict[str, list[str]] | None = None
    if body.has("permissions"):
        inner = body.raw("permissions")
        groups = Arguments(inner, body.place("permissions"))
        for name in inner:
            if name not in FULL_PERMISSIONS:
                raise groups.fail(name, f"is no permission; there are {', '.join(FULL_PERMISSIONS)}")
        permissions = {name: list(groups.texts(name)) if name in inner else [] for name in FULL_PERMISSIONS}
        for name, rights in permissions.items():
            known = FULL_PERMISSIONS[name]
            if known and not set(rights) <= set(known):
                raise groups.fail(name, f"has the rights {', '.join(known)}")
    addresses = [_address(body, text) for text in body.texts("ip")] if body.has("ip") else None
    read_only = body.flag("read_only") if body.has("read_only") else None
    return lambda: house.venue.world.key(
        expire=expire, permissions=permissions, addresses=addresses, read_only=read_only
    )


def _skew(house: House, body: Arguments) -> Callable[[], object]:
    ms = body.whole("ms", low=-LARGEST_SKEW_MS, high=LARGEST_SKEW_MS)

    def shift() -> None:
        house.setting.skew_ms = ms

    return shift


def _maintenance(house: House, body: Arguments) -> Callable[[], object]:
    begin, end = body.instant("begin"), body.instant("end")
    if end <= begin:
        raise body.fail("end", "must be after begin")
    return lambda: house.setting.maintenance.append((to_ms(begin), to_ms(end)))


def _restart(house: House, _body: Arguments) -> Callable[[], object]:
    def again() -> None:
        house.venue.forget_recent()
        house.restarts += 1

    return again


VERBS: Mapping[str, Verb] = {
    "mark": _mark,
    "jump": _jump,
    "book": _book,
    "freeze": _freeze,
    "ticker_patch": _ticker_patch,
    "funding_rate": _funding_rate,
    "interval": _interval,
    "settle": _settle,
    "adl": _adl,
    "liquidate": _liquidate,
    "delist": _delist,
    "halt": _halt,
    "filters": _filters,
    "fees": _fees,
    "collateral": _collateral,
    "borrow": _borrow,
    "auto_repay": _auto_repay,
    "usd": _usd,
    "transfer": _transfer,
    "manual_order": _manual_order,
    "manual_close": _manual_close,
    "key": _key,
    "skew": _skew,
    "maintenance": _maintenance,
    "restart": _restart,
}
