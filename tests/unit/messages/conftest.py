"""Each test begins as a process does: no tag of another test is known."""

from __future__ import annotations

import pytest

from settlement_engine.messages import xml


@pytest.fixture(autouse=True)
def _fresh_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_tags_kept", set())
