"""The documents name things that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def documents(root: Path) -> Iterator[Path]:
    """The documents of the checkout."""
    yield from sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def make_targets(text: str) -> set[str]:
    """The make targets that a document names in code."""
    return {target for code in CODE.findall(text) for target in re.findall(r"\bmake ([a-z]+)\b", code)}


def test_links_between_documents_lead_somewhere(repo_root: Path) -> None:
    """Every relative link points to a file or folder of the checkout."""
    broken = [
        f"{document.relative_to(repo_root)}: {target}"
        for document in documents(repo_root)
        for target in LINK.findall(document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_make_targets_in_documents_exist(repo_root: Path) -> None:
    """Every `make target` that a document shows in code is a target of the Makefile."""
    known = set(re.findall(r"(?m)^([a-z]+):", (repo_root / "Makefile").read_text(encoding="utf-8")))
    unknown = {
        f"{document.relative_to(repo_root)}: make {target}"
        for document in documents(repo_root)
        for target in make_targets(document.read_text(encoding="utf-8")) - known
    }
    assert unknown == set()


def test_targets_are_read_from_code_only() -> None:
    """Prose that says "make sure" names no target; code in a line or a block does."""
    assert make_targets("make sure\n`make test` and\n```console\n$ make demo   # all\n```\n") == {
        "test",
        "demo",
    }
