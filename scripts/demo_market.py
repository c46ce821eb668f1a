"""Writes the recorded market of ``fundarb demo`` into ``fundarb/data/market``: invented numbers in Bybit's
wire shapes.

``python -m scripts.demo_market``. The coins are chosen so that a scan of them shows every kind of finding:
good and bad carry, every interval, multiplier contracts of all name forms, and each reason for a refusal. The
row builders also make the large markets of the tests. Seeded: the same code writes the same bytes.
"""

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "fundarb" / "data" / "market"
AS_OF = datetime(2026, 11, 20, 9, 12, 7, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BP = Decimal("0.0001")
LEVELS = 12

Row = dict[str, Any]


def ms(instant: datetime) -> int:
    """Milliseconds since the epoch."""
    return (instant - EPOCH) // timedelta(milliseconds=1)


def decimal_text(value: Decimal) -> str:
    """Plain notation."""
    return format(value.normalize(), "f") if value else "0"


def rounded(value: Decimal, step: Decimal) -> Decimal:
    """The nearest multiple of a step, never zero."""
    return max((value / step).quantize(Decimal(1), ROUND_HALF_EVEN) * step, step)


@dataclass(frozen=True, kw_only=True)
class Coin:
    """One coin as the generator sees it. ``perp`` is the contract's base (``1000PEPE``), ``half_spread`` in
    bp of mid, ``top`` the quote value at the best price, ``turnover`` per day, rates in bp per interval.
    """

    name: str
    price: Decimal
    perp: str = ""
    multiplier: int = 1
    rate: Decimal = Decimal(1)
    hours: int = 8
    listed_hours: int = 0
    cap: Decimal = Decimal(50)
    basis: Decimal = Decimal(2)
    half_spread: Decimal = Decimal(2)
    top: int = 3000
    turnover: int = 20_000_000
    spot_step: str = "0.01"
    perp_step: str = "0.1"
    spot_tick: str = "0.0001"
    perp_tick: str = "0.0001"
    perp_type: str = ""
    spot_type: str = ""
    special: bool = False
    status: str = "Trading"
    delivery: datetime | None = None
    settle: str = "USDT"
    spot: bool = True
    linear: bool = True
    look_alike: Decimal = Decimal(1)

    @property
    def contract(self) -> str:
        """The base coin of the contract."""
        return self.perp or self.name

    @property
    def symbol(self) -> str:
        """The symbol of the contract."""
        return f"{self.contract}PERP" if self.settle == "USDC" else f"{self.contract}{self.settle}"

    @property
    def contract_price(self) -> Decimal:
        """The mid of the contract: multiplier, basis and, for a look-alike, another asset's price."""
        return self.price * self.multiplier * self.look_alike * (1 + self.basis * BP)


def spot_instrument(coin: Coin) -> Row:
    """A row of ``instruments-info?category=spot``."""
    return {
        "symbol": f"{coin.name}USDT",
        "symbolId": 1,
        "baseCoin": coin.name,
        "quoteCoin": "USDT",
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "both",
        "stTag": "1" if coin.special else "0",
        "symbolType": coin.spot_type,
        "lotSizeFilter": {
            "basePrecision": coin.spot_step,
            "quotePrecision": "0.0000001",
            "minOrderQty": coin.spot_step,
            "maxOrderQty": decimal_text(rounded(Decimal(200_000) / coin.price, Decimal(coin.spot_step))),
            "minOrderAmt": "5",
            "maxOrderAmt": "2000000",
            "maxLimitOrderQty": decimal_text(rounded(Decimal(400_000) / coin.price, Decimal(coin.spot_step))),
            "maxMarketOrderQty": decimal_text(
                rounded(Decimal(100_000) / coin.price, Decimal(coin.spot_step))
            ),
        },
        "priceFilter": {"tickSize": coin.spot_tick},
        "riskParameters": {"priceLimitRatioX": "0.02", "priceLimitRatioY": "0.02"},
    }


def linear_instrument(coin: Coin) -> Row:
    """A row of ``instruments-info?category=linear``."""
    most = rounded(Decimal(3_000_000) / coin.contract_price, Decimal(coin.perp_step))
    return {
        "symbol": coin.symbol,
        "symbolId": 1,
        "contractType": "LinearPerpetual",
        "status": coin.status,
        "baseCoin": coin.contract,
        "quoteCoin": "USD" if coin.settle == "USDC" else coin.settle,
        "settleCoin": coin.settle,
        "symbolType": coin.perp_type,
        "launchTime": "1680000000000",
        "deliveryTime": str(ms(coin.delivery)) if coin.delivery else "0",
        "deliveryFeeRate": "",
        "priceScale": "4",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "50.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": coin.perp_tick,
            "maxPrice": decimal_text(coin.contract_price * 20),
            "tickSize": coin.perp_tick,
        },
        "lotSizeFilter": {
            "maxOrderQty": decimal_text(most),
            "minOrderQty": coin.perp_step,
            "qtyStep": coin.perp_step,
            "postOnlyMaxOrderQty": decimal_text(most),
            "maxMktOrderQty": decimal_text(rounded(most / 3, Decimal(coin.perp_step))),
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": (coin.listed_hours or coin.hours) * 60,
        "copyTrading": "both",
        "upperFundingRate": decimal_text(coin.cap * BP),
        "lowerFundingRate": decimal_text(-coin.cap * BP),
        "isPreListing": coin.status == "PreLaunch",
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.1"},
        "displayName": "",
    }


def dated_future(coin: Coin, delivery: datetime) -> Row:
    """A dated future on a coin: same list, another contract type."""
    row = linear_instrument(coin)
    name = f"{coin.name}USDT-{delivery:%d%b%y}".upper()
    return row | {
        "symbol": name,
        "contractType": "LinearFutures",
        "deliveryTime": str(ms(delivery)),
        "fundingInterval": 0,
    }


def _top(coin: Coin, mid: Decimal, tick: Decimal) -> tuple[Decimal, Decimal]:
    """Best bid and ask around a mid."""
    half = max(mid * coin.half_spread * BP, tick / 2)
    bid = rounded(mid - half, tick)
    return bid, max(rounded(mid + half, tick), bid + tick)


def spot_ticker(coin: Coin) -> Row:
    """A row of ``tickers?category=spot``."""
    bid, ask = _top(coin, coin.price, Decimal(coin.spot_tick))
    step = Decimal(coin.spot_step)
    return {
        "symbol": f"{coin.name}USDT",
        "bid1Price": decimal_text(bid),
        "bid1Size": decimal_text(rounded(coin.top / bid, step)),
        "ask1Price": decimal_text(ask),
        "ask1Size": decimal_text(rounded(coin.top / ask, step)),
        "lastPrice": decimal_text(bid),
        "prevPrice24h": decimal_text(rounded(coin.price * Decimal("0.991"), Decimal(coin.spot_tick))),
        "price24hPcnt": "0.0091",
        "highPrice24h": decimal_text(rounded(coin.price * Decimal("1.02"), Decimal(coin.spot_tick))),
        "lowPrice24h": decimal_text(rounded(coin.price * Decimal("0.98"), Decimal(coin.spot_tick))),
        "turnover24h": decimal_text((Decimal(coin.turnover) / 3).quantize(Decimal("0.01"))),
        "volume24h": decimal_text((Decimal(coin.turnover) / 3 / coin.price).quantize(Decimal("0.01"))),
        "usdIndexPrice": decimal_text(coin.price),
    }


def linear_ticker(coin: Coin, now: datetime = AS_OF) -> Row:
    """A row of ``tickers?category=linear``; the interval stands here in hours and may differ from the
    instrument's.
    """
    mid = coin.contract_price
    bid, ask = _top(coin, mid, Decimal(coin.perp_tick))
    step = Decimal(coin.perp_step)
    interval = timedelta(hours=coin.hours)
    following = now - (now - EPOCH) % interval + interval
    interest = Decimal(coin.turnover) / 4
    return {
        "symbol": coin.symbol,
        "lastPrice": decimal_text(bid),
        "indexPrice": decimal_text(
            rounded(coin.price * coin.multiplier * coin.look_alike, Decimal(coin.perp_tick))
        ),
        "markPrice": decimal_text(rounded(mid, Decimal(coin.perp_tick))),
        "prevPrice24h": decimal_text(rounded(mid * Decimal("0.991"), Decimal(coin.perp_tick))),
        "price24hPcnt": "0.0091",
        "highPrice24h": decimal_text(rounded(mid * Decimal("1.02"), Decimal(coin.perp_tick))),
        "lowPrice24h": decimal_text(rounded(mid * Decimal("0.98"), Decimal(coin.perp_tick))),
        "prevPrice1h": decimal_text(rounded(mid * Decimal("0.999"), Decimal(coin.perp_tick))),
        "openInterest": decimal_text(rounded(interest / mid, step)),
        "openInterestValue": decimal_text(interest),
        "turnover24h": decimal_text(Decimal(coin.turnover)),
        "volume24h": decimal_text(rounded(Decimal(coin.turnover) / mid, step)),
        "fundingRate": decimal_text(coin.rate * BP),
        "nextFundingTime": str(ms(following)),
        "fundingIntervalHour": str(coin.hours),
        "fundingCap": decimal_text(coin.cap * BP),
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "deliveryFeeRate": "",
        "deliveryTime": str(ms(coin.delivery)) if coin.delivery else "0",
        "ask1Size": decimal_text(rounded(coin.top / ask, step)),
        "bid1Price": decimal_text(bid),
        "ask1Price": decimal_text(ask),
        "bid1Size": decimal_text(rounded(coin.top / bid, step)),
        "basis": "",
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def future_ticker(coin: Coin, delivery: datetime) -> Row:
    """The ticker of a dated future: no funding."""
    row = linear_ticker(replace(coin, basis=Decimal(90)))
    name = f"{coin.name}USDT-{delivery:%d%b%y}".upper()
    empty = {"fundingRate": "", "nextFundingTime": "", "fundingIntervalHour": "", "fundingCap": ""}
    return (
        row | empty | {"symbol": name, "deliveryTime": str(ms(delivery)), "basisRate": "0.009", "basis": "1"}
    )


def book(ticker: Row, *, tick: Decimal, step: Decimal, dice: random.Random) -> Row:
    """An order book whose best level is the ticker's; deeper levels are larger and farther apart."""
    sides: dict[str, list[list[str]]] = {"b": [], "a": []}
    for side, price_key, size_key, sign in (
        ("b", "bid1Price", "bid1Size", -1),
        ("a", "ask1Price", "ask1Size", 1),
    ):
        price, size = Decimal(ticker[price_key]), Decimal(ticker[size_key])
        first = price
        for level in range(LEVELS):
            sides[side].append([decimal_text(price), decimal_text(size)])
            gap = max(tick, rounded(first * BP * dice.randint(1, 3), tick))
            price += sign * gap
            size = rounded(Decimal(ticker[size_key]) * dice.randint(6, 20 + 3 * level) / 10, step)
            if price <= 0:
                break
    return {"s": ticker["symbol"], **sides, "ts": ms(AS_OF), "u": 1, "seq": 1, "cts": ms(AS_OF) - 3}


def envelope(result: Row) -> Row:
    """What is around every answer."""
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": ms(AS_OF)}


def listed(category: str, rows: list[Row]) -> Row:
    """An answer of a list endpoint."""
    return envelope({"category": category, "list": rows, "nextPageCursor": ""})


D = Decimal
COINS: tuple[Coin, ...] = (
    Coin(name="BTC", price=D("96412.4"), rate=D("1.0"), basis=D("1.2"), half_spread=D("0.01"), top=180_000,
         turnover=9_800_000_000, spot_step="0.000001", perp_step="0.001", spot_tick="0.1", perp_tick="0.1"),
    Coin(name="ETH", price=D("3148.27"), rate=D("0.83"), basis=D("0.8"), half_spread=D("0.02"), top=90_000,
         turnover=4_100_000_000, spot_step="0.00001", perp_step="0.01", spot_tick="0.01", perp_tick="0.01"),
    Coin(name="SOL", price=D("168.31"), rate=D("-0.42"), basis=D("-1.5"), half_spread=D("0.3"), top=40_000,
         turnover=1_900_000_000, spot_step="0.001", perp_step="0.1", spot_tick="0.01", perp_tick="0.01"),
    Coin(name="XRP", price=D("2.2147"), rate=D("1.0"), basis=D("0.4"), half_spread=D("0.3"), top=15_000,
         turnover=880_000_000, perp_step="1"),
    Coin(name="DOGE", price=D("0.17254"), rate=D("2.71"), basis=D("4.1"), half_spread=D("0.4"), top=9_000,
         turnover=640_000_000, spot_step="0.1", perp_step="1", spot_tick="0.00001", perp_tick="0.00001"),
    Coin(name="PEPE", perp="1000PEPE", multiplier=1000, price=D("0.000009813"), rate=D("3.94"),
         basis=D("6.3"),
         half_spread=D("0.7"), top=6_000, turnover=310_000_000, spot_step="1", perp_step="100",
         spot_tick="0.000000001", perp_tick="0.0000001"),
    Coin(name="SHIB", perp="SHIB1000", multiplier=1000, price=D("0.00001174"), rate=D("1.0"), basis=D("0.9"),
         half_spread=D("1"), top=4_500, turnover=95_000_000, spot_step="0.1", perp_step="10",
         spot_tick="0.00000001", perp_tick="0.000001"),
    Coin(name="SATS", perp="10000SATS", multiplier=10_000, price=D("0.00000003712"), rate=D("2.2"), hours=4,
         listed_hours=8, basis=D("7"), half_spread=D("4"), top=700, turnover=9_400_000, spot_step="0.1",
         perp_step="100", spot_tick="0.00000000001", perp_tick="0.0000001"),
    Coin(name="BABYDOGE", perp="1000000BABYDOGE", multiplier=1_000_000, price=D("0.000000001318"),
         rate=D("0.5"),
         hours=4, basis=D("5"), half_spread=D("6"), top=420, turnover=4_200_000, spot_step="1", perp_step="1",
         spot_tick="0.0000000000001", perp_tick="0.0000001"),
    Coin(name="BONK", perp="1000BONK", multiplier=1000, price=D("0.00001391"), rate=D("1.0"), hours=4,
         basis=D("1.1"),
         half_spread=D("1.2"), top=3_200, turnover=88_000_000, spot_step="0.1", perp_step="100",
         spot_tick="0.00000001", perp_tick="0.000001"),
    Coin(name="WIF", price=D("0.6134"), rate=D("4.35"), hours=4, basis=D("8.2"), half_spread=D("1.8"),
         top=1_900,
         turnover=74_000_000, perp_step="1"),
    Coin(name="ENA", price=D("0.4417"), rate=D("5.12"), basis=D("9.4"), half_spread=D("1.3"), top=2_600,
         turnover=142_000_000, perp_step="1"),
    Coin(name="HYPER", price=D("0.2983"), rate=D("1.9"), hours=1, listed_hours=8, cap=D(100), basis=D("21"),
         half_spread=D("5.5"), top=380, turnover=12_600_000, perp_step="1"),
    Coin(name="ADA", price=D("0.5218"), rate=D("1.0"), basis=D("0.3"), half_spread=D("0.9"), top=5_500,
         turnover=210_000_000, perp_step="1"),
    Coin(name="LINK", price=D("14.382"), rate=D("1.84"), basis=D("2.8"), half_spread=D("0.6"), top=7_000,
         turnover=160_000_000, spot_step="0.001", spot_tick="0.001", perp_tick="0.001"),
    Coin(name="AVAX", price=D("17.914"), rate=D("-1.9"), basis=D("-4.4"), half_spread=D("0.8"), top=4_800,
         turnover=120_000_000, spot_step="0.001", spot_tick="0.001", perp_tick="0.001"),
    Coin(name="SUI", price=D("1.9471"), rate=D("2.35"), hours=4, basis=D("3.6"), half_spread=D("0.7"),
         top=6_400,
         turnover=330_000_000, perp_step="1"),
    Coin(name="TIA", price=D("1.0472"), rate=D("-8.3"), hours=4, basis=D("-17"), half_spread=D("2.4"),
         top=1_400,
         turnover=41_000_000, perp_step="1"),
    Coin(name="PENDLE", price=D("2.6134"), rate=D("3.15"), basis=D("5.2"), half_spread=D("2.1"), top=1_100,
         turnover=23_000_000, perp_step="1"),
    Coin(name="JUP", price=D("0.2518"), rate=D("1.55"), hours=2, basis=D("4.7"), half_spread=D("2.2"),
         top=1_250,
         turnover=26_000_000, perp_step="1"),
    Coin(name="1INCH", price=D("0.1947"), rate=D("1.0"), hours=4, basis=D("1.8"), half_spread=D("3.4"),
         top=620,
         turnover=6_100_000, spot_tick="0.00001", perp_tick="0.00001", perp_step="1"),
    Coin(name="NEIRO", price=D("0.00021344"), rate=D("9.7"), look_alike=D("118.4"), top=900,
         turnover=7_300_000,
         half_spread=D(4), spot_step="1", perp_step="1", spot_tick="0.00000001", perp_tick="0.00001"),
    Coin(name="MYRO", price=D("0.01473"), rate=D("12.6"), hours=4, basis=D("-31"), half_spread=D(9), top=260,
         turnover=1_900_000, spot_tick="0.00001", perp_tick="0.00001", perp_step="1",
         delivery=datetime(2026, 11, 27, 9, tzinfo=UTC)),
    Coin(name="LUNC", price=D("0.00003391"), rate=D("7.9"), special=True, half_spread=D(5), top=700,
         turnover=8_800_000,
         spot_step="1", perp_step="100", spot_tick="0.00000001", perp_tick="0.00000001"),
    Coin(name="HYPE", price=D("34.512"), rate=D("2.9"), spot=False, half_spread=D("0.6"), top=12_000,
         turnover=720_000_000, perp_step="0.01", perp_tick="0.001"),
    Coin(name="MEGA", price=D("0.4127"), rate=D("0.5"), status="PreLaunch", spot=False, half_spread=D(12),
         top=300,
         turnover=2_100_000, perp_step="1"),
    Coin(name="TSLA", price=D("402.15"), rate=D("1.3"), perp_type="stock", spot=False, half_spread=D(2),
         top=9_000,
         turnover=58_000_000, perp_step="0.01", perp_tick="0.01"),
    Coin(name="TSLAX", price=D("401.62"), spot_type="xstocks", linear=False, half_spread=D(6), top=2_000,
         turnover=4_000_000, spot_step="0.0001", spot_tick="0.01"),
    Coin(name="XAU", price=D("4071.3"), rate=D("0.6"), perp_type="commodity", spot=False, half_spread=D(1),
         top=22_000,
         turnover=190_000_000, perp_step="0.001", perp_tick="0.1"),
)  # fmt: skip

USDC_BTC = replace(COINS[0], settle="USDC", turnover=310_000_000, basis=D("0.6"), rate=D("0.9"), spot=False)
FUTURE = datetime(2026, 12, 25, 8, tzinfo=UTC)


def market(coins: tuple[Coin, ...] = COINS) -> dict[str, Row]:
    """Every file by name."""
    dice = random.Random(20261120)  # noqa: S311 - invented sizes, not secrets
    spots = [coin for coin in coins if coin.spot]
    perps = [coin for coin in coins if coin.linear]
    btc = coins[0]
    books: dict[str, Row] = {}
    for coin in coins:
        if coin.spot:
            row = spot_ticker(coin)
            steps = {"tick": Decimal(coin.spot_tick), "step": Decimal(coin.spot_step)}
            books[f"spot:{row['symbol']}"] = envelope(book(row, dice=dice, **steps))
        if coin.linear:
            row = linear_ticker(coin)
            steps = {"tick": Decimal(coin.perp_tick), "step": Decimal(coin.perp_step)}
            books[f"linear:{row['symbol']}"] = envelope(book(row, dice=dice, **steps))
    return {
        "instruments-spot": listed("spot", [spot_instrument(coin) for coin in spots]),
        "instruments-linear": listed(
            "linear", [*map(linear_instrument, perps), linear_instrument(USDC_BTC), dated_future(btc, FUTURE)]
        ),
        "tickers-spot": listed("spot", [spot_ticker(coin) for coin in spots]),
        "tickers-linear": listed(
            "linear", [*map(linear_ticker, perps), linear_ticker(USDC_BTC), future_ticker(btc, FUTURE)]
        ),
        "books": books,
    }


def lines(content: Row) -> str:
    """JSON with one row a line, so that a change can be read in a diff."""
    if "result" not in content:
        inner = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        return "{\n" + inner + "\n}\n"
    rows = ",\n".join(json.dumps(row) for row in content["result"]["list"])
    marked = json.dumps(content | {"result": content["result"] | {"list": ["@"]}})
    return marked.replace('["@"]', f"[\n{rows}\n]") + "\n"


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in market().items():
        (FOLDER / f"{name}.json").write_text(lines(content), encoding="utf-8")
        print(f"{FOLDER / name}.json")


if __name__ == "__main__":
    main()
