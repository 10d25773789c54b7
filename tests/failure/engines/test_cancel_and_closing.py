"""Two whole engines on PostgreSQL: one closes files over ACH while the other cancels their payments. Never both."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import Money
from settlement_engine.domain.preconditions import RefusalCode
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import WrongState
from settlement_engine.ports import AccountSpec, Funding
from settlement_engine.rails.ach.open_file import Stage
from tests.support.achrails import ach_rail, connection, profile
from tests.support.duel import DuelScreening, Freezer
from tests.support.stores import CountedIds, PostgresStores, WallClock
from tests.support.waiting import until
from tests.unit.engine.engine_world import SETTINGS, Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from uuid import UUID

    from settlement_engine.rails.ach.rail import BankFiles
    from tests.support.databases import Databases
    from tests.support.stores import Stores

FROM, TO = "DEUTDEFF", "CHASUS33"
PER_FILE = 10
FILES = 20
"""Two hundred races; two parties may have 36 files a day."""

APART_SECONDS_MAX = 0.06
"""A cancel begins so long after the closing at most: about as long as that takes."""


class FilesEngine:
    """An engine with the rail ach, whose files the test closes."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self.stores = stores
        self._rail = ach_rail(
            WallClock(),
            cast("Any", stores.rail_files),
            connection(
                folder, profile=profile(acknowledged_seconds=600), close_after_seconds=600.0
            ),
        )
        self.files.connection.transport.start()
        rails: Any = {"ach": self._rail}
        self.service = SettlementService(
            EngineSettings(**(SETTINGS | {"lease_seconds": 30.0, "heartbeat_seconds": 1.0})),
            store=stores.settlements,
            accounts=stores.accounts,
            stream=stores.stream,
            registry=stores.registry,
            rails=rails,
            screening=DuelScreening(Freezer()),
            inbound=stores.inbound,
            clock=WallClock(),
            ids=CountedIds(),
            chance=random.Random(1),
            meter=Tally(),
        )

    @property
    def files(self) -> BankFiles:
        return self._rail._files["bank"]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.service.join()
        task = asyncio.get_running_loop().create_task(self.service.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close_all(self) -> None:
        """Close files until nothing waits in the open one; a file with a cancelled payment is chosen again."""
        open_file = self.files.open
        while open_file.in_stage(Stage.OPEN) or open_file.in_stage(Stage.CLOSING):
            assert await self.files.closer.close() == 0

    async def has_all(self, number: int) -> None:
        """Wait until so many payments are in the open file."""
        await until(lambda: self.files.open.open_count == number)


async def open_banks(stores: Stores) -> None:
    for kind, bank in ((AccountKind.NOSTRO, FROM), (AccountKind.VOSTRO, TO)):
        given = {"account_number": "", "credit_limit": 0, "caller": "test", "idempotency_key": ""}
        await stores.accounts.open_account(
            AccountSpec(kind=kind, bank=bank, currency="USD", **given)  # type: ignore[arg-type]
        )
    await stores.accounts.fund(
        Funding(
            bank=FROM,
            amount=Money(1_000_000, "USD"),
            reference="",
            account_number="",
            caller="test",
            idempotency_key="funds",
        )
    )


def payment(key: str) -> Instruction:
    return Instruction(
        caller="test",
        idempotency_key=key,
        obligation_id=key,
        from_bank=FROM,
        to_bank=TO,
        amount=Money(100, "USD"),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
    )


async def submitted(engine: FilesEngine, number: int) -> list[UUID]:
    found = await engine.service.submit([payment(f"{number}-{each}") for each in range(PER_FILE)])
    return [each.id for each in found if isinstance(each, Settlement)]


async def cancelled(engine: FilesEngine, settlement_id: UUID, after_seconds: float) -> bool:
    """Cancel, and say whether the caller is told that it is."""
    loop = asyncio.get_running_loop()
    later: asyncio.Future[None] = loop.create_future()
    loop.call_later(after_seconds, later.set_result, None)
    await later
    try:
        ended = await engine.service.cancel(settlement_id)
    except WrongState:
        return False
    assert ended.refusal_code == RefusalCode.CANCELLED_BY_CALLER
    return True


async def test_a_payment_is_cancelled_or_in_a_file_and_never_both(
    databases: Databases, tmp_path: Path
) -> None:
    url = await databases.migrated()
    stores = PostgresStores(url)
    await open_banks(stores)
    closing, cancelling = (FilesEngine(each, tmp_path) for each in (stores, stores.beside()))
    chance, ends = random.Random(3), Counter[str]()
    async with closing.running(), cancelling.running():
        for number in range(FILES):
            ids = await submitted(closing, number)
            assert len(ids) == PER_FILE
            await closing.has_all(PER_FILE)
            waits = [chance.uniform(0.0, APART_SECONDS_MAX) for _ in ids]
            told, _ = await asyncio.gather(
                asyncio.gather(*map(cancelled, [cancelling] * PER_FILE, ids, waits)),
                closing.close_all(),
            )
            filed = await stores.rail_files.filed([(each, 1) for each in ids])
            found = await stores.settlements.load(ids)
            for each, was_cancelled in zip(ids, told, strict=True):
                is_filed = (each, 1) in filed
                assert is_filed is not was_cancelled
                state = State.LOCKED if is_filed else State.ROLLED_BACK
                assert found[each].state is state
                ends[state.value] += 1
    assert ends.total() == FILES * PER_FILE
    assert set(ends) == {"locked", "rolled_back"}, "each came first at times"
    assert await stores.differences() == []
    await stores.close()
    await databases.drop(url)
