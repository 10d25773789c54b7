"""What a payment says is stored with its settlement; a payout moves no balance of the receiver, and comes back so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
    PostalAddress,
)
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Result, TransferFilter, Verdict
from tests.support.histories import admission, back_of, results

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAYMENT = PaymentDetails(
    debtor=PaymentParty(name='Ada "the first" \\ {x}'),
    creditor=PaymentParty(
        name="Zoë 数字 💶",
        account=PaymentAccount(iban="DE89370400440532013000"),
        address=PostalAddress(town_name="Bonn", country="DE", lines=("a", "b")),
    ),
    remittance="invoice 4711",
    end_to_end_id="A-1",
)
SAID: dict[str, dict[str, Any]] = {
    "payment": {"payment": PAYMENT},
    "rail": {"rail": "mock"},
    "delivery": {"requested_delivery": Delivery.PAY_OUT},
    "all": {"payment": PAYMENT, "rail": "mock", "requested_delivery": Delivery.BOOK},
    "nothing": {},
}


async def legs_of(scene, settlement):
    made = await scene.stores.accounts.transfers(TransferFilter(group_id=settlement.id))
    return sorted((each.posting, each.leg, each.amount_minor) for each in made)


async def balances(scene):
    return {
        kind: (await scene.account(kind)).posted
        for kind in (AccountKind.SETTLEMENT, AccountKind.CLEARING, AccountKind.VOSTRO)
    }


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_what_was_said_is_read_as_it_was_stored(scene, said):
    wanted = scene.payment_request(**said)
    [settlement] = await scene.admit(wanted)
    assert settlement.instruction == wanted
    assert settlement.instruction.content_hash == wanted.content_hash


async def test_a_batch_stores_what_each_of_its_instructions_says(scene):
    wanted = [scene.payment_request(**said) for said in SAID.values()]
    assert [each.instruction for each in await scene.admit(*wanted)] == wanted


async def test_each_settlement_is_announced_with_its_delivery(scene):
    wanted = [scene.payment_request(**said) for said in SAID.values()]
    settlements = await scene.admit(*wanted)
    for settlement in settlements:
        [announced] = await scene.stores.stream.read(0, 1, settlement.id)
        assert announced.delivery is settlement.instruction.delivery
    assert {each.instruction.delivery for each in settlements} == set(Delivery)


async def test_the_same_key_with_other_details_is_taken_and_with_the_same_a_replay(scene):
    wanted = scene.payment_request(payment=PAYMENT)
    [settlement] = await scene.admit(wanted)
    others = [replace(wanted, payment=None), replace(wanted, rail="swift"), wanted]
    batch = [admission(each) for each in others]
    answers = await scene.stores.settlements.admit(batch, scene.engine_id)
    assert [each.verdict for each in answers] == [
        *(Verdict.KEY_TAKEN, Verdict.KEY_TAKEN, Verdict.REPLAYED)
    ]
    assert {each.settlement_id for each in answers} == {settlement.id}


@pytest.mark.parametrize(
    ("said", "delivery"),
    [
        ({}, Delivery.BOOK),
        ({"payment": PAYMENT}, Delivery.PAY_OUT),
        ({"payment": PAYMENT, "requested_delivery": Delivery.BOOK}, Delivery.BOOK),
        ({"requested_delivery": Delivery.PAY_OUT}, Delivery.PAY_OUT),
    ],
)
async def test_the_delivery_is_stored_with_the_send_intent(scene, said, delivery):
    settlement = await scene.bring(State.LOCKED, **said)
    assert settlement.attempt.route.delivery is delivery
    [*_, locked] = await scene.stores.settlements.history(settlement.id)
    assert locked.detail.get("delivery", "book") == delivery


async def test_a_payout_is_booked_whole_and_leaves_the_receivers_balance(scene):
    before = await balances(scene)
    settlement = await scene.bring(State.COMPLETED, payment=PAYMENT, minor=70)
    assert await legs_of(scene, settlement) == [
        *((1, Leg.CASH, 70), (1, Leg.OBLIGATION, 70), (1, Leg.PAID_OUT, 70))
    ]
    after = await balances(scene)
    changes = {kind: after[kind] - before[kind] for kind in before}
    assert changes == {
        AccountKind.SETTLEMENT: 0,
        AccountKind.CLEARING: -70,
        AccountKind.VOSTRO: 0,
    }


async def test_a_payout_comes_back_in_parts_although_the_receiver_has_nothing_with_us(scene):
    before = await balances(scene)
    settlement = await scene.bring(State.COMPLETED, payment=PAYMENT, minor=100)
    assert (await scene.account(AccountKind.VOSTRO)).available == 0
    part = back_of(settlement, Event.PARTLY_RETURNED, amount_minor=60, charges_minor=5)
    settlement = await scene.move(settlement, Event.PARTLY_RETURNED, back=part)
    settlement = await scene.move(settlement, Event.RETURNED)
    assert await legs_of(scene, settlement) == [
        *((1, Leg.CASH, 100), (1, Leg.OBLIGATION, 100), (1, Leg.PAID_OUT, 100)),
        *((2, Leg.CASH_RETURNED, 60), (2, Leg.OBLIGATION_RESTORED, 65)),
        *((2, Leg.RETURN_CHARGES, 5), (2, Leg.PAID_OUT_RETURNED, 65)),
        *((3, Leg.CASH_RETURNED, 35), (3, Leg.OBLIGATION_RESTORED, 35)),
        (3, Leg.PAID_OUT_RETURNED, 35),
    ]
    assert await balances(scene) == before
    assert (await scene.account(AccountKind.FEES)).posted == -5


async def test_a_booked_return_beside_that_of_a_payout_is_still_covered_or_not(scene):
    """Both in one batch: the payout's return neither uses up nor adds to what the receiver has."""
    booked = await scene.bring(State.COMPLETED, minor=100)
    paid_out = await scene.bring(State.COMPLETED, payment=PAYMENT, minor=500)
    steps = [scene.step(each, Event.RETURNED) for each in (paid_out, booked)]
    assert results(await scene.apply(*steps)) == [Result.APPLIED, Result.APPLIED]
    assert (await scene.account(AccountKind.VOSTRO)).available == 0


