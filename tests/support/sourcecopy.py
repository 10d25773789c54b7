"""A copy of the source tree in which a recipe of CONTRIBUTING is carried out and tested.

An edit names the text that it changes: a recipe that no longer fits the source fails at that edit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.databases import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "packages", "tests", "tools", "docs")
SOURCES = ("src", "packages/settlement-client/src", "packages/settlement-lab/src")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "soak", "recipes")
SECONDS_MAX = 240


class SourceCopy:
    """The copy, to be edited and run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in FOLDERS:
            shutil.copytree(ROOT / folder, root / folder, ignore=LEFT_OUT)
        for path in ROOT.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copyfile(path, root / path.name)
        self._environment = {
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTHONPATH": os.pathsep.join(str(root / source) for source in SOURCES),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def uses(self, server: PostgresServer) -> None:
        """Let the copy's tests create their databases on a running server."""
        self._environment["SETTLEMENT_TEST_DATABASE_URL"] = server.url("postgres")

    def read(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")

    def add(self, path: str, text: str) -> None:
        """Write a new file."""
        place = self.root / path
        assert not place.exists(), path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")

    def before(self, path: str, anchor: str, text: str) -> None:
        """Insert text before the only occurrence of the anchor."""
        self.change(path, anchor, text + anchor)

    def after(self, path: str, anchor: str, text: str) -> None:
        """Insert text after the only occurrence of the anchor."""
        self.change(path, anchor, anchor + text)

    def change(self, path: str, old: str, new: str) -> None:
        """Replace the only occurrence of a text."""
        text = self.read(path)
        assert text.count(old) == 1, f"{path} has {text.count(old)} times: {old}"
        (self.root / path).write_text(text.replace(old, new), "utf-8")

    def run(self, *arguments: str) -> str:
        """Run Python in the copy; return its output. Fails if the program fails."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS_MAX,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def test(self, *arguments: str) -> None:
        """Run tests of the copy."""
        self.run("-m", "pytest", "-q", "-n0", *arguments)

    def write_docs(self) -> None:
        """Generate the generated parts of the documentation again."""
        self.run("tools/docs.py")

    def write_schema(self) -> None:
        """Generate schema.sql again, as ``make schema`` does."""
        self._environment["SETTLEMENT_WRITE_SCHEMA"] = "1"
        self.test("tests/migration/test_schema.py")
        del self._environment["SETTLEMENT_WRITE_SCHEMA"]
