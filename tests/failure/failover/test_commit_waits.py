"""A commit that the server stopped waiting for is visible but may be lost: it must not be relied on."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State, transition_for
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import Unavailable
from settlement_engine.ports import (
    AccountSpec,
    Answer,
    Existing,
    Funding,
    Result,
    TransitionCommand,
    Verdict,
)
from settlement_engine.store.database import DatabaseConnection, DatabaseSettings, Readers
from settlement_engine.store.settlements import PostgresSettlements
from tests.support.databases import Databases
from tests.support.failover import Pair, pair
from tests.support.stores import CountedIds, PostgresStores, WallClock
from tests.unit.engine.engine_world import SETTINGS, ScriptedRail, Tally, payment_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.store.accounts import PostgresAccounts

TIMEOUT_SECONDS = 30.0
CUTS = 5


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("pair"), template) as made:
        yield made


@pytest.fixture(scope="module")
def databases(servers: Pair) -> Databases:
    return Databases(servers.primary)


@pytest.fixture
async def url(databases: Databases) -> str:
    """A database of its own: settlements left open by another test would be an engine's first write here."""
    return await databases.migrated()


@pytest.fixture(autouse=True)
def with_standby(servers: Pair) -> Iterator[None]:
    yield
    servers.standby.start()


class Cutter:
    """Cancels every wait for the standby, as an impatient administrator might."""

    def __init__(self) -> None:
        self.cuts = 0

    @asynccontextmanager
    async def cutting(self, url: str) -> AsyncIterator[None]:
        connection = await asyncpg.connect(url)
        task = asyncio.get_running_loop().create_task(self._cut(connection))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await connection.close()

    async def _cut(self, connection: asyncpg.Connection) -> None:
        statement = (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        while True:
            self.cuts += len(await connection.fetch(statement))
            await asyncio.sleep(0.02)


async def until(truth: Callable[[], Any]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not truth():  # noqa: ASYNC110 - a predicate cannot be awaited
            await asyncio.sleep(0.01)


@asynccontextmanager
async def two_stores(url: str) -> AsyncIterator[tuple[PostgresSettlements, PostgresSettlements]]:
    """Yield two processes' stores; their connections are closed whatever happens in the test."""
    settings = DatabaseSettings(url=url)
    readers = Readers(settings)
    here, elsewhere = PostgresSettlements(settings, readers), PostgresSettlements(settings, readers)
    try:
        yield here, elsewhere
    finally:
        for each in (here, elsewhere, readers):
            await each.close()


async def test_an_unreplicated_admission_is_not_accepted(servers: Pair, url: str) -> None:
    async with two_stores(url) as (here, elsewhere):
        ids = CountedIds()
        for store in (here, elsewhere):
            await store.admit([(ids.new(), payment_request("before"))], 1)
        key = ids.new()
        admission = (key, payment_request("cut"))
        servers.standby.stop()
        cutter = Cutter()
        async with cutter.cutting(url):
            with pytest.raises(Unavailable, match="standby"):
                await here.admit([admission], 1)
        found = await here.load([key])
        assert found[key].state is State.VALIDATING, "it is there to be seen"
        loop = asyncio.get_running_loop()
        waiting = [loop.create_task(store.admit([admission], 1)) for store in (here, elsewhere)]
        await until(lambda: waiting_for_the_standby(servers) >= len(waiting))
        assert not any(task.done() for task in waiting)
        servers.standby.start()
        for task in waiting:
            [answer] = await task
            assert isinstance(answer, Existing)
            assert answer.verdict is Verdict.REPLAYED


async def test_an_unreplicated_end_is_not_reported(servers: Pair, url: str) -> None:
    """No row is left to be locked: repeating the transition alone would write nothing, and wait for nothing."""
    async with two_stores(url) as (store, _):
        key = uuid.uuid4()
        await store.admit([(key, payment_request("refused"))], 1)
        history = (await store.load([key]))[key]
        transition = transition_for(history.state, Event.REFUSED)
        refusal = Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)
        step = TransitionCommand(
            settlement=history, event=Event.REFUSED, transition=transition, refusal=refusal
        )
        await store.apply([step], 2)  # opens the line; another engine's number changes nothing
        servers.standby.stop()
        cutter = Cutter()
        async with cutter.cutting(url):
            with pytest.raises(Unavailable, match="standby"):
                await store.apply([step], 1)
        assert (await store.load([key]))[key].state is State.FAILED, "it is there to be seen"
        again = asyncio.get_running_loop().create_task(store.apply([step], 1))
        await until(lambda: again.done() or waiting_for_the_standby(servers))
        assert not again.done()
        servers.standby.start()
        [outcome] = await again
        assert outcome.result is Result.STALE, "that is our own first writing"


def waiting_for_the_standby(servers: Pair) -> int:
    done = servers.primary._client(
        "psql",
        "--no-psqlrc",
        "--tuples-only",
        "--command=SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    )
    return int(done.stdout)


async def open_banks(accounts: PostgresAccounts) -> None:
    """Open accounts of two banks, the first one with funds."""
    for bank in ("AAA", "BBB"):
        for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
            spec = AccountSpec(
                kind=kind,
                bank=bank,
                currency="EUR",
                account_number="",
                credit_limit=0,
                caller="test",
                idempotency_key="",
            )
            await accounts.open_account(spec)
    funds = Money(10_000, "EUR")
    await accounts.fund(
        Funding(
            bank="AAA",
            amount=funds,
            reference="",
            account_number="",
            caller="test",
            idempotency_key="funds",
        )
    )


class LateScreening:
    """Clears once it is allowed to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        self.asked += len(settlements)
        await self.may_answer.wait()
        report([Answer(settlement_id=each.id, event=Event.CLEARED) for each in settlements])


@asynccontextmanager
async def running(
    stores: PostgresStores, rail: ScriptedRail, screening: LateScreening
) -> AsyncIterator[SettlementService]:
    """Run an engine; it is stopped and its connections closed whatever happens in the test."""
    engine = SettlementService(
        EngineSettings(**SETTINGS | {"lease_seconds": 60.0, "screening_timeout_seconds": 60.0}),
        store=stores.settlements,
        accounts=stores.accounts,
        stream=stores.stream,
        registry=stores.registry,
        rails={"scripted": rail},
        screening=screening,
        inbound=stores.inbound,
        clock=WallClock(),
        ids=CountedIds(),
        chance=random.Random(1),
        meter=Tally(),
    )
    await open_banks(stores.accounts)
    await engine.join()
    task = asyncio.get_running_loop().create_task(engine.run())
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stores.close()


async def test_no_payment_is_sent_before_its_lock_is_replicated(servers: Pair, url: str) -> None:
    stores = PostgresStores(url)
    rail, screening = ScriptedRail(), LateScreening()
    rail.capabilities = replace(rail.capabilities, answer_timeout_seconds=TIMEOUT_SECONDS)
    async with running(stores, rail, screening) as engine:
        screening.may_answer.set()
        await engine.settle(
            payment_request("warm"), TIMEOUT_SECONDS
        )  # every account is there and known now
        screening.may_answer.clear()
        screening.asked = 0
        rail.asked.clear()
        [accepted] = await engine.submit([payment_request("lock")])
        assert not isinstance(accepted, Exception)
        key = accepted.id
        await until(lambda: screening.asked)
        servers.standby.stop()
        cutter = Cutter()
        async with cutter.cutting(url):
            screening.may_answer.set()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while (await stores.settlements.load([key]))[key].state is not State.LOCKED:  # noqa: ASYNC110 - nothing to await
                    await asyncio.sleep(0.01)
            seen_at = cutter.cuts
            await until(lambda: cutter.cuts >= seen_at + CUTS)
        assert rail.asked == [], "it is there to be seen, and nobody has acted on it"
        servers.standby.start()
        ended = await engine.wait(key, TIMEOUT_SECONDS)
        assert ended.state is State.COMPLETED
        assert [word for word, _, _ in rail.asked] == ["send"]
        assert await stores.differences() == []


@pytest.mark.parametrize(
    ("severity", "sqlstate", "is_cut"),
    [
        ("WARNING", "01000", True),
        ("WARNING", "57P01", True),
        ("NOTICE", "00000", False),
        ("WARNING", "25P01", False),
    ],
)
def test_an_unreplicated_commit_is_recognised_in_any_language(
    severity: str, sqlstate: str, is_cut: bool
) -> None:
    line = DatabaseConnection(DatabaseSettings(url=""))
    line._heard(
        None,
        SimpleNamespace(
            severity="WARNUNG",
            severity_en=severity,
            sqlstate=sqlstate,
            message="storniere Warten auf synchrone Replikation",
        ),
    )
    assert line._is_unreplicated is is_cut
