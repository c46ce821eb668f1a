"""A folder to configure in, and ways to load from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fundarb.config import Flags, Settings, load
from fundarb.errors import ConfigError

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty working folder."""
    return tmp_path


@pytest.fixture
def settle(folder: Path) -> Load:
    """Load from the folder with some environment; ``toml`` and ``env`` are written first (``.env``
    private).
    """

    def loaded(
        flags: Flags | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        toml: str | None = None,
        env: str | None = None,
    ) -> Settings:
        if toml is not None:
            (folder / "fundarb.toml").write_text(toml, encoding="utf-8")
        if env is not None:
            (folder / ".env").write_text(env, encoding="utf-8")
            os.chmod(folder / ".env", 0o600)  # noqa: PTH101 - the mode is the point
        return load(flags or Flags(), {"FUNDARB_HOME": str(folder / "home"), **(environ or {})}, cwd=folder)

    return loaded


@pytest.fixture
def problems(settle: Load) -> Problems:
    """The problems of a configuration that must not load."""

    def found(*arguments: object, **named: object) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            settle(*arguments, **named)
        return [str(problem) for problem in caught.value.problems]

    return found
