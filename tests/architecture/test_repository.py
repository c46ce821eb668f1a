"""The checkout itself: version, packaging, lock files."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import fundarb
from scripts import locks


@pytest.fixture(scope="module")
def tables(repo_root: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runtime(repo_root: Path) -> str:
    """The text of the lock that users install."""
    return (repo_root / "requirements" / "runtime.txt").read_text(encoding="utf-8")


def test_version_is_known_and_written_in_the_changelog_or_unreleased(repo_root: Path) -> None:
    """The changelog has an entry for the version, or its changes still stand under Unreleased."""
    changelog = (repo_root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{fundarb.__version__}]" in changelog or "## [Unreleased]" in changelog


def test_locks_answer_the_requirements(tables: dict[str, Any], repo_root: Path) -> None:
    """Every lock file was made from the requirements that pyproject.toml holds now."""
    texts = {
        lock: (repo_root / "requirements" / f"{lock}.txt").read_text(encoding="utf-8") for lock in locks.LOCKS
    }
    assert {
        lock: found for lock, text in texts.items() if (found := locks.problems_of(lock, text, tables))
    } == {}


def test_a_new_requirement_makes_the_locks_stale(tables: dict[str, Any], runtime: str) -> None:
    """A requirement added to pyproject.toml is reported twice: by the digest and as not locked."""
    changed = tables | {
        "project": tables["project"] | {"dependencies": [*tables["project"]["dependencies"], "nope"]}
    }
    found = locks.problems_of("runtime", runtime, changed)
    assert any("other requirements" in problem for problem in found)
    assert any("nope is not met" in problem for problem in found)


def test_a_change_elsewhere_leaves_the_locks_fresh(tables: dict[str, Any], runtime: str) -> None:
    """Settings of a tool in pyproject.toml do not make a lock stale."""
    assert locks.problems_of("runtime", runtime, tables | {"tool": {}}) == []


def test_a_lock_without_hash_or_with_an_address_is_refused(tables: dict[str, Any], runtime: str) -> None:
    """Each locked version carries hashes, and no lock says where packages come from."""
    bare = "".join(line for line in runtime.splitlines(keepends=True) if "--hash" not in line)
    assert any("carries no hash" in problem for problem in locks.problems_of("runtime", bare, tables))
    placed = f"--index-url https://packages.example/simple\n{runtime}"
    assert any(
        "where packages come from" in problem for problem in locks.problems_of("runtime", placed, tables)
    )
