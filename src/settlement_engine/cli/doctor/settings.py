"""Checks of the settings: configuration, ports, PostgreSQL, NATS."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from settlement_engine.cli.addresses import ADDRESS_FILE, find_running
from settlement_engine.cli.doctor.finding import DoctorFinding, bad, good, warn
from settlement_engine.cli.output import GOOD
from settlement_engine.cli.settings import load_config
from settlement_engine.errors import SettlementEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from settlement_engine.app.development.addresses import RunningAddresses
    from settlement_engine.config import Config, Loaded

REACH_SECONDS: Final = 3.0
NATS_PORT: Final = 4222


def check_settings(
    config_file: Path | None, settings: tuple[str, ...], data_dir: Path
) -> Iterator[DoctorFinding]:
    """Check the configuration, the servers that it names, and the `dev` that runs here."""
    running = find_running(data_dir / ADDRESS_FILE.name)
    try:
        loaded = load_config(config_file, settings)
    except SettlementEngineError as error:
        yield bad("configuration", f"{error.what}; {error.why}", error.todo or "Correct it.")
        return
    yield good("configuration", str(loaded.config_file or "the built-in defaults"))
    yield from _variables(loaded)
    yield from check_ports(loaded.config, running)
    yield from check_postgres(loaded.config, running)
    yield from check_nats(loaded.config, running)


def _variables(loaded: Loaded) -> Iterator[DoctorFinding]:
    for variable in loaded.unknown_variables:
        hint = f"Did you mean {variable.hint}?" if variable.hint else "Remove it."
        yield warn(variable.name, "is set, but it is not a known setting", hint)


def check_ports(config: Config, running: RunningAddresses | None = None) -> Iterator[DoctorFinding]:
    """Check that the configured ports are free, or used by the `dev` that runs here."""
    ours = _ports_of(running) if running is not None else frozenset()
    server, monitoring = config.server, config.monitoring
    ports = {
        "gRPC": (server.host, server.grpc_port),
        "metrics": (monitoring.metrics_host, monitoring.metrics_port),
    }
    if server.http_enabled and server.http_socket_file is None:
        ports["HTTP"] = (server.host, server.http_port)
    for name, (host, port) in ports.items():
        if running is not None and port in ours:
            yield good(f"{name} port {port}", f"used by the running `dev`, process {running.pid}")
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                todo = f"Find the program with: ss -tlnp 'sport = :{port}'; or choose another port."
                yield warn(f"{name} port {port}", error.strerror or str(error), todo)
            else:
                yield good(f"{name} port {port}", "free")


def _ports_of(running: RunningAddresses) -> frozenset[int]:
    places = (f"//{running.grpc}", running.http, running.metrics)
    return frozenset(port for place in places if (port := urlsplit(place).port) is not None)


def _embedded(
    name: str, program: str, find: Callable[[], str], running_url: str
) -> Iterator[DoctorFinding]:
    """Check an embedded server of `dev` and `demo`: its program, and the one that runs here."""
    try:
        yield good(program, find())
    except SettlementEngineError as error:
        yield bad(program, f"{error.what} {error.why}", error.todo)
        return
    if running_url:
        at = urlsplit(running_url).netloc.rpartition("@")[2]
        yield good(name, f"embedded, running at {at}")
    else:
        yield good(name, "embedded; started by `dev` and `demo`")


def _postgres_program() -> str:
    from settlement_engine.app.development.programs import postgres_program

    return postgres_program()


def _nats_program() -> str:
    from settlement_engine.app.development.programs import nats_program

    return nats_program()


def check_postgres(
    config: Config, running: RunningAddresses | None = None
) -> Iterator[DoctorFinding]:
    """Check the configured database, or the embedded one."""
    url = config.database.url.get_secret_value()
    if not url:
        at = running.database_url if running is not None else ""
        yield from _embedded("PostgreSQL", "PostgreSQL's programs", _postgres_program, at)
        return
    from settlement_engine.app.database import check_database

    try:
        problems = asyncio.run(check_database(url))
    except SettlementEngineError as error:
        yield bad("PostgreSQL", f"{error.what}: {error.why}", error.todo or "Check database.url.")
        return
    for problem in problems:
        yield bad("PostgreSQL", problem, "Change it in postgresql.conf, or run `migrate`.")
    if not problems:
        yield good("PostgreSQL", "reachable; fsync, synchronous_commit and full_page_writes are on")
        if config.banks.directory_required:
            yield from _bank_directory(url)
        yield from _our_accounts(url, config)


def _bank_directory(url: str) -> Iterator[DoctorFinding]:
    """Warn of an empty bank directory: every account and every settlement would be refused."""
    from settlement_engine.app.database import has_listed_banks

    try:
        has_banks = asyncio.run(has_listed_banks(url))
    except SettlementEngineError:
        return  # the database is not migrated yet, which the engine says when it starts
    if has_banks:
        yield good("bank directory", "banks stand in it")
        return
    what = "it is empty, and banks.directory_required refuses banks that do not stand in it"
    yield warn("bank directory", what, "Add them: `settlement-engine banks import FILE`.")


def _our_accounts(url: str, config: Config) -> Iterator[DoctorFinding]:
    """Warn of accounts of ours that are configured and stand otherwise in the bank directory."""
    from settlement_engine.app.database import differing_accounts

    configured = {
        f"{key}.our_account ({bank})": (rail_bank.our_account, rail_bank.currencies, bank)
        for key, rail_bank in config.banks.over_http()
        if rail_bank.enabled and rail_bank.our_account
        for bank in rail_bank.banks
    }
    try:
        found = asyncio.run(differing_accounts(url, configured)) if configured else []
    except SettlementEngineError:
        return  # the same
    for text in found:
        todo = "The configured one is used. Correct one of the two: `settlement-engine banks put`."
        yield warn("our account", text, todo)


def check_nats(config: Config, running: RunningAddresses | None = None) -> Iterator[DoctorFinding]:
    """Check the configured NATS, or the embedded one."""
    url = config.nats.url.get_secret_value()
    if not config.nats.enabled:
        yield good("NATS", "disabled")
        return
    if not url:
        at = running.nats_url if running is not None else ""
        yield from _embedded("NATS", "NATS's program", _nats_program, at)
        return
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    found = [_reach_nats(host) for host in hosts]
    yield next((finding for finding in found if finding.sign != GOOD), found[0])


def _reach_nats(host: str) -> DoctorFinding:
    parts = urlsplit(f"//{host}")
    address = (parts.hostname or "", parts.port or NATS_PORT)
    try:
        with socket.create_connection(address, timeout=REACH_SECONDS) as connection:
            greeting = connection.recv(4096)
    except OSError as error:
        return bad("NATS", f"{address[0]}:{address[1]}: {error}", "Start it, or correct nats.url.")
    if not greeting.startswith(b"INFO "):
        return bad(
            "NATS", f"another program listens at {address[0]}:{address[1]}", "Correct nats.url."
        )
    return good("NATS", f"reachable at {address[0]}:{address[1]}")
