"""Small files, small functions, few parameters."""

from collections.abc import Iterator

from tests.architecture.source import (
    Function,
    Module,
    functions,
    is_typer,
    length,
    methods,
    module,
    modules,
)

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
MAX_POSITIONAL = 2

# Signatures that somebody else dictates: they may have more positional parameters.
DICTATED = frozenset({("scope", "receive", "send")})


def parameters(node: Function, *, bound: bool) -> tuple[list[str], list[str]]:
    """The positional and the other parameters; those of a bound function without the instance.

    ``*args`` and ``**kwargs`` count as one each.
    """
    given = node.args
    positional = [argument.arg for argument in (*given.posonlyargs, *given.args)][int(bound) :]
    starred = [argument.arg for argument in (given.vararg, given.kwarg) if argument]
    return positional, [argument.arg for argument in given.kwonlyargs] + starred


def over_budget(source: Module) -> Iterator[str]:
    """Each excess of one module, in words."""
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES:
        yield f"{source.path} has {lines} lines, budget {MAX_FILE_LINES}: split it by meaning"
    bound = methods(source.tree)
    for name, node in functions(source.tree):
        if is_typer(node):
            continue
        where = f"{source.path}:{node.lineno} {name}"
        if length(node) > MAX_FUNCTION_LINES:
            yield f"{where} has {length(node)} lines, budget {MAX_FUNCTION_LINES}"
        positional, named = parameters(node, bound=node in bound)
        if len(positional) + len(named) > MAX_PARAMETERS:
            yield f"{where} has {len(positional) + len(named)} parameters, budget {MAX_PARAMETERS}"
        dictated = tuple(positional) in DICTATED or (node.name.startswith("__") and node.name != "__init__")
        if len(positional) > MAX_POSITIONAL and not dictated:
            yield f"{where} takes {len(positional)} positional parameters, budget {MAX_POSITIONAL}: add a *"


def test_every_module_keeps_its_budget() -> None:
    """Files have at most 400 lines, functions 60 lines and six parameters, two of them positional."""
    excesses = [excess for source in modules() for excess in over_budget(source)]
    assert not excesses, "\n".join(excesses)


def test_excess_is_seen() -> None:
    """A long file, a long function, many parameters and many positional ones are each reported."""
    body = "".join(f"    x{i} = {i}\n" for i in range(MAX_FUNCTION_LINES))
    assert "has 61 lines" in next(over_budget(module(f"def f():\n{body}")))
    assert "401 lines" in next(over_budget(module("x = 1\n" * 401)))
    assert "7 parameters" in next(over_budget(module("def f(a, b, *, c, d, e, g, h): ...")))
    assert "3 positional" in next(over_budget(module("def f(a, b, c): ...")))
    assert "3 positional" in next(over_budget(module("class A:\n    @staticmethod\n    def f(a, b, c): ...")))


def test_what_the_budget_leaves_out() -> None:
    """Docstrings, the instance, Typer commands and dictated signatures are not counted."""
    docstring = '    """' + "a\n" * 80 + '"""\n'
    assert list(over_budget(module(f"def f():\n{docstring}    return 1\n"))) == []
    assert list(over_budget(module("class A:\n    def f(self, a, b, *, c, d, e, g): ..."))) == []
    assert list(over_budget(module("@app.command()\ndef f(a, b, c, d, e, g, h): ..."))) == []
    assert list(over_budget(module("class A:\n    def __exit__(self, kind, error, trace): ..."))) == []
    assert list(over_budget(module("async def serve(scope, receive, send): ..."))) == []
