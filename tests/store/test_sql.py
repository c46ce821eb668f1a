"""No SQL of the store reckons with money, and every statement binds its values."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fundarb.store.database import Store
from fundarb.store.fields import DecimalText

FOLDER = Path(__file__).parents[2] / "fundarb" / "store"
SQL = re.compile(r"\b(SELECT|WHERE|ORDER BY|GROUP BY|UPDATE|HAVING|AND|SET)\b")
RECKONING = re.compile(
    r"\b(?:sum|total|avg|min|max|abs|round|cast)\s*\(\s*\"?(?:\w+\.)?\"?(\w+)", re.IGNORECASE
)
OPERATOR = r"(?:[<>]=?|\bBETWEEN\b|[-+*/])"
AROUND = (re.compile(OPERATOR + r"\s*\"?(\w+)"), re.compile(r"\b(\w+)\"?\s*" + OPERATOR))
ORDERED = re.compile(r"ORDER BY\s+([^)]*)", re.IGNORECASE)


def money_columns(store: Store) -> frozenset[str]:
    """The names of all columns that hold money, in every table of the room."""
    from fundarb.store.ledger_tables import make_ledger_tables

    groups = (store.tables, make_ledger_tables(store.database))
    models = [getattr(group, name) for group in groups for name in type(group).__dataclass_fields__]
    fields = [field for model in models for field in model._meta.sorted_fields]
    return frozenset(field.column_name for field in fields if isinstance(field, DecimalText))


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every text of a module that may be SQL, f-strings included, docstrings left out."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def offences(tree: ast.AST, money: frozenset[str]) -> Iterator[str]:
    """Each place where a text compares, orders or reckons with a money column, or a function of the library
    does.
    """
    for line, text in texts(tree):
        if SQL.search(text) or RECKONING.search(text):
            named = [name for pattern in AROUND for name in pattern.findall(text)]
            named += [name for match in RECKONING.finditer(text) for name in match.groups()]
            named += [name for match in ORDERED.finditer(text) for name in re.findall(r"\w+", match[1])]
            yield from (f"{line}: {name} in {text!r}" for name in named if name in money)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and re.fullmatch(
            r"(peewee\.)?fn\.(SUM|AVG|MIN|MAX|TOTAL|ABS|ROUND|CAST)", ast.unparse(node.func), re.IGNORECASE
        ):
            inside = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
            yield from (f"{node.lineno}: {name} in {ast.unparse(node)}" for name in inside & money)


def test_no_statement_reckons_with_money(store: Store) -> None:
    """Sums go through ``dsum``, comparisons and orders through Decimal."""
    money = money_columns(store)
    assert {"notional", "quantity", "limit_price", "fee", "amount"} <= money
    found = [
        f"{path.name}:{offence}"
        for path in sorted(FOLDER.rglob("*.py"))
        for offence in offences(ast.parse(path.read_text(encoding="utf-8")), money)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "x = 'SELECT * FROM positions WHERE notional > ?'",
        "x = 'SELECT * FROM positions WHERE 5 <= notional'",
        "x = f'SELECT * FROM {t} WHERE id = ? ORDER BY base, quantity DESC'",
        "x = 'SELECT SUM(fee) FROM executions'",
        "x = 'max(fee)'",
        "x = 'SELECT price * quantity FROM executions'",
        "x = 'UPDATE positions SET spot_owned = spot_owned + ?'",
        "x = 'SELECT * FROM positions WHERE notional BETWEEN ? AND ?'",
        "x = peewee.fn.SUM(table.fee)",
        "x = fn.max(table.price)",
    ],
)
def test_each_kind_of_reckoning_is_seen(store: Store, code: str) -> None:
    """Comparison, order, sum and arithmetic are found, in text and through the library."""
    assert list(offences(ast.parse(code), money_columns(store)))


@pytest.mark.parametrize(
    "code",
    [
        "x = 'SELECT notional FROM positions WHERE created_at >= ? ORDER BY created_at'",
        "x = 'UPDATE positions SET notional = ? WHERE position_id = ?'",
        "x = 'SELECT max(seq), dsum(fee) FROM intents'",
        "x = dsum(table.fee)",
        "x = peewee.fn.MAX(table.seq)",
        "'A docstring: WHERE notional > 5.'",
    ],
)
def test_what_is_allowed_is_left_alone(store: Store, code: str) -> None:
    """Reading, writing and the exact sum of money, and comparisons of times and numbers, are fine."""
    assert list(offences(ast.parse(code), money_columns(store))) == []
