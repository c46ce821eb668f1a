"""Which kind of database a URL names: the one function that tells a file from a server."""

from __future__ import annotations

from typing import Final

from fundarb.errors import ConfigError, Problem
from fundarb.store.file_place import FilePlace
from fundarb.store.files import path_of
from fundarb.store.ports import Place

_SERVER: Final = ("postgresql://", "postgres://")


def place_of(url: str) -> Place:
    """Where ``sqlite:///FILE`` or ``postgresql://USER@HOST:PORT/NAME`` leads; ``ConfigError`` for anything
    else.
    """
    if not url.startswith(_SERVER):
        return FilePlace(path_of(url))
    try:
        from fundarb.store.server_place import ServerPlace
    except ImportError as error:
        remedy = "install it: pip install 'fundarb[postgres]'"
        message = f"a PostgreSQL database needs the library psycopg ({error})"
        raise ConfigError(Problem("--db", message, remedy)) from error
    return ServerPlace(url)


def exists(url: str) -> bool:
    """Whether the database that a URL names has been made; ``StateUnavailable`` if it was and is gone."""
    return place_of(url).exists()
