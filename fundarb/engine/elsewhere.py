"""Positions at the venue that a fundarb opened whose database is not this one: another instance's, or our own
from before the database was lost. Takes nothing over, ever: a person must know, and a database that has not
traded yet opens nothing beside them until he has answered.
"""

from __future__ import annotations

from datetime import timedelta

from fundarb.core.market import Category
from fundarb.core.orders import parse_link_id
from fundarb.core.reasons import Reason
from fundarb.engine.alerts import alert_once
from fundarb.engine.desk import Desk
from fundarb.engine.halt_file import set_halt
from fundarb.engine.reconcile import ReconcileResult
from fundarb.engine.shut_out import met
from fundarb.errors import Unavailable

_LOOK_BACK = timedelta(days=7)
"""One window of the venue's list of executions."""
_AHEAD = timedelta(minutes=1)
_LOOKED = "elsewhere.looked"
_CODE = "another_database"


def look_for_lost(desk: Desk, result: ReconcileResult) -> None:
    """The first whole walk of a new database: if the account holds what another one opened, that one may be
    lost, and with it the limits that it counted. Then a person is told, and nothing is opened until he
    resumes; once in a database's life.
    """
    store = desk.store
    if result.unread is not None or store.meta.get(_LOOKED) is not None:
        return
    found = () if store.positions.all() else opened_elsewhere(desk, result)
    with store.transaction():
        store.meta.set(_LOOKED, "yes")
        for reason in found:
            alert_once(store, _CODE, subject="account", message=reason.message)
            set_halt(store, reason.message)


def opened_elsewhere(desk: Desk, result: ReconcileResult) -> tuple[Reason, ...]:
    """A warning if contracts that are not in our books were traded lately under fundarb's own link ids with
    another database's mark. Asks the venue only where there are such contracts; silent if it does not answer.
    """
    foreign = {item.symbol for item in result.mismatches if item.kind == "foreign_position"}
    if not foreign:
        return ()
    now = desk.exchange.stamp()
    try:
        rows = desk.exchange.executions(Category.LINEAR, now - _LOOK_BACK, until=now + _AHEAD)
    except Unavailable as error:
        met(desk, error)
        return ()
    identity = desk.identity()
    ours = {identity.tag, *identity.old_tags}
    links = {row.link_id: row.symbol for row in rows if row.symbol in foreign}
    marks = [(parse_link_id(link), symbol) for link, symbol in links.items()]
    found = {(link.tag, symbol) for link, symbol in marks if link is not None and link.tag not in ours}
    if not found:
        return ()
    tags = ", ".join(sorted({f"fa-{tag}-" for tag, _ in found}))
    symbols = ", ".join(sorted({symbol for _, symbol in found}))
    message = (
        f"{symbols}: opened by a fundarb with another database (orders {tags}…), and not hedged or closed "
        "from here; if that database was lost, put its newest backup in place with `fundarb restore`"
    )
    return (Reason(_CODE, message),)
