"""The options by which commands read the configuration.

Promises: ``--config`` and ``--set`` mean the same everywhere, and a command's own options win over both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from settlement_engine.config import Loaded

AnyFunction = TypeVar("AnyFunction", bound="Callable[..., Any]")

_FILE: Final = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file; else $SETTLEMENT_CONFIG, else ./config.toml.",
)
_SET: Final = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Set one key of the configuration; may be given again.",
)


def config_options(function: AnyFunction) -> AnyFunction:
    """Give a command ``--config`` and ``--set``."""
    return _FILE(_SET(function))


def load_config(
    config_file: Path | None,
    settings: Sequence[str] = (),
    overrides: Mapping[str, object | None] | None = None,
) -> Loaded:
    """Read the configuration; of the overrides those that are None were not given."""
    from settlement_engine.config import load

    values: dict[str, object] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            message = f"--set {setting} must be like section.key=value"
            raise click.UsageError(message)
        values[key.strip()] = value.strip()
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    return load(config_file, values)


def warn_unknown(loaded: Loaded) -> None:
    """Name the variables that look like settings and are none."""
    for variable in loaded.unknown_variables:
        hint = f", did you mean {variable.hint}?" if variable.hint else ""
        click.echo(f"! {variable.name} is set, but nobody reads it{hint}", err=True)
