"""``serve``: one engine with external servers; ``engine-process``: one engine, started by ``dev``.

Promises: ``serve`` refuses unsafe settings and names all of them at once; both drain on SIGTERM and exit
with 0.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.output import GOOD, example, mark
from settlement_engine.cli.settings import config_options, load_config, warn_unknown
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.app import Addresses

READY_PIPE: Final = "SETTLEMENT_READY_PIPE"
"""The file descriptor of the pipe on which an engine process reports its ports when it is ready."""

PARENT: Final = "SETTLEMENT_PARENT_PID"
_PR_SET_PDEATHSIG: Final = 1


@lasting
@click.command()
@config_options
@example("""
SETTLEMENT_DATABASE__URL=postgresql://engine@db/settlement settlement-engine serve
settlement-engine serve --config /etc/settlement-engine/config.toml
""")
def serve(config_file: Path | None, settings: tuple[str, ...]) -> None:
    """Run the engine with your own PostgreSQL and NATS, until SIGTERM."""
    from settlement_engine.config import unsafe_settings

    loaded = load_config(config_file, settings, {"profile": "production"})
    warn_unknown(loaded)
    unsafe = unsafe_settings(loaded.config, loaded.origins)
    if unsafe:
        raise Misconfigured(
            "`serve` does not run with unsafe settings",
            why="\n       ".join(unsafe),
            todo="Change them. For development use `settlement-engine dev`.",
        )
    from settlement_engine import app

    server = loaded.config.server

    def announce(at: Addresses) -> None:
        http = f"{server.host}:{at.http}" if at.http else str(server.http_socket_file or "off")
        mark(GOOD, f"ready: gRPC {server.host}:{at.grpc} · HTTP {http} · metrics {at.metrics}")

    app.run(loaded.config, on_ready=announce)


@lasting
@click.command("engine-process", hidden=True)
def engine_process() -> None:
    """Run one engine under `dev`, configured by environment variables only."""
    die_with_parent()
    from settlement_engine import app
    from settlement_engine.config import load

    loaded = load(search=False)
    app.run(loaded.config, on_ready=_tell_parent)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies; exit at once if the parent is gone."""
    # The engine recovers from a crash at any time, so a kill is safe, and no process is left behind.
    libc = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):  # only Linux has it
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)  # the parent died before the call above


def _tell_parent(at: Addresses) -> None:
    with os.fdopen(int(os.environ[READY_PIPE]), "w", encoding="ascii") as pipe:
        json.dump({"grpc": at.grpc, "http": at.http, "metrics": at.metrics}, pipe)
