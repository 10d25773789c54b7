"""``config``: checks the configuration, and shows each value with its origin.

Promises: secrets are always masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN, as_json, example, mark, print_json, table
from settlement_engine.cli.settings import config_options, load_config

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.config import Loaded


@lasting
@click.group()
def config() -> None:
    """Check or show the configuration."""


@lasting
@config.command("check")
@config_options
@click.option("--production", is_flag=True, help="Check as `serve` does.")
@as_json
@example("""
settlement-engine config check
settlement-engine config check --production --config /etc/settlement-engine/config.toml
""")
def check(
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    production: bool,
    is_json: bool,
) -> int:
    """Report wrong values, unknown keys, and environment variables that are not used."""
    loaded = load_config(config_file, settings)
    odd, unsafe = _oddities(loaded), _unsafe(loaded, settings)
    wrong = _unknown_names(loaded) + (unsafe if production else [])
    if not production:
        odd += [f"`serve` would refuse: {text}" for text in unsafe]
    if is_json:
        file = str(loaded.config_file) if loaded.config_file else None
        print_json({"file": file, "problems": wrong, "warnings": odd})
        return ExitCode.MISCONFIGURED if wrong else ExitCode.OK
    source = loaded.config_file or "the built-in defaults"
    mark(GOOD, f"{source}: all keys are known and all values are valid")
    for text in odd:
        mark(WARN, text)
    for text in wrong:
        mark(BAD, text)
    return ExitCode.MISCONFIGURED if wrong else ExitCode.OK


@lasting
@config.command("show")
@config_options
@as_json
@example("""
settlement-engine config show
SETTLEMENT_SERVER__GRPC_PORT=6000 settlement-engine config show --json
""")
def show(*, config_file: Path | None, settings: tuple[str, ...], is_json: bool) -> None:
    """Print every value with its origin; secrets are masked."""
    from settlement_engine.config import flatten, masked

    loaded = load_config(config_file, settings)
    values = {key: masked(value) for key, value in flatten(loaded.config).items()}
    if is_json:
        print_json({k: {"value": v, "origin": loaded.origins[k]} for k, v in values.items()})
        return
    table(("KEY", "VALUE", "ORIGIN"), [(k, v, loaded.origins[k]) for k, v in values.items()])


def _unsafe(loaded: Loaded, settings: tuple[str, ...]) -> list[str]:
    from settlement_engine.config import unsafe_settings

    # Check with the defaults of production: those of another profile are not the file's fault.
    serving = load_config(loaded.config_file, settings, {"profile": "production"})
    return unsafe_settings(serving.config, serving.origins)


def _unknown_names(loaded: Loaded) -> list[str]:
    """Return the configured names that this version does not have; no engine would start with them."""
    from settlement_engine.app.screening import chosen_factory
    from settlement_engine.errors import Misconfigured

    try:
        chosen_factory(loaded.config)
    except Misconfigured as error:
        return [f"{error}. {error.todo}"]
    return []


def _oddities(loaded: Loaded) -> list[str]:
    return [
        f"{variable.name} is set, but it is not a known setting"
        + (f", did you mean {variable.hint}?" if variable.hint else "")
        for variable in loaded.unknown_variables
    ]
