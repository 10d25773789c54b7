"""The configuration chooses the screening provider, and an unknown name is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.app import screening
from settlement_engine.app.application import Application
from settlement_engine.app.screening import PROVIDERS, configured_screening
from settlement_engine.config.loading import load
from settlement_engine.errors import Misconfigured
from settlement_engine.screening.builtin import BuiltinScreening

if TYPE_CHECKING:
    from settlement_engine.config import Config


def configured(**wanted: object) -> Config:
    settings: dict[str, object] = {"profile": "dev", "database.url": "postgresql:///x"}
    return load(None, {**settings, **wanted}).config


def test_builtin_screening_is_the_default_and_has_its_rules():
    config = configured(**{"screening.blocked_obligations": ["OB-1"]})
    made = configured_screening(config)
    assert isinstance(made, BuiltinScreening)
    assert made._rules.blocked_obligations == {"OB-1"}


@pytest.mark.parametrize("name", ["nobody", "Builtin", "builtin "])
def test_an_unknown_screening_provider_is_refused_with_the_known_names(tmp_path, name):
    book = str(tmp_path / "book")
    config = configured(**{"screening.provider": name, "banks.mock_book_file": book})
    with pytest.raises(Misconfigured) as refused:
        Application(config)
    assert repr(name) in str(refused.value)
    assert all(provider in refused.value.todo for provider in PROVIDERS)


def test_an_empty_screening_provider_is_refused():
    with pytest.raises(Misconfigured):
        configured(**{"screening.provider": ""})


def test_the_configured_screening_provider_is_used(monkeypatch, tmp_path):
    asked = object()
    monkeypatch.setattr(screening, "PROVIDERS", {**PROVIDERS, "own": lambda _config: asked})
    book = str(tmp_path / "book")
    named = {"screening.provider": "own", "banks.mock_book_file": book}
    engine = Application(configured(**named)).engine
    assert any(asked is value for value in _reached(engine))


def _reached(thing: object, depth: int = 3) -> list[object]:
    """Return the objects that an object holds, and what those hold."""
    held = list(getattr(thing, "__dict__", {}).values())
    return held if not depth else [*held, *(x for each in held for x in _reached(each, depth - 1))]
