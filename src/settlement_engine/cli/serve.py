"""``serve``: one engine with external servers; ``engine-process``: one engine, started by ``dev``.

Promises: ``serve`` refuses unsafe settings and names all of them at once; both drain on SIGTERM and exit
with 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.output import GOOD, example, mark
from settlement_engine.cli.settings import config_options, load_config, warn_unknown
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.app.process import Addresses


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
    from settlement_engine.app.process import run

    server = loaded.config.server

    def announce(at: Addresses) -> None:
        http = f"{server.host}:{at.http}" if at.http else str(server.http_socket_file or "off")
        mark(GOOD, f"ready: gRPC {server.host}:{at.grpc} · HTTP {http} · metrics {at.metrics}")

    run(loaded.config, on_ready=announce)


@lasting
@click.command("engine-process", hidden=True)
def engine_process() -> None:
    """Run one engine under `dev`, configured by environment variables only."""
    from settlement_engine.app.development.child import die_with_parent, tell_parent

    die_with_parent()
    from settlement_engine.app.process import run
    from settlement_engine.config import load

    loaded = load(search=False)
    run(loaded.config, on_ready=tell_parent)
