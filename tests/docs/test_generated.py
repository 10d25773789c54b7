from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from settlement_engine.store.state_machine import state_machine_sql

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_fresh(tool):
    stale = [
        path.relative_to(ROOT).as_posix() for path, (old, new) in tool.pages().items() if old != new
    ]
    assert stale == [], "run  .venv/bin/python tools/docs.py"


def test_every_part_stands_in_exactly_one_page(tool):
    found = [
        name
        for path in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"<!-- BEGIN ([a-z-]+) -->", path.read_text("utf-8"))
    ]
    assert sorted(found) == sorted(tool.PARTS)


def test_every_begin_has_its_end():
    for path in (ROOT / "docs").rglob("*.md"):
        text = path.read_text("utf-8")
        begins = re.findall(r"<!-- BEGIN ([a-z-]+) -->", text)
        assert begins == re.findall(r"<!-- END ([a-z-]+) -->", text)


def test_a_page_that_is_fresh_is_written_the_same_again(tool):
    for _, new in tool.pages().values():
        assert tool.written(new) == new


def test_staleness_is_noticed(tool):
    page = ROOT / "docs" / "reference" / "lifecycle.md"
    text = page.read_text("utf-8")
    tampered = text.replace("LOCKED --> IN_DOUBT: NO_ANSWER", "LOCKED --> ROLLED_BACK: NO_ANSWER")
    assert tampered != text
    assert tool.written(tampered) == text


def test_the_page_in_the_database_is_the_page():
    migrations = ROOT / "src" / "settlement_engine" / "store" / "sql" / "migrations"
    newest = max(migrations.glob("*/page.sql"))
    assert newest.read_text("utf-8") == state_machine_sql()
