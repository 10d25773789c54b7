"""The engine's settings: every bound and every time is positive, and times name their unit."""

from __future__ import annotations

import dataclasses

import pytest

from settlement_engine.engine.settings import EngineSettings

FIELDS = {each.name: each.type for each in dataclasses.fields(EngineSettings)}


@pytest.mark.parametrize("name", [name for name, kind in FIELDS.items() if kind == "float"])
def test_a_time_names_its_unit_and_is_positive(name: str) -> None:
    assert name.endswith("_seconds")
    assert getattr(EngineSettings(), name) > 0


@pytest.mark.parametrize("name", [name for name, kind in FIELDS.items() if kind == "int"])
def test_a_count_is_a_bound_and_is_positive(name: str) -> None:
    assert name.endswith(("_max", "_days"))
    assert getattr(EngineSettings(), name) > 0


def test_an_engine_renews_its_lease_before_it_expires() -> None:
    settings = EngineSettings()
    assert settings.heartbeat_seconds * 3 < settings.lease_seconds
