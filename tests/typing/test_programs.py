"""The programs of this folder, with their ignores taken away: mypy must refuse each marked line.

``make check`` reads the same files as they are. There a line that is refused no longer is an unused
ignore; here a line that is refused for another reason than the marked one is found as well.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = ("money.py", "histories.py", "boundaries.py")
MARK = re.compile(r"  # type: ignore\[([^\]]+)\]")
ERROR = re.compile(r"^(?:.*[/\\])?(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def marked(name: str) -> set[tuple[str, int, str]]:
    found = set()
    for number, line in enumerate((HERE / name).read_text().splitlines(), start=1):
        mark = MARK.search(line)
        if mark:
            found |= {(name, number, code) for code in re.split(r",\s*", mark[1])}
    return found


def test_mypy_refuses_exactly_what_it_must(tmp_path):
    for name in PROGRAMS:
        (tmp_path / name).write_text(MARK.sub("", (HERE / name).read_text()))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")),
            *("--cache-dir", str(ROOT / ".cache" / "mypy-programs"), "--no-error-summary"),
            *(str(tmp_path / name) for name in PROGRAMS),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found = {(name, int(line), code) for name, line, code in ERROR.findall(done.stdout)}
    expected = set().union(*(marked(name) for name in PROGRAMS))
    assert len(expected) >= 40
    assert found == expected, done.stdout


def test_every_program_is_read():
    files = {path.name for path in HERE.glob("*.py") if not path.name.startswith("test_")}
    assert files == set(PROGRAMS)
