"""Secrets of the configuration: read from files of their own, and masked when shown.

Promises: a secret file that every user of the machine may read is refused. A secret must never appear in an
error message.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from pydantic import SecretStr

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.config.sections import Config, DatabaseConfig, NatsConfig

MASK: Final = "********"
SECRET_FILE_MAX_BYTES: Final = 4096

_SECRET_PARAMETERS: Final = frozenset({"password", "sslpassword"})

Located = TypeVar("Located", "DatabaseConfig", "NatsConfig")


def with_passwords(config: Config, origins: dict[str, str]) -> Config:
    """Insert the passwords from their files into the URLs. Raises Misconfigured."""
    database = _with_password(config.database, "database", origins)
    nats = _with_password(config.nats, "nats", origins)
    if config.server.tls_key_file is not None:
        read_secret(config.server.tls_key_file, "server.tls_key_file")
    _check_files_of_banks(config)
    return config.model_copy(update={"database": database, "nats": nats})


def _with_password(section: Located, name: str, origins: dict[str, str]) -> Located:
    path = section.password_file
    if path is None:
        return section
    key = f"{name}.password_file"
    parts = urlsplit(section.url.get_secret_value())
    if not parts.username or parts.password is not None:
        raise Misconfigured(
            f"{key} does not go with {name}.url",
            why="the address must name a user and no password: the password comes from the file",
            todo=f"Write {name}.url like {parts.scheme or 'scheme'}://user@host/ without a password.",
        )
    password = quote(read_secret(path, key).strip(), safe="")
    user, _, host = parts.netloc.rpartition("@")
    full = urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
    origins[f"{name}.url"] += f", password from {path}"
    return section.model_copy(update={"url": SecretStr(full)})


def _check_files_of_banks(config: Config) -> None:
    """Refuse secret files of banks that cannot be read, or that everybody can read."""
    for key, bank in config.banks.over_http():
        if not bank.enabled:
            continue
        for name in ("key_file", "token_file", "callback_token_file"):
            path = getattr(bank, name)
            if path is not None:
                read_secret(path, f"{key}.{name}")


def read_secret(path: Path, key: str) -> str:
    """Read a file with a secret; ``key`` is the configuration's. Raises Misconfigured."""
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()[:SECRET_FILE_MAX_BYTES].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{key} cannot be read: {path}",
            why=getattr(error, "strerror", None) or "it is not text",
            todo="Name a file that this user can read.",
        ) from None
    if mode & stat.S_IROTH:
        raise Misconfigured(
            f"{key} is readable by everybody: {path}",
            why="whoever is on this machine could read the secret",
            todo=f"chmod 600 {path}",
        )
    return text


def carries_secret(url: str) -> bool:
    """Return whether a URL of PostgreSQL or NATS contains a password or a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_token = parts.scheme in {"nats", "tls"} and parts.username is not None
    is_named = not _SECRET_PARAMETERS.isdisjoint(parse_qs(parts.query))
    return is_token or parts.password is not None or is_named


def mask_url(url: str) -> str:
    """Return a URL with its secrets masked."""
    if not url:
        return ""
    parts = urlsplit(url)
    if not parts.hostname:
        return MASK
    user, _, host = parts.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{MASK}"
    elif user and parts.scheme in {"nats", "tls"}:
        user = MASK  # in a NATS URL, a user without a password is a token
    netloc = f"{user}@{host}" if user else host
    query = MASK if parts.query else ""  # the query may carry a password too
    return urlunsplit(parts._replace(netloc=netloc, query=query, fragment=""))
