"""Evidence of what was paid out: its three transfers, what the payment says, and what a forger could change."""

from __future__ import annotations

import msgspec
import pytest

from settlement_engine.domain.ledger import Leg
from settlement_engine.domain.payment import (
    Delivery,
    PaymentAccount,
    PaymentDetails,
    PaymentParty,
)
from settlement_engine.evidence.bundle import read, write
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.rails.mock_message import read_terms
from tests.support.made_histories import dossier_of

VERSION = "1.2.3"
FINGERPRINT = "instruction and its fingerprint"
BYTES = "payment bytes and route are those that were locked"
PAYMENT = PaymentDetails(
    creditor=PaymentParty(name="Ada\u202e", account=PaymentAccount(iban="DE89370400440532013000")),
    remittance="invoice 4711",
)
SAID = {"payment": PAYMENT, "rail": "mock"}

replace = msgspec.structs.replace


def faults(dossier):
    made = verify(write(dossier, VERSION), VERSION, readers={"mock": read_terms})
    return {check.title for check in made.checks if not check.is_good}


def with_instruction(dossier, **changes):
    return replace(dossier, instruction=replace(dossier.instruction, **changes))


@pytest.mark.parametrize("name", ["locked", "completed", "partly_returned", "returned"])
async def test_a_payout_is_exported_and_verified_whole(name):
    dossier = await dossier_of(name, **SAID)
    assert faults(dossier) == set()
    assert read(write(dossier, VERSION)) == dossier
    assert dossier.instruction.payment == PAYMENT
    assert dossier.attempts[0].delivery is Delivery.PAY_OUT


async def test_an_attestation_that_is_disproved_has_no_transfer_of_its_own():
    dossier = await dossier_of("completed_by_attestation_and_disproved", **SAID)
    assert faults(dossier) == set()
    assert [each.leg for each in dossier.transfers] == [Leg.CASH, Leg.OBLIGATION, Leg.PAID_OUT]


async def test_a_transfer_that_was_left_out_is_noticed():
    dossier = await dossier_of("returned", **SAID)
    for leg in (Leg.PAID_OUT, Leg.PAID_OUT_RETURNED):
        rest = tuple(each for each in dossier.transfers if each.leg != leg)
        assert len(rest) == len(dossier.transfers) - 1
        assert faults(replace(dossier, transfers=rest))


async def test_another_delivery_than_the_locked_one_is_noticed():
    dossier = await dossier_of("completed", **SAID)
    [attempt] = dossier.attempts
    booked = replace(dossier, attempts=(replace(attempt, delivery=Delivery.BOOK),))
    assert BYTES in faults(booked)
    assert faults(with_instruction(dossier, delivery=Delivery.BOOK)) >= {BYTES, FINGERPRINT}


@pytest.mark.parametrize(
    "changes",
    [
        {"payment": replace(PAYMENT, remittance="another")},
        {"rail": "swift"},
        {"rail": ""},
        {"delivery": Delivery.PAY_OUT},
    ],
)
async def test_other_details_than_those_that_were_received_are_noticed(changes):
    dossier = await dossier_of("locked", **SAID)
    assert faults(with_instruction(dossier, **changes)) >= {FINGERPRINT}


async def test_the_explanation_says_what_the_payment_says_and_whose_account_moves():
    text = as_text(explain(await dossier_of("returned", **SAID)))
    assert "The payment says: creditor Ada\\u202e, DE89370400440532013000; remittance" in text
    assert "The caller named the rail mock." in text
    assert "It is paid out: ALFA7 pays BETA7, or its customer" in text
    assert "Moved (paid out): 5.00 EUR" in text
    assert "Moved (payout returned): 5.00 EUR" in text


async def test_what_says_nothing_has_files_as_before():
    dossier = await dossier_of("completed")
    files = write(dossier, VERSION)
    assert b'"delivery"' not in files["attempts.json"]
    assert not {b'"payment"', b'"rail"'} & set(files["instruction.json"].split())
