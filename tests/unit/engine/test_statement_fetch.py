"""Statements that are asked for: every account has an outcome, and what comes is imported like any other file."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import pytest

from settlement_engine.domain.ledger import Account, AccountKind
from settlement_engine.domain.statement_import import AccountNames
from settlement_engine.engine import statement_fetch
from settlement_engine.engine.statement_fetch import StatementFetch
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import WrongState
from settlement_engine.ports import StatementAnswer, StatementFilter, StatementQuestion
from settlement_engine.ports.statements import FetchOutcome
from tests.support.histories import spec
from tests.support.statement_files import Day, file_of
from tests.support.stores import MemoryStores

DAY = date(2026, 3, 2)


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 3, 3, 12, tzinfo=UTC)


class Source:
    """A rail that gives statements of some banks; its answers are made by the test."""

    def __init__(self, *banks: str) -> None:
        self.banks = banks
        self.asked: list[StatementQuestion] = []
        self.answers: dict[str, StatementAnswer] = {}
        self.at_once = self.at_once_max = 0

    def gives_statements(self, bank: str, currency: str) -> bool:
        return bank in self.banks and currency == "EUR"

    async def statement(self, question: StatementQuestion) -> StatementAnswer:
        self.asked.append(question)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        day = Day(account=question.account_number, number=1, opening=100, day=question.day)
        return self.answers.get(question.bank, StatementAnswer(content=file_of(day)))


class Sender:
    """A rail that gives no statements."""


@pytest.fixture
def stores() -> MemoryStores:
    return MemoryStores()


async def opened(stores: MemoryStores, bank: str, number: str = "") -> int:
    wanted = spec(AccountKind.NOSTRO, bank, account_number=number)
    account: Account = await stores.accounts.open_account(wanted)
    return account.id


def fetch_over(stores: MemoryStores, *named: AccountNames, **rails: Any) -> StatementFetch:
    store = stores.statements
    importer = StatementImport(store, named)
    both: dict[str, Any] = {"mock": Sender(), **rails}
    return StatementFetch(store, importer, both, FixedClock(), named)


async def test_a_statement_is_asked_for_and_imported(stores: MemoryStores) -> None:
    account_id = await opened(stores, "DEUTDEFF", "111")
    source = Source("DEUTDEFF")
    [found] = await fetch_over(stores, swift=source).fetch("", DAY, "ada")
    question = StatementQuestion(bank="DEUTDEFF", account_number="111", currency="EUR", day=DAY)
    assert source.asked == [question]
    assert (found.outcome, found.rail, found.account_id) == (
        FetchOutcome.FETCHED,
        "swift",
        account_id,
    )
    assert [each.outcome for each in found.statements] == ["IMPORTED"]
    [listed] = await stores.statements.statements(StatementFilter(limit=10))
    assert (listed.file_name, listed.who) == ("swift-DEUTDEFF-EUR-2026-03-02.xml", "ada")


async def test_asked_twice_it_is_imported_once(stores: MemoryStores) -> None:
    await opened(stores, "DEUTDEFF", "111")
    fetch = fetch_over(stores, swift=Source("DEUTDEFF"))
    await fetch.fetch("", DAY, "ada")
    [found] = await fetch.fetch("", DAY, "ada")
    assert [each.outcome for each in found.statements] == ["ALREADY_IMPORTED"]


async def test_without_a_day_it_is_yesterday(stores: MemoryStores) -> None:
    await opened(stores, "DEUTDEFF", "111")
    source = Source("DEUTDEFF")
    await fetch_over(stores, swift=source).fetch("", None, "ada")
    assert source.asked[0].day == DAY


async def test_a_bank_that_fails_does_not_stop_the_others(stores: MemoryStores) -> None:
    for bank in ("DEUTDEFF", "CHASUS33", "BNPAFRPP", "HSBCGB2L"):
        await opened(stores, bank)
    source = Source("DEUTDEFF", "CHASUS33", "BNPAFRPP")
    source.answers["DEUTDEFF"] = StatementAnswer(reason="refused", was_reached=False)
    source.answers["CHASUS33"] = StatementAnswer(reason="no such day")
    found = await fetch_over(stores, swift=source).fetch("", DAY, "ada")
    assert [(each.bank, each.outcome, each.reason) for each in found] == [
        ("DEUTDEFF", FetchOutcome.NOT_REACHED, "refused"),
        ("CHASUS33", FetchOutcome.NOT_GIVEN, "no such day"),
        ("BNPAFRPP", FetchOutcome.FETCHED, ""),
        (
            "HSBCGB2L",
            FetchOutcome.NOT_OFFERED,
            "no rail over which the bank gives statements reaches it",
        ),
    ]


async def test_only_one_bank_is_asked_if_it_is_named(stores: MemoryStores) -> None:
    await opened(stores, "DEUTDEFF")
    await opened(stores, "CHASUS33")
    source = Source("DEUTDEFF", "CHASUS33")
    [found] = await fetch_over(stores, swift=source).fetch("deutdeffxxx", DAY, "ada")
    assert found.bank == "DEUTDEFF"


async def test_a_settlement_account_is_asked_for_at_its_agent(stores: MemoryStores) -> None:
    [agent] = await stores.accounts.ensure_controls([(AccountKind.SETTLEMENT, "swift", "EUR")])
    named = AccountNames(
        bank="swift", currency="", number="control", aliases=("4711",), servicer="MARKDEFF"
    )
    source = Source("MARKDEFF")
    [found] = await fetch_over(stores, named, swift=source).fetch("MARKDEFF", DAY, "ada")
    assert (found.account_id, found.account_number) == (agent.id, "4711")
    assert [(each.outcome, each.account_id) for each in found.statements] == [
        ("IMPORTED", agent.id)
    ]


async def test_few_banks_are_asked_at_once_and_not_too_many_accounts(
    stores: MemoryStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        await opened(stores, "DEUTDEFF", str(number))
    source = Source("DEUTDEFF")
    fetch = fetch_over(stores, swift=source)
    assert len(await fetch.fetch("", DAY, "ada")) == 9
    assert source.at_once_max == statement_fetch.ASKED_AT_ONCE_MAX
    monkeypatch.setattr(statement_fetch, "ACCOUNTS_MAX", 8)
    with pytest.raises(WrongState, match="more than 8"):
        await fetch.fetch("", DAY, "ada")
