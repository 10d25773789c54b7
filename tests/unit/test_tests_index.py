"""``tests/README.md`` lists every directory, shared fixture and module of support, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
INDEX = (TESTS / "README.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    part = INDEX.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(cell: str) -> str:
    found = re.fullmatch(r"`([\w./]+)`", cell)
    assert found is not None, cell
    return found[1]


def fixtures(path: Path) -> set[str]:
    """The fixtures of a file that tests ask for by name."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and any("fixture" in ast.unparse(each) for each in node.decorator_list)
    }


def test_every_directory_is_in_the_index():
    real = {path.parent.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py")} - {"."}
    assert sorted(code(row[0]) for row in rows("Which test goes where")) == sorted(real)


def test_every_shared_fixture_is_in_the_index():
    real = {
        (name, path.relative_to(TESTS).as_posix())
        for path in TESTS.rglob("conftest.py")
        for name in fixtures(path)
    }
    assert sorted((code(row[0]), code(row[2])) for row in rows("Shared fixtures")) == sorted(real)


def test_every_module_of_support_is_in_the_index():
    real = {path.stem for path in (TESTS / "support").glob("*.py")} - {"__init__"}
    assert sorted(code(row[0]) for row in rows("What `support` has")) == sorted(real)
