"""Why ``serve`` refuses to run: settings that suit a developer's machine but not a bank.

Promises: ``unsafe_settings`` returns all reasons at once, each with its key. It must never change a setting.
"""

from __future__ import annotations

from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from settlement_engine.config.secrets import carries_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import SecretStr

    from settlement_engine.config.banks import RailBank
    from settlement_engine.config.sections import Config, ServerConfig

    Check: TypeAlias = tuple[bool, str]

NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})


def unsafe_settings(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> list[str]:
    """List why this configuration must not handle real money; empty when it may.

    ``origins`` shows which passwords were written into the configuration file.
    """
    checks = (
        *_servers(config, origins),
        *_rails(config),
        *_endpoints(config.server),
        (not config.settlement.real_windows, "settlement.real_windows is false"),
    )
    return [text for is_unsafe, text in checks if is_unsafe]


def _servers(config: Config, origins: Mapping[str, str]) -> Iterator[Check]:
    yield (
        not config.database.url.get_secret_value(),
        "database.url is empty: the embedded PostgreSQL is for development",
    )
    yield (
        config.nats.enabled and not config.nats.url.get_secret_value(),
        "nats.url is empty: the embedded NATS is for development (or set nats.enabled = false)",
    )
    for name, url in (("database", config.database.url), ("nats", config.nats.url)):
        yield (
            _is_written_down(url, origins.get(f"{name}.url", "")),
            (
                f"{name}.url has its password in the configuration file:"
                f" use SETTLEMENT_{name.upper()}__URL or {name}.password_file"
            ),
        )


def _rails(config: Config) -> Iterator[Check]:
    banks = config.banks
    yield (
        banks.mock_enabled and not banks.mock_allowed_in_production,
        (
            "banks.mock_enabled is true: the mock bank moves no money; for a rehearsal with it,"
            " set banks.mock_allowed_in_production = true"
        ),
    )
    for key, bank in banks.over_http():
        if bank.enabled:
            yield from _rail_bank(key, bank, config)


def _rail_bank(key: str, bank: RailBank, config: Config) -> Iterator[Check]:
    """Yield what is missing: a bank on another machine needs mutual TLS, and a certificate name for call-backs."""
    parts = urlsplit(bank.endpoint)
    is_elsewhere = not _is_loopback(parts.hostname or "")
    yield (
        is_elsewhere and parts.scheme != "https",
        f"{key}.endpoint is {bank.endpoint}: a bank on another machine is reached over https only",
    )
    for name in ("ca_file", "cert_file", "key_file"):
        yield (
            is_elsewhere and getattr(bank, name) is None,
            f"{key}.{name} is empty: the bank and this engine know each other by certificates",
        )
    yield (not config.institution.bic, f"institution.bic is empty, and {key} is enabled")
    yield (
        bank.callback_token_file is not None and not _is_loopback(config.server.host),
        f"{key}.callback_token_file is for one machine only: name {key}.callback_name",
    )


def _endpoints(server: ServerConfig) -> Iterator[Check]:
    is_open = not _is_loopback(server.host)
    yield server.reflection, "server.reflection is true: it lists all calls to every caller"
    yield (
        server.tls_cert_file is None and is_open,
        f"server.tls_cert_file is empty while server.host is {server.host}",
    )
    yield (
        server.tls_client_ca_file is None and is_open,
        (
            f"server.tls_client_ca_file is empty while server.host is {server.host}:"
            " every program that can connect could move money"
        ),
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_written_down(url: SecretStr, origin: str) -> bool:
    if not origin.startswith("file ") or ", password from " in origin:
        return False
    return carries_secret(url.get_secret_value())