async def test_an_attestation_of_a_payout_that_is_disproved_moves_nothing(scene):
    settlement = await scene.bring(State.IN_DOUBT, payment=PAYMENT)
    settlement = await scene.move(settlement, Event.ATTESTED_SETTLED)
    before = await balances(scene)
    settlement = await scene.move(settlement, Event.DISPROVED)
    assert settlement.is_frozen
    assert await balances(scene) == before


@pytest.mark.parametrize(("bearer", "billed"), [("DEBT", 5), ("SHAR", 3), ("CRED", 0)])
async def test_charges_are_billed_to_from_where_it_bears_them(scene, bearer, billed):
    payment = msgspec.structs.replace(PAYMENT, charge_bearer=bearer)
    settlement = await scene.bring(State.COMPLETED, payment=payment, minor=100)
    before = await balances(scene)
    part = back_of(
        settlement,
        Event.PARTLY_RETURNED,
        amount_minor=60,
        charges_minor=5,
        rebilled_minor=billed,
    )
    settlement = await scene.move(settlement, Event.PARTLY_RETURNED, back=part)
    assert settlement.returns == (part,)
    after = await balances(scene)
    assert after[AccountKind.CLEARING] - before[AccountKind.CLEARING] == 65 - billed
    made = [each for each in await legs_of(scene, settlement) if each[1] is Leg.CHARGES_REBILLED]
    assert made == ([(2, Leg.CHARGES_REBILLED, billed)] if billed else [])


@pytest.mark.parametrize(
    ("bearer", "billed"), [("DEBT", 4), ("SHAR", 6), ("CRED", 5), ("SLEV", 1), ("", 1)]
)
async def test_charges_that_from_does_not_bear_are_not_billed(scene, bearer, billed):
    payment = msgspec.structs.replace(PAYMENT, charge_bearer=bearer)
    settlement = await scene.bring(State.COMPLETED, payment=payment, minor=100)
    before = await scene.everything(settlement)
    part = back_of(
        settlement,
        Event.PARTLY_RETURNED,
        amount_minor=60,
        charges_minor=5,
        rebilled_minor=billed,
    )
    with pytest.raises(InvariantViolated):
        await scene.move(settlement, Event.PARTLY_RETURNED, back=part)
    assert await scene.everything(settlement) == before
