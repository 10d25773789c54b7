"""``outbox replay``: publishes announcements from the database to NATS again.

Promises: ``--dry-run`` publishes nothing; the order of a stream is never broken: a replay that would break
it is refused, and the error names another way. The engines may keep running during a replay.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click
import msgspec

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.output import GOOD, as_json, example, mark, print_json, say
from settlement_engine.cli.settings import config_options, load_config
from settlement_engine.domain.announcement import POSITION_MAX
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.app.replaying import ReplayPlan
    from settlement_engine.config import Config


@lasting
@click.group()
@example("""
settlement-engine outbox replay --from 1 --dry-run
""")
def outbox() -> None:
    """Manage the announcements that are published to NATS."""


@lasting
@outbox.command()
@click.option(
    "--from",
    "first",
    type=click.IntRange(1, POSITION_MAX),
    required=True,
    help="The first sequence number.",
)
@click.option(
    "--to", "last", type=click.IntRange(1, POSITION_MAX), help="The last one. Default: the newest."
)
@click.option(
    "--stream", help="The target stream. Default: the engine's own. Created if it does not exist."
)
@click.option(
    "--subject-prefix", help="With --stream: the subject prefix. Default: the stream's name."
)
@click.option(
    "--notices",
    is_flag=True,
    help="The notices (discrepancies, recalls), which have numbers of their own, not the moves.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be published; publish nothing.")
@config_options
@as_json
@example("""
settlement-engine outbox replay --from 1 --dry-run
settlement-engine outbox replay --from 1200 --to 1800 --stream settlement-again
settlement-engine outbox replay --notices --from 1
""")
def replay(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    first: int,
    last: int | None,
    stream: str | None,
    subject_prefix: str | None,
    notices: bool,
    dry_run: bool,
    config_file: Path | None,
    settings: tuple[str, ...],
    is_json: bool,
) -> None:
    """Publish announcements again: to the engine's own stream if the order allows it, or to another."""
    from settlement_engine.app import replaying

    if subject_prefix and not stream:
        raise click.UsageError("--subject-prefix needs --stream")
    request = replaying.ReplayRequest(
        first=first,
        last=last or 0,
        stream=stream or "",
        subject_prefix=subject_prefix or "",
        is_of_notices=notices,
    )
    config = _configured(config_file, settings)
    plan = asyncio.run(replaying.replay(config, request, is_dry_run=dry_run))
    if is_json:
        print_json({"isDryRun": dry_run, **msgspec.structs.asdict(plan)})
        return
    _print(plan, "notices" if notices else "announcements", is_dry_run=dry_run)


def _print(plan: ReplayPlan, kind: str, *, is_dry_run: bool) -> None:
    where = f"stream {plan.stream}" + (" (new)" if plan.is_made else "")
    if not plan.count:
        mark(GOOD, f"{where}: it already holds {plan.first} to {plan.last}")
        return
    what = f"{plan.count:,} {kind}, {plan.after + 1} to {plan.last}"
    if is_dry_run:
        say(f"{where}: {what} would be published")
        if plan.wait_seconds:
            say(f"  after {plan.wait_seconds:.0f} s, the rest of the stream's duplicate window")
        return
    mark(GOOD, f"{where}: {what} published")


def _configured(config_file: Path | None, settings: tuple[str, ...]) -> Config:
    """Read the configuration; missing addresses are those of the ``dev`` that runs here."""
    from settlement_engine.cli.addresses import find_running

    loaded = load_config(config_file, settings)
    running = find_running()
    missing: dict[str, object] = {}
    if not loaded.config.database.url.get_secret_value() and running is not None:
        missing["database.url"] = running.database_url
    if not loaded.config.nats.url.get_secret_value() and running is not None:
        missing["nats.url"] = running.nats_url
    config = load_config(config_file, settings, missing).config if missing else loaded.config
    for name, url in (("database.url", config.database.url), ("nats.url", config.nats.url)):
        if not url.get_secret_value():
            raise Misconfigured(
                f"{name} is empty",
                why="no `settlement-engine dev` runs in this directory",
                todo=f"Set SETTLEMENT_{name.replace('.', '__').upper()}, or start `dev`.",
            )
    return config
