"""The walk of one settlement from the wire to COMPLETED, traced, and what the documentation says of it."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
WALK_SECONDS_MAX = 120.0


def rows(part: str) -> list[list[str]]:
    """The cells of the tables between two markers of the page, without what surrounds a word of code."""
    text = PAGE.split(f"<!-- traced: {part} -->", 1)[1].split(f"<!-- end of {part} -->", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


async def test_the_page_lists_the_files_of_a_settlements_way_and_no_others(database_url, tmp_path):
    result = tmp_path / "walk.json"
    command = ("-m", "tests.support.walk", database_url, str(tmp_path / "bank.sqlite"), str(result))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    assert await asyncio.wait_for(process.wait(), WALK_SECONDS_MAX) == 0
    walked = json.loads(result.read_text("utf-8"))
    assert walked["status"] == "COMPLETED"
    assert sorted(row[0] for row in rows("files")) == walked["files"]
    assert f"what is left are {len(walked['files'])}" in PAGE


def test_the_page_lists_shapes_that_exist():
    listed = rows("shapes")
    for name, path, _ in listed:
        module = path.removesuffix(".py").replace("/", ".")
        assert hasattr(importlib.import_module(f"settlement_engine.{module}"), name), name
    assert f"These are {len(listed)}" in PAGE
