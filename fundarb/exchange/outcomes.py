"""What a retCode means for a write, by number, never by a library's exception class.

Bybit's API documents the codes. Every definite refusal known is listed: one that is missing
would freeze a symbol with a naked leg while its order is looked for in vain. A code that is in no list is
UNCERTAIN and asks to be added.
"""

from __future__ import annotations

from fundarb.core.orders import Outcome

EXISTS = frozenset({110072, 110030, 170141, 12141, 10014})
"""A duplicate link id: proof that a first request landed."""

UNCERTAIN = frozenset(
    {429, 10000, 10016, 10019, 10403, 10429, 20003, 20006, 110079, 500000}
    | {170001, 170005, 170007, 170032, 170146, 170147, 170149, 170210}
    | {131214}  # a transfer id that exists: an earlier request landed, so nothing is refused
)
"""The request may have been executed although the call failed."""

REFUSED = frozenset(
    # time, key, permission, account, region, route, demo
    {-1, 10001, 10002, 10003, 10004, 10005, 10006, 10007, 10008, 10009, 10010, 10017, 10018}
    | {10024, 10027, 10028, 10029, 10032, 30228, 33004, -2015, 34040}
    # derivatives
    | {110001, 110003, 110004, 110005, 110006, 110007, 110008, 110009, 110010, 110012, 110013, 110014, 110017}
    | {110020, 110021, 110022, 110023, 110024, 110025, 110026, 110028, 110036, 110038, 110040, 110042, 110043}
    | {110044, 110045, 110063, 110066, 110073, 110074, 110085, 110086, 110089, 110090, 110094, 110095, 110098}
    | {110103, 110118, 110120, 110121, 110123, 110124, 110125, 110132}
    # spot
    | {170033, 170036, 170037, 170121, 170124, 170131, 170132, 170133, 170134, 170135, 170136, 170137, 170139}
    | {170140, 170142, 170148, 170151, 170157, 170159, 170190, 170192, 170193, 170194, 170195, 170196, 170197}
    | {170198, 170199, 170200, 170209, 170213, 170222, 170228, 170229, 170241, 170341, 170346, 170371, 170372}
    | {170381, 170382, 170810, 176008, 176009}
    # account, margin, collateral, transfers
    | {131212, 131228, 131239, 181017, 182011, 182021, 3200641, 3400045}
)
"""The venue refused for certain; nothing changed."""

NO_CHANGE = frozenset({110025, 110026, 110043, 34040})
"""Refusals that mean "it is already so": success for a request that sets a mode or a leverage."""


def classify(code: int) -> tuple[Outcome, bool]:
    """The outcome of a code, and whether the table does not know it. 0 is ACCEPTED if the strict check
    passed.
    """
    if code == 0:
        return Outcome.ACCEPTED, False
    if code in EXISTS:
        return Outcome.EXISTS, False
    if code in UNCERTAIN:
        return Outcome.UNCERTAIN, False
    if code in REFUSED:
        return Outcome.REFUSED, False
    return Outcome.UNCERTAIN, True
