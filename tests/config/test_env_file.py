"""The file with secrets: who may read it, who must not track it, and that nothing of it is ever shown."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.config import Flags, Settings, load, secrets_of
from fundarb.config.secrets import Redactor, environment_secrets
from fundarb.errors import ConfigError

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]

KEY, SECRET = "canaryKEY0123456789", "canarySECRET/abc+def=="
BOTH = f"BYBIT_API_KEY={KEY}\nBYBIT_API_SECRET={SECRET}\n"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """A file with a mode."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_private_file_gives_the_keys(settle: Load) -> None:
    """Keys of a private ``.env`` are taken, and hidden in every representation of the settings."""
    settings = settle(env=BOTH)
    assert settings.credentials is not None
    assert settings.credentials.key.get_secret_value() == KEY
    assert settings.credentials.secret.get_secret_value() == SECRET
    for shown in (
        repr(settings),
        str(settings),
        repr(settings.credentials),
        settings.model_dump_json(fallback=str),
    ):
        assert KEY not in shown
        assert SECRET not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610, 0o601, 0o777])
def test_a_file_that_others_can_read_is_refused_with_the_fix(folder: Path, mode: int) -> None:
    """Any right of group or others is refused, and the message holds the command that mends it."""
    path = write(folder / ".env", BOTH, mode)
    with pytest.raises(ConfigError) as caught:
        load(Flags(), {}, cwd=folder)
    assert f"run: chmod 600 {path}" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_tracked_by_git_is_refused_with_the_fix(folder: Path) -> None:
    """A ``.env`` in the index of a work tree is refused; one that git does not know is not."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True, env=environ)
    write(folder / ".env", BOTH)
    assert load(Flags(), {}, cwd=folder).credentials is not None
    subprocess.run(["git", "-C", str(folder), "add", "--force", ".env"], check=True, env=environ)
    with pytest.raises(ConfigError) as caught:
        load(Flags(), {}, cwd=folder)
    assert f"git -C {folder} rm --cached .env" in str(caught.value)


def test_a_folder_or_a_broken_file_is_no_env_file(folder: Path, problems: Problems) -> None:
    """What is not a readable text file is refused by name."""
    (folder / "other").mkdir()
    assert "is not a regular file" in problems(Flags(env_file=folder / "other"))[0]
    bad = folder / "bad"
    bad.write_bytes(b"\xff\xfe\x00")
    bad.chmod(0o600)
    assert "cannot be read" in problems(Flags(env_file=bad))[0]


def test_a_name_without_a_value_is_said(problems: Problems) -> None:
    """``FUNDARB_MODE`` without ``=`` is a slip, not a setting."""
    assert "FUNDARB_MODE has no value" in problems(env="FUNDARB_MODE\n")[0]


def test_values_are_taken_literally(settle: Load) -> None:
    """Nothing in ``.env`` is interpolated: a secret may hold any character."""
    settings = settle(env="BYBIT_API_KEY='a${HOME}b$x'\nBYBIT_API_SECRET='s'\n")
    assert settings.credentials is not None
    assert settings.credentials.key.get_secret_value() == "a${HOME}b$x"


def test_half_a_key_pair_is_a_problem(problems: Problems, settle: Load) -> None:
    """Key and secret come together; empty ones count as absent."""
    assert "BYBIT_API_SECRET: is missing" in problems(env=f"BYBIT_API_KEY={KEY}\n")[0]
    assert "BYBIT_API_KEY: is missing" in problems(env="", environ={"BYBIT_API_SECRET": SECRET})[0]
    assert settle(env="BYBIT_API_KEY=\nBYBIT_API_SECRET=\n").credentials is None


def test_the_sandbox_has_a_key_of_its_own(settle: Load) -> None:
    """Practising needs no key; a given one is used."""
    practising = settle(Flags(venue="sandbox")).credentials
    assert practising is not None
    assert practising.key.get_secret_value() == "demo"
    given = settle(Flags(venue="sandbox"), env=BOTH).credentials
    assert given is not None
    assert given.key.get_secret_value() == KEY


def test_notification_addresses_are_secrets(settle: Load) -> None:
    """The variables that [notify] urls names are read from the environment or ``.env`` and hidden."""
    url = "tgram://123456789:AAtokenAAtoken/42"
    settings = settle(toml='[notify]\nurls = ["MY_URL"]\n', env=f"MY_URL={url}\n")
    assert [address.get_secret_value() for address in settings.notify_urls] == [url]
    assert url not in repr(settings)
    assert {url, "AAtokenAAtoken"} <= set(secrets_of(settings))


def test_secrets_are_masked_in_every_spelling(settle: Load) -> None:
    """Key, secret, database password and notification tokens vanish, URL-encoded and base64 forms too."""
    settings = settle(
        environ={"FUNDARB_DB": "postgresql://u:p%40ss-word@h/d"}, env=BOTH, toml="[notify]\nurls = []\n"
    )
    mask = Redactor(secrets_of(settings))
    spellings = (
        KEY,
        SECRET,
        "canarySECRET%2Fabc%2Bdef%3D%3D",
        base64.b64encode(SECRET.encode()).decode(),
        "p%40ss-word",
        "p@ss-word",
    )
    text = mask(" | ".join(spellings))
    assert text == " | ".join(["***"] * len(spellings))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P"]), min_size=5), st.text())
def test_no_secret_survives_redaction(secret: str, around: str) -> None:
    """Whatever surrounds a secret, the redacted text does not hold it."""
    assert secret not in Redactor([secret])(f"{around}{secret}{around}").replace("***", "")


def test_the_environment_alone_tells_secrets(settle: Load) -> None:
    """Before any file is read the secrets of the environment are known; short words are no secrets."""
    environ = {"BYBIT_API_KEY": KEY, "PGPASSWORD": "pg-password", "FUNDARB_DB": "postgresql://u:other-pw@h/d"}
    assert {KEY, "pg-password", "other-pw"} <= set(environment_secrets(environ))
    assert Redactor(secrets_of(settle(Flags(venue="sandbox"))))("fundarb demo") == "fundarb demo"
