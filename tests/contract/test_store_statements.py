"""The import of statements: outcomes, what is kept, and that a second import changes nothing."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.bank_directory import ListedBank, StandingInstruction, folded
from settlement_engine.domain.continuity import ImportOutcome, StatementOutcome
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.payment import PaymentAccount
from settlement_engine.domain.statement_chain import chain_of
from settlement_engine.domain.statement_import import AccountNames, ReceivedFile, found_in
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.errors import InvalidInstruction
from settlement_engine.messages.statements import read_statements
from settlement_engine.ports import BankPut, StatementFilter
from tests.support.histories import spec
from tests.support.statement_files import FIRST_DAY, Day, chain, file_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.statement_chain import StatementHead
    from settlement_engine.domain.statement_import import ImportedStatement
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

IMPORTED, GAP = StatementOutcome.IMPORTED, StatementOutcome.GAP
ALREADY, REISSUED = StatementOutcome.ALREADY_IMPORTED, StatementOutcome.REISSUED
UNKNOWN, WRONG_CURRENCY = StatementOutcome.UNKNOWN_ACCOUNT, StatementOutcome.WRONG_CURRENCY
_numbers = itertools.count(1)


async def opened(stores: Stores, **changes: str) -> Account:
    """Open a nostro with a number of its own."""
    number = f"0001{next(_numbers):08d}"
    fields = {"account_number": number, **changes}
    bank = fields.pop("bank", f"STMT{number[-5:]}")
    return await stores.accounts.open_account(spec(AccountKind.NOSTRO, bank, **fields))


async def take(stores: Stores, content: bytes, name: str = "day.sta") -> list[ImportedStatement]:
    """Import a file."""
    file = ReceivedFile(name=name, content=content, who="ada")
    return await StatementImport(stores.statements).import_file(file)


async def outcomes(stores: Stores, content: bytes) -> list[str]:
    return [each.outcome for each in await take(stores, content)]


async def listed(stores: Stores, account: Account, **wanted: bool) -> list[ImportedStatement]:
    return await stores.statements.statements(
        StatementFilter(limit=1_000, account_id=account.id, **wanted)
    )


async def heads(stores: Stores, account: Account, content: bytes) -> Sequence[StatementHead]:
    """Return the kept statements that a statement of the file would be judged by."""
    seen: list[StatementHead] = []

    def look(kept: Sequence[StatementHead]) -> ImportOutcome:
        seen.extend(kept)
        return ImportOutcome(ALREADY, "only a look", str(account.id))

    said = read_statements(content).statements[0]
    found = found_in(ReceivedFile(name="x", content=content, who="ada"), said)
    await stores.statements.import_found(found, account.id, look)
    return seen


async def test_a_file_is_kept_with_its_statements_and_entries(stores):
    account = await opened(stores)
    content = file_of(*chain(account.account_number, 3))
    results = await take(stores, content, "march.sta")
    assert [each.outcome for each in results] == [IMPORTED] * 3
    first = results[0]
    assert (first.account_id, first.identifier) == (account.id, account.account_number)
    assert (first.opening_minor, first.closing_minor, first.day) == (100_000, 99_999, FIRST_DAY)
    read = await stores.statements.statement(first.id, entries_max=10)
    assert read is not None
    assert read.statement.file_name == "march.sta"
    assert read.statement.who == "ada"
    expected = read_statements(content).statements[0]
    assert read.entries == expected.entries
    second = await stores.statements.statement(first.id, after_entry=1, entries_max=10)
    assert second is not None
    assert second.entries == expected.entries[1:]
    part = await stores.statements.file_part(first.file_sha256, 0, 10_000)
    assert part is not None
    assert (part.content, part.file_bytes) == (content, len(content))
    rest = await stores.statements.file_part(first.file_sha256, 7, 5)
    assert rest is not None
    assert rest.content == content[7:12]
    assert await stores.statements.file_part(b"x" * 32, 0, 10) is None
    assert await stores.statements.statement(10**9) is None


async def test_a_second_import_changes_nothing(stores):
    account = await opened(stores)
    days = chain(account.account_number, 3)
    await take(stores, file_of(*days))
    before = await listed(stores, account)
    assert await outcomes(stores, file_of(*days)) == [ALREADY] * 3
    assert await outcomes(stores, file_of(*reversed(days))) == [ALREADY] * 3
    assert await listed(stores, account) == before


async def test_what_is_wrong_has_an_outcome_and_is_listed(stores):
    account = await opened(stores)
    number = account.account_number
    days = chain(number, 5)
    assert await outcomes(stores, file_of(days[0])) == [IMPORTED]
    assert await outcomes(stores, file_of(days[2])) == [GAP]
    assert await outcomes(stores, file_of(days[1])) == [StatementOutcome.OUT_OF_ORDER]
    corrected = replace(days[2], amounts=(*days[2].amounts, 500))
    assert await outcomes(stores, file_of(corrected)) == [REISSUED]
    wrong = replace(days[4], closing=1)
    assert await outcomes(stores, file_of(wrong)) == [StatementOutcome.UNBALANCED]
    other = replace(days[3], currency="USD")
    assert await outcomes(stores, file_of(other)) == [WRONG_CURRENCY]
    problems = await listed(stores, account, has_problem=True)
    assert [each.outcome for each in problems] == ["UNBALANCED", "REISSUED", "OUT_OF_ORDER", "GAP"]
    assert [each.outcome for each in await listed(stores, account)][-1] == IMPORTED
    older = await stores.statements.statements(
        StatementFilter(limit=1, account_id=account.id, before_id=problems[0].id)
    )
    assert [each.id for each in older] == [problems[1].id]


async def test_the_same_number_a_year_later_is_another_statement(stores):
    account = await opened(stores)
    [day] = chain(account.account_number, 1)
    later = replace(day, day=day.day + timedelta(days=365), opening=day.end)
    assert await outcomes(stores, file_of(day, later)) == [IMPORTED, IMPORTED]


async def test_what_is_not_kept_is_told_once_until_it_is_kept(stores):
    number = f"0002{next(_numbers):08d}"
    content = (
        file_of(*chain(number, 1)) + b":20:BROKEN\r\n:25:x\r\n:28C:1/1\r\n:60F:nonsense\r\n-\r\n"
    )

    async def open_problems() -> list[str]:
        wanted = StatementFilter(limit=1_000, has_problem=True)
        sha256 = ReceivedFile(name="x", content=content, who="ada").sha256
        found = await stores.statements.statements(wanted)
        return sorted(each.outcome for each in found if each.file_sha256 == sha256)

    told = ["UNKNOWN_ACCOUNT", "UNREADABLE"]
    for _ in range(2):
        assert await outcomes(stores, content) == told
        assert await open_problems() == told
    await opened(stores, account_number=number)
    assert await outcomes(stores, content) == ["IMPORTED", "UNREADABLE"]
    assert await open_problems() == ["UNREADABLE"]


async def test_a_file_without_a_statement_is_one_unreadable_line(stores):
    assert await outcomes(stores, b"nothing") == ["UNREADABLE"]
    assert await outcomes(stores, b"") == ["UNREADABLE"]


async def test_a_character_that_the_database_does_not_have_stops_nothing(stores):
    account = await opened(stores)
    content = file_of(*chain(account.account_number, 1)).replace(
        b"payment 1", b"pay\x00ment \\u0000"
    )
    [result] = await take(stores, content)
    assert result.outcome in (IMPORTED, "UNREADABLE")
    assert await outcomes(stores, content) in (["ALREADY_IMPORTED"], ["UNREADABLE"])


async def test_the_bank_directory_names_our_account(stores):
    """By the bank's BIC and the IBAN that stands there, where our own books have another number."""
    number = next(_numbers)
    code, bic, iban = f"LOCAL{number:05d}", f"HOUS{'DE'}F{number % 10}", f"DE89{number:018d}"
    account = await opened(stores, bank=code)
    ours = StandingInstruction(currency="EUR", our_account=PaymentAccount(iban=iban))
    bank = folded(ListedBank(code=code, name="Local bank", bic=bic, instructions=(ours,)))
    await stores.banks.put_bank(BankPut(bank=bank, who="ada"))
    [day] = chain(iban, 1)
    [result] = await take(stores, file_of(day))
    assert (result.outcome, result.account_id) == (IMPORTED, account.id)
    elsewhere = replace(day, account=f"OTHRDEFF/{iban}", id="OTHER")
    assert await outcomes(stores, file_of(elsewhere)) == [UNKNOWN]
    await opened(stores, bank=code)  # now the number could be either's
    assert await outcomes(stores, file_of(replace(day, id="NEXT"))) == [UNKNOWN]


