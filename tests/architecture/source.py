"""The package as syntax trees, and what the checks of this folder look for in them."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "fundarb"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its path from the repository's root, its dotted name, its text and its tree."""

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The top-level part of the package that the file belongs to; empty for the package's own file."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""


def module(text: str, path: str = "fundarb/core/sample.py") -> Module:
    """A module from text, as if it stood at ``path``."""
    parts = list(Path(path).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return Module(path, ".".join(parts), text, ast.parse(text))


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, in order of path."""
    return tuple(
        module(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
        for path in sorted(PACKAGE.rglob("*.py"))
    )


def functions(tree: ast.AST, owner: str = "") -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name, nested ones included."""
    for node in ast.iter_child_nodes(tree):
        inner = f"{owner}{node.name}." if isinstance(node, Function | ast.ClassDef) else owner
        if isinstance(node, Function):
            yield inner.removesuffix("."), node
        yield from functions(node, inner)


def docstring_lines(node: Function) -> int:
    """How many lines the docstring takes."""
    first = node.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


def length(node: Function) -> int:
    """Lines from ``def`` to the end, the docstring not counted."""
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines(node)


def methods(tree: ast.Module) -> set[ast.AST]:
    """The functions whose first parameter is the instance or the class."""
    return {
        node
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, Function)
        and not any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
    }


def is_typer(node: Function) -> bool:
    """Whether the function is decorated as a Typer command or callback."""
    marks = (mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list)
    return any(isinstance(mark, ast.Attribute) and mark.attr in {"command", "callback"} for mark in marks)


def floats(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each use of binary floating point: the name (call or annotation, quoted ones too) and the literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in {"float", "complex"}:
            yield node.lineno, node.id
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node.lineno, f"literal {node.value!r}"
        for note in annotations(node):
            if isinstance(note, ast.Constant) and isinstance(note.value, str):
                yield from ((note.lineno, what) for _, what in floats(ast.parse(note.value)))


def annotations(node: ast.AST) -> Iterator[ast.expr]:
    """The annotation that stands directly on a node."""
    match node:
        case ast.arg(annotation=ast.expr() as note) | ast.AnnAssign(annotation=note):
            yield note
        case ast.FunctionDef(returns=ast.expr() as note) | ast.AsyncFunctionDef(returns=ast.expr() as note):
            yield note


def broad_excepts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each handler (or suppress) of everything: line and dotted name of the function around it."""
    for name, node in [("", tree), *functions(tree)]:
        for child in own_nodes(node):
            if isinstance(child, ast.ExceptHandler) and is_broad(child.type):
                yield child.lineno, name
            if isinstance(child, ast.Call) and called(child) == "suppress" and any(map(is_broad, child.args)):
                yield child.lineno, name


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node except what belongs to a function inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, Function):
            yield child
            yield from own_nodes(child)


def is_broad(kind: ast.expr | None) -> bool:
    """Whether an except clause catches everything."""
    if isinstance(kind, ast.Tuple):
        return any(map(is_broad, kind.elts))
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def called(node: ast.Call) -> str:
    """The last part of the name that is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def clock_reads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each reading of the machine's clock and each wait that passes the Clock by."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name == "time" for alias in names):
                yield node.lineno, "import time"
            case ast.ImportFrom(module="time"):
                yield node.lineno, "from time import"
            case ast.Attribute(
                value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today" as what
            ):
                yield node.lineno, what
            case ast.Attribute(
                value=ast.Attribute(attr="datetime" | "date"), attr="now" | "utcnow" | "today" as what
            ):
                yield node.lineno, what


MODES = frozenset({"paper", "live", "backtest", "replay", "simulate", "simulation"})


def mode_questions(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each comparison or case that asks which mode this is, by its text or by a member of an enum."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            candidates: Sequence[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            candidates = [node.value]
        else:
            continue
        for candidate in candidates:
            for leaf in (
                candidate.elts if isinstance(candidate, ast.Tuple | ast.Set | ast.List) else [candidate]
            ):
                if isinstance(leaf, ast.Constant) and leaf.value in MODES:
                    yield node.lineno, f'"{leaf.value}"'
                if isinstance(leaf, ast.Attribute) and leaf.attr.isupper() and leaf.attr.lower() in MODES:
                    yield node.lineno, ast.unparse(leaf)


def imports(source: Module, known: frozenset[str]) -> set[str]:
    """The modules of the package that a module names, lazily and for type checking too."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                full if (full := f"{node.module}.{alias.name}") in known else node.module
                for alias in node.names
            }
    return (found & known) - {source.name}


def outside(source: Module) -> set[str]:
    """The top-level names of everything imported from outside the package."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - {"fundarb"}


def graph(sources: Sequence[Module]) -> Mapping[str, set[str]]:
    """Who imports whom inside the package."""
    known = frozenset(source.name for source in sources)
    return {source.name: imports(source, known) for source in sources}
