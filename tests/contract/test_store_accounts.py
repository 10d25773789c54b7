"""Accounts, fundings, transfers and windows."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import time

import pytest

from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import AMOUNT_DIGITS_MAX, Money
from settlement_engine.domain.windows import Window
from settlement_engine.errors import (
    IdempotencyConflict,
    InvalidInstruction,
    InvariantViolated,
    NotFound,
)
from settlement_engine.ports import AccountFilter, Result, SettlementFilter, TransferFilter
from tests.support.histories import ALL_ACCOUNTS, funding, results, spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOSTRO, VOSTRO, CLEARING = AccountKind.NOSTRO, AccountKind.VOSTRO, AccountKind.CLEARING


# --- opening accounts ----------------------------------------------------------------------------------------


async def test_an_account_is_opened_empty_and_active(scene):
    bank = f"NEW{scene.source_bank}"
    opened = await scene.stores.accounts.open_account(
        spec(VOSTRO, bank, currency="KWD", account_number='KW-1 "a"', credit_limit=500)
    )
    assert (opened.kind, opened.bank, opened.currency) == (VOSTRO, bank, "KWD")
    assert (opened.account_number, opened.credit_limit) == ('KW-1 "a"', 500)
    assert (opened.posted, opened.held, opened.available, opened.is_active) == (0, 0, 0, True)
    assert await scene.stores.accounts.account(opened.id) == opened


async def test_opened_twice_is_opened_once(scene):
    accounts = scene.stores.accounts
    for key in ("", f"key of {scene.source_bank}"):
        wanted = spec(NOSTRO, scene.target_bank, account_number=f"n{key}", idempotency_key=key)
        assert await accounts.open_account(wanted) == await accounts.open_account(wanted)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("kind", {"kind": NOSTRO}),
        ("bank", {"bank": "ANOTHER"}),
        ("currency", {"currency": "USD"}),
        ("account_number", {"account_number": "n2"}),
        ("credit_limit", {"credit_limit": 1}),
    ],
)
async def test_the_same_key_for_another_account_is_refused_and_opens_nothing(scene, field, change):
    accounts = scene.stores.accounts
    wanted = spec(
        VOSTRO,
        scene.source_bank,
        account_number="n1",
        idempotency_key=f"{field} of {scene.source_bank}",
    )
    await accounts.open_account(wanted)
    before = await accounts.accounts(ALL_ACCOUNTS)
    with pytest.raises(IdempotencyConflict) as refused:
        await accounts.open_account(replace(wanted, **change))
    assert refused.value.field == field
    assert await accounts.accounts(ALL_ACCOUNTS) == before


async def test_the_same_number_under_another_key_is_refused(scene):
    accounts = scene.stores.accounts
    wanted = spec(VOSTRO, scene.source_bank, account_number="n1", idempotency_key="")
    await accounts.open_account(wanted)
    with pytest.raises(IdempotencyConflict) as refused:
        await accounts.open_account(replace(wanted, idempotency_key=f"of {scene.source_bank}"))
    assert refused.value.field == "account_number"


async def test_keys_belong_to_their_caller(scene):
    accounts = scene.stores.accounts
    one = spec(VOSTRO, scene.source_bank, account_number="1", idempotency_key="the key", caller="a")
    two = replace(one, account_number="2", caller=f"b{scene.source_bank}")
    one = replace(one, caller=f"a{scene.source_bank}")
    assert (await accounts.open_account(one)).id != (await accounts.open_account(two)).id


async def test_opened_by_twenty_at_once_is_opened_once(scene):
    wanted = spec(VOSTRO, scene.source_bank, account_number="contested")
    sides = [scene.stores.beside() for _ in range(4)]
    opened = await asyncio.gather(
        *(sides[number % 4].accounts.open_account(wanted) for number in range(20))
    )
    assert len({account.id for account in opened}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"bank": ""},
        {"bank": "B" * 21},
        {"account_number": "n" * 65},
        {"credit_limit": -1},
        {"credit_limit": 10**18 + 1},
    ],
    ids=lambda change: "-".join(f"{key}={value!s:.5}" for key, value in change.items()),
)
async def test_an_invalid_account_is_refused(scene, change):
    accounts = scene.stores.accounts
    before = await accounts.accounts(ALL_ACCOUNTS)
    with pytest.raises(InvariantViolated):
        await accounts.open_account(replace(spec(VOSTRO, "GAMMA", account_number="n"), **change))
    assert await accounts.accounts(ALL_ACCOUNTS) == before


async def test_an_account_needs_a_known_currency(scene):
    accounts = scene.stores.accounts
    before = await accounts.accounts(ALL_ACCOUNTS)
    with pytest.raises(InvalidInstruction, match="not an active currency"):
        await accounts.open_account(spec(VOSTRO, "GAMMA", currency="ZZZ"))
    assert await accounts.accounts(ALL_ACCOUNTS) == before


# --- control accounts -------------------------------------------------------------------------------


async def test_control_accounts_are_opened_on_first_need_and_once(scene):
    wanted = [
        (CLEARING, scene.target_bank, "EUR"),
        (AccountKind.SETTLEMENT, scene.target_bank, "EUR"),
        (CLEARING, scene.target_bank, "JPY"),
    ]
    accounts = scene.stores.accounts
    opened = await accounts.ensure_controls(wanted)
    assert {(each.kind, each.bank, each.currency) for each in opened} == set(wanted)
    assert [each.id for each in opened] == sorted(each.id for each in opened)
    assert await accounts.ensure_controls(wanted[::-1]) == opened
    assert await accounts.ensure_controls([wanted[0], wanted[0]]) == [
        each for each in opened if (each.kind, each.currency) == (CLEARING, "EUR")
    ]
    assert await accounts.ensure_controls([]) == []


async def test_control_accounts_wanted_by_many_at_once_are_opened_once(scene):
    wanted = [(CLEARING, scene.target_bank, code) for code in ("EUR", "USD", "GBP", "JPY")]
    sides = [scene.stores.beside() for _ in range(4)]
    found = await asyncio.gather(
        *(
            sides[number % 4].accounts.ensure_controls(wanted[number % 3 :] + wanted[: number % 3])
            for number in range(12)
        )
    )
    assert all(each == found[0] for each in found)


# --- funding ----------------------------------------------------------------------------------------


async def test_a_funding_debits_the_nostro_and_credits_clearing(scene):
    before = await scene.source()
    after = await scene.stores.accounts.fund(funding(25, bank=scene.source_bank, reference="R 7"))
    assert (after.id, after.posted) == (before.id, before.posted + 25)
    clearing = await scene.account(CLEARING)
    assert clearing.posted == after.posted
    [latest, *_] = await scene.stores.accounts.transfers(TransferFilter(account_id=before.id))
    assert (latest.debit_id, latest.credit_id) == (before.id, clearing.id)
    assert (latest.leg, latest.amount_minor, latest.currency) == (Leg.FUNDING, 25, "EUR")
    assert latest.reference == "R 7"
    assert latest.at is not None


async def test_a_funding_is_posted_once_per_key(scene):
    accounts = scene.stores.accounts
    before = (await scene.source()).posted
    paid_in = funding(7, bank=scene.source_bank)
    for _ in range(3):
        assert (await accounts.fund(paid_in)).posted == before + 7
    twice = replace(paid_in, idempotency_key="")
    await accounts.fund(twice)
    assert (await accounts.fund(twice)).posted == before + 21


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": Money(8, "EUR")}),
        ("reference", {"reference": "another"}),
        ("account_number", {"account_number": "nostro-{bank}-EUR"}),
    ],
)
async def test_the_same_key_for_another_funding_is_refused(scene, field, change):
    accounts = scene.stores.accounts
    paid_in = funding(7, bank=scene.source_bank)
    await accounts.fund(paid_in)
    before = await scene.everything()
    change = {
        name: value.format(bank=scene.source_bank) if isinstance(value, str) else value
        for name, value in change.items()
    }
    with pytest.raises(IdempotencyConflict) as refused:
        await accounts.fund(replace(paid_in, **change))
    assert refused.value.field == field
    assert await scene.everything() == before


async def test_funding_needs_a_nostro_of_the_bank_in_the_currency(scene):
    accounts = scene.stores.accounts
    for change in ({"bank": "UNHEARD OF"}, {"currency": "USD"}, {"bank": scene.target_bank}):
        with pytest.raises(NotFound):
            await accounts.fund(funding(1, **{"bank": scene.source_bank, **change}))


async def test_a_funding_may_name_one_of_several_accounts(scene):
    accounts = scene.stores.accounts
    second = await accounts.open_account(spec(NOSTRO, scene.source_bank, account_number="second"))
    funded = await accounts.fund(funding(9, bank=scene.source_bank, account_number="second"))
    assert (funded.id, funded.posted) == (second.id, 9)
    first = await accounts.fund(funding(1, bank=scene.source_bank))
    assert first.id == (await scene.source()).id


async def test_turnover_beyond_eight_bytes_is_posted_like_any_other(scene):
    largest = 10**AMOUNT_DIGITS_MAX - 1
    before = await scene.source()
    for _ in range(20):
        await scene.fund(largest)
    settlements = [await scene.bring(State.LOCKED, minor=largest) for _ in range(19)]
    held = await scene.source()
    assert (held.posted, held.held) == (before.posted + 20 * largest, 19 * largest)
    # All in one batch: its sum alone exceeds eight bytes.
    steps = [scene.step(each, Event.SETTLED) for each in settlements]
    assert set(results(await scene.apply(*steps))) == {Result.APPLIED}
    source, target = await scene.source(), await scene.account(VOSTRO)
    assert source.debits_posted == before.debits_posted + 20 * largest > 2**64
    assert source.credits_posted == target.credits_posted == 19 * largest > 2**63
    assert (source.posted, source.held) == (before.posted + largest, 0)
    refused = await scene.new(minor=largest)
    [outcome] = await scene.apply(scene.step(refused, Event.CLEARED))
    assert outcome.result is Result.APPLIED
    short = await scene.new(minor=largest)
    [outcome] = await scene.apply(scene.step(short, Event.CLEARED))
    assert (outcome.result, outcome.available_minor) == (Result.SHORT, before.posted)


async def test_twenty_fundings_at_once_with_one_key_are_one(scene):
    before = (await scene.source()).posted
    paid_in = funding(11, bank=scene.source_bank)
    sides = [scene.stores.beside() for _ in range(4)]
    funded = await asyncio.gather(
        *(sides[number % 4].accounts.fund(paid_in) for number in range(20))
    )
    assert {account.posted for account in funded} == {before + 11}


async def test_many_fundings_at_once_are_all_posted(scene):
    before = (await scene.source()).posted
    sides = [scene.stores.beside() for _ in range(4)]
    await asyncio.gather(
        *(
            sides[number % 4].accounts.fund(funding(number, bank=scene.source_bank))
            for number in range(1, 21)
        )
    )
    assert (await scene.source()).posted == before + sum(range(1, 21))


# --- reading ----------------------------------------------------------------------------------------


async def test_accounts_are_listed_by_filter(scene):
    accounts = scene.stores.accounts
    bank = f"L{scene.source_bank}"
    for kind, currency, number in (
        (NOSTRO, "EUR", "1"),
        (NOSTRO, "EUR", "2"),
        (NOSTRO, "USD", "1"),
        (VOSTRO, "EUR", "1"),
    ):
        await accounts.open_account(spec(kind, bank, currency=currency, account_number=number))

    async def count(**wanted):
        return len(await accounts.accounts(AccountFilter(bank=bank, **wanted)))

    assert await count() == 4
    assert await count(kind=NOSTRO) == 3
    assert await count(currency="EUR") == 3
    assert await count(account_number="1") == 3
    assert await count(kind=NOSTRO, currency="EUR", account_number="2") == 1
    assert await count(kind=CLEARING) == 0


async def test_pages_of_accounts_follow_each_other_without_gap_or_repeat(scene):
    accounts = scene.stores.accounts
    everything = await accounts.accounts(ALL_ACCOUNTS)
    assert [each.id for each in everything] == sorted(each.id for each in everything)
    pages, after = [], 0
    while page := await accounts.accounts(AccountFilter(limit=3, after_id=after)):
        assert len(page) <= 3
        pages += page
        after = page[-1].id
    assert pages == everything


async def test_accounts_of_several_banks_are_found_in_one_call(scene):
    accounts = scene.stores.accounts
    wanted = [(NOSTRO, scene.source_bank), (VOSTRO, scene.target_bank), (VOSTRO, "UNHEARD OF")]
    found = await accounts.accounts_of([*wanted, wanted[0]])
    assert [(each.kind, each.bank) for each in found] == wanted[:2]
    assert await accounts.accounts_of([]) == []


async def test_transfers_are_listed_newest_first_and_in_pages(scene):
    accounts = scene.stores.accounts
    for _ in range(3):
        await scene.bring(State.COMPLETED)
    source = await scene.source()
    everything = await accounts.transfers(TransferFilter(account_id=source.id))
    assert len(everything) == 4
    assert Counter(each.leg for each in everything) == {Leg.CASH: 3, Leg.FUNDING: 1}
    places = [(each.group_id, each.posting, each.leg.value) for each in everything]
    assert places == sorted(places, reverse=True)
    pages, before = [], None
    while page := await accounts.transfers(
        TransferFilter(account_id=source.id, limit=3, before=before)
    ):
        pages += page
        before = (page[-1].group_id, page[-1].posting, page[-1].leg.value)
    assert pages == everything


async def test_transfers_of_one_group_are_found(scene):
    settlement = await scene.bring(State.COMPLETED)
    found = await scene.stores.accounts.transfers(TransferFilter(group_id=settlement.id))
    assert [each.leg for each in found] == [Leg.OBLIGATION, Leg.CASH]


async def test_a_missing_object_is_not_found(scene):
    accounts = scene.stores.accounts
    assert await accounts.account(10**9) is None
    with pytest.raises(NotFound):
        await accounts.set_active(10**9, is_active=False)


async def test_an_account_is_switched_off_and_on(scene):
    accounts = scene.stores.accounts
    account = await scene.source()
    for is_active in (False, False, True):
        switched = await accounts.set_active(account.id, is_active=is_active)
        assert switched == replace(account, is_active=is_active)
        assert await scene.source() == switched


# --- windows ----------------------------------------------------------------------------------------


async def test_the_specifications_windows_are_there_in_the_zones_of_their_markets(stores):
    days = frozenset(range(1, 6))
    known = {each.currency: each for each in await stores.accounts.windows()}
    assert known.keys() == {"USD", "EUR", "GBP", "AED", "INR"}
    assert known["USD"] == Window(
        currency="USD", zone="America/New_York", opens=time(9), closes=time(17), weekdays=days
    )
    assert known["EUR"].zone == "Europe/Berlin"
    assert [each.currency for each in await stores.accounts.windows()] == sorted(known)


# --- one bank under several spellings ---------------------------------------------------------------


def spellings(bank):
    return [bank, bank.lower(), f"{bank}XXX", f"{bank.lower()}xxx"]


def bic(scene):
    """A BIC that no other test uses."""
    digits = int("".join(filter(str.isdigit, scene.source_bank)))
    dead_letters = "ABCDEFGHIJ"
    return "B" + "".join(dead_letters[digits // 10**place % 10] for place in range(3)) + "ZAJJ"


async def test_an_account_is_found_under_every_spelling_of_its_bank(scene):
    accounts, bank = scene.stores.accounts, bic(scene)
    opened = await accounts.open_account(spec(NOSTRO, f"{bank.lower()}xxx"))
    assert (opened.bank, opened.account_number) == (bank, f"nostro-{bank}-EUR")
    for spelling in spellings(bank):
        assert await accounts.accounts(AccountFilter(bank=spelling)) == [opened]
        assert await accounts.accounts_of([(NOSTRO, spelling)]) == [opened]
    assert await accounts.accounts_of([(NOSTRO, each) for each in spellings(bank)]) == [opened]
    assert await accounts.accounts(AccountFilter(bank=f"{bank}001")) == []


async def test_an_account_is_opened_once_however_its_bank_is_spelled(scene):
    accounts, bank = scene.stores.accounts, bic(scene)
    for number in ("", "of their own"):
        await accounts.open_account(spec(VOSTRO, bank, account_number=number))
        for spelling in spellings(bank)[1:]:
            with pytest.raises(IdempotencyConflict) as refused:
                await accounts.open_account(spec(VOSTRO, spelling, account_number=number))
            assert refused.value.field == "account_number"


async def test_the_same_call_again_is_a_replay_in_its_own_spelling(scene):
    accounts, bank = scene.stores.accounts, bic(scene)
    for key in ("", f"key of {bank}"):
        wanted = spec(VOSTRO, bank.lower(), currency="USD" if key else "EUR", idempotency_key=key)
        assert await accounts.open_account(wanted) == await accounts.open_account(wanted)


async def test_all_spellings_of_a_bank_are_funded_into_one_account(scene):
    accounts, bank = scene.stores.accounts, bic(scene)
    opened = await accounts.open_account(spec(NOSTRO, bank))
    for spelling in spellings(bank):
        await accounts.fund(funding(100, bank=spelling))
    funded = await accounts.account(opened.id)
    assert funded is not None
    assert funded.posted == 400
    controls = await accounts.ensure_controls(
        [(CLEARING, spelling, "EUR") for spelling in spellings(bank)]
    )
    assert [each.bank for each in controls] == [bank]


async def test_settlements_are_listed_under_every_spelling(scene):
    bank = bic(scene)
    settlement = await scene.new(from_bank=bank.lower())
    assert settlement.instruction.from_bank == bank.lower()  # as it was received
    for spelling in spellings(bank):
        found = await scene.stores.settlements.list_settlements(SettlementFilter(bank=spelling))
        assert [each.id for each in found] == [settlement.id]


async def test_a_bank_does_not_pay_itself_under_another_spelling(scene):
    bank = bic(scene)
    for spelling in spellings(bank):
        with pytest.raises(InvariantViolated):
            await scene.new(from_bank=bank, to_bank=spelling)
