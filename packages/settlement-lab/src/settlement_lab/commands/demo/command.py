"""The command ``demo``."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine import __version__
from settlement_engine.app.development.data_dir import make_data_dir
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.development.command import DATA_DIR, with_book
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.interruption import termination_interrupts
from settlement_engine.cli.output import BAD, GOOD, example, mark, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.app.development.world import DevSetup
    from settlement_engine.config import Config

SETTLEMENTS: Final = 10_000
QUICK_SETTLEMENTS: Final = 500
RAIL_SETTLEMENTS: Final = 60
QUICK_RAIL_SETTLEMENTS: Final = 10
"""How many instructions go to the bank simulator over each rail, beside those for the mock bank."""

SETTLEMENTS_MAX: Final = 1_000_000
SEED: Final = 7
FAULTS: Final = (
    {"scenario": "reject", "one_in": 12},
    {"scenario": "lost_answer", "one_in": 12},
    {"scenario": "lost_request", "one_in": 8, "currency": "EUR"},
    {"scenario": "settle_by_callback", "one_in": 6},
    {"scenario": "twice", "one_in": 10},
    {"scenario": "half_response", "one_in": 20},
    {"scenario": "accept_then_reject", "one_in": 20},
)
"""The rules of the bank simulator. No request is lost in USD: over ACH a whole file would be, which is never sent
again, so that its payments stay in doubt until a person copies it from the archive."""

SETTINGS: Final = {
    "profile": "demo",
    "server.grpc_port": 0,
    "server.http_port": 0,
    "monitoring.metrics_port": 0,
    "database.url": "",
    "nats.url": "",
    "banks.mock_enabled": True,
    "banks.mock_seed": SEED,
    "banks.mock_answer_timeout_ms": 500,
    "banks.mock_late_seconds": 1.0,
    "reconciliation.tariffs": [
        {"currency": "EUR", "charge": "1.50"},
        {"currency": "USD", "charge": "1.50"},
    ],
}
"""The demo's settings: free ports, embedded servers, a mock bank that is fast but unreliable, and the charge that the
bank simulator takes out of some payments."""


@lasting
@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="The parent of its data directory, which is removed at the end unless a check fails.",
)
@click.option(
    "--settlements",
    type=click.IntRange(1, SETTLEMENTS_MAX),
    default=SETTLEMENTS,
    show_default=True,
    help="How many instructions to send.",
)
@click.option("--quick", is_flag=True, help=f"Send only {QUICK_SETTLEMENTS} instructions.")
@click.option("--seed", default=SEED, show_default=True, help="Determines the instructions.")
@click.option("--keep", is_flag=True, help="Keep the data directory.")
@example("""
settlement-engine demo
settlement-engine demo --settlements 50000 --keep
""")
def demo(*, data_dir: Path, settlements: int, quick: bool, seed: int, keep: bool) -> int:
    """Demonstrate the guarantees: settle 10,000 instructions, crash, recover, prove the books.

    Some hundred more go to the bank simulator over SWIFT, SEPA, ACH and a real-time scheme; it is killed as well. At
    the end its statements, with differences planted in them, are reconciled with the books.
    """
    from settlement_engine.app.development.world import DevSetup, InstallationPlan
    from settlement_engine.config import load

    began = time.monotonic()
    count = QUICK_SETTLEMENTS if quick else settlements
    with termination_interrupts(), _fresh_directory(data_dir.absolute(), keep=keep) as place:
        say(f"settlement {__version__} · demo · data in {place.path}")
        config = with_book(load(None, SETTINGS, search=False), place.path).config
        plan = InstallationPlan(
            config=config,
            data_dir=place.path,
            engines=1,
            address_files=(),
            is_loud=False,
            tell=say,
            has_simulator=True,
            keeps_mock=True,
        )
        with DevSetup(plan) as world:
            per_rail = QUICK_RAIL_SETTLEMENTS if quick else RAIL_SETTLEMENTS
            place.is_good = _show(world, config, (count, per_rail), seed)
    seconds = time.monotonic() - began
    if not place.is_good:
        mark(BAD, f"a guarantee was violated; the data is kept in {place.path} ({seconds:.1f} s)")
        return ExitCode.UNBALANCED
    mark(GOOD, f"every guarantee held, {seconds:.1f} s in total")
    say("Next: settlement-engine dev --sample-data   (keeps running; submit your own settlements)")
    return ExitCode.OK


def _show(world: DevSetup, config: Config, counts: tuple[int, int], seed: int) -> bool:
    """Run it with so many instructions for the mock bank, and so many over each rail of the simulator."""
    from settlement_engine.cli.development.sample import (
        BANKS,
        CURRENCIES,
        open_accounts,
        open_sample_accounts,
    )
    from settlement_lab.commands.demo.checks import check_all
    from settlement_lab.commands.demo.payments import (
        POOR_BANK,
        make_orders,
        make_rail_orders,
        spread,
    )
    from settlement_lab.commands.demo.report import print_checks, print_story
    from settlement_lab.commands.demo.statement_checks import check_statements
    from settlement_lab.commands.demo.story import tell

    began = time.monotonic()
    target = world.addresses().grpc
    opened = open_sample_accounts(target) + open_accounts(target, [POOR_BANK], CURRENCIES)
    banks = f"{opened} accounts, {len(BANKS) + 1} banks, {len(CURRENCIES)} currencies"
    say(f"✓ {banks:<35} {time.monotonic() - began:.2f} s")
    to_mock = list(make_orders(counts[0], seed, BANKS, CURRENCIES))
    over_rails = list(make_rail_orders(counts[1], seed, BANKS))
    payments = spread(over_rails, to_mock)
    say(
        f"sending {len(payments):,} instructions; engine and bank simulator are killed in the middle"
    )
    asyncio.run(_prepare(world.addresses().simulator, seed))
    story, evidence, statements = asyncio.run(tell(world, config, payments))
    print_story(story, payments)
    checks = check_all(evidence) + check_statements(statements)
    print_checks(checks)
    return all(check.is_true for check in checks)


async def _prepare(simulator: str, seed: int) -> None:
    """Tell the bank simulator what to do wrong: with payments, and in its statements."""
    from settlement_lab.commands.demo.outside import set_faults
    from settlement_lab.commands.demo.statements import prepare_statements

    await prepare_statements(simulator, seed)
    await set_faults(simulator, FAULTS)


class _Place:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_good = False


@contextmanager
def _fresh_directory(data_dir: Path, *, keep: bool) -> Iterator[_Place]:
    make_data_dir(data_dir)
    place = _Place(Path(tempfile.mkdtemp(prefix="demo-", dir=data_dir)))
    is_interrupted = False
    try:
        yield place
    except KeyboardInterrupt:
        is_interrupted = True
        raise
    finally:
        if (place.is_good or is_interrupted) and not keep:
            shutil.rmtree(place.path, ignore_errors=True)
