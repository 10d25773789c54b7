"""The options with which commands read the configuration.

Promises: ``--config`` and ``--set`` mean the same in every command; a command's own options override both;
no option accepts a password, because other users can see the arguments of a process.
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
    help="The configuration file. Default: $SETTLEMENT_CONFIG, or ./config.toml.",
)
_SET: Final = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Set one key of the configuration; may be repeated.",
)


LOCATED: Final = frozenset({"database.url", "nats.url"})
"""The keys whose values may contain a password."""


def url_option(flag: str, key: str, help_text: str) -> Callable[[AnyFunction], AnyFunction]:
    """Make an option for the URL of a server; the URL must not contain a password."""

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
        f"{argument} contains a password",
        why="all users of this machine can read the arguments of a command",
        todo=f"Set {env_name(key)} in the environment, or give the user without a password and put the"
        f" password into the file {section}.password_file.",
    )


def config_options(function: AnyFunction) -> AnyFunction:
    """Add ``--config`` and ``--set`` to a command."""
    return _FILE(_SET(function))


def load_config(
    config_file: Path | None,
    settings: Sequence[str] = (),
    overrides: Mapping[str, object | None] | None = None,
) -> Loaded:
    """Read the configuration; an override that is None was not given."""
    from settlement_engine.config import load

    values: dict[str, object] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            message = f"--set {setting} is not valid: write section.key=value"
            raise click.UsageError(message)
        values[key.strip()] = value.strip()
        if key.strip() in LOCATED:
            refuse_secret(f"--set {key.strip()}", key.strip(), value.strip())
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    return load(config_file, values)


def warn_unknown(loaded: Loaded) -> None:
    """Warn about environment variables that look like settings but are unknown."""
    for variable in loaded.unknown_variables:
        hint = f", did you mean {variable.hint}?" if variable.hint else ""
        click.echo(f"! {variable.name} is set, but it is not a known setting{hint}", err=True)
