"""A database URL shows no password, wherever it stands in it."""

import pytest

from fundarb.config.places import masked_url, password_of


@pytest.mark.parametrize(
    ("url", "password", "shown"),
    [
        ("postgresql://bot:pa%40ss@db:5/x", "pa%40ss", "postgresql://bot:***@db:5/x"),
        ("postgresql://bot:5@db:5/x", "5", "postgresql://bot:***@db:5/x"),
        (
            "postgresql://db/x?sslmode=require&password=pass",
            "pass",
            "postgresql://db/x?sslmode=require&password=***",
        ),
        (
            "postgresql://db/x?password=pass&sslmode=require",
            "pass",
            "postgresql://db/x?password=***&sslmode=require",
        ),
        ("postgresql://bot@db/x", None, "postgresql://bot@db/x"),
        ("mysql://u:pass@[h/x", None, "mysql://***@[h/x"),
        ("sqlite:////home/a:b@c/x.db", None, "sqlite:////home/a:b@c/x.db"),
    ],
)
def test_a_password_is_found_and_masked(url: str, password: str | None, shown: str) -> None:
    """Before the host and in the query; a URL without one is shown as it is."""
    assert password_of(url) == password
    assert masked_url(url) == shown