async def test_two_banks_may_have_the_same_number(stores):
    number = f"0003{next(_numbers):08d}"
    first = await opened(stores, account_number=number, bank="AAAADEFF")
    second = await opened(stores, account_number=number, bank="BBBBDEFF")
    days = [
        Day(account=f"{bank}/{number}", number=1, opening=0) for bank in ("AAAADEFF", "BBBBDEFF")
    ]
    results = await take(stores, file_of(*days))
    assert [each.account_id for each in results] == [first.id, second.id]
    assert await outcomes(stores, file_of(Day(account=number, number=1, opening=0))) == [UNKNOWN]


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_files_ends_in_the_same_books(stores, seed):
    """With a gap, a correction, an unbalanced statement and one that came twice."""
    chance = random.Random(seed)
    books = []
    for is_shuffled in (False, True):
        account = await opened(stores)
        days = chain(account.account_number, 7)
        corrected = replace(days[5], amounts=(*days[5].amounts, 900), id="AGAIN")
        wrong = replace(days[6], closing=1, number=99)
        files = [file_of(each) for each in (*days[:3], *days[4:], corrected, wrong, days[0])]
        if is_shuffled:
            chance.shuffle(files)
        for file in files:
            await take(stores, file)
        kept = await heads(stores, account, files[0])
        chain_now = chain_of(kept)
        by_hash = {each.content_hash: (each.id, each.booked_minor) for each in kept}
        entries = []
        for each in await listed(stores, account):
            read = await stores.statements.statement(each.id, entries_max=100)
            assert read is not None
            entries.append(read.entries)
        books.append(
            (
                sorted(by_hash.values()),
                [[by_hash[page.content_hash] for page in one.pages] for one in chain_now.row],
                [(by_hash[gap.before], by_hash[gap.after]) for gap in chain_now.gaps],
                sorted(by_hash[each] for each in chain_now.unbalanced),
                sorted(by_hash[each] for each in chain_now.contested),
                sorted(entries, key=repr),
            )
        )
    assert books[0] == books[1]
    assert books[0][2], "a gap stays a gap"


