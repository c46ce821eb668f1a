"""What the layer contracts in pyproject.toml do not say: no cycles at all, and pure rooms stay with the
standard library.
"""

import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from tests.architecture.source import graph, module, modules, outside

PURE_ROOMS = frozenset({"core", "venue", "clock", "errors", "crash"})


def cycle(edges: Mapping[str, set[str]]) -> list[str]:
    """One cycle of imports, empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_import_cycle() -> None:
    """No two modules need each other: imports inside functions and for type checking count too."""
    assert cycle(graph(modules())) == []


def test_cycles_are_seen() -> None:
    """A cycle closed by a lazy import, or by one for type checking only, is found."""
    first = module("from fundarb.core import b", "fundarb/core/a.py")
    lazy = module("def f():\n    import fundarb.core.a", "fundarb/core/b.py")
    typing = module("if TYPE_CHECKING:\n    from fundarb.core.a import A", "fundarb/core/b.py")
    harmless = module("import json", "fundarb/core/b.py")
    assert cycle(graph([first, lazy]))
    assert cycle(graph([first, typing]))
    assert cycle(graph([first, harmless])) == []


def test_pure_rooms_import_the_standard_library_only() -> None:
    """Core and venue, and what lies below them, need no installed library."""
    found = {
        source.path: foreign
        for source in modules()
        if source.room in PURE_ROOMS and (foreign := outside(source) - sys.stdlib_module_names)
    }
    assert found == {}
