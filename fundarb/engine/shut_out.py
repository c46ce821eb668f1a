"""The venue lets us in no more: an address that it does not serve (HTTP 403), or a key that it does not take.

Then nothing is opened, and nothing can be hedged either, so a person is told at once. A signed read that
succeeds ends it. Owns the blocks ``ban`` and ``key``; sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from fundarb.core.orders import WriteAnswer
from fundarb.core.reasons import Reason
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.refusals import KEY_CODES, MAY_NOT_TRADE
from fundarb.engine.alerts import alert_once, alert_over
from fundarb.engine.answers import in_words
from fundarb.engine.desk import Desk
from fundarb.engine.ports import Exchange
from fundarb.errors import FundarbError, Unavailable
from fundarb.store.database import Store

_KINDS = (BlockKind.BAN, BlockKind.KEY)
_A_WHILE = timedelta(hours=1)


def shut_out(store: Store, error: BaseException) -> bool:
    """Whether this is why a question failed; then the block is set and the alert raised, once an incident.

    A ban ends by itself if the venue, or our own wait, says when; a key is dead until a signed read succeeds.
    """
    kind = _kind(error)
    if kind is None or not isinstance(error, FundarbError):
        return False
    until = error.until if isinstance(error, Unavailable) else None
    _shut(store, kind, reason=in_words(error), until=until)
    return True


def met(desk: Desk, error: FundarbError) -> None:
    """Something failed in the middle of work, perhaps because we are shut out; a failure that was passed on
    in other words does not say so, but the adapter knows of a ban.
    """
    if not shut_out(desk.store, error):
        look_out(desk.store, desk.exchange)


def refused_by_key(desk: Desk, answer: WriteAnswer) -> Unavailable:
    """Why an order was not taken, as far as that may mean that we are shut out. A key that may not trade may
    still read, so that no read shows whether it may again: for an hour it counts as one that may not.
    """
    error = Unavailable(answer.message, code=answer.code)
    if answer.code == MAY_NOT_TRADE:
        error.until = desk.clock.now() + _A_WHILE
    return error


@contextmanager
def passing_over(desk: Desk) -> Iterator[None]:
    """Work that can be done without: what cannot be read ends it and is passed over; that we are shut out is
    told.
    """
    try:
        yield
    except Unavailable as error:
        met(desk, error)


def unread(desk: Desk, error: Unavailable) -> Reason:
    """Why a trade cannot go on: something could not be read."""
    met(desk, error)
    return Reason("market_unavailable", str(error))


def look_out(store: Store, exchange: Exchange) -> None:
    """A ban that somebody met who could do without an answer. Never a failure of its own."""
    until = None
    with suppress(Unavailable):  # a virtual clock that went away with its venue
        until = exchange.banned_until
    if until is not None:
        reason = f"no request is sent until {until:%H:%M:%S} UTC: the venue's IP limit was hit"
        _shut(store, BlockKind.BAN, reason=reason, until=until)


def _shut(store: Store, kind: BlockKind, *, reason: str, until: datetime | None) -> None:
    if store.readonly:  # a plan that is only shown: its reader is told by the answer
        return
    now = store.clock.now()
    with store.transaction():
        held = store.blocks.get(GLOBAL_SCOPE, kind)
        if held is None or not held.active(now):
            alert_over(store, (kind.value,), subject=GLOBAL_SCOPE)
            block = Block(scope=GLOBAL_SCOPE, kind=kind, reason=reason, since=now, until=until)
            store.blocks.set(block)
        alert_once(store, kind.value, subject=GLOBAL_SCOPE, message=f"{_WORDS[kind]}: {reason}")


def let_in(store: Store, kinds: Collection[BlockKind] = _KINDS) -> None:
    """A signed read has succeeded: what shut us out is over, unless a key may read and not trade."""
    for kind in kinds:
        held = store.blocks.get(GLOBAL_SCOPE, kind)
        if held is not None and not _may_not_trade(store, held):
            with store.transaction():
                store.blocks.clear(GLOBAL_SCOPE, kind)
                alert_over(store, (kind.value,), subject=GLOBAL_SCOPE)


def _may_not_trade(store: Store, held: Block) -> bool:
    """Whether a key still counts as one without the right to trade: no order has been taken since."""
    if held.kind is not BlockKind.KEY or held.until is None or not held.active(store.clock.now()):
        return False
    taken = store.intents.last_acknowledged(besides="")
    return taken is None or taken.signed_at < held.since


def kept_out(store: Store) -> frozenset[BlockKind]:
    """What shut us out when the venue was last asked; empty if nothing did."""
    return frozenset(kind for kind in _KINDS if store.blocks.get(GLOBAL_SCOPE, kind) is not None)


def _kind(error: BaseException) -> BlockKind | None:
    if isinstance(error, Unavailable) and error.forbidden:
        return BlockKind.BAN
    return BlockKind.KEY if getattr(error, "code", None) in KEY_CODES else None


_WORDS = {
    BlockKind.BAN: "the venue serves this address no more",
    BlockKind.KEY: "the venue does not take the key",
}
