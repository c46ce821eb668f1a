"""What the synthetic market is made of: the table of its coins and their quality.

Prices here are where a seed starts from; nothing in this file knows time, floats become Decimals in
``instruments``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fundarb.markets.noise import key_number, unit


class Mood(StrEnum):
    """How a coin's premium behaves, hence its funding."""

    MAJOR = "major"
    HOT = "hot"
    NORMAL = "normal"
    DULL = "dull"
    THIN = "thin"
    COLD = "cold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A class of turnover: USD a day, USD at the touch and per bp of depth (perp; spot has ``spot_share``
    of it), and risk.

    ``spread_bp`` is the quoted spread where the tick does not bind, ``idio`` the hourly sd of what is not
    the market.
    """

    turnover: float
    touch: float
    density: float
    spread_bp: float
    idio: float
    spot_share: float
    leverage: int
    first_limit: int
    mm_rate: str
    cap: str


TIERS = {
    "A": Tier(turnover=4e9, touch=1.6e5, density=4e5, spread_bp=0.1, idio=0.0028, spot_share=0.3,
              leverage=100, first_limit=1_500_000, mm_rate="0.005", cap="0.00375"),
    "B": Tier(turnover=3e8, touch=1.5e4, density=3.5e4, spread_bp=0.8, idio=0.0040, spot_share=0.3,
              leverage=50, first_limit=200_000, mm_rate="0.01", cap="0.0075"),
    "C": Tier(turnover=5e7, touch=1e4, density=1.8e4, spread_bp=1.4, idio=0.0044, spot_share=0.25,
              leverage=50, first_limit=200_000, mm_rate="0.01", cap="0.01"),
    "D": Tier(turnover=1.1e7, touch=4e3, density=5e3, spread_bp=2.6, idio=0.0048, spot_share=0.25,
              leverage=25, first_limit=100_000, mm_rate="0.02", cap="0.02"),
    "E": Tier(turnover=2.5e6, touch=1.5e3, density=1.5e3, spread_bp=5.0, idio=0.0054, spot_share=0.25,
              leverage=25, first_limit=50_000, mm_rate="0.02", cap="0.02"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """One asset of the market. ``perp``/``spot`` are wire symbols, "" where it has none; the perp quotes
    ``multiplier`` coins.

    ``perp_base``/``spot_base`` are the base coins as the wire names them. ``steps`` overrides (perp tick,
    perp step, spot tick, spot step). ``hours`` is the funding interval at the start, ``collateral`` the
    ratio of the first bracket.
    """

    name: str
    price: float
    tier: str
    mood: Mood = Mood.NORMAL
    beta: float = 1.1
    multiplier: int = 1
    perp: str = ""
    spot: str = ""
    perp_base: str = ""
    spot_base: str = ""
    steps: tuple[str, str, str, str] | None = None
    hours: int = 8
    collateral: str = "0"
    symbol_type: str = ""
    spot_type: str = ""
    prelaunch: bool = False
    settle: str = "USDT"
    tagged: bool = False
    hedges: str = ""

    @property
    def size(self) -> Tier:
        """Its class of turnover."""
        return TIERS[self.tier]


def _coin(name: str, price: float, *, tier: str, mood: Mood = Mood.NORMAL, **more: object) -> Coin:
    plain = Coin(
        name=name,
        price=price,
        tier=tier,
        mood=mood,
        perp=f"{name}USDT",
        spot=f"{name}USDT",
        perp_base=name,
        spot_base=name,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


_MAJORS = (
    _coin(
        "BTC",
        97_000,
        tier="A",
        mood=Mood.MAJOR,
        beta=1.0,
        collateral="0.95",
        steps=("0.1", "0.001", "0.01", "0.000001"),
    ),
    _coin(
        "ETH",
        3_400,
        tier="A",
        mood=Mood.MAJOR,
        beta=1.1,
        collateral="0.95",
        steps=("0.01", "0.01", "0.01", "0.00001"),
    ),
    _coin(
        "SOL",
        190,
        tier="A",
        mood=Mood.MAJOR,
        beta=1.35,
        collateral="0.90",
        steps=("0.01", "0.1", "0.01", "0.001"),
    ),
    _coin("XRP", 2.2, tier="B", beta=1.0, collateral="0.90", steps=("0.0001", "1", "0.0001", "0.01")),
    _coin("DOGE", 0.32, tier="B", beta=1.4, collateral="0.85", steps=("0.00001", "1", "0.00001", "0.1")),
    _coin(
        "BNB",
        690,
        tier="B",
        mood=Mood.COLD,
        beta=0.8,
        collateral="0.90",
        steps=("0.1", "0.01", "0.1", "0.0001"),
    ),
)

_ALTS = (
    _coin("ADA", 0.92, tier="C", beta=1.1, collateral="0.80"),
    _coin("SUI", 4.1, tier="B", mood=Mood.HOT, beta=1.5, collateral="0.75"),
    _coin("LINK", 21, tier="C", beta=1.15, collateral="0.80"),
    _coin("AVAX", 37, tier="C", beta=1.25, collateral="0.80"),
    _coin("NEAR", 5.1, tier="C", beta=1.3, collateral="0.75"),
    _coin("WIF", 1.9, tier="B", mood=Mood.HOT, beta=2.0, hours=4, collateral="0.50"),
    _coin("ENA", 0.95, tier="C", mood=Mood.HOT, beta=1.7, collateral="0.60"),
    _coin("ONDO", 1.4, tier="C", mood=Mood.COLD, beta=1.4),
    _coin("TAO", 470, tier="C", mood=Mood.COLD, beta=1.5),
    _coin("DOT", 7.1, tier="C", mood=Mood.COLD, beta=1.1, collateral="0.80"),
    _coin(
        "LTC",
        104,
        tier="C",
        mood=Mood.DULL,
        beta=0.95,
        collateral="0.85",
        steps=("0.01", "0.1", "0.01", "0.00001"),
    ),
    _coin("BCH", 450, tier="C", mood=Mood.COLD, beta=1.0, collateral="0.80"),
    _coin("TRX", 0.25, tier="D", mood=Mood.COLD, beta=0.5, collateral="0.80"),
    _coin("UNI", 13.5, tier="D", beta=1.2, collateral="0.75"),
    _coin("AAVE", 330, tier="D", beta=1.3, collateral="0.75"),
    _coin("INJ", 22, tier="D", mood=Mood.HOT, beta=1.4, hours=4, collateral="0.60"),
    _coin("TIA", 5.0, tier="D", mood=Mood.NORMAL, beta=1.5, hours=4),
    _coin("ATOM", 6.6, tier="D", mood=Mood.DULL, beta=1.1, collateral="0.75"),
    _coin("FIL", 5.2, tier="D", mood=Mood.DULL, beta=1.2),
    _coin("XLM", 0.41, tier="D", mood=Mood.DULL, beta=1.1),
    _coin("GRT", 0.21, tier="E", mood=Mood.DULL, beta=1.2),
    _coin("COMP", 81, tier="E", mood=Mood.THIN, beta=1.1),
    _coin("SNX", 2.1, tier="E", mood=Mood.DULL, beta=1.2),
    _coin("KAVA", 0.47, tier="E", mood=Mood.DULL, beta=1.0),
    _coin("STORJ", 0.5, tier="E", mood=Mood.THIN, beta=1.0, hours=4),
    _coin("MTL", 1.15, tier="E", mood=Mood.THIN, beta=0.9),
    _coin("SKL", 0.06, tier="E", mood=Mood.THIN, beta=1.1, hours=2),
)

_ODDITIES = (
    _coin(
        "PEPE",
        0.0000182,
        tier="B",
        mood=Mood.HOT,
        beta=1.8,
        multiplier=1000,
        perp="1000PEPEUSDT",
        perp_base="1000PEPE",
        collateral="0.50",
        steps=("0.000001", "100", "0.00000001", "1"),
    ),
    _coin(
        "BONK",
        0.0000305,
        tier="C",
        beta=1.8,
        multiplier=1000,
        perp="1000BONKUSDT",
        perp_base="1000BONK",
        steps=("0.000001", "100", "0.00000001", "0.1"),
    ),
    _coin(
        "SHIB",
        0.0000216,
        tier="C",
        beta=1.3,
        multiplier=1000,
        perp="SHIB1000USDT",
        perp_base="SHIB1000",
        collateral="0.70",
        steps=("0.000001", "10", "0.00000001", "0.1"),
    ),
    _coin(
        "SATS",
        0.000000185,
        tier="E",
        mood=Mood.THIN,
        beta=1.5,
        multiplier=10000,
        perp="10000SATSUSDT",
        perp_base="10000SATS",
        steps=("0.0000001", "100", "0.00000000001", "0.1"),
    ),
    _coin("1INCH", 0.38, tier="E", mood=Mood.DULL, beta=1.1),
    # one ticker, two assets: the spot token has nothing to do with what the perp follows
    _coin("BEAM", 0.0261, tier="D", mood=Mood.HOT, beta=1.4, spot="", spot_base=""),
    _coin(
        "BEAM-TOKEN", 0.00079, tier="E", beta=0.7, perp="", perp_base="", spot="BEAMUSDT", spot_base="BEAM"
    ),
    # the venue's own coin, in which fees can be deducted: spot only
    _coin("MNT", 0.8, tier="D", mood=Mood.DULL, perp="", perp_base=""),
    _coin("HYPE", 25, tier="B", mood=Mood.HOT, beta=1.8, spot="", spot_base=""),
    _coin(
        "TSLA",
        412,
        tier="C",
        mood=Mood.DULL,
        beta=0.3,
        symbol_type="stock",
        spot="TSLAXUSDT",
        spot_base="TSLAX",
        spot_type="xstocks",
    ),
    _coin("XAU", 2_650, tier="C", mood=Mood.DULL, beta=0.05, symbol_type="commodity", spot="", spot_base=""),
    _coin("MON", 0.12, tier="D", mood=Mood.HOT, beta=1.5, prelaunch=True, spot="", spot_base=""),
    _coin("FIO", 0.034, tier="E", mood=Mood.THIN, beta=1.0),
    _coin("GMT", 0.17, tier="E", mood=Mood.THIN, beta=1.2, tagged=True),
    _coin(
        "BTC-USDC",
        97_000,
        tier="B",
        mood=Mood.MAJOR,
        beta=1.0,
        perp="BTCPERP",
        perp_base="BTC",
        spot="",
        spot_base="",
        settle="USDC",
        steps=("0.1", "0.001", "0.01", "0.000001"),
        hedges="BTC",
    ),
)


def catalogue() -> tuple[Coin, ...]:
    """The forty-odd assets of the built-in market, of very different quality."""
    return (*_MAJORS, *_ALTS, *_ODDITIES)


def many(count: int) -> tuple[Coin, ...]:
    """A market of ``count`` pairs for measurements: the built-in coins first, invented ones after them."""
    known = [coin for coin in catalogue() if coin.spot and coin.perp][:count]
    moods = (Mood.DULL, Mood.NORMAL, Mood.NORMAL, Mood.THIN, Mood.DULL, Mood.HOT, Mood.COLD, Mood.NORMAL)
    key = key_number("many")
    for number in range(count - len(known)):
        price = 10.0 ** (unit(key, number) * 7.0 - 4.0)
        tier = "CDDEEEEE"[number % 8]
        known.append(
            _coin(
                f"ZZ{number:03d}", price, tier=tier, mood=moods[number % 7], beta=0.7 + unit(key, -number - 1)
            )
        )
    return tuple(known)
