"""Evidence of a payment that was altered does not pass, however well the forger seals it."""

from __future__ import annotations

import hashlib
from dataclasses import replace as altered
from datetime import timedelta

import msgspec
import pytest

from settlement_engine.domain.identifiers import References, content_hash
from settlement_engine.domain.intent import INTENT, PaymentTerms
from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.evidence.bundle import read, write
from settlement_engine.evidence.dossier import MessageRecord, MessagesRecord
from settlement_engine.evidence.verification import verify
from settlement_engine.rails.mock_message import read_terms
from tests.support.made_histories import HISTORIES, dossier_of, live

VERSION = "1.2.3"
BYTES = "payment bytes and route are those that were locked"
ROUTE = "route is the instruction's"
COVERS = "covers are those whose send intent was recorded"
TERMS = "payment bytes say what was asked for"
ASKED = PaymentTerms(from_bank="ALFA7", to_bank="BETA7", amount="5.00", currency="EUR")
READERS = {"mock": read_terms}
LOCKED = [
    name
    for name, happened in HISTORIES.items()
    if any(each.event == "cleared" for each in happened)
]

replace = msgspec.structs.replace


def faults(dossier, readers=READERS):
    """Seal the records anew, as a forger would, and name the checks that they fail."""
    made = verify(write(dossier, VERSION), VERSION, readers=readers)
    return {check.title for check in made.checks if not check.is_good}


def with_attempt(dossier, **changes):
    [attempt] = dossier.attempts
    return replace(dossier, attempts=(replace(attempt, **changes),))


def with_payload(dossier, payload):
    sha256 = hashlib.sha256(payload).hexdigest()
    altered = with_attempt(dossier, payload_sha256=sha256, payload_bytes=len(payload))
    return replace(altered, payloads={1: payload})


def with_instruction(dossier, **changes):
    payment_request = replace(dossier.instruction, **changes)
    content = {
        "obligation_id": payment_request.obligation_id,
        "from_bank": payment_request.from_bank,
        "to_bank": payment_request.to_bank,
        "amount": payment_request.amount_minor,
        "currency": payment_request.currency,
        "settlement_date": None,
        "priority": payment_request.priority,
        "metadata": payment_request.metadata,
    }
    sealed = replace(payment_request, content_sha256=content_hash(content).hex())
    return replace(dossier, instruction=sealed)


def aged(dossier):
    """Take the moves for those of a version that kept no hash."""
    moves = [
        replace(move, detail={key: text for key, text in move.detail.items() if key not in INTENT})
        for move in dossier.moves
    ]
    return replace(dossier, moves=tuple(moves))


@pytest.mark.parametrize("name", LOCKED)
async def test_what_was_sent_is_what_was_asked_for(name):
    dossier = await dossier_of(name)
    assert faults(dossier) == set()
    assert faults(aged(dossier)) == set()
    files = write(dossier, VERSION)
    assert read(files) == dossier


async def test_bytes_that_were_not_locked_are_noticed():
    dossier = await dossier_of("completed")
    other = dossier.payloads[1] + b" "
    assert faults(with_payload(dossier, other)) == {BYTES}
    assert faults(with_payload(aged(dossier), other)) == set(), "these know no hash"
    assert faults(with_payload(aged(dossier), b"rubbish")) == {TERMS}


async def test_a_trace_that_was_not_locked_is_noticed():
    dossier = await dossier_of("completed")
    assert faults(with_attempt(dossier, trace="091000010000001")) == {BYTES}
    moves = [
        replace(move, detail=move.detail | {"trace": "091000010000001"})
        if move.event == "cleared"
        else move
        for move in dossier.moves
    ]
    locked = replace(dossier, moves=tuple(moves))
    assert faults(locked) == {BYTES}
    traced = with_attempt(locked, trace="091000010000001")
    assert faults(traced) == set()
    assert read(write(traced, VERSION)) == traced


