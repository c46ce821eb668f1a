"""Which values must never be shown, and what a text looks like without them.

Redaction is by value: every loaded secret, also in its URL-encoded and base64 forms. Names and lengths are
not secret.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote

from fundarb.config.places import password_of, split_url
from fundarb.config.schema import SANDBOX_URL, Settings

MASK = "***"
_SHORTEST = 5
"""Shorter values (the sandbox's ``demo``) are words of the language: masking them would hide ordinary
text.
"""

_NAMES = ("BYBIT_API_KEY", "BYBIT_API_SECRET")


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Every secret the settings carry: key, secret, notification addresses and their parts, the database
    password.
    """
    found: list[str] = []
    if settings.credentials is not None:
        found += [settings.credentials.key.get_secret_value(), settings.credentials.secret.get_secret_value()]
    for address in settings.notify_urls:
        found += address_secrets(address.get_secret_value())
    password = password_of(settings.db_url)
    if password:
        found += [password, unquote(password)]
    return tuple(found)


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets of the environment alone: known before any file is read, and when the configuration is
    broken.
    """
    found = [environ[name] for name in _NAMES if environ.get(name)]
    for name in ("FUNDARB_DB", "PGPASSWORD"):
        value = environ.get(name, "")
        password = value if name == "PGPASSWORD" else password_of(value)
        found += [password, unquote(password)] if password else []
    return tuple(found)


def address_secrets(url: str) -> list[str]:
    """A notification address and those of its parts that are long enough to be a token."""
    parts = split_url(url)
    pieces = [
        *parts.netloc.replace("@", ":").split(":"),
        *parts.path.split("/"),
        *parts.query.replace("&", "=").split("="),
    ]
    return [url, *(piece for piece in pieces if len(piece) >= 12)]


def forms(secret: str) -> tuple[str, ...]:
    """The spellings in which a secret may turn up."""
    encoded = base64.b64encode(secret.encode()).decode()
    return secret, quote(secret, safe=""), quote_plus(secret), encoded, encoded.rstrip("=")


def stored_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Every spelling of those secrets that are long enough to be looked for in a file."""
    long = (secret for secret in secrets if len(secret) >= _SHORTEST and secret != SANDBOX_URL)
    return tuple(form for secret in long for form in forms(secret))


class Redactor:
    """Replaces every known secret in a text; secrets may be added as they are loaded."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Start with some secrets."""
        self._forms: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know more secrets; longer spellings are replaced first."""
        known = set(self._forms)
        for secret in secrets:
            if len(secret) >= _SHORTEST and secret != SANDBOX_URL:
                known.update(forms(secret))
        self._forms = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without any of them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text
