"""The directory: the accounts that a batch has loaded stay known until it is decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.ledger import Account, AccountKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.settlement import Settlement
from settlement_engine.engine import directory as room
from settlement_engine.engine.directory import Directory
from tests.unit.engine.engine_world import payment_request

RAIL = "mock"


class Books:
    """Accounts for every bank except those without one; records which banks were looked up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.numbers: dict[tuple[AccountKind, str, str], int] = {}
        self.is_active = True
        self.unowned: set[str] = set()

    async def accounts_of(self, banks):
        self.asked += [bank for _, bank in banks]
        return [self.account(kind, bank, "EUR") for kind, bank in banks if bank not in self.unowned]

    async def ensure_controls(self, keys):
        return [self.account(*key) for key in keys]

    def account(self, kind, bank, currency):
        number = self.numbers.setdefault((kind, bank, currency), len(self.numbers) + 1)
        return Account(
            id=number,
            kind=kind,
            bank=bank,
            currency=currency,
            account_number="1",
            is_active=self.is_active,
        )


def settlement(from_bank, to_bank):
    instruction = replace(payment_request(), from_bank=from_bank, to_bank=to_bank)
    return Settlement(
        id=UUID(int=1),
        instruction=instruction,
        state=State.VALIDATING,
        seq=1,
        fencing_token=1,
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
        value_date=date(2026, 1, 31),
    )


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def directory(books):
    return Directory(books)


async def test_known_accounts_are_not_looked_up_again(books, directory):
    one = settlement("ALPHA", "BETA")
    await directory.prefetch([(one, RAIL)])
    await directory.prefetch([(one, RAIL)])
    assert books.asked == ["ALPHA", "BETA"]
    assert directory.are_both_active(one)
    assert directory.route(one, RAIL).source_id == books.numbers[AccountKind.NOSTRO, "ALPHA", "EUR"]


async def test_accounts_forgotten_during_another_batch_stay_known_to_it(books, directory):
    one = settlement("ALPHA", "BETA")
    await directory.prefetch([(one, RAIL)])
    directory.forget(one)  # the guards refused it, in the batch of the other worker
    assert directory.facts(AccountKind.NOSTRO, "ALPHA", "EUR").account_id is not None
    assert directory.are_both_active(one)
    assert directory.route(one, RAIL).target_id == books.numbers[AccountKind.VOSTRO, "BETA", "EUR"]
    books.is_active = False
    await directory.prefetch([(one, RAIL)])
    assert books.asked == ["ALPHA", "BETA"] * 2
    assert not directory.are_both_active(one)


async def test_a_full_directory_keeps_the_accounts_of_the_current_batch(
    books, directory, monkeypatch
):
    monkeypatch.setattr(room, "GENERATION", 8)
    old = settlement("ALPHA", "BETA")
    await directory.prefetch([(old, RAIL)])
    in_flight = [settlement(f"FROM{n}", f"TO{n}") for n in range(2)]
    await directory.prefetch([(each, RAIL) for each in (old, *in_flight)])
    assert all(directory.are_both_active(each) for each in (old, *in_flight))
    assert directory.route(old, RAIL).source_id == books.numbers[AccountKind.NOSTRO, "ALPHA", "EUR"]


async def test_a_directory_is_bounded_whatever_is_looked_up(books, directory, monkeypatch):
    monkeypatch.setattr(room, "GENERATION", 10)
    for number in range(200):
        books.unowned.add(f"NOBODY{number}")
        known = settlement(f"FROM{number}", f"TO{number}")
        await directory.prefetch(
            [(known, RAIL), (settlement(f"FROM{number}", f"NOBODY{number}"), RAIL)]
        )
        if number % 3 == 0:
            directory.forget(known)
    sizes = [
        len(part)
        for memory in (directory._known, directory._elsewhere)
        for part in (memory.new_generation, memory.old)
    ]
    assert max(sizes) <= 11


async def test_forgotten_accounts_are_looked_up_again(books, directory, monkeypatch):
    monkeypatch.setattr(room, "GENERATION", 6)
    for number in range(40):
        one = settlement(f"FROM{number}", f"TO{number}")
        await directory.prefetch([(one, RAIL)])
        directory.forget(one)
        assert directory.are_both_active(one)
        books.asked.clear()
        await directory.prefetch([(one, RAIL)])
        assert books.asked == [f"FROM{number}", f"TO{number}"]


async def test_an_account_in_another_currency_is_named(books, directory):
    one = settlement("ALPHA", "BETA")
    amount = msgspec.structs.replace(one.instruction.amount, currency="USD")
    one.instruction = replace(one.instruction, amount=amount)
    await directory.prefetch([(one, None)])
    facts = directory.facts(AccountKind.NOSTRO, "ALPHA", "USD")
    assert (facts.account_id, facts.elsewhere) == (None, ("EUR",))


class OldBooks(Books):
    """Accounts from before bank codes were normalised: the codes are as they were entered."""

    async def accounts_of(self, banks):
        return [self.account(kind, f"{bank.lower()}xxx", "EUR") for kind, bank in banks]

    async def ensure_controls(self, keys):
        return [self.account(kind, owner.lower(), code) for kind, owner, code in keys]


@pytest.fixture
def old_books():
    return OldBooks()


async def test_an_account_is_found_whatever_spelling_it_was_opened_under(old_books):
    known = Directory(old_books)
    asked = [settlement("deutdeff", "CHASUS33XXX"), settlement("DEUTDEFFXXX", "chasus33")]
    await known.prefetch((each, RAIL) for each in asked)
    assert all(known.are_both_active(each) for each in asked)
    assert known.route(asked[0], RAIL) == known.route(asked[1], RAIL)
    facts = known.facts(AccountKind.NOSTRO, "DeutDeff", "EUR")
    assert (facts.bank, facts.is_active) == ("DeutDeff", True)
