"""The bank as a process: it serves HTTP, sends call-backs, and stops on SIGTERM or SIGINT.

Promises: it prints its address only when it accepts connections; a kill loses nothing that it has confirmed.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from settlement_engine.errors import Misconfigured
from settlement_engine.simulator.callbacks import Callbacks, client_context
from settlement_engine.simulator.folders import FolderPair, Folders
from settlement_engine.simulator.http import BankServer, ServerTls
from settlement_engine.simulator.script_file import read_script
from settlement_engine.simulator.service import BankService

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from settlement_engine.simulator.scenarios import ScenarioScript


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTarget:
    """Where the bank sends call-backs. It presents its server certificate there, and the token if there is one."""

    url: str = ""
    authority: Path | None = None
    token_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """The settings of one bank."""

    ledger_file: Path
    host: str = "127.0.0.1"
    port: int = 0
    tls: ServerTls | None = None
    callbacks: CallbackTarget = CallbackTarget()
    script_file: Path | None = None
    folders: FolderPair | None = None


async def run(settings: SimulatorSettings, on_ready: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. Raises Misconfigured."""
    service = BankService(
        settings.ledger_file, _script(settings), calls_back=bool(settings.callbacks.url)
    )
    folders = None if settings.folders is None else Folders(service, settings.folders)
    callbacks = Callbacks(
        service, settings.callbacks.url, _callback_tls(settings), folders, _token(settings)
    )
    server = BankServer(service, settings.tls)
    asked_to_stop = _stop_signals()
    await service.start()
    if folders is not None:
        folders.prepare()
    try:
        port = await server.listen(settings.host, settings.port)
        scheme = "http" if settings.tls is None else "https"
        on_ready(f"{scheme}://{settings.host}:{port}")
        await _work_until(asked_to_stop, callbacks, folders)
    finally:
        await server.stop()
        await service.stop()


def _stop_signals() -> asyncio.Event:
    """Handle SIGTERM and SIGINT from now on."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def _work_until(asked: asyncio.Event, callbacks: Callbacks, folders: Folders | None) -> None:
    """Run the tasks until a stop is requested; a task that fails ends the bank with its error."""
    loop = asyncio.get_running_loop()
    working = [loop.create_task(callbacks.run())]
    if folders is not None:
        working.append(loop.create_task(folders.run()))
    waiting = loop.create_task(asked.wait())
    done, _ = await asyncio.wait({*working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in (*working, waiting):
        task.cancel()
    await asyncio.gather(*working, waiting, return_exceptions=True)
    for task in working:
        if task in done:
            task.result()


def _script(settings: SimulatorSettings) -> ScenarioScript | None:
    if settings.script_file is None:
        return None
    try:
        return read_script(settings.script_file.read_bytes())
    except OSError as error:
        raise Misconfigured("the script cannot be read", why=str(error)) from error


def _token(settings: SimulatorSettings) -> str:
    file = settings.callbacks.token_file
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = "the token for call-backs cannot be read"
        raise Misconfigured(what, why=getattr(error, "strerror", "") or "") from error


def _callback_tls(settings: SimulatorSettings) -> ssl.SSLContext | None:
    target, tls = settings.callbacks, settings.tls
    if target.authority is None:
        return None
    try:
        if tls is None:
            return client_context(target.authority, None, None)
        return client_context(target.authority, tls.certificate, tls.key)
    except OSError as error:
        raise Misconfigured("the files for call-backs cannot be used", why=str(error)) from error
