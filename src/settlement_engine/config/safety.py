"""Why ``serve`` refuses to run: settings that are fine on a desk and not in a bank.

Promises: ``unsafe_settings`` returns every reason at once, each naming its key. It decides nothing.
"""

from __future__ import annotations

from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from settlement_engine.config.sections import Config

NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})


def unsafe_settings(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> list[str]:
    """List why this configuration must not serve real money; empty when it may.

    ``origins`` tells which passwords were written into the configuration file.
    """
    checks = (
        (
            not config.database.url.get_secret_value(),
            "database.url is empty: the embedded PostgreSQL is for development",
        ),
        (
            config.nats.enabled and not config.nats.url.get_secret_value(),
            "nats.url is empty: the embedded NATS is for development (or set nats.enabled = false)",
        ),
        (
            config.banks.mock_enabled and not config.banks.mock_allowed_in_production,
            (
                "banks.mock_enabled is true: the mock bank moves no money; for a rehearsal with it,"
                " set banks.mock_allowed_in_production = true"
            ),
        ),
        (
            any(rail.enabled for rail in config.banks.swift),
            "banks.swift is enabled, but this version has no SWIFT rail",
        ),
        (
            any(rail.enabled for rail in config.banks.sepa),
            "banks.sepa is enabled, but this version has no SEPA rail",
        ),
        (config.server.reflection, "server.reflection is true: it tells everybody every call"),
        (
            config.server.tls_cert_file is None and not _is_loopback(config.server.host),
            f"server.tls_cert_file is empty while server.host is {config.server.host}",
        ),
        (not config.settlement.real_windows, "settlement.real_windows is false"),
        (
            _is_written_down(config.database.url, origins.get("database.url", "")),
            (
                "database.url has its password in the configuration file:"
                " use SETTLEMENT_DATABASE__URL or database.password_file"
            ),
        ),
        (
            _is_written_down(config.nats.url, origins.get("nats.url", "")),
            (
                "nats.url has its password in the configuration file:"
                " use SETTLEMENT_NATS__URL or nats.password_file"
            ),
        ),
    )
    return [text for is_unsafe, text in checks if is_unsafe]


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
    parts = urlsplit(url.get_secret_value())
    is_token = parts.scheme in {"nats", "tls"} and parts.username is not None
    return is_token or parts.password is not None or "password" in parse_qs(parts.query)
