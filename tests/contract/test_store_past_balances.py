"""Balances of past instants: always the sum of the transfers before them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from tests.support.histories import ALL_ACCOUNTS, ALL_TRANSFERS, funding

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


async def summed(scene, account, at):
    transfers = [
        each for each in await scene.stores.accounts.transfers(ALL_TRANSFERS) if each.at < at
    ]
    return (
        sum(each.amount_minor for each in transfers if each.debit_id == account.id),
        sum(each.amount_minor for each in transfers if each.credit_id == account.id),
    )


async def test_a_balance_is_the_sum_of_all_transfers_before_its_instant(scene):
    stores = scene.stores
    await scene.bring(State.COMPLETED)
    await stores.accounts.fund(funding(700, bank=scene.source_bank))
    returned = await scene.bring(State.COMPLETED)
    await scene.move(returned, Event.RETURNED)
    await stores.past_balances.record_balances()
    accounts = await stores.accounts.accounts(ALL_ACCOUNTS)
    instants = {each.at for each in await stores.accounts.transfers(ALL_TRANSFERS)}
    assert len(instants) >= 4
    for at in (*instants, *(each + INSTANT for each in instants), max(instants) + LATER):
        balances = await stores.past_balances.balances_at([each.id for each in accounts], at)
        for account, balance in zip(accounts, balances, strict=True):
            found = (balance.debits_posted, balance.credits_posted)
            assert found == await summed(scene, account, at)


async def test_the_balance_of_now_is_that_of_the_account(scene):
    await scene.bring(State.COMPLETED)
    accounts = await scene.stores.accounts.accounts(ALL_ACCOUNTS)
    last = max(each.at for each in await scene.stores.accounts.transfers(ALL_TRANSFERS))
    balances = await scene.stores.past_balances.balances_at(
        [each.id for each in accounts], last + INSTANT
    )
    assert [each.posted(of.kind) for each, of in zip(balances, accounts, strict=True)] == [
        each.posted for each in accounts
    ]
    assert {each.kind for each in accounts} >= {AccountKind.NOSTRO, AccountKind.VOSTRO}


async def test_before_the_first_transfer_every_balance_is_zero_also_of_an_unknown_account(scene):
    first = min(each.at for each in await scene.stores.accounts.transfers(ALL_TRANSFERS))
    [known, unknown] = await scene.stores.past_balances.balances_at([1, 10**9], first)
    assert (known.debits_posted, known.credits_posted) == (0, 0)
    assert (unknown.account_id, unknown.debits_posted, unknown.credits_posted) == (10**9, 0, 0)


async def test_what_has_just_been_booked_is_not_complete_yet(scene):
    await scene.bring(State.COMPLETED)
    last = max(each.at for each in await scene.stores.accounts.transfers(ALL_TRANSFERS))
    assert await scene.stores.past_balances.complete_until() < last


async def test_recording_again_records_nothing_twice(scene):
    await scene.stores.past_balances.record_balances()
    others = scene.stores.beside()
    assert await others.past_balances.record_balances() == 0
