"""Histories of settlements, made move by move in the store in memory, for explanations and exports."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.intent import intent_detail
from settlement_engine.domain.lifecycle import ENDS, TRANSITIONS, Event, State
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.proposals import ATTESTED
from settlement_engine.evidence.dossier import EntryRecord
from settlement_engine.ports import ProposalSpec
from settlement_engine.rails.mock_message import MockPayment, write_payment
from settlement_lab.memory import Records
from settlement_lab.memory.resolutions import MemoryResolutions
from tests.support.histories import EXCEPTIONS, Scene
from tests.support.made_covers import intent_of, new_cover
from tests.support.stores import MemoryStores

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.evidence.dossier import Dossier, MoveRecord

E = Event
BEGAN = datetime(2026, 1, 31, 9, 30, 0, 125_000, tzinfo=UTC)
NUMBER = 7
"""The number of the banks, so that their names do not depend on earlier tests."""


class TickingClock:
    """A clock that advances by one second at each reading."""

    def __init__(self) -> None:
        self._now = BEGAN

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


@dataclass(frozen=True)
class Happens:
    """An event, with the details that came with it, and how long the settlement is parked after it."""

    event: Event
    detail: dict[str, str] = field(default_factory=dict)
    refusal: RefusalCode | None = None
    due_seconds: float | None = 5.0


def happens(event: Event, code_of_ours: RefusalCode | None = None, **detail: str) -> Happens:
    if code_of_ours is not None:
        detail["refusal"] = code_of_ours.value  # as the engine writes it
    return Happens(event, detail, code_of_ours)


LOCKED = Happens(E.CLEARED, due_seconds=None)
DOUBTED = (LOCKED, happens(E.NO_ANSWER))
SENT = (LOCKED, happens(E.ACKNOWLEDGED, code="ACSP"))
SETTLED = happens(E.SETTLED, code="ACSC", rail_reference="R-1", confirmation="CONF-7")
REJECTED = happens(E.REJECTED, RefusalCode.RAIL_REJECTED, code="AC04", text="closed")
COMPLETED = (LOCKED, SETTLED)
RECALLING = (*SENT, happens(E.CANCELLED))
PAPER = {"evidence_sha256": "ab" * 32}

HISTORIES: dict[str, tuple[Happens, ...]] = {
    "validating_without_an_answer": (happens(E.NO_ANSWER), happens(E.NO_ANSWER)),
    "held": (Happens(E.PARKED, {"text": "looks odd"}, None, math.inf),),
    "queued": (happens(E.POSTPONED, next_opening="2026-02-02T08:00:00+00:00"),),
    "released_from_the_queue": (happens(E.POSTPONED), happens(E.RELEASED)),
    "locked": (LOCKED,),
    "locked_and_not_delivered": (LOCKED, happens(E.UNDELIVERED)),
    "in_doubt": (*DOUBTED, *[happens(E.NO_ANSWER)] * 14),
    "sent": (*SENT, happens(E.NO_ANSWER), happens(E.ACKNOWLEDGED), happens(E.NOT_FOUND)),
    "recalling": (*RECALLING, happens(E.ACKNOWLEDGED), happens(E.NO_ANSWER)),
    "stuck_in_doubt": (*DOUBTED, Happens(E.NO_ANSWER, {}, None, math.inf)),
    "completed": COMPLETED,
    "completed_after_doubt": (*DOUBTED, happens(E.NO_ANSWER), happens(E.NOT_FOUND), SETTLED),
    "completed_by_attestation": (*DOUBTED, happens(E.ATTESTED_SETTLED, None, **PAPER)),
    "completed_although_recalled": (*RECALLING, SETTLED),
    "failed_by_refusal": (
        happens(
            E.REFUSED,
            RefusalCode.INSUFFICIENT_FUNDS,
            required="5.00",
            available="1.00",
            currency="EUR",
        ),
    ),
    "failed_by_the_caller": (happens(E.CANCELLED, RefusalCode.CANCELLED_BY_CALLER),),
    "failed_by_a_person": (
        happens(E.PARKED),
        happens(E.DECLINED, RefusalCode.DECLINED),
    ),
    "failed_in_the_queue": (
        happens(E.POSTPONED),
        happens(E.LAPSED, RefusalCode.LAPSED),
    ),
    "rolled_back_by_rejection": (LOCKED, REJECTED),
    "rolled_back_undelivered": (
        LOCKED,
        happens(E.ABANDONED, RefusalCode.UNDELIVERED),
    ),
    "rolled_back_by_recall": (
        *RECALLING,
        happens(E.RECALLED, RefusalCode.CANCELLED_BY_CALLER),
    ),
    "rolled_back_by_attestation": (
        *DOUBTED,
        happens(E.ATTESTED_NOT_SETTLED, RefusalCode.ATTESTED_NOT_SETTLED, **PAPER),
    ),
    "returned": (*COMPLETED, happens(E.RETURNED, code="FOCR", text="wanted back")),
    "returned_in_parts": (
        *COMPLETED,
        happens(E.PARTLY_RETURNED, code="FOCR"),
        happens(E.PARTLY_UNCOVERED, code="FOCR"),
        happens(E.RETURNED, code="FOCR"),
    ),
    "partly_returned": (*COMPLETED, happens(E.PARTLY_RETURNED, code="FOCR")),
    "another_amount": (*SENT, happens(E.AMOUNT_DIFFERED, said="settled", amount_minor="499")),
    "returned_without_cover": (*COMPLETED, happens(E.UNCOVERED, code="FOCR")),
    "rolled_back_by_attestation_and_disproved": (
        *DOUBTED,
        happens(E.ATTESTED_NOT_SETTLED, RefusalCode.ATTESTED_NOT_SETTLED, **PAPER),
        happens(E.DISPROVED, said="settled", code="ACSC"),
    ),
    "completed_by_attestation_and_disproved": (
        *DOUBTED,
        happens(E.ATTESTED_SETTLED, None, **PAPER),
        happens(E.DISPROVED, said="rejected", code="RJCT"),
    ),
    "completed_by_a_statement": (
        *DOUBTED,
        happens(E.SETTLED, None, statement="17", statement_entry="3", statement_says="debit"),
    ),
    "debited_twice": (
        *COMPLETED,
        happens(
            E.DEBITED_TWICE,
            said="settled",
            statement="17",
            statement_entry="3",
            statement_says="second_debit",
        ),
    ),
    "covered": (LOCKED, happens(E.COVER_DUE, code="ACSP")),
    "completed_after_its_second_cover": (
        *DOUBTED,
        *[happens(E.COVER_DUE, code="ACSP")] * 2,
        happens(E.ACKNOWLEDGED, code="ACSP"),
        SETTLED,
    ),
    "contradicted": (*COMPLETED, happens(E.CONTRADICTED, said="rejected", code="RJCT")),
}
"""Every final state and every parked state, and the paths to them that are explained differently."""


async def live(name: str, **payment_requests: Any) -> tuple[Settlement, MemoryStores]:
    """Make one of the histories in a store of its own."""
    stores = MemoryStores(Records(clock=TickingClock()))
    scene = await Scene.open(stores, number=NUMBER)
    request = {"idempotency_key": f"key-{name}", "obligation_id": f"OBL-{name}", "minor": 500}
    settlement = await scene.new(**request | payment_requests)
    for each in HISTORIES[name]:
        await _attest(stores, settlement, each.event)
        told = dict(each.detail)
        attempt = None
        if each.event is E.CLEARED:
            attempt = _mock_attempt(scene, settlement)
            told |= intent_detail(attempt)
        if each.event is E.COVER_DUE:
            told |= intent_of(new_cover(settlement).cover)
        if each.event in EXCEPTIONS:
            told["exception"] = EXCEPTIONS[each.event].value
        changes: dict[str, Any] = {"detail": told, "due_seconds": each.due_seconds}
        if attempt is not None:
            changes["attempt"] = attempt
        detail = {key: text for key, text in each.detail.items() if key != "refusal"}
        changes["refusal"] = Refusal(code=each.refusal, detail=detail) if each.refusal else None
        settlement = await scene.move(settlement, each.event, **changes)
    return settlement, stores


def _mock_attempt(scene: Scene, settlement: Settlement) -> Attempt:
    """Make an attempt whose bytes are a message of the mock rail."""
    attempt, payment_request = scene.attempt(settlement), settlement.instruction
    message = MockPayment(
        uetr=attempt.references.uetr,
        end_to_end_id=attempt.references.end_to_end_id,
        message_id=attempt.references.message_id,
        settlement_id=settlement.id,
        obligation_id=payment_request.obligation_id,
        from_bank=payment_request.from_bank,
        to_bank=payment_request.to_bank,
        amount=str(payment_request.amount),
        currency=payment_request.amount.currency,
        value_date=settlement.value_date,
    )
    return msgspec.structs.replace(attempt, payload=write_payment(message))


async def _attest(stores: MemoryStores, settlement: Settlement, event: Event) -> None:
    """Let two people attest what the event says, before the engine applies it."""
    found = [finding for finding, attested in ATTESTED.items() if attested is event]
    for finding in found:
        case_management = MemoryResolutions(stores.records)
        spec = ProposalSpec(
            settlement_id=settlement.id,
            finding=finding,
            reason="the bank's statement of the day",
            evidence_name="statement.pdf",
            evidence=b"%PDF a page",
            who="mara",
            valid_seconds=3600.0,
        )
        proposal = await case_management.propose(spec)
        await case_management.approve(proposal.id, "olaf", proposal.content_sha256)


async def dossier_of(name: str, **payment_requests: Any) -> Dossier:
    """Make one of the histories and copy everything about it."""
    settlement, stores = await live(name, **payment_requests)
    found = await stores.archive.dossier(settlement.id)
    assert found is not None
    entries = [_entry(found, move) for move in found.moves if "statement_entry" in move.detail]
    return msgspec.structs.replace(found, entries=tuple(entries))


def _entry(dossier: Dossier, move: MoveRecord) -> EntryRecord:
    """The booked debit of a statement on which a move stands."""
    attempt = dossier.attempts[-1]
    return EntryRecord(
        statement=int(move.detail["statement"]),
        entry=int(move.detail["statement_entry"]),
        detail=0,
        says=move.detail["statement_says"],
        told_minor=dossier.instruction.amount_minor,
        account_id=attempt.source_id,
        bank_statement_id="STM17",
        source="camt.053",
        content_sha256="0" * 64,
        file_sha256="1" * 64,
        booking_date=move.at.date(),
        amount_minor=-dossier.instruction.amount_minor,
        currency=dossier.instruction.currency,
        status="BOOKED",
        is_reversal=False,
        references=(attempt.end_to_end_id,),
        text="",
    )


def states_told() -> set[State]:
    """Return the states in which the histories are parked or ended."""
    return {_state(name) for name in HISTORIES}


def _state(name: str) -> State:
    state = State.VALIDATING
    for each in HISTORIES[name]:
        state = TRANSITIONS[state][each.event].state
    return state


assert states_told() >= ENDS
