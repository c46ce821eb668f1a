"""What was noted when the books were opened: when, with which balances, up to which journal. Owns no
table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.account import Wallet
from fundarb.core.money import dec, plain
from fundarb.store.meta import Meta

_OPENED: Final = "ledger.opened"
_BALANCES: Final = "ledger.opening"
_NUMBER: Final = "ledger.opening_id"
_GAIN: Final = "ledger.opening_gain"
_UNPRICED: Final = "ledger.opening_unpriced"


class OpenedBooks:
    """The opening of one database's books."""

    def __init__(self, meta: Meta) -> None:
        """Kept in its small texts."""
        self._meta = meta

    @property
    def opened_at(self) -> datetime | None:
        """When the books were opened, None if they are not yet."""
        text = self._meta.get(_OPENED)
        return None if text is None else datetime.fromisoformat(text)

    def opening(self) -> dict[str, Decimal]:
        """The wallet's balance of each coin when the books were opened; empty before."""
        return {coin: dec(text) for coin, text in json.loads(self._meta.get(_BALANCES) or "{}").items()}

    @property
    def opening_id(self) -> int:
        """The id of the last journal of the opening, zero if there was none."""
        return int(self._meta.get(_NUMBER) or 0)

    @property
    def opening_gain(self) -> Decimal:
        """What contracts had gained that the account held when the books were opened, in quote."""
        return dec(self._meta.get(_GAIN) or "0")

    @property
    def opening_unpriced(self) -> frozenset[str] | None:
        """The coins that were there then and that nobody could price; None: that was not noted yet."""
        text = self._meta.get(_UNPRICED)
        return None if text is None else frozenset(text.split())

    def _note_opening(
        self, wallet: Wallet, at: datetime, *, number: int, gain: Decimal, unpriced: Iterable[str]
    ) -> None:
        """From now on they are open; ``number`` is the id of the opening's last journal."""
        held = {coin: plain(balance.wallet) for coin, balance in sorted(wallet.coins.items())}
        self._meta.set(_BALANCES, json.dumps(held))
        self._meta.set(_NUMBER, str(number))
        self._meta.set(_GAIN, plain(gain))
        self._meta.set(_UNPRICED, " ".join(sorted(unpriced)))
        self._meta.set(_OPENED, at.isoformat())
