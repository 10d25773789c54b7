"""Present problems: by account, from the chain and the due times, and gone when they are cured."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from settlement_engine.domain.chain_problems import ProblemKind
from settlement_engine.domain.ledger import Account, AccountKind
from settlement_engine.domain.missing_statements import StatementDue, StatementDueTimes
from settlement_engine.domain.statement_import import AccountNames, ReceivedFile
from settlement_engine.engine import statement_problems
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.engine.statement_problems import PresentProblems
from tests.support.histories import spec
from tests.support.statement_files import FIRST_DAY, Day, chain, file_of
from tests.support.stores import MemoryStores

DUE = StatementDue(at=time(8), zone="UTC", weekdays=frozenset(range(1, 6)))
NOW = datetime(2026, 3, 6, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


@pytest.fixture
def stores() -> MemoryStores:
    return MemoryStores()


def problems_in(stores: MemoryStores, *named: AccountNames, is_due: bool = True) -> PresentProblems:
    times = StatementDueTimes(default=DUE if is_due else None)
    return PresentProblems(stores.statements, FixedClock(), times, named)


async def account_with(stores: MemoryStores, number: str, *days: Day) -> Account:
    wanted = spec(AccountKind.NOSTRO, "DEUTDEFF", account_number=number)
    account: Account = await stores.accounts.open_account(wanted)
    if days:
        file = ReceivedFile(name="day.sta", content=file_of(*days), who="ada")
        await StatementImport(stores.statements).import_file(file)
    return account


async def test_gaps_and_late_statements_are_listed_with_their_account(stores: MemoryStores) -> None:
    days = chain("111", 3)
    account = await account_with(stores, "111", days[0], days[2])
    page = await problems_in(stores).page(None, 0)
    found = [(each.account.id, each.problem.kind) for each in page.problems]
    assert found == [(account.id, ProblemKind.GAP), (account.id, ProblemKind.MISSING)]
    late = page.problems[1].problem
    assert (late.first_day, late.reason) == (
        FIRST_DAY + timedelta(days=3),
        "1 statement is late",
    )
    assert page.after_id == 0


async def test_numbers_that_jump_are_no_gap_where_the_bank_does_not_count(
    stores: MemoryStores,
) -> None:
    first, *_, last = chain("111", 5)
    jumped = Day(account="111", number=last.number, opening=first.end, day=last.day)
    await account_with(stores, "111", first, jumped)
    named = AccountNames(bank="DEUTDEFF", currency="EUR", number="111", numbers_count_by_one=False)
    [found] = (await problems_in(stores, is_due=False).page(None, 0)).problems
    assert found.problem.kind is ProblemKind.GAP
    assert (await problems_in(stores, named, is_due=False).page(None, 0)).problems == []


async def test_late_accounts_are_looked_at_in_parts(
    stores: MemoryStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("1111", "2222", "3333"):
        await account_with(stores, number, *chain(number, 1))
    monkeypatch.setattr(statement_problems, "ACCOUNTS_AT_ONCE", 2)
    late = await problems_in(stores).late()
    assert [each.account.number for each in late] == ["1111", "2222", "3333"]
    assert {each.days for each in late} == {3}


async def test_a_statement_of_another_account_has_no_place(stores: MemoryStores) -> None:
    account = await account_with(stores, "111", *chain("111", 2))
    problems = problems_in(stores)
    place = await problems.place(account.id, 2)
    assert place is not None
    assert (place.number, place.of, place.before_id) == (2, 2, 1)
    assert await problems.place(account.id, 99) is None
    assert await problems.place(account.id + 1, 2) is None
