"""Data directories are copied: making one anew takes seconds."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from settlement_engine.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a server that has ended."""
    made = EmbeddedPostgres(tmp_path_factory.mktemp("template") / "postgres")
    made.start()
    made.stop()
    yield made.data_dir
    shutil.rmtree(made.data_dir, ignore_errors=True)


@pytest.fixture
def server(tmp_path: Path, template: Path) -> Iterator[EmbeddedPostgres]:
    """A database server of the test's own."""
    made = EmbeddedPostgres(tmp_path / "postgres")
    made.initialise_from_template(template)
    made.start()
    yield made
    made.stop()
