"""Files and addresses: the home folder, the database, the venue's base address.

Owns where things are by default and which addresses are allowed. It creates nothing and opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from platformdirs import user_data_path

from fundarb.config.schema import FIXED_HOSTS, SANDBOX_URL, FileSettings, VenueName
from fundarb.errors import Problem

APP = "fundarb"
_BEFORE_HOST = re.compile(r"([a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


def home_folder(given: str | None, cwd: Path) -> Path:
    """``FUNDARB_HOME``, else the platform's folder for user data."""
    if given:
        return (cwd / Path(given).expanduser()).resolve()
    return user_data_path(APP, appauthor=False)


def first_file(candidates: Iterable[Path]) -> Path | None:
    """The first candidate that exists."""
    return next((path for path in candidates if path.exists()), None)


def venue_address(settings: FileSettings, given: str | None, *, where: str) -> tuple[str, list[Problem]]:
    """The venue's base address; ``given`` (``--venue-url``) is for the sandbox only and must stay on this
    machine.
    """
    if settings.venue.name is not VenueName.SANDBOX:
        problems = [
            Problem(
                where,
                f"is for the sandbox only, and the venue is {settings.venue.name}",
                "add --venue sandbox",
            )
        ] * (given is not None)
        return f"https://{FIXED_HOSTS.get(settings.venue.name, settings.venue.hostname)}", problems
    if given is None:
        return SANDBOX_URL, []
    parts = split_url(given)
    problem = _address_problem(parts)
    if problem:
        shown = bare_address(given)
        return SANDBOX_URL, [Problem(where, f"{shown!r} {problem}", f"use an address like {SANDBOX_URL}")]
    return f"{parts.scheme}://{parts.netloc}", []


def split_url(url: str) -> SplitResult:
    """The parts of a URL; none at all where it is malformed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _address_problem(parts: SplitResult) -> str:
    if parts.scheme != "http" or not parts.netloc:
        return "is not an http:// address"
    if parts.username or parts.password:
        return "carries a password"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "has more than a host and a port"
    try:
        _ = parts.port
    except ValueError:
        return "has no valid port"
    return (
        ""
        if is_loopback(parts.hostname or "")
        else "is not a loopback address: a sandbox runs on this machine"
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for certain: ``localhost``, 127.0.0.0/8 or ::1; other names are not
    asked for.
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def database(
    settings: FileSettings, given: str | None, *, home: Path, cwd: Path, where: str
) -> tuple[str, list[Problem]]:
    """The database URL: given, else one file per venue, mode and instance name in the home folder."""
    if given is None:
        name = f"{settings.venue.name}-{settings.mode}-{settings.account.instance}.db"
        return sqlite_url(home / name), []
    parts = split_url(given)
    if given.startswith("sqlite:///") and len(given) > len("sqlite:///"):
        return sqlite_url(cwd / Path(given.removeprefix("sqlite:///")).expanduser()), []
    if parts.scheme in {"postgresql", "postgres"}:
        if password_of(given) and where.startswith("flag"):
            remedy = "put the password into PGPASSWORD, or the whole URL into FUNDARB_DB"
            return given, [
                Problem(where, "carries a password, and command lines are visible to others", remedy)
            ]
        return given, []
    wanted = "sqlite:///FILE or postgresql://HOST/NAME"
    return given, [Problem(where, f"{masked_url(given)!r} is not a database URL", f"use {wanted}")]


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path.absolute()}"


def password_of(url: str) -> str | None:
    """The password inside a URL, as it stands there, if any."""
    parts = split_url(url)
    words = dict(word.partition("=")[::2] for word in parts.query.split("&"))
    return parts.password or words.get("password")


def bare_address(text: str) -> str:
    """A refused address as a message may show it, malformed or not: without what stands before its host or in
    its query.
    """
    host, mark, _ = _BEFORE_HOST.sub(r"\1***@", text).partition("?")
    return f"{host}{mark}***" if mark else host


def masked_url(url: str) -> str:
    """A URL without its password."""
    password = password_of(url)
    if not password:
        return url if split_url(url).scheme else bare_address(url)
    return re.sub(rf"(:|[?&]password=){re.escape(password)}(?=@|&|$)", r"\1***", url)
