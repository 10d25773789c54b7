"""The command ``dev``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine import __version__
from settlement_engine.cli.addresses import ADDRESS_FILE
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.interruption import collect_stop_signals, termination_interrupts
from settlement_engine.cli.output import example, say
from settlement_engine.cli.settings import config_options, load_config, url_option, warn_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.app.development.world import DevSetup
    from settlement_engine.config import Loaded

DATA_DIR: Final = ADDRESS_FILE.parent
WATCH_SECONDS: Final = 0.05
ENGINES_MAX: Final = 16
PORT: Final = click.IntRange(0, 65_535)

WARNING: Final = """\
┌──────────────────────────────────────────────────────────────────────┐
│ For development only: no real bank, no settlement windows, no TLS,   │
│ no authentication. For real money use: settlement-engine serve       │
└──────────────────────────────────────────────────────────────────────┘"""


@lasting
@click.command()
@config_options
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="The directory for all data; it is kept when the command ends.",
)
@click.option("--grpc-port", type=PORT, help="The port for gRPC; 0 takes any free port.")
@click.option("--http-port", type=PORT, help="The port for JSON and health; 0 takes any free port.")
@click.option("--metrics-port", type=PORT, help="The port for metrics; 0 takes any free port.")
@click.option(
    "--address-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all addresses to this file, as JSON, when everything is ready.",
)
@click.option(
    "--sample-data",
    is_flag=True,
    help="Enter eight banks in the directory; open and fund their accounts, also at the simulated bank.",
)
@click.option(
    "--simulator",
    is_flag=True,
    help="Pay over the rails of ISO 20022 to a scripted bank, not to the mock.",
)
@click.option("--real-windows", is_flag=True, help="Enforce the settlement windows.")
@click.option(
    "--engines",
    type=click.IntRange(1, ENGINES_MAX),
    default=1,
    show_default=True,
    help="How many engine processes share the work.",
)
@url_option(
    "--database-url",
    "database.url",
    "Use this PostgreSQL, not the embedded one. Put a password into SETTLEMENT_DATABASE__URL.",
)
@url_option(
    "--nats-url",
    "nats.url",
    "Use this NATS, not the embedded one. Put a password into SETTLEMENT_NATS__URL.",
)
@click.option("--logs", is_flag=True, help="Print the engines' logs here instead of to files.")
@example("""
settlement-engine dev --sample-data
settlement-engine dev --grpc-port 0 --http-port 0 --metrics-port 0 --address-file here.json
settlement-engine dev --set banks.mock_latency_ms=0 --engines 2
settlement-engine dev --simulator --sample-data
""")
def dev(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    config_file: Path | None,
    settings: tuple[str, ...],
    data_dir: Path,
    grpc_port: int | None,
    http_port: int | None,
    metrics_port: int | None,
    address_file: Path | None,
    sample_data: bool,
    simulator: bool,
    real_windows: bool,
    engines: int,
    database_url: str | None,
    nats_url: str | None,
    logs: bool,
) -> None:
    """Run PostgreSQL, NATS and the engine on this machine, until Ctrl-C."""
    from settlement_engine.app.development.world import DevSetup, InstallationPlan

    overrides = {
        "profile": "dev",
        "server.grpc_port": grpc_port,
        "server.http_port": http_port,
        "monitoring.metrics_port": metrics_port,
        "database.url": database_url,
        "nats.url": nats_url,
        "settlement.real_windows": True if real_windows else None,
    }
    data_dir = data_dir.absolute()
    loaded = with_book(load_config(config_file, settings, overrides), data_dir)
    warn_unknown(loaded)
    own_file = data_dir / ADDRESS_FILE.name
    plan = InstallationPlan(
        config=loaded.config,
        data_dir=data_dir,
        engines=engines,
        address_files=(own_file, *([address_file.absolute()] if address_file else [])),
        is_loud=logs,
        tell=say,
        has_simulator=simulator,
    )
    say(f"settlement {__version__} · dev · data in {data_dir}")
    with termination_interrupts(), DevSetup(plan) as world:
        if sample_data:
            _open_sample_accounts(world)
        stopped = collect_stop_signals()  # from here on SIGTERM ends with exit code 0
        world.publish_addresses()
        _print_addresses(world, is_loud=logs)
        _watch(world, stopped)
        say("stopping: engines drain, then the servers stop")
    say("✓ stopped")


def _watch(world: DevSetup, stopped: Sequence[object]) -> None:
    """Restart what dies, until somebody asks to stop."""
    while not stopped:
        for news in world.watch():
            say(f"! {news}")
        time.sleep(WATCH_SECONDS)


def with_book(loaded: Loaded, data_dir: Path) -> Loaded:
    """Keep the mock bank's ledger file in the data directory, unless another file is configured."""
    from dataclasses import replace

    if loaded.config.banks.mock_book_file is not None:
        return loaded
    banks = loaded.config.banks.model_copy(update={"mock_book_file": data_dir / "mock-bank.book"})
    return replace(loaded, config=loaded.config.model_copy(update={"banks": banks}))


def _print_addresses(world: DevSetup, *, is_loud: bool) -> None:
    at = world.addresses()
    block = {
        "gRPC": at.grpc,
        "JSON and health": at.http,
        "metrics": at.metrics,
        "PostgreSQL": _host(at.database_url),
        "NATS": _host(at.nats_url) if at.nats_url else "switched off",
        "logs": "here" if is_loud else ", ".join(str(path) for path in world.log_paths),
    }
    if at.simulator:
        block["scripted bank"] = f"{at.simulator}/ledger"
    ways_in = world.servers.ways_in()
    say()
    for name, value in block.items():
        say(f"  {name:>16}  {value}")
        if name in ways_in:
            say(f"  {'':>16}  {ways_in[name]}")
    say()
    say(WARNING)
    say(f"Try: settlement-engine submit DEUTDEFF CHASUS33 1000.00 EUR --address {at.grpc}")
    say("Ctrl-C stops everything.")


def _host(url: str) -> str:
    return url.rpartition("@")[2]


def _open_sample_accounts(world: DevSetup) -> None:
    from settlement_engine.cli.development.sample import book_sample_funding, open_sample_accounts

    began = time.monotonic()
    at = world.addresses()
    count = open_sample_accounts(at.grpc)
    if at.simulator:
        book_sample_funding(at.simulator)
    say(f"✓ sample accounts   {count:<17} {time.monotonic() - began:.2f} s")
