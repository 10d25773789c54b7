"""The screening providers by name, and the one that the configuration chooses.

Promises: an unknown name is refused before anything starts, and the error lists the known names. It must never
run without screening, or use another provider than the configured one.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.app.settings import screening_rules
from settlement_engine.errors import Misconfigured
from settlement_engine.screening.builtin import BuiltinScreening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settlement_engine.config import Config
    from settlement_engine.ports import Screening

    Factory: TypeAlias = Callable[[Config], Screening]


def _builtin(config: Config) -> Screening:
    return BuiltinScreening(screening_rules(config))


PROVIDERS: Final[Mapping[str, Factory]] = MappingProxyType({"builtin": _builtin})
"""The values that ``screening.provider`` may have."""


def chosen_factory(config: Config) -> Factory:
    """Return the factory of the configured provider. Raises Misconfigured."""
    name = config.screening.provider
    factory = PROVIDERS.get(name)
    if factory is None:
        what = f"screening.provider names {name!r}, which this version does not have"
        raise Misconfigured(what, todo=f"Choose one of: {', '.join(sorted(PROVIDERS))}.")
    return factory


def configured_screening(config: Config) -> Screening:
    """Build the configured screening. Raises Misconfigured."""
    return chosen_factory(config)(config)
