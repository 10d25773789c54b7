"""The sequence of the demo: load, crash, wait, collect.

Promises: it uses only the public API, and ``kill -9`` for the crash of the engine and of the bank simulator.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from settlement_engine.cli.messages import status_name
from settlement_engine.cli.output import progress
from settlement_lab.commands.demo.checks import BankEntry, Evidence, OurSettlement
from settlement_lab.commands.demo.load import TAIL_EVENTS, DemoCalls
from settlement_lab.commands.demo.outside import Consumer, read_bank_ledger
from settlement_lab.commands.demo.statements import reconcile_statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.app.development.world import DevSetup
    from settlement_engine.config import Config
    from settlement_engine.proto import settlement_pb2 as wire
    from settlement_lab.commands.demo.payments import DemoOrder
    from settlement_lab.commands.demo.statement_checks import StatementEvidence

WATCH_SECONDS: Final = 0.02
CRASH_SHARE: Final = 0.5
"""The engine is killed when this share of the instructions is accepted."""

ZEROS: Final = frozenset("0.")


@dataclass(slots=True, kw_only=True)
class Story:
    """What was observed during the run; times are Unix seconds of the machine's clock."""

    began_at: float = 0.0
    killed_at: float = 0.0
    back_at: float = 0.0
    accepted: int = 0
    resent: int = 0
    settlements: Sequence[wire.SettlementStatusResponse] = ()
    seconds: float = 0.0


async def tell(
    world: DevSetup, config: Config, payments: Sequence[DemoOrder]
) -> tuple[Story, Evidence, StatementEvidence]:
    """Run the load with the crash, wait for the final states, reconcile, and collect the data of the checks."""
    story = Story(began_at=time.time())
    callers = DemoCalls(world.addresses().grpc)
    watching = asyncio.create_task(_watch(world, story))
    try:
        await _load(world, callers, payments, story)
        story.resent = callers.resent
        story.seconds = time.time() - story.began_at
        addresses = world.addresses()
        statements = await reconcile_statements(addresses.grpc, addresses.simulator, story.began_at)
        evidence = await _collect(world, config, callers, payments, story)
    finally:
        watching.cancel()
        await callers.close()
    return story, evidence, statements


async def _watch(world: DevSetup, story: Story) -> None:
    while True:
        world.watch()
        engine = world.engines[0]
        if story.killed_at and not story.back_at and engine.restarts and engine.is_ready:
            story.back_at = time.time()
        await asyncio.sleep(WATCH_SECONDS)


async def _load(
    world: DevSetup, callers: DemoCalls, payments: Sequence[DemoOrder], story: Story
) -> None:
    crash_after = int(len(payments) * CRASH_SHARE)
    with progress() as bar:
        accepting = bar.add_task("accepted ", total=len(payments), note="")

        def accepted(count: int) -> None:
            story.accepted += count
            bar.update(accepting, completed=story.accepted)
            if story.accepted >= crash_after and not story.killed_at:
                story.killed_at = time.time()
                world.engines[0].kill()
                if world.bank is not None:
                    world.bank.kill()
                bar.update(accepting, note="engine and bank simulator killed with -9")

        await callers.submit(payments, accepted)
        ending = bar.add_task("ended    ", total=len(payments), note="")
        await callers.await_ends(
            lambda still_open: bar.update(ending, completed=len(payments) - still_open)
        )


async def _collect(
    world: DevSetup, config: Config, callers: DemoCalls, payments: Sequence[DemoOrder], story: Story
) -> Evidence:
    from settlement_engine.app.database import prove

    consumer = Consumer(
        world.addresses().nats_url, config.nats.stream, f"{config.nats.subject_prefix}.*"
    )
    tail: dict[int, str] = {}

    async def head(reached: int) -> int:
        async for event in callers.events(max(reached - TAIL_EVENTS, 0)):
            tail[event.sequence] = event.event_id
        return max(tail, default=0)

    await consumer.crash_once()
    await consumer.read(head)
    story.settlements = await callers.settlements()
    proof = await prove(world.addresses().database_url)
    return Evidence(
        obligations=frozenset(request.obligation_id for request in payments),
        bank=await _bank_entries(world, story.settlements),
        ours=[
            OurSettlement(
                settlement_id=settlement.settlement_id,
                obligation_id=settlement.obligation_id,
                status=status_name(settlement.status),
            )
            for settlement in story.settlements
        ],
        held={
            f"{account.bank} {account.currency}": account.held
            for account in await callers.accounts()
            if not ZEROS.issuperset(account.held)
        },
        open_holds=proof.open_holds,
        differences=[f"{d.check} {d.subject}: {d.found}" for d in proof.differences],
        events=consumer.handled,
        deliveries=consumer.deliveries,
        tail=tail,
    )


async def _bank_entries(
    world: DevSetup, settlements: Sequence[wire.SettlementStatusResponse]
) -> list[BankEntry]:
    """Read the ledgers of both banks; the simulator knows payments by our references only."""
    addresses = world.addresses()
    entries = await read_bank_ledger(f"{addresses.http}/dev/bank-ledger")
    ours = {found.end_to_end_id: found for found in settlements if found.end_to_end_id}
    for entry in await read_bank_ledger(f"{addresses.simulator}/ledger"):
        found = ours.get(entry.reference)
        names = (found.settlement_id, found.obligation_id) if found else (entry.reference,) * 2
        entries.append(replace(entry, settlement_id=names[0], obligation_id=names[1]))
    return entries
