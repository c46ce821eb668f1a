"""Who signed a request: API key, HMAC signature, the clock rule and permissions; it must never let an
unsigned write through.

Plain text is ``timestamp + key + recvWindow + payload`` (raw query of a GET, raw body of a POST),
HMAC-SHA256 in lower-case hex. Clock rule: ``server − recvWindow <= timestamp < server + 1000 ms``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fundarb.sandbox.wire import WireError
from fundarb.venue.state import KeyState

AHEAD_MS = 1000
HOME_ADDRESSES = ("127.0.0.1", "::1")
_DEFAULT_WINDOW = "5000"
_MAX_WINDOW_MS = 60_000
_DIGITS_OF_AN_INSTANT = 15
Right = tuple[str, str]
"""A group of permissions and one of its rights."""
FULL_PERMISSIONS: Mapping[str, tuple[str, ...]] = {
    "ContractTrade": ("Order", "Position"),
    "Spot": ("SpotTrade",),
    "Wallet": (),
    "Options": (),
    "Derivatives": ("DerivativesTrade",),
    "CopyTrading": (),
    "BlockTrade": (),
    "Exchange": (),
    "NFT": (),
    "Affiliate": (),
    "Earn": (),
    "FiatP2P": (),
    "FiatBybitPay": (),
    "FiatConvertBroker": (),
    "FiatGlobalPay": (),
    "FiatBitPay": (),
    "BitCard": (),
    "ByXPost": (),
}
"""A trading key as it should be: no right to withdraw or transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """The key as the world has left it; no ``addresses`` means it may be used from anywhere."""

    key: str
    permissions: Mapping[str, tuple[str, ...]]
    read_only: bool
    addresses: tuple[str, ...]
    expires: datetime | None


def sign(secret: str, text: bytes) -> str:
    """The signature of a plain text."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """The authentication headers of a request and the payload they cover."""

    key: str
    timestamp: str
    window: str
    signature: str
    payload: bytes

    @classmethod
    def of(cls, headers: Mapping[bytes, bytes], payload: bytes) -> Signed | None:
        """Read them; None when the request carries no key at all."""
        key = headers.get(b"x-bapi-api-key")
        if key is None:
            return None
        return cls(
            key=key.decode("latin-1"),
            timestamp=headers.get(b"x-bapi-timestamp", b"").decode("latin-1"),
            window=headers.get(b"x-bapi-recv-window", b"").decode("latin-1") or _DEFAULT_WINDOW,
            signature=headers.get(b"x-bapi-sign", b"").decode("latin-1"),
            payload=payload,
        )

    @property
    def timestamp_ms(self) -> int | None:
        """The signed instant; None if it is no number."""
        return _number(self.timestamp)


def _number(text: str) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) <= _DIGITS_OF_AN_INSTANT
    return int(text) if plain else None


class Keyring:
    """The one API key of the venue's one account."""

    def __init__(self, key: str, secret: str) -> None:
        self.name = key
        self._secret = secret

    def key(self, state: KeyState) -> ApiKey:
        """The key with what the world has done to it."""
        permissions = FULL_PERMISSIONS
        if state.permissions:  # the world has named every group, also those without a right
            permissions = {
                name: tuple(state.permissions.get(name, ()))
                for name in (*FULL_PERMISSIONS, *state.permissions)
            }
        return ApiKey(
            key=self.name,
            permissions=permissions,
            read_only=state.read_only,
            addresses=tuple(state.addresses) or HOME_ADDRESSES,
            expires=state.expires,
        )

    def signed(self, text: bytes, signature: str) -> bool:
        """Whether a signature is the key's own under a text."""
        return hmac.compare_digest(sign(self._secret, text).encode(), signature.encode())

    def check(
        self, signed: Signed | None, state: KeyState, *, now: datetime, now_ms: int, address: str
    ) -> ApiKey:
        """The key of a request whose signature and timestamp hold; otherwise the exchange's own refusal.

        ``now_ms`` is what the venue's clock claims (it may be skewed), ``now`` what it really is.
        """
        if signed is None:
            raise WireError(10003, "API key is invalid.", status=401)
        if signed.key != self.name:
            raise WireError(10003, "API key is invalid.")
        window, stamp = _number(signed.window), signed.timestamp_ms
        if stamp is None or window is None or window > _MAX_WINDOW_MS:
            raise WireError(10001, "params error: X-BAPI-TIMESTAMP or X-BAPI-RECV-WINDOW invalid")
        if not now_ms - window <= stamp < now_ms + AHEAD_MS:
            raise WireError(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]",
            )
        text = f"{signed.timestamp}{signed.key}{signed.window}".encode("latin-1") + signed.payload
        if not self.signed(text, signed.signature):
            raise WireError(10004, "error sign! please check your signature generation algorithm.")
        key = self.key(state)
        if key.expires is not None and now >= key.expires:
            raise WireError(33004, "Your api key has expired.")
        if key.addresses and address not in key.addresses:
            raise WireError(10010, "Unmatched IP, please check your API key's bound IP addresses.")
        return key


def require(key: ApiKey, rights: tuple[Right, ...], *, write: bool) -> None:
    """10005 unless the key has one of these rights (any key will do if there are none) and may write, where
    it is a write.
    """
    allowed = not rights or any(right in key.permissions.get(group, ()) for group, right in rights)
    if not allowed or (write and key.read_only):
        raise WireError(10005, "Permission denied, please check your API key permissions.")
