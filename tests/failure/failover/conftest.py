"""Fixtures of PostgreSQL servers: data directories are copied, because creating one takes seconds."""

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
    """The data directory of a stopped server."""
    made = EmbeddedPostgres(tmp_path_factory.mktemp("template") / "postgres")
    made.start()
    made.stop()
    yield made.data_dir
    shutil.rmtree(made.data_dir, ignore_errors=True)


@pytest.fixture
def server(tmp_path: Path, template: Path) -> Iterator[EmbeddedPostgres]:
    """A database server for one test."""
    made = EmbeddedPostgres(tmp_path / "postgres")
    made.initialise_from_template(template)
    made.start()
    yield made
    made.stop()
