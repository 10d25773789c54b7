"""Which settlements statements prove: matched on every account that they moved at a bank, where the proof is zero."""

from __future__ import annotations

import pytest

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.reconciliation import AccountOutcome
from settlement_engine.engine.reconciliation import Reconciliation
from tests.contract.test_store_reconciliation import FUNDED, PAID_IN, Books, run_of
from tests.support.bank_statements import BankDay, Booked, debit, take
from tests.support.histories import Scene, funding

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def proved(books: Books, *settlements) -> list[bool]:
    found = await books.stores.reconciled.proved([each.id for each in settlements])
    return [each.id in found for each in settlements]


async def paid_out(books: Books, minor: int):
    """Complete one that FROM pays out: only our account there moves."""
    return await books.scene.bring(
        State.COMPLETED, minor=minor, requested_delivery=Delivery.PAY_OUT
    )


async def test_what_is_matched_with_a_proof_of_zero_is_proved(stores):
    books = await Books.open(stores)
    one, two = await paid_out(books, 100), await paid_out(books, 250)
    assert await proved(books, one, two) == [False, False]
    await take(stores, await books.day(FUNDED, debit(one), debit(two)))
    assert await proved(books, one, two) == [False, False]
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await proved(books, one, two) == [True, True]
    assert await stores.reconciled.proved([]) == frozenset()


async def test_what_is_not_on_the_statement_is_not_proved(stores):
    books = await Books.open(stores)
    one, two = await paid_out(books, 100), await paid_out(books, 250)
    await take(stores, await books.day(FUNDED, debit(one)))
    await books.reconcile()
    assert await proved(books, one, two) == [True, False]


async def test_a_gap_in_the_statements_holds_the_proof_back(stores):
    books = await Books.open(stores)
    one = await paid_out(books, 100)
    first = await books.day(FUNDED)
    missing = first.next(Booked(minor=-7))
    last = missing.next(debit(one))
    await take(stores, first, last)
    await books.reconcile()
    assert await proved(books, one) == [False]
    await take(stores, missing)
    await books.reconcile()
    assert await proved(books, one) == [True]


async def test_a_payment_booked_on_two_accounts_needs_both(stores):
    """BOOK moves our account at FROM and the one at the agent, whose statement is another bank's."""
    scene = await Scene.open(stores, funds_minor=0, currency="NOK")
    paid_in = {"reference": "PAID-IN-REFERENCE", "currency": "NOK"}
    await stores.accounts.fund(funding(PAID_IN, bank=scene.source_bank, **paid_in))
    books = Books(scene)
    one = await scene.bring(State.COMPLETED, minor=100, currency="NOK")
    await take(stores, await books.day(FUNDED, debit(one)))
    await books.reconcile()
    assert await proved(books, one) == [False]
    agent = await scene.account(AccountKind.SETTLEMENT)
    await take(stores, BankDay(account=agent, opening=0, entries=[debit(one, minor=100)]))
    [result] = await Reconciliation(stores.reconciliation).reconcile(run_of(agent.id))
    assert result.proof is not None
    assert result.proof.is_zero
    assert await proved(books, one) == [True]


async def test_a_return_has_to_be_matched_as_well(stores):
    books = await Books.open(stores)
    one = await paid_out(books, 100)
    await take(stores, await books.day(FUNDED, debit(one)))
    await books.reconcile()
    assert await proved(books, one) == [True]
    returned = await books.scene.move(one, Event.RETURNED)
    assert await proved(books, returned) == [False]


async def test_a_settlement_without_postings_is_not_proved(stores):
    books = await Books.open(stores)
    sent = await books.scene.bring(State.SENT)
    released = await books.scene.bring(State.ROLLED_BACK)
    assert await proved(books, sent, released) == [False, False]


async def test_a_second_debit_in_suspense_keeps_the_proof_at_zero(stores):
    """Its posting is taken in with the settlement's moves, once. Equal entries are matched together."""
    books = await Books.open(stores)
    one = await paid_out(books, 100)
    twice = await books.scene.move(one, Event.DEBITED_TWICE)
    entries = (debit(one, servicer="A"), debit(one, servicer="B"))
    await take(stores, await books.day(FUNDED, *entries))
    for _ in range(2):
        await books.reconcile()
        proof = await books.proof()
        assert proof.is_zero
        assert (proof.unmatched_ours, proof.unmatched_theirs) == (0, 0)
        assert proof.our_closing_minor == proof.their_closing_minor == PAID_IN - 200
    assert await proved(books, twice) == [True]
