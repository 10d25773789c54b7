"""Loads the configuration: profile defaults, then the file, the environment, the command line.

Promises: for each key the strongest source wins; the origin of each value is known; an invalid value raises
``Misconfigured`` with the key, the fault and the allowed values. It must never print a secret.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from settlement_engine.config.secrets import mask_url, with_passwords
from settlement_engine.config.sections import PROFILE_DEFAULTS, Config
from settlement_engine.config.values import Section
from settlement_engine.errors import Misconfigured

ENV_PREFIX: Final = "SETTLEMENT_"
ENV_OTHERS: Final = frozenset(
    {
        "SETTLEMENT_ADDRESS",
        "SETTLEMENT_CONFIG",
        "SETTLEMENT_NATS_BIN",
        "SETTLEMENT_PARENT_PID",
        "SETTLEMENT_PG_BIN",
        "SETTLEMENT_READY_PIPE",
        "SETTLEMENT_TEST_DATABASE_URL",
        "SETTLEMENT_TEST_NATS_URL",
        "SETTLEMENT_TEST_PG",
    }
)
"""Environment variables that other code reads; they are no keys of the configuration."""

DEFAULT_FILE: Final = Path("config.toml")

Values = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownVariable:
    """A variable with our prefix that is no key; ``hint`` is the closest valid name, or empty."""

    name: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The configuration, the origin of each value, and the unknown variables."""

    config: Config
    origins: Mapping[str, str]
    unknown_variables: list[UnknownVariable]
    config_file: Path | None


def load(
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    search: bool = True,
) -> Loaded:
    """Read all sources. ``overrides`` are those of the command line, keyed by ``section.key``.

    Without ``config_file`` the file is ``$SETTLEMENT_CONFIG`` or ``./config.toml``, if it exists;
    ``search=False`` reads no file. Raises Misconfigured.
    """
    path = config_file or (_find_file() if search else None)
    file_values = _read_file(path) if path else {}
    env_values = _read_environment()
    flags = dict(overrides or {})
    _refuse_unknown_keys(flags, "the command line")
    layers = [(file_values, f"file {path}"), (env_values, "environment"), (flags, "command line")]
    profile = next((v["profile"] for v, _ in reversed(layers) if "profile" in v), None)
    profile = str(profile if profile is not None else Config().profile)
    layers.insert(0, (dict(PROFILE_DEFAULTS.get(profile, {})), f"default of profile {profile}"))
    values: Values = {}
    origins = dict.fromkeys(known_keys(), "default")
    for layer, origin in layers:
        for key, value in layer.items():
            values[key] = value
            origins[key] = f"environment {env_name(key)}" if origin == "environment" else origin
    config = with_passwords(_validate(values, origins), origins)
    return Loaded(
        config=config,
        origins=origins,
        unknown_variables=unknown_variables(),
        config_file=path,
    )


def known_keys() -> list[str]:
    """List every key of the configuration as ``section.key``, in the order of the file."""
    keys: list[str] = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys.extend(f"{name}.{key}" for key in section.model_fields)
        else:
            keys.append(name)
    return keys


def env_name(key: str) -> str:
    """Return the name of a key's environment variable."""
    return ENV_PREFIX + key.replace(".", "__").upper()


def unknown_variables() -> list[UnknownVariable]:
    """List the environment variables with our prefix that no code reads."""
    known = {env_name(key) for key in known_keys()} | ENV_OTHERS
    ours = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX))
    return [
        UnknownVariable(name=name, hint=_closest(name.upper(), known))
        for name in ours
        if name.upper() not in known
    ]


def flatten(config: Config) -> dict[str, object]:
    """Return every value by ``section.key``; secrets stay wrapped in SecretStr."""
    found: dict[str, object] = {}
    for key in known_keys():
        section, _, name = key.partition(".")
        found[key] = getattr(getattr(config, section), name) if name else getattr(config, section)
    return found


