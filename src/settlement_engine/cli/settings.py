"""The options by which commands read the configuration.

Promises: ``--config`` and ``--set`` mean the same everywhere, and a command's own options win over both;
none of them takes a password, because arguments are no secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from settlement_engine.errors import Misconfigured

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


LOCATED: Final = frozenset({"database.url", "nats.url"})
"""Keys whose values may have a password in them."""


def url_option(flag: str, key: str, help_text: str) -> Callable[[AnyFunction], AnyFunction]:
    """Give a command an option for the address of a server, which must not have a password in it."""

    def check(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
        if url is not None:
            refuse_secret(flag, key, url)
        return url

    return click.option(flag, callback=check, help=help_text)


def refuse_secret(argument: str, key: str, url: str) -> None:
    """Refuse a password in an argument. Raises Misconfigured."""
    from settlement_engine.config import carries_secret, env_name

    if not carries_secret(url):
        return
    section = key.partition(".")[0]
    raise Misconfigured(
        f"{argument} has a password in it",
        why="everybody on this machine can read the arguments of a command",
        todo=f"Set {env_name(key)} in the environment, or name the user only and put the password"
        f" into the file {section}.password_file.",
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
        if key.strip() in LOCATED:
            refuse_secret(f"--set {key.strip()}", key.strip(), value.strip())
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    return load(config_file, values)


def warn_unknown(loaded: Loaded) -> None:
    """Name the variables that look like settings and are none."""
    for variable in loaded.unknown_variables:
        hint = f", did you mean {variable.hint}?" if variable.hint else ""
        click.echo(f"! {variable.name} is set, but nobody reads it{hint}", err=True)