async def test_two_engines_that_import_the_same_keep_it_once(stores):
    account = await opened(stores)
    content = file_of(*chain(account.account_number, 20))
    found = await asyncio.gather(take(stores, content), take(stores.beside(), content))
    pairs = zip(*found, strict=True)
    for pair in pairs:
        assert sorted(each.outcome for each in pair) == [ALREADY, IMPORTED]
    assert len(await listed(stores, account)) == 20


async def test_a_csv_is_read_with_its_mapping(stores):
    account = await opened(stores)
    mapping = f"""
[columns]
booking_date = "Day"
amount = "Amount"
balance = "Balance"

[account]
identifier = "{account.account_number}"
currency = "EUR"
"""
    content = b"Day,Amount,Balance\n2026-03-02,1.00,11.00\n2026-03-02,-2.50,8.50\n"
    importer = StatementImport(stores.statements)
    file = ReceivedFile(name="a.csv", content=content, who="ada", csv_mapping=mapping)
    [result] = await importer.import_file(file)
    assert (result.outcome, result.opening_minor, result.closing_minor) == (IMPORTED, 1_000, 850)
    assert [each.outcome for each in await importer.import_file(file)] == [ALREADY]
    with pytest.raises(InvalidInstruction, match="csv_mapping"):
        await importer.import_file(replace(file, csv_mapping="no mapping"))


async def test_a_configured_alias_names_the_account(stores):
    account = await opened(stores, bank="DEUTDEFF")
    alias = f"50070010/{account.account_number}EUR"
    [first, *_, last] = chain(alias, 5)
    file = ReceivedFile(name="day.sta", content=file_of(first), who="ada")
    assert await outcomes(stores, file.content) == [UNKNOWN]
    named = AccountNames(
        bank="DEUTDEFF",
        currency="EUR",
        number=account.account_number,
        aliases=(alias,),
        numbers_count_by_one=False,
    )
    importer = StatementImport(stores.statements, [named])
    [result] = await importer.import_file(file)
    assert (result.outcome, result.account_id) == (IMPORTED, account.id)
    jump = replace(last, opening=first.end)
    [result] = await importer.import_file(replace(file, content=file_of(jump)))
    assert result.outcome == IMPORTED, "only balances show what is missing"


async def test_our_accounts_at_banks_are_listed_with_those_at_agents(stores):
    account = await opened(stores, bank="FETCDEFF")
    closed = await opened(stores, bank="FETCDEFFXXX")
    await stores.accounts.set_active(closed.id, is_active=False)
    elsewhere = await opened(stores, bank="FETCGB2L")
    [agent] = await stores.accounts.ensure_controls([(AccountKind.SETTLEMENT, "fetched", "EUR")])

    async def at(bank: str, after_id: int = account.id - 1) -> list[int]:
        found = await stores.statements.accounts_at_banks(bank, after_id=after_id, limit=100)
        assert {each.id: each.is_at_agent for each in found}[agent.id]
        return [each.id for each in found]

    assert await at("") == [account.id, elsewhere.id, agent.id]
    assert await at("fetcdeff") == [account.id, agent.id]
    assert await at("", account.id) == [elsewhere.id, agent.id]
    limited = await stores.statements.accounts_at_banks("", after_id=account.id - 1, limit=1)
    assert [(each.id, each.is_at_agent) for each in limited] == [(account.id, False)]


async def test_the_last_day_and_the_heads_are_those_of_what_is_kept(stores):
    account, other = await opened(stores), await opened(stores)
    days = chain(account.account_number, 3)
    await take(stores, file_of(*days))
    assert await stores.statements.last_days([account.id, other.id]) == {account.id: days[2].day}
    kept = await stores.statements.kept_heads(account.id)
    listed_ids = sorted(each.id for each in await listed(stores, account))
    assert [each.id for each in kept] == listed_ids
    assert [each.head.sequence for each in kept] == [1, 2, 3]
    assert await stores.statements.kept_heads(other.id) == []
