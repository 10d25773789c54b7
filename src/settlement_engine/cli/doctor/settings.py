"""Checks of the settings: configuration, ports, PostgreSQL, NATS."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from settlement_engine.cli.doctor.finding import Finding, bad, good, warn
from settlement_engine.cli.output import GOOD
from settlement_engine.cli.settings import load_config
from settlement_engine.errors import SettlementEngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from settlement_engine.config import Config, Loaded

REACH_SECONDS: Final = 3.0
NATS_PORT: Final = 4222


def check_settings(config_file: Path | None, settings: tuple[str, ...]) -> Iterator[Finding]:
    """Look at the configuration and at what it points to."""
    try:
        loaded = load_config(config_file, settings)
    except SettlementEngineError as error:
        yield bad("configuration", f"{error.what}; {error.why}", error.todo)
        return
    yield good("configuration", str(loaded.config_file or "the built-in defaults"))
    yield from _variables(loaded)
    yield from check_ports(loaded.config)
    yield from _postgres(loaded.config)
    yield check_nats(loaded.config)


def _variables(loaded: Loaded) -> Iterator[Finding]:
    for variable in loaded.unknown_variables:
        hint = f"Did you mean {variable.hint}?" if variable.hint else "Remove it."
        yield warn(variable.name, "is set, but nobody reads it", hint)


def check_ports(config: Config) -> Iterator[Finding]:
    """Look whether somebody listens where we will."""
    server, monitoring = config.server, config.monitoring
    ports = {
        "gRPC": (server.host, server.grpc_port),
        "metrics": (monitoring.metrics_host, monitoring.metrics_port),
    }
    if server.http_enabled and server.http_socket_file is None:
        ports["HTTP"] = (server.host, server.http_port)
    for name, (host, port) in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                todo = f"ss -tlnp 'sport = :{port}' shows who has it (a running engine is fine)."
                yield warn(f"{name} port {port}", error.strerror or str(error), todo)
            else:
                yield good(f"{name} port {port}", "free")


def _postgres(config: Config) -> Iterator[Finding]:
    url = config.database.url.get_secret_value()
    if not url:
        yield good("PostgreSQL", "embedded, started by `dev` and `demo`")
        return
    from settlement_engine import app

    try:
        problems = asyncio.run(app.check_database(url))
    except SettlementEngineError as error:
        yield bad("PostgreSQL", f"{error.what}: {error.why}", error.todo or "Check database.url.")
        return
    for problem in problems:
        yield bad("PostgreSQL", problem, "Change it in postgresql.conf, or run `migrate`.")
    if not problems:
        yield good("PostgreSQL", "reachable; fsync, synchronous_commit and full_page_writes are on")


def check_nats(config: Config) -> Finding:
    """Look whether NATS answers."""
    url = config.nats.url.get_secret_value()
    if not config.nats.enabled:
        return good("NATS", "switched off")
    if not url:
        return good("NATS", "embedded, started by `dev` and `demo`")
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    found = [_reach_nats(host) for host in hosts]
    return next((finding for finding in found if finding.sign != GOOD), found[0])


def _reach_nats(host: str) -> Finding:
    parts = urlsplit(f"//{host}")
    address = (parts.hostname or "", parts.port or NATS_PORT)
    try:
        with socket.create_connection(address, timeout=REACH_SECONDS) as connection:
            greeting = connection.recv(4096)
    except OSError as error:
        return bad("NATS", f"{address[0]}:{address[1]}: {error}", "Start it, or correct nats.url.")
    if not greeting.startswith(b"INFO "):
        return bad(
            "NATS", f"something else answers at {address[0]}:{address[1]}", "Correct nats.url."
        )
    return good("NATS", f"reachable at {address[0]}:{address[1]}")
