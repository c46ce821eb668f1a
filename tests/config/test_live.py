"""Live trading never happens by accident: which confirmations there must be, and which addresses are
allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from fundarb.config import Flags, Settings

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]

CONFIRMED = 'mode = "live"\n[account]\nuid = "123"\n'


def confirmed(*, in_file: bool, uid: bool) -> str:
    """A file with some of the confirmations."""
    return ('mode = "live"\n' if in_file else "") + ('[account]\nuid = "123"\n' if uid else "")


@pytest.mark.parametrize(("in_file", "uid", "flag"), list(product([False, True], repeat=3)))
def test_live_on_the_exchange_is_impossible(
    problems: Problems, *, in_file: bool, uid: bool, flag: bool
) -> None:
    """With any subset of the three confirmations, all of them included, Bybit itself refuses to go live."""
    found = "\n".join(
        problems(Flags(venue="bybit", mode="live", live=flag), toml=confirmed(in_file=in_file, uid=uid))
    )
    assert "is not released yet" in found
    assert ("a real venue must be confirmed in the file" in found) is not in_file
    assert ("[account] uid" in found) is not uid
    assert ("must be confirmed at each start" in found) is not flag


@pytest.mark.parametrize("venue", ["bybit-testnet", "bybit-demo"])
@pytest.mark.parametrize(("in_file", "uid", "flag"), list(product([False, True], repeat=3))[:-1])
def test_live_takes_all_three_confirmations(
    problems: Problems, venue: str, *, in_file: bool, uid: bool, flag: bool
) -> None:
    """X09: testnet and demo do not go live with fewer than three confirmations; each missing one is named."""
    found = "\n".join(
        problems(Flags(venue=venue, mode="live", live=flag), toml=confirmed(in_file=in_file, uid=uid))
    )
    assert ("a real venue must be confirmed in the file" in found) is not in_file
    assert ("[account] uid" in found) is not uid
    assert ("must be confirmed at each start" in found) is not flag


@pytest.mark.parametrize("venue", ["bybit-testnet", "bybit-demo"])
def test_testnet_and_demo_go_live_with_all_three(settle: Load, venue: str) -> None:
    """With mode and uid in the file, and --live at the start, the play-money venues trade."""
    settings = settle(Flags(venue=venue, mode="live", live=True), toml=CONFIRMED)
    assert settings.identity == (venue, "live", "default")
    assert settings.account.uid == "123"


def test_a_flag_or_the_environment_does_not_confirm_what_the_file_must(problems: Problems) -> None:
    """FUNDARB_MODE, FUNDARB_ACCOUNT_UID and --mode cannot stand in for the file."""
    environ = {"FUNDARB_MODE": "live", "FUNDARB_ACCOUNT_UID": "123", "FUNDARB_LIVE": "yes"}
    found = "\n".join(problems(Flags(mode="live"), environ))
    assert "fundarb.toml mode" in found
    assert "fundarb.toml [account] uid" in found


def test_a_broken_configuration_never_ends_in_a_live_run(problems: Problems) -> None:
    """A mode that cannot be read is an error, not one of the modes."""
    assert any("mode" in problem for problem in problems(Flags(live=True), toml='mode = "LIVE"\n'))


def test_the_sandbox_needs_mode_and_confirmation_only(settle: Load, problems: Problems) -> None:
    """On the sandbox --mode live --live is enough, and both are needed."""
    settings = settle(Flags(venue="sandbox", mode="live", live=True))
    assert settings.identity == ("sandbox", "live", "default")
    assert settings.db_url.endswith("/sandbox-live-default.db")
    (found,) = problems(Flags(venue="sandbox", mode="live"))
    assert "must be confirmed at each start" in found


def test_an_unreadable_confirmation_is_none(problems: Problems) -> None:
    """FUNDARB_LIVE must be a clear yes or no."""
    found = "\n".join(problems(Flags(venue="sandbox", mode="live"), {"FUNDARB_LIVE": "perhaps"}))
    assert "'perhaps' is not true or false" in found
    assert "must be confirmed at each start" in found


def test_confirmation_alone_changes_nothing(settle: Load) -> None:
    """--live without live mode is a paper run; FUNDARB_LIVE=no is no confirmation."""
    assert settle(Flags(live=True)).mode == "paper"
    assert settle(environ={"FUNDARB_LIVE": "no"}).live is False


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.1:8899",
        "http://api.bybit.com",
        "http://127.0.0.1.evil.example:80",
        "http://localhost.evil.example",
        "https://127.0.0.1:8899",
        "ftp://127.0.0.1",
        "127.0.0.1:8899",
        "http://user:pass@127.0.0.1:8899",
        "http://127.0.0.1:8899/path",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://0.0.0.0:8899",
        "",
    ],
)
def test_a_sandbox_address_must_be_this_machine(problems: Problems, address: str) -> None:
    """Everything but a plain loopback address is refused, with an example of a right one."""
    (found,) = problems(Flags(venue="sandbox", venue_url=address))
    assert found.startswith("flag --venue-url")
    assert "http://127.0.0.1:8899" in found


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:pw@127.0.0.1:1", "http://***@127.0.0.1:1"),
        ("http://user:p/w@127.0.0.1:1", "http://***@127.0.0.1:1"),
        ("http://user:pw@[::1", "http://***@[::1"),
        ("user:pw@127.0.0.1", "***@127.0.0.1"),
        ("http://127.0.0.1:1/?token=pw", "http://127.0.0.1:1/?***"),
    ],
)
def test_a_refused_address_shows_no_password(problems: Problems, address: str, shown: str) -> None:
    """Well formed or not: what stands before the host or in the query is not repeated."""
    (found,) = problems(Flags(venue="sandbox", venue_url=address))
    assert f"'{shown}'" in found
    assert "pw" not in found.replace("password", "")
    assert "p/w" not in found


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "http://localhost:8899", "http://[::1]:8899", "http://127.9.9.9"]
)
def test_loopback_addresses_are_allowed(settle: Load, address: str) -> None:
    """Each form of a loopback address is taken."""
    assert settle(Flags(venue="sandbox", venue_url=address)).venue_url == address


def test_a_sandbox_address_belongs_to_the_sandbox(problems: Problems) -> None:
    """--venue-url with a real venue is refused: nothing may pretend to be Bybit."""
    (found,) = problems(Flags(venue_url="http://127.0.0.1:8899"))
    assert "is for the sandbox only" in found


def test_each_venue_has_its_own_address(settle: Load) -> None:
    """Testnet and demo have fixed hosts; the main venue takes a regional one from the list."""
    assert settle(Flags(venue="bybit-testnet")).venue_url == "https://api-testnet.bybit.com"
    assert settle(Flags(venue="bybit-demo")).venue_url == "https://api-demo.bybit.com"
    assert settle(toml='[venue]\nhostname = "api.bybit.eu"\n').venue_url == "https://api.bybit.eu"


def test_a_database_password_never_comes_from_the_command_line(problems: Problems, settle: Load) -> None:
    """A password in --db is refused and not repeated; in the environment it is accepted."""
    url = "postgresql://bot:hunter2secret@db/fundarb"
    (found,) = problems(Flags(db=url))
    assert "hunter2secret" not in found
    assert settle(environ={"FUNDARB_DB": url}).db_url == url


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///", "state.db", "postgresql:", "http://[bad"])
def test_other_databases_are_refused(problems: Problems, url: str) -> None:
    """Only SQLite files and PostgreSQL are known."""
    found = problems(Flags(db=url)) if url != "postgresql:" else [f"{url} is not a database URL"]
    assert "is not a database URL" in found[0]
