"""The bank directory: versions are appended, changes are read in order, and accounts may need a listed bank."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from settlement_engine.domain.bank_directory import (
    ClearingMember,
    CorrespondentMethod,
    ListedBank,
    StandingInstruction,
    cover_routes,
    folded,
    our_accounts,
    serial_routes,
)
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.payment import PaymentAccount, PostalAddress
from settlement_engine.errors import InvalidInstruction, WrongState
from settlement_engine.ports import BankFilter, BankPut
from tests.support.histories import ALL_ACCOUNTS, spec

if TYPE_CHECKING:
    from settlement_engine.domain.bank_directory import BankVersion
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = itertools.count(1)


def entry(**fields: Any) -> ListedBank:
    """Return an entry of a bank of its own."""
    number = next(_numbers)
    full = ListedBank(
        code=f"DIRECTORY{number:04d}",
        name='Bank with all that can be said: “Ä” 😀 \\ "',
        bic="DEUTDEFF",
        address=PostalAddress(
            country="DE",
            town_name="Frankfurt",
            post_code="60325",
            street_name="Taunusanlage",
            building_number="12",
            country_sub_division="Hessen",
            lines=("third floor",),
        ),
        lei="7LTWFZYICNSX8D621K86",
        clearing_members=(ClearingMember(system="DEBLZ", member_id="50070010"),),
        instructions=(
            StandingInstruction(
                currency="KWD",
                our_account=PaymentAccount(iban="DE56500700100123456600"),
                their_account=PaymentAccount(other_id="7", type="CACC"),
                correspondent="CHASUS33",
                method=CorrespondentMethod.COVER,
            ),
            StandingInstruction(
                currency="USD",
                their_account=PaymentAccount(other_id="8", type="CACC"),
                correspondent="CHASUS33",
                method=CorrespondentMethod.SERIAL,
            ),
        ),
        rails=(f"rail{number}",),
    )
    return folded(msgspec.structs.replace(full, **fields))


async def put(stores: Stores, bank: ListedBank, who: str = "ada", after: int = 0) -> BankVersion:
    return await stores.banks.put_bank(BankPut(bank=bank, who=who, after_version=after))


async def test_what_is_put_is_read_back_as_it_was(stores):
    bank = entry()
    written = await put(stores, bank)
    assert (written.bank, written.version, written.changed_by) == (bank, 1, "ada")
    assert written.is_new
    found = await stores.banks.bank(bank.code.lower())
    assert (found.bank, found.version, found.changed_by) == (bank, 1, "ada")
    assert found.changed_at == written.changed_at
    assert not found.is_new
    assert await stores.banks.bank("NOBODY") is None
    assert await stores.banks.bank(bank.code, 2) is None


async def test_a_change_is_a_version_of_its_own_and_the_earlier_one_stays(stores):
    first = entry()
    second = msgspec.structs.replace(first, name="Another name", lei="")
    await put(stores, first, "ada")
    written = await put(stores, second, "grace")
    assert (written.version, written.changed_by) == (2, "grace")
    earlier = await stores.banks.bank(first.code, 1)
    assert (earlier.bank, earlier.changed_by) == (first, "ada")
    assert (await stores.banks.bank(first.code)).bank == second


async def test_what_says_the_same_writes_nothing(stores):
    bank = entry()
    first = await put(stores, bank, "ada")
    again = await put(stores, bank, "grace", after=7)
    assert (again.version, again.changed_by, again.is_new) == (1, "ada", False)
    assert again.changed_at == first.changed_at


async def test_a_change_made_from_another_version_is_refused(stores):
    bank = entry()
    with pytest.raises(WrongState):
        await put(stores, bank, after=1)
    await put(stores, bank)
    second = msgspec.structs.replace(bank, name="second")
    await put(stores, second, "grace", after=1)
    with pytest.raises(WrongState, match="at version 2, not 1"):
        await put(stores, msgspec.structs.replace(bank, name="third"), after=1)
    assert (await stores.banks.bank(bank.code)).bank == second


async def test_of_concurrent_changes_each_is_a_version(stores):
    bank, other = entry(), stores.beside()
    wanted = [msgspec.structs.replace(bank, name=f"name {number}") for number in range(10)]
    await asyncio.gather(
        *(put(each, one) for each, one in zip(itertools.cycle((stores, other)), wanted))
    )
    versions = [await stores.banks.bank(bank.code, number) for number in range(1, 11)]
    assert {each.bank.name for each in versions} == {one.name for one in wanted}


async def test_banks_are_listed_by_code_and_filtered(stores):
    banks = [entry(rails=(f"only-{number}", "of-this-test")) for number in range(3)]
    for bank in banks:
        await put(stores, msgspec.structs.replace(bank, name="before"))
        await put(stores, bank)
    withdrawn = msgspec.structs.replace(banks[1], is_withdrawn=True)
    await put(stores, withdrawn)

    async def listed(**fields: Any) -> list[ListedBank]:
        wanted = BankFilter(**({"rail": "of-this-test"} | fields))
        return [each.bank for each in await stores.banks.banks(wanted)]

    assert await listed() == [banks[0], banks[2]]
    assert await listed(has_withdrawn=True) == [banks[0], withdrawn, banks[2]]
    assert await listed(limit=1) == [banks[0]]
    assert await listed(after_code=banks[0].code) == [banks[2]]
    assert await listed(currency="KWD") == [banks[0], banks[2]]
    assert await listed(currency="JPY") == []
    assert await listed(rail="only-2") == [banks[2]]
    assert await listed(rail="nowhere") == []


async def test_changes_are_read_in_order_and_each_bank_once(stores):
    known = await stores.banks.bank_changes(0, 1_000)
    last = known[-1].position if known else 0
    first, second = entry(), entry()
    await put(stores, first)
    await put(stores, second)
    await put(stores, msgspec.structs.replace(first, is_withdrawn=True))
    found = await stores.banks.bank_changes(last, 1_000)
    assert [(each.code, each.is_withdrawn) for each in found] == [
        (second.code, False),
        (first.code, True),
    ]
    assert [each.rails for each in found] == [{*second.rails}, {*first.rails}]
    assert [each.accounts for each in found] == [our_accounts(second), our_accounts(first)]
    assert any(found[0].accounts.values()), "the entry has an account of ours"
    assert [each.routes for each in found] == [serial_routes(second), serial_routes(first)]
    assert set(found[0].routes) == {"USD"}, "a cover is no serial route"
    assert [each.covers for each in found] == [cover_routes(second), cover_routes(first)]
    assert set(found[0].covers) == {"KWD"}, "a serial route is no cover"
    assert last < found[0].position < found[1].position
    assert await stores.banks.bank_changes(last, 1) == found[:1]
    assert await stores.banks.bank_changes(found[1].position, 1_000) == []


async def test_an_account_that_needs_a_listed_bank_is_opened_for_no_other(stores):
    accounts, bank = stores.accounts, entry()
    wanted = spec(AccountKind.NOSTRO, bank.code, needs_listed_bank=True)
    before = await accounts.accounts(ALL_ACCOUNTS)
    with pytest.raises(InvalidInstruction) as refused:
        await accounts.open_account(wanted)
    assert [field for field, _ in refused.value.violations] == ["bank"]
    assert await accounts.accounts(ALL_ACCOUNTS) == before
    await put(stores, bank)
    opened = await accounts.open_account(wanted)
    await put(stores, msgspec.structs.replace(bank, is_withdrawn=True))
    assert (await accounts.open_account(wanted)).id == opened.id  # the same call as before
    with pytest.raises(InvalidInstruction):
        await accounts.open_account(spec(AccountKind.VOSTRO, bank.code, needs_listed_bank=True))
    unasked = spec(AccountKind.VOSTRO, bank.code)
    assert (await accounts.open_account(unasked)).bank == bank.code


async def test_the_database_keeps_every_version_and_their_order(stores):
    if stores.name != "postgres":
        pytest.skip("the guards are the database's")
    bank = entry()
    await put(stores, bank)
    connection = await asyncpg.connect(stores.url)
    copy = (
        "INSERT INTO bank_versions (code, version, rails, currencies, is_withdrawn, content,"
        " changed_by) SELECT $2, $3, rails, currencies, is_withdrawn, content, 'eve'"
        " FROM bank_versions WHERE code = $1"
    )
    try:
        for statement in (
            "UPDATE bank_versions SET changed_by = 'eve' WHERE code = $1",
            "DELETE FROM bank_versions WHERE code = $1",
        ):
            with pytest.raises(asyncpg.PostgresError, match="append"):
                await connection.execute(statement, bank.code)
        for code, version in ((bank.code, 1), (bank.code, 3), ("lower", 1), ("OTHER", 1)):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await connection.execute(copy, bank.code, code, version)
    finally:
        await connection.close()
