"""A frozen owner and its successor, at every point of every state with an outgoing request.

The first engine is frozen at the point, its lease expires, and the second takes over and brings the settlement to
its end; then the first is resumed and does what it was about to do. Its writes are refused, it sends the same
bytes that the bank already has, and there is at most one debit.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from settlement_engine.domain.lifecycle import ENDS, QUESTION, State
from settlement_engine.store.database import WRITERS_PLAN, DatabaseConnection
from settlement_engine.store.queries import query
from tests.support.duel import (
    BEFORE_ANSWER,
    BEFORE_ASK,
    BEFORE_COMMIT,
    INSIDE,
    LONG_LEASE_SECONDS,
    LOOK_SECONDS,
    POINTS,
    QUESTIONS,
    TIMEOUT_SECONDS,
    Bank,
    DuelEngine,
    end_lease,
    open_banks,
    payment_request,
)
from tests.support.stores import MemoryStores, PostgresStores, patient_settings
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from settlement_engine.domain.settlement import Settlement
    from tests.support.databases import Databases
    from tests.support.duel import Freezer
    from tests.support.stores import Stores

IDLE_SECONDS = 0.3
HEARTBEAT_SECONDS = 0.02
DUELS = [
    (store, state, point)
    for store in ("memory", "postgres")
    for state in QUESTIONS
    for point in POINTS
    if (store, point) != ("memory", INSIDE)  # in memory a transaction is atomic
]

MEETINGS = [
    (store, state, point)
    for store in ("memory", "postgres")
    for state in QUESTIONS
    for point in (BEFORE_ASK, BEFORE_ANSWER)
]


class SlowLine(DatabaseConnection):
    """Writes in a transaction of two messages, so that the engine can be frozen inside it."""

    def __init__(self, url: str, freezer: Freezer) -> None:
        settings = patient_settings(url)
        brief = {"idle_in_transaction_session_timeout": str(int(IDLE_SECONDS * 1000))}
        super().__init__(settings, WRITERS_PLAN | brief, is_writing=True)
        self._freezer = freezer
        self.states: tuple[State, ...] = (State.VALIDATING,)

    async def fetchrow(self, name: str, *arguments: object) -> Any:
        """Write, freeze, commit."""
        async with self.session() as connection, connection.transaction():
            found = await connection.fetchrow(query(name), *arguments)
            await self._freezer.reach(INSIDE, *self.states)
            return found


def allow_freezing_inside(engine: DuelEngine, url: str) -> None:
    """Make it possible to freeze the engine inside its write transactions."""
    settlements: Any = engine.stores.settlements
    admitting, applying = SlowLine(url, engine.freezer), SlowLine(url, engine.freezer)
    settlements._admitting, settlements._applying = admitting, applying
    apply = settlements.apply

    async def apply_known(steps: Any, engine_id: int) -> Any:
        applying.states = tuple(step.transition.state for step in steps)
        return await apply(steps, engine_id)

    settlements.apply = apply_known


@pytest.fixture
async def sides(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Stores, Stores, str]]:
    """Yield the stores of two processes on one database."""
    if request.param == "memory":
        stores: Stores = MemoryStores()
        await open_banks(stores)
        yield stores, stores.beside(), ""
        return
    databases: Databases = request.getfixturevalue("databases")
    url = await databases.migrated()
    stores = PostgresStores(url)
    await open_banks(stores)
    yield stores, stores.beside(), url
    await stores.close()
    await databases.drop(url)


@asynccontextmanager
async def frozen_at(
    state: State, point: str, sides: tuple[Stores, Stores, str]
) -> AsyncIterator[tuple[DuelEngine, Bank, asyncio.Task[Settlement]]]:
    """Freeze an engine at the point in the state; yield it, the bank, and the caller's task."""
    stores, _, url = sides
    bank = Bank()
    bank.is_silent = state is State.IN_DOUBT
    bank.acknowledges = state in (State.SENT, State.RECALLING)
    bank.takes_its_time = state is State.RECALLING
    # It does not detect that it was declared gone, and continues as before.
    engine = DuelEngine(stores, bank, heartbeat_seconds=LONG_LEASE_SECONDS)
    if point == INSIDE:
        allow_freezing_inside(engine, url)
    async with engine.running():
        engine.freezer.arm(state, point)
        caller = asyncio.get_running_loop().create_task(walk(engine, state))
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await engine.freezer.is_frozen.wait()
            yield engine, bank, caller
        finally:
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)


async def walk(engine: DuelEngine, state: State) -> Settlement:
    """Call the engine so that its settlement reaches the state."""
    [accepted] = await engine.service.submit([payment_request()])
    assert not isinstance(accepted, Exception)
    settlement = accepted
    if state is State.RECALLING:
        while await state_of(engine, settlement) is not State.SENT:  # noqa: ASYNC110 - nothing to await
            await asyncio.sleep(LOOK_SECONDS)
        await engine.service.cancel(settlement.id)
    return settlement


