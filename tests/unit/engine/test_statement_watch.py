"""Late statements: told once, counted by bank, asked for with pauses, and over when they have come."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from settlement_engine.domain.ledger import Account, AccountKind
from settlement_engine.domain.missing_statements import StatementDue, StatementDueTimes
from settlement_engine.domain.statement_import import AccountAtBank, ReceivedFile
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.engine.statement_problems import PresentProblems
from settlement_engine.engine.statement_watch import ASK_AGAIN_AFTER, StatementWatch
from settlement_engine.errors import Unavailable
from tests.support.histories import spec
from tests.support.statement_files import FIRST_DAY, chain, file_of
from tests.support.stores import MemoryStores

DUE = StatementDue(at=time(8), zone="UTC", weekdays=frozenset(range(1, 6)))


class World:
    """An account with the statement of Monday; the clock is the test's."""

    def __init__(self) -> None:
        self.stores = MemoryStores()
        self.time = datetime(2026, 3, 3, 7, tzinfo=UTC)
        self.shown: dict[str, int] = {}
        self.asked: list[tuple[int, date]] = []
        self.is_down = False
        problems = PresentProblems(self.stores.statements, self, StatementDueTimes(default=DUE))
        fetcher: Any = self
        self.watch = StatementWatch(problems, fetcher, self, self.show)

    def now(self) -> datetime:
        return self.time

    def show(self, counts: Any) -> None:
        self.shown = dict(counts)

    async def fetch_account(self, account: AccountAtBank, day: date, who: str) -> list[Any]:
        assert who == "engine"
        self.asked.append((account.id, day))
        if self.is_down:
            raise Unavailable("the database is down")
        return []

    async def opened(self, number: str, bank: str = "DEUTDEFF") -> Account:
        wanted = spec(AccountKind.NOSTRO, bank, account_number=number)
        account: Account = await self.stores.accounts.open_account(wanted)
        return account

    async def received(self, number: str, *places: int) -> None:
        days = chain(number, 5)
        content = file_of(*(days[place] for place in places))
        file = ReceivedFile(name="day.sta", content=content, who="ada")
        await StatementImport(self.stores.statements).import_file(file)

    async def look(self) -> list[str]:
        with capture_logs() as lines:
            await self.watch.look()
        return [line["event"] for line in lines if line["event"] != "statement_asked_for"]


@pytest.fixture
def world() -> World:
    return World()


TUESDAY, WEDNESDAY = FIRST_DAY + timedelta(days=1), FIRST_DAY + timedelta(days=2)


async def test_a_late_statement_is_told_once_and_over_when_it_has_come(world: World) -> None:
    await world.opened("111")
    await world.received("111", 0)
    assert await world.look() == []
    world.time = datetime(2026, 3, 4, 8, tzinfo=UTC)  # Tuesday's is due
    assert await world.look() == ["statement_missing"]
    assert world.shown == {"DEUTDEFF": 1}
    assert await world.look() == []
    await world.received("111", 1)
    assert await world.look() == ["statement_no_longer_missing"]
    assert world.shown == {}


async def test_the_bank_is_asked_for_the_first_missing_day_with_pauses(world: World) -> None:
    account = await world.opened("111")
    await world.received("111", 0)
    world.time = datetime(2026, 3, 5, 8, tzinfo=UTC)
    await world.look()
    await world.look()
    assert world.asked == [(account.id, TUESDAY)]
    world.time += ASK_AGAIN_AFTER
    await world.look()
    assert world.asked == [(account.id, TUESDAY)] * 2
    await world.received("111", 1)
    await world.look()
    assert world.asked[2:] == [(account.id, WEDNESDAY)]


async def test_an_account_without_any_statement_is_not_expected(world: World) -> None:
    await world.opened("111")
    world.time = datetime(2026, 3, 9, 8, tzinfo=UTC)
    assert await world.look() == []


async def test_a_bank_that_cannot_be_asked_does_not_stop_the_others(world: World) -> None:
    world.is_down = True
    for number, bank in (("111", "DEUTDEFF"), ("222", "CHASUS33")):
        await world.opened(number, bank)
        await world.received(number, 0)
    world.time = datetime(2026, 3, 4, 8, tzinfo=UTC)
    events = await world.look()
    assert events.count("statement_not_asked_for") == 2
    assert world.shown == {"DEUTDEFF": 1, "CHASUS33": 1}


async def test_without_a_due_time_nothing_is_late(world: World) -> None:
    await world.opened("111")
    await world.received("111", 0)
    world.time = datetime(2027, 1, 1, tzinfo=UTC)
    problems = PresentProblems(world.stores.statements, world, StatementDueTimes())
    assert await problems.late() == []
    assert (await problems.page(None, 0)).problems == []
