"""Reads a script from YAML or JSON: seed, default scenario, rules, and scenarios that the script defines.

A scenario of the script may start from another one with ``like: NAME`` and change some fields. An unknown field
is refused, with its place. The size of a file is bounded, and only plain values are read from YAML.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import yaml

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.scenarios import SCENARIOS, Scenario, ScenarioScript

SCRIPT_BYTES_MAX: Final = 262_144
LIKE: Final = "like"


def read_script(text: bytes) -> ScenarioScript:
    """Read a script. Raises Misconfigured."""
    if len(text) > SCRIPT_BYTES_MAX:
        raise Misconfigured(f"a script has at most {SCRIPT_BYTES_MAX} bytes")
    if b"&" in text and b"*" in text and _has_aliases(text):
        raise Misconfigured("a script has no anchors or aliases")
    try:
        found = yaml.safe_load(text) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    if not isinstance(found, dict):
        raise Misconfigured("a script is a table with seed, default, rules and scenarios")
    try:
        own = {name: _scenario(given) for name, given in (found.pop("scenarios", {}) or {}).items()}
        script = msgspec.convert(found, ScenarioScript)
    except (msgspec.ValidationError, AttributeError, TypeError, ValueError) as error:
        raise _unreadable(error) from None
    return msgspec.structs.replace(script, scenarios=own).checked()


def _has_aliases(text: bytes) -> bool:
    try:
        return any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
    except (yaml.YAMLError, ValueError):
        return False  # whoever reads it says what is wrong


def _scenario(given: Any) -> Scenario:  # noqa: ANN401 -- what a person wrote
    """Read a scenario, with the missing fields from the one that ``like`` names."""
    if not isinstance(given, dict):
        message = "a scenario is a table"
        raise TypeError(message)
    values = dict(given)
    name = values.pop(LIKE, "settle")
    ground = SCENARIOS.get(name)
    if ground is None:
        message = f"there is no scenario {name!r} to be like"
        raise ValueError(message)
    return msgspec.convert({**msgspec.to_builtins(ground), **values}, Scenario)


def _unreadable(error: Exception) -> Misconfigured:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return Misconfigured("the script cannot be read", why=first)