def masked(value: object) -> str:
    """Return a value as text for people; a secret URL without its secrets."""
    if isinstance(value, SecretStr):
        return mask_url(value.get_secret_value())
    return _as_text(value)


def to_environment(config: Config) -> dict[str, str]:
    """Return the whole configuration as environment variables for a child process, secrets included.

    Keys of password files are left out, because the passwords are already in the URLs.
    """
    return {
        env_name(key): _as_text(value)
        for key, value in flatten(config).items()
        if not key.endswith("password_file")
    }


# --- sources --------------------------------------------------------------------------------------


def _find_file() -> Path | None:
    named = os.environ.get("SETTLEMENT_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read_file(path: Path) -> Values:
    try:
        with path.open("rb") as file:
            tree = tomllib.load(file, parse_float=Decimal)
    except OSError as error:
        raise Misconfigured(
            f"the configuration file {path} cannot be read",
            why=error.strerror or str(error),
            todo="Name an existing file with --config, or leave it out to use the defaults.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"the configuration file {path} is not TOML",
            why=str(error),
            todo="Correct the line; `settlement-engine config check` reads it again.",
        ) from None
    values = _flatten_tree(tree)
    _refuse_unknown_keys(values, str(path))
    return values


def _read_environment() -> Values:
    # pydantic-settings parses JSON for lists and tables. Unknown names are dropped here, because they are
    # reported instead of refused: Kubernetes sets variables with arbitrary prefixes.
    try:
        tree = EnvSettingsSource(
            cast("type[BaseSettings]", Config), env_prefix=ENV_PREFIX, env_nested_delimiter="__"
        )()
    except SettingsError as error:
        name = str(error).split('"')[1] if '"' in str(error) else "a variable"
        raise Misconfigured(
            f"the environment's value for {name} is not JSON",
            why="lists and tables are written as JSON in the environment",
            todo='Write it like ["a", "b"] or {"EUR": "1000.00"}.',
        ) from None
    given = {name.upper() for name in os.environ}
    values = _flatten_tree(tree)
    return {key: values[key] for key in known_keys() if key in values and env_name(key) in given}


def _flatten_tree(tree: Mapping[str, Any]) -> Values:
    values: Values = {}
    for name, value in tree.items():
        if name in Config.model_fields and name != "profile" and isinstance(value, Mapping):
            values.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            values[name] = value
    return values


def _refuse_unknown_keys(values: Values, where: str) -> None:
    known = known_keys()
    for key in values:
        if key in known:
            continue
        hint = _closest(key, known)
        raise Misconfigured(
            f"{key} in {where} is not a key of the configuration",
            why=f"did you mean {hint}?" if hint else "no key has a name like it",
            todo="`settlement-engine config show` lists every key.",
        )


def _closest(name: str, known: list[str] | set[str]) -> str:
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), "")


# --- values ---------------------------------------------------------------------------------------


def _validate(values: Values, origins: Mapping[str, str]) -> Config:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            tree.setdefault(section, {})[name] = value
        else:
            tree[section] = value
    try:
        return Config(**tree)
    except ValidationError as error:
        raise _misconfigured(error, origins) from None


def _misconfigured(error: ValidationError, origins: Mapping[str, str]) -> Misconfigured:
    lines: list[str] = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"][:2])
        text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        is_shown = isinstance(item["input"], (str, int, float, Decimal)) and "url" not in key
        value = f" = {item['input']}" if is_shown else ""
        inner = ".".join(str(part) for part in item["loc"][2:])
        spot = f"{key}.{inner}" if inner else key
        lines.append(f"{spot}{value} ({origins.get(key, 'in this section')}): {text}")
    return Misconfigured(
        f"the configuration cannot be used: {lines[0]}",
        why="; ".join(lines[1:]) or "the value is outside of what is allowed",
        todo="Correct it where it was set; `settlement-engine config check` looks again.",
    )


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, Mapping)):
        return json.dumps(_plain(value))
    return str(value)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value
