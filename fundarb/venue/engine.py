"""The venue: one simulated exchange with one unified account; the façade that adapters and servers use.

Pure and deterministic: time is handed in with ``advance``, prices come from a ``MarketFeed``, ids are
derived from the uid. It never reads a clock, never draws a number, never does I/O. Refusals are
``errors.Rejected`` with Bybit's code and words. The world's verbs are the methods of ``venue.world`` (see
``venue/world.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fundarb.core.market import Category, SettledFunding
from fundarb.core.money import cash
from fundarb.errors import InvariantBroken, Rejected
from fundarb.venue.account import Account, Entry
from fundarb.venue.admission import Admission, Facts, refuse
from fundarb.venue.audit import Audit
from fundarb.venue.codec import decode, encode
from fundarb.venue.desk import Counter, Desk
from fundarb.venue.feed import MarketFeed
from fundarb.venue.fees import Fees
from fundarb.venue.forced import Forced
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.matching import Matching
from fundarb.venue.reads import Reads
from fundarb.venue.register import Register
from fundarb.venue.rows import (
    Ack,
    Directive,
    Notice,
    OrderMatch,
    OrderSpec,
    Topic,
    WalletView,
)
from fundarb.venue.schedule import Schedule
from fundarb.venue.state import Rules, State
from fundarb.venue.timeline import Parts, Timeline
from fundarb.venue.world import Hands, World

__all__ = ["Rules", "Venue"]

SNAPSHOT_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Venue(Reads):
    """One exchange, one account. Public attributes: ``uid``, ``rules``, ``world``, ``key``; ``now`` is
    where time stands.
    """

    def __init__(
        self,
        feed: MarketFeed,
        *,
        start: datetime,
        uid: str,
        balances: Mapping[str, Decimal] | None = None,
        rules: Rules | None = None,
    ) -> None:
        """A new venue; opening balances are posted as transfers in at ``start``."""
        self.rules = rules or Rules()
        minute = timedelta(minutes=self.rules.hourly_interest_minute)
        hour = start - (start - _EPOCH) % _HOUR
        first = hour + minute if hour + minute > start else hour + minute + _HOUR
        self._build(feed, State(uid=uid, start=start, now=start, next_interest=first, next_risk=start))
        for coin, amount in (balances or {}).items():
            self._account.post(
                Entry(kind="TRANSFER_IN", coin=coin, cash_flow=cash(amount), quantity=cash(amount))
            )

    def _build(self, feed: MarketFeed, state: State) -> None:
        self._state = state
        self._listeners: list[Callable[[Notice], None]] = []
        self._market = Market(feed, state, recovery=self.rules.recovery)
        self._schedule = Schedule(feed, state)
        self._account = Account(state)
        self._register = Register(state, self.rules.keep_closed)
        self._fees = Fees(self._market, self._account, rules=self.rules)
        self._margin = Margin(
            self._market, self._account, register=self._register, rules=self.rules, fees=self._fees
        )
        self._matching = Matching(
            state, self._market, account=self._account, register=self._register, fees=self._fees
        )
        self._matching.tell = self._tell
        self._forced = Forced(
            state, self._market, account=self._account, margin=self._margin, matching=self._matching
        )
        self._audit = Audit(self._account, self._register)
        parts = Parts(self._market, self._schedule, self._register, self._matching, self._forced, self._audit)
        self._timeline = Timeline(state, parts, script=self._market.feed.happenings())
        facts = Facts(self._market, self._schedule, self._account, self._register, self._margin)
        admission = Admission(state, self.rules, facts=facts)
        counter = Counter(self._account, self._register, self._matching)
        self._desk = Desk(state, self.rules, admission=admission, timeline=self._timeline, parts=counter)
        hands = Hands(
            self._market,
            self._schedule,
            self._account,
            self._fees,
            self._forced,
            self._timeline,
            self._margin,
        )
        self.world = World(state, hands, desk=self._desk)
        self._market.listeners.append(lambda symbol: self._tell(Notice(Topic.MARKET, state.now, symbol)))

    def _tell(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener(notice)

    # ------------------------------------------------------------------------------------------ time

    def advance(self, to: datetime) -> None:
        """Perform everything due up to and including ``to``, in order, then make ``to`` the present.

        An instant in the past is the present. Call it before every query and write (the same instant again
        is fine and costs microseconds): with no match delay it is the *next* advance that matches what was
        placed.
        """
        self._timeline.advance(to)

    def next_due(self) -> datetime:
        """When the next known thing happens (a matching, a settlement of a held symbol, interest …); for a
        real-time server.
        """
        return self._timeline.upcoming()

    # ------------------------------------------------------------------------------------------ orders

    def place(self, spec: OrderSpec, directive: Directive | None = None) -> Ack:
        """Accept an order for matching at ``now + match_delay``; ``Rejected(code)`` when a rule forbids it
        (nothing changed).
        """
        return self._desk.place(spec, directive)

    def check(self, spec: OrderSpec, *, funded: bool = True) -> tuple[WalletView, WalletView]:
        """Pre-check: the wallet before and as it would be with the order open; ``Rejected`` as ``place``
        would, but with ``funded`` False not for a lack of margin.
        """
        before = self._margin.wallet()
        return before, self._desk.rehearse(spec, self._margin.wallet, funded=funded)

    def amend(
        self,
        category: Category,
        *,
        order_id: str = "",
        link_id: str = "",
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Ack:
        """Ask for another total quantity or price of an open order; takes effect at ``now + match_delay``.
        ``Rejected``: 110001 or (spot) 170213, 170139, 170142 when there is no such open order.
        """
        order = self._desk.open_order(category, order_id, link_id=link_id, late="too late to replace")
        return self._desk.amend(order, quantity, price=price)

    def cancel(self, category: Category, symbol: str, *, order_id: str = "", link_id: str = "") -> Ack:
        """Ask for a cancel; takes effect at ``now + match_delay``. ``Rejected`` when there is no such open
        order.
        """
        return self._desk.cancel(category, symbol, order_id=order_id, link_id=link_id)

    def cancel_all(self, category: Category, symbol: str | None = None) -> tuple[Ack, ...]:
        """Ask for a cancel of every open order of a market (or symbol)."""
        return self._desk.cancel_all(category, symbol)

    def force(self, match: OrderMatch, *directives: Directive) -> None:
        """Arm directives for the next orders that fit, one each, in order."""
        self._desk.force(match, *directives)

    def forget_recent(self) -> None:
        """A restart of the venue: order/realtime no longer knows closed orders."""
        self._register.forget_recent()

    # ------------------------------------------------------------------------------------------ account

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Set a symbol's leverage: 110043 when unchanged, 110013 above what the tier of position and open
        orders allows, 110044 when their margin at a lower one is not available, 10001 off the step or after
        its delivery.
        """
        perp = self._margin.perp(symbol)
        if self.delivered(symbol):
            refuse(10001, "params error: symbol invalid")
        top = min(perp.max_leverage, self._margin.tier(symbol, self._margin.reach(symbol)).max_leverage)
        if leverage < 1 or leverage % perp.leverage_step:
            refuse(10001, "leverage invalid")
        if leverage > top:
            refuse(110013, f"cannot set leverage gt maxLeverage by risk limit: {leverage} > {top}")
        if leverage == self._margin.leverage(symbol):
            raise Rejected("leverage not modified", code=110043)
        if not self._margin.affords_leverage(symbol, leverage):
            refuse(110044, "Available margin is insufficient.")
        self._account.book.leverage[symbol] = leverage

    @property
    def delta_mode(self) -> bool:
        """Delta neutral mode of the account."""
        return self._state.delta_mode

    @delta_mode.setter
    def delta_mode(self, on: bool) -> None:
        self._state.delta_mode = on

    @property
    def margin_mode(self) -> str:
        """Always REGULAR_MARGIN here: isolated and portfolio margin are not simulated."""
        return self._state.margin_mode

    def set_collateral_switch(self, coin: str, *, on: bool) -> None:
        """The user's own switch of one coin; USDT and USDC cannot be switched."""
        if coin in {"USDT", "USDC"}:
            refuse(10001, f"{coin} cannot be switched")
        self._account.coin(coin).collateral_switch = on
        self._timeline.check_risk()

    def settle_late(self, row: SettledFunding, *, mark: Decimal | None = None) -> bool:
        """Book a settlement that became known only after its instant, for the size held *then* and at the
        ``mark`` of then (today's without one); False if none was held.
        """
        booked = self._forced.settle_late(row, mark=mark)
        self._timeline.check_risk()
        return booked

    def requoted(self) -> None:
        """The market source has been shown new prices, perhaps without any time having passed."""
        self._market.forget_prices()

    def look(self) -> None:
        """Judge the account's risk now; for a market source whose prices do not move by the clock."""
        self._timeline.check_risk()

    def prune(self, before: datetime) -> None:
        """Forget rows and closed orders from before an instant; balances and positions stay as they are."""
        self._account.prune(before)
        self._register.prune(before)
        self._audit.restart()

    # ------------------------------------------------------------------------------------------ truth

    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        """Be told of every private event, in order, while ``advance``, ``place`` and world verbs run; must
        not call back.
        """
        self._listeners.append(listener)

    def snapshot(self) -> dict[str, object]:
        """The complete state as plain JSON values (strings, integers, lists, dicts, booleans, None)."""
        return {"version": SNAPSHOT_VERSION, "rules": encode(self.rules), "state": encode(self._state)}

    @classmethod
    def restore(cls, feed: MarketFeed, saved: Mapping[str, object], *, rules: Rules | None = None) -> Venue:
        """A venue as it was when ``snapshot`` was taken, over the same market; ``ValueError`` for a broken
        or newer state.
        """
        if saved.get("version") != SNAPSHOT_VERSION:
            raise ValueError(
                f"a venue state of version {saved.get('version')!r}; this program reads {SNAPSHOT_VERSION}"
            )
        venue = cls.__new__(cls)
        venue.rules = rules or decode(Rules, saved.get("rules"))
        try:
            venue._build(feed, decode(State, saved.get("state")))  # noqa: SLF001 - its own constructor
        except InvariantBroken as error:
            raise ValueError(str(error)) from error
        return venue
