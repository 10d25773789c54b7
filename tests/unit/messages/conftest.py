"""Each test starts like a new process: tag names of other tests are forgotten."""

from __future__ import annotations

import pytest

from settlement_engine.messages import xml


@pytest.fixture(autouse=True)
def _fresh_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_tags_kept", set())
