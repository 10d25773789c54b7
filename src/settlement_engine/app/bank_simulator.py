"""The bank simulator as a process of its own, built from the options of its command."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.simulator.folders import FolderPair
from settlement_engine.simulator.http import ServerTls
from settlement_engine.simulator.process import CallbackTarget, SimulatorSettings, run
from settlement_engine.simulator.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BankOptions:
    """The options of the command. Certificate and key, and the two folders, are given together or not at all."""

    ledger_file: Path
    host: str
    port: int
    script_file: Path | None
    callback_url: str
    callback_ca: Path | None
    callback_token_file: Path | None
    certificate: Path | None
    key: Path | None
    client_ca: Path | None
    orders: Path | None
    reports: Path | None


def scenarios() -> dict[str, Any]:
    """Return all scenarios by name, as plain values."""
    return {name: msgspec.to_builtins(each) for name, each in SCENARIOS.items()}


def run_bank(options: BankOptions, ready: Callable[[str], None]) -> None:
    """Run the bank until SIGTERM or Ctrl-C; ``ready`` gets its address. Raises Misconfigured."""
    asyncio.run(run(_settings(options), ready))


def _settings(options: BankOptions) -> SimulatorSettings:
    folders = tls = None
    if options.orders is not None and options.reports is not None:
        folders = FolderPair(orders=options.orders, reports=options.reports)
    if options.certificate is not None and options.key is not None:
        tls = ServerTls(
            certificate=options.certificate, key=options.key, client_authority=options.client_ca
        )
    return SimulatorSettings(
        ledger_file=options.ledger_file,
        host=options.host,
        port=options.port,
        tls=tls,
        callbacks=CallbackTarget(
            url=options.callback_url,
            authority=options.callback_ca,
            token_file=options.callback_token_file,
        ),
        script_file=options.script_file,
        folders=folders,
    )