async def test_what_the_bytes_say_is_compared_with_the_instruction():
    dossier = aged(await dossier_of("completed"))
    for change in ({"to_bank": "EVIL"}, {"from_bank": "EVIL"}, {"amount": "99.00"}):
        shown = replace(ASKED, **change)
        assert faults(dossier, {"mock": lambda _, shown=shown: shown}) == {TERMS}
    assert faults(dossier, {"mock": lambda _: None}) == {TERMS}
    other = replace(dossier.attempts[0], uetr=dossier.standing.settlement_id)
    names = References(
        uetr=other.uetr, end_to_end_id=other.end_to_end_id, message_id=other.message_id
    )
    assert faults(dossier, {"mock": lambda _: replace(ASKED, references=names)}) == {TERMS}


async def test_a_rail_that_cannot_be_read_here_is_named():
    dossier = await dossier_of("completed")
    made = verify(write(dossier, VERSION), VERSION)
    [check] = [each for each in made.checks if each.title == TERMS]
    assert check.is_good
    assert "mock" in check.note


async def test_a_route_that_was_not_locked_is_noticed():
    dossier = await dossier_of("locked")
    [attempt] = dossier.attempts
    later = attempt.valid_until + timedelta(microseconds=1)
    assert faults(with_attempt(dossier, valid_until=later)) == {BYTES}
    other = with_attempt(dossier, target_id=attempt.clearing_id)
    assert faults(other) >= {BYTES, ROUTE}
    assert faults(aged(other)) >= {ROUTE}
    assert BYTES not in faults(aged(other))
    swapped = with_attempt(dossier, target_id=attempt.agent_id, agent_id=attempt.target_id)
    assert faults(aged(swapped)) == {ROUTE}


async def test_banks_that_were_not_paid_are_noticed():
    dossier = await dossier_of("completed")
    assert faults(with_instruction(dossier, to_bank="EVIL")) == {ROUTE, TERMS}
    assert faults(with_instruction(dossier, from_bank="EVIL")) == {ROUTE, TERMS}
    assert faults(with_instruction(dossier, to_bank="beta7")) == {TERMS}, (
        "one bank, and other bytes"
    )


async def test_a_lock_without_its_attempt_is_noticed():
    dossier = await dossier_of("sent")
    [attempt] = dossier.attempts
    assert BYTES in faults(replace(dossier, attempts=(), payloads={}))
    second = replace(attempt, number=2)
    twice = replace(dossier, attempts=(attempt, second), payloads=dict.fromkeys((1, 2), b""))
    assert BYTES in faults(twice)


async def test_the_fingerprint_is_the_one_that_was_kept_when_it_was_taken_in():
    """A row that was altered before the export does not get a fingerprint of its own."""
    settlement, stores = await live("completed")
    history = stores.records.histories[settlement.id]
    history.instruction = altered(history.instruction, obligation_id="another")
    dossier = await stores.archive.dossier(settlement.id)
    assert "instruction and its fingerprint" in faults(dossier)


async def test_the_send_intent_of_a_cover_names_a_message_that_was_sent():
    dossier = await dossier_of("sent")
    sent = next(move for move in dossier.moves if move.to_state is State.SENT)
    cover = MessageRecord(
        direction=MessageDirection.OUT,
        attempt=1,
        rail="swift_cover",
        type="pacs.009.001.08",
        message_id="CG1",
        response_status=0,
        at=sent.at,
        sha256="a" * 64,
        bytes=7,
        file="",
    )
    dossier = replace(dossier, messages=MessagesRecord(latest=(cover,)))
    for sha256, is_sent in (("a" * 64, True), ("b" * 64, False)):
        due = replace(sent, event=Event.COVER_DUE, detail={"cover": "1", "cover_sha256": sha256})
        moves = tuple(due if move is sent else move for move in dossier.moves)
        assert (COVERS not in faults(replace(dossier, moves=moves))) is is_sent
