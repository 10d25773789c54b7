"""Which screening an engine asks: the providers by their names, and the one that is configured.

Promises: a name that nobody has is refused before anything starts, with the names that there are. Must
never: run without screening, or take another provider than the one that was named.
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
"""What ``screening.provider`` may name."""


def chosen_factory(config: Config) -> Factory:
    """Return the factory of the configured provider; raises Misconfigured."""
    name = config.screening.provider
    factory = PROVIDERS.get(name)
    if factory is None:
        what = f"screening.provider names {name!r}, which this version does not have"
        raise Misconfigured(what, todo=f"Choose one of: {', '.join(sorted(PROVIDERS))}.")
    return factory


def configured_screening(config: Config) -> Screening:
    """Make what the engine asks; raises Misconfigured."""
    return chosen_factory(config)(config)
