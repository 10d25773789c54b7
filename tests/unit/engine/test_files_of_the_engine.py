"""Each file of the engine has tests of its own name, where a reader finds what the file promises."""

from __future__ import annotations

from pathlib import Path

from settlement_engine import engine

TESTS = Path(__file__).parent
TESTED_WITH = {"cancelling": "service", "lanes": "dispatcher"}
"""Files whose tests are those of the file that they were split from."""


def test_each_file_of_the_engine_has_a_test_file_of_its_name() -> None:
    root = Path(engine.__file__).parent
    files = {path.stem for path in root.rglob("*.py") if path.stem != "__init__"}
    tested = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert files - tested == set(TESTED_WITH)
    assert set(TESTED_WITH.values()) <= tested