async def state_of(engine: DuelEngine, settlement: Settlement) -> State:
    """Return the state of a settlement in the store."""
    found: Settlement = (await engine.store.load([settlement.id]))[settlement.id]
    return found.state


@pytest.mark.parametrize(("sides", "state", "point"), DUELS, indirect=["sides"])
async def test_a_zombie_changes_nothing(
    state: State, point: str, sides: tuple[Stores, Stores, str]
) -> None:
    """Frozen at the point, superseded, resumed."""
    async with frozen_at(state, point, sides) as (zombie, bank, caller):
        is_unwritten = state is State.VALIDATING and point in (BEFORE_COMMIT, INSIDE)
        is_recalled = state is State.RECALLING and point in (BEFORE_ASK, BEFORE_ANSWER)
        bank.is_silent, bank.takes_its_time = False, is_recalled
        living = DuelEngine(sides[1], bank, heartbeat_seconds=HEARTBEAT_SECONDS)
        async with living.running():
            await end_lease(sides[1], zombie.engine_id)
            ended = await overtake(living, is_unwritten=is_unwritten)
            received = bank.received.total()
            zombie.freezer.thaw()
            if is_unwritten:
                assert (await caller).id == ended.id, "the same key is the same settlement"
            else:
                # An enquiry's answer may cross the recall: then the settlement was parked before the freeze.
                may_rest = state is State.RECALLING
                carried = zombie.service._mailbox.is_carried
                await until(
                    lambda: zombie.store.stale_after_thaw or (may_rest and not carried(ended.id))
                )
            await until(lambda: zombie.service._mailbox.is_idle)
            after = await living.store.load([ended.id])
    assert zombie.store.applied_after_thaw == []
    assert after[ended.id] == ended
    assert all(len(payloads) == 1 for payloads in bank.payloads.values())
    is_sent_late = (state, point) == (State.LOCKED, BEFORE_ASK)
    assert bank.received.total() - received == int(is_sent_late)
    assert bank.debits.total() == int(ended.state is State.COMPLETED)
    assert ended.state is (State.ROLLED_BACK if is_recalled else State.COMPLETED)
    assert await sides[1].differences() == []


@pytest.mark.parametrize(("sides", "state", "point"), MEETINGS, indirect=["sides"])
async def test_a_zombie_changes_nothing_while_its_successor_is_at_work(
    state: State, point: str, sides: tuple[Stores, Stores, str]
) -> None:
    """State and sequence are what the frozen engine expects: only owner and fencing token reveal it."""
    async with frozen_at(state, point, sides) as (zombie, bank, _):
        bank.is_silent = False
        living = DuelEngine(sides[1], bank, heartbeat_seconds=HEARTBEAT_SECONDS)
        is_locked = state is State.LOCKED  # then the event is NO_ANSWER, and no enquiry is sent
        living.freezer.arm(
            *(State.IN_DOUBT, BEFORE_COMMIT) if is_locked else (state, BEFORE_ANSWER)
        )
        async with living.running():
            await end_lease(sides[1], zombie.engine_id)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await living.freezer.is_frozen.wait()
            found = await sides[0].settlements.find_by_obligation(payment_request().obligation_id)
            assert found is not None
            zombie.freezer.thaw()
            await until(lambda: zombie.store.stale_after_thaw)
            await until(lambda: zombie.service._mailbox.is_idle)
            kept = (await sides[0].settlements.load([found.id]))[found.id]
            assert (kept.state, kept.seq, kept.fencing_token) == (
                found.state,
                found.seq,
                found.fencing_token,
            )
            living.freezer.thaw()
            ended = await overtake(living, is_unwritten=False)
    assert zombie.store.applied_after_thaw == []
    assert all(len(payloads) == 1 for payloads in bank.payloads.values())
    assert bank.debits.total() == int(ended.state is State.COMPLETED)
    assert ended.state is (State.ROLLED_BACK if state is State.RECALLING else State.COMPLETED)
    assert await sides[1].differences() == []


async def overtake(living: DuelEngine, *, is_unwritten: bool) -> Settlement:
    """Let the successor end the settlement; what was not written is submitted again."""
    if is_unwritten:
        ended = await living.service.settle(payment_request(), TIMEOUT_SECONDS)
    else:
        found = await living.store.find_by_obligation(payment_request().obligation_id)
        ended = await living.service.wait(found.id, TIMEOUT_SECONDS)
    assert ended.state in ENDS, f"it has not ended: {ended.state}"
    kept: Settlement = (await living.store.load([ended.id]))[ended.id]
    return kept


def test_every_state_with_an_outgoing_request_is_tested() -> None:
    """The list equals the state machine's."""
    assert dict(QUESTION) == QUESTIONS
