"""Processes killed with SIGKILL exactly at the commit of a transition, before it and after it.

A sample of the matrix of ``test_every_transition.py`` with real processes; all of it is in tests/soak. Each killed engine
is followed by the next one to be killed, and finally by one that finishes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.rails.mock_book import MockBook
from tests.failure.load import LoadTown
from tests.support.histories import admission, payment_request
from tests.support.stores import LEASE_SECONDS

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.kill

TOP = Path(__file__).parents[2]
SCRIPTS = ("settle", "lost_request", "lost_answer", "reject", "undelivered", "late_settle")
OF_EACH = 2
DEATH_SECONDS = 40.0
END_SECONDS = 60.0
POLL_SECONDS = 0.05
FAR_FUTURE_MS = 10**15

REACHED = [
    (State.VALIDATING, Event.CLEARED),
    (State.LOCKED, Event.SETTLED),
    (State.LOCKED, Event.REJECTED),
    (State.LOCKED, Event.UNDELIVERED),
    (State.LOCKED, Event.NO_ANSWER),
    (State.IN_DOUBT, Event.NOT_FOUND),
    (State.IN_DOUBT, Event.SETTLED),
]
"""The events that the mock bank's scripts cause in one run."""

SAMPLE = [
    (State.VALIDATING, Event.CLEARED, "after"),
    (State.LOCKED, Event.SETTLED, "before"),
    (State.LOCKED, Event.SETTLED, "after"),
    (State.LOCKED, Event.REJECTED, "before"),
    (State.IN_DOUBT, Event.NOT_FOUND, "after"),
    (State.IN_DOUBT, Event.SETTLED, "before"),
]


async def leave_behind(cluster: LoadTown) -> dict[UUID, str]:
    """Store settlements as if an engine that is gone had left them; return their scripts by id."""
    engine_id = await cluster.stores.registry.join(LEASE_SECONDS)
    sides = {"from_bank": "AAAA", "to_bank": "BBBB", "amount": Money(100, "EUR")}
    payment_requests = [
        payment_request(metadata={"simulate": word}, **sides) for word in SCRIPTS * OF_EACH
    ]
    batch = [admission(each) for each in payment_requests]
    await cluster.stores.settlements.admit(batch, engine_id)
    await cluster.stores.registry.leave(engine_id)
    cluster.accepted |= {each.instruction.obligation_id: each.settlement_id for each in batch}
    return {each.settlement_id: each.instruction.metadata["simulate"] for each in batch}


async def start(cluster: LoadTown, book: Path, *words: str) -> asyncio.subprocess.Process:
    command = ["-m", "tests.support.killpoint", cluster.url, str(book), *words]
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=TOP, stdout=asyncio.subprocess.DEVNULL
    )


async def kill_at(cluster: LoadTown, book: Path, state: State, event: Event, when: str) -> None:
    """Start an engine that is killed at the transition."""
    process = await start(cluster, book, state.value, event.value, when, "1")
    try:
        async with asyncio.timeout(DEATH_SECONDS):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert code == -signal.SIGKILL, "it died of the row, and of nothing else"


async def finish(cluster: LoadTown, book: Path) -> None:
    """Let an engine bring everything to its end."""
    process = await start(cluster, book, "none", "none", "never", "1")
    try:
        async with asyncio.timeout(END_SECONDS):
            while True:
                found = await cluster.stores.settlements.load(list(cluster.accepted.values()))
                if all(each.is_ended for each in found.values()):
                    return
                assert process.returncode is None, "the engine ended by itself"
                await asyncio.sleep(POLL_SECONDS)
    finally:
        process.kill()
        await process.wait()


async def check(cluster: LoadTown, book: Path, scripts: dict[UUID, str]) -> None:
    """Check that each has its script's end, the bank one debit per completion, and the ledger is proved."""
    found = await cluster.stores.settlements.load(list(scripts))
    for settlement_id, word in scripts.items():
        wanted = State.ROLLED_BACK if word == "reject" else State.COMPLETED
        assert found[settlement_id].state is wanted, word
    bank = MockBook(book)
    bank.open()
    debits = Counter[Any]()
    for entry in bank.ledger(FAR_FUTURE_MS):
        debits[entry["settlement_id"]] += entry["times_debited"]
    bank.close()
    assert +debits == {str(key): 1 for key, word in scripts.items() if word != "reject"}
    proof = await cluster.stores.auditor.prove()
    assert list(proof.differences) == []
    assert (proof.open_settlements, proof.open_holds) == (0, 0)
    await cluster.check_stream()


async def test_engines_are_killed_at_commits_one_after_the_other(database_url, tmp_path):
    cluster = await LoadTown(database_url).open()
    try:
        scripts: dict[UUID, str] = {}
        book = tmp_path / "bank.sqlite"
        for place in SAMPLE:
            # New settlements each time: the earlier ones may have passed the transition already.
            scripts |= await leave_behind(cluster)
            await kill_at(cluster, book, *place)
        await finish(cluster, book)
        await check(cluster, book, scripts)
    finally:
        await cluster.close()
