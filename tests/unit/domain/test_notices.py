"""Notices: types, ids and fields follow from the fact alone, and nobody takes one for a move."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec import structs

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH
from settlement_engine.domain.notices import (
    NOTICE_TYPES,
    BreakEscalated,
    DayProved,
    DiscrepancyReported,
    OutboxNotice,
    RecallStepped,
    is_notice_id,
    notice_fields,
    notice_id,
    notice_subject,
    notice_type,
)
from settlement_engine.domain.recalls import RecallState
from settlement_engine.events.held import announced_in
from settlement_engine.events.notice_messages import NoticeAnnouncer, notice_position_in

if TYPE_CHECKING:
    from settlement_engine.domain.notices import NoticedFact

AT = datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=UTC)
RUN = UUID("0199c2d4-7a10-7f00-8c11-5a5a5a5a5a5a")
DISCREPANCY = DiscrepancyReported(
    run_id=RUN,
    currency="JPY",
    started_for="schedule",
    report_date=None,
    total_accounts=3,
    balanced_accounts=1,
    discrepancy_accounts=2,
    total_discrepancy_minor="12345678901234567890123456789",
    outcomes={"pending": 1, "balanced": 1, "failed": 1},
    open_breaks=4,
)
ESCALATION = BreakEscalated(
    break_id=7,
    number=3,
    level=2,
    owner="lead",
    due_at=AT,
    account_id=5,
    bank="ALPHA",
    currency="KWD",
    amount_minor="-66",
    kind="UNKNOWN_DEBIT",
    severity=3,
    business_date=date(2026, 1, 30),
)
RECALL = RecallStepped(
    settlement_id=UUID(int=9),
    seq=2,
    state=RecallState.REFUSED,
    obligation_id="OBL",
    from_bank="ALPHA",
    to_bank="BETA",
    amount_minor=1250,
    currency="EUR",
    detail={"text": "no\r\nce-id: 1", "code": "LEGL"},
)
PROOF = DayProved(
    proof_id=11,
    account_id=5,
    bank="ALPHA",
    currency="EUR",
    booking_date=date(2026, 1, 30),
    run_id=RUN,
    is_zero=True,
    our_closing_minor="-5",
    their_closing_minor="-5",
    unmatched_ours=0,
    unmatched_theirs=1,
)
FACTS: dict[str, tuple[NoticedFact, str, str]] = {
    "discrepancy": (
        DISCREPANCY,
        "settlement.reconciliation.discrepancy",
        f"discrepancy.{RUN}.JPY",
    ),
    "escalation": (ESCALATION, "settlement.break.escalated", "escalation.7.3"),
    "recall": (RECALL, "settlement.recall.refused", f"recall.{UUID(int=9)}.2"),
    "proof": (PROOF, "settlement.reconciliation.reconciled", "proof.11"),
    "reopened": (
        structs.replace(PROOF, is_zero=False),
        "settlement.reconciliation.reopened",
        "proof.11",
    ),
}
ANNOUNCER = NoticeAnnouncer(prefix="settlement", source="/settlement-engine")


def noticed(fact: NoticedFact, position: int = 3) -> OutboxNotice:
    return OutboxNotice(position=position, at=AT, fact=fact)


@pytest.mark.parametrize(("fact", "kind", "name"), FACTS.values(), ids=FACTS)
def test_type_and_id_follow_from_the_fact(fact, kind, name):
    assert notice_type(fact) == kind
    assert notice_id(noticed(fact)) == name
    assert notice_id(noticed(fact, 7 * POSITIONS_PER_EPOCH + 1)) == f"{name}.7"
    assert is_notice_id(name)
    assert kind in NOTICE_TYPES


def test_every_type_has_a_word_more_than_that_of_a_move():
    assert len(set(NOTICE_TYPES)) == len(NOTICE_TYPES)
    assert {kind.count(".") for kind in NOTICE_TYPES} == {2}
    assert {kind for kind in NOTICE_TYPES if ".recall." in kind} == {
        f"settlement.recall.{state.value}" for state in RecallState
    }


@pytest.mark.parametrize("fact", [fact for fact, _, _ in FACTS.values()], ids=FACTS)
def test_a_message_is_a_notice_and_never_a_move(fact):
    """An engine of the version before must take it for somebody else's."""
    message = ANNOUNCER.message(noticed(fact))
    headers = dict(line.split(": ", 1) for line in message.headers.split("\r\n") if line)
    body = json.loads(message.body)
    assert announced_in(headers) is None
    assert notice_position_in(headers) == body["notice_sequence"] == 3
    assert (
        headers["Nats-Msg-Id"] == headers["ce-id"] == body["event_id"] == notice_id(noticed(fact))
    )
    assert headers["ce-type"] == body["event_type"] == message.subject == notice_type(fact)
    assert headers["ce-time"] == body["time"] == "2026-01-31T09:30:00.000005Z"
    assert headers["ce-subject"] == notice_subject(fact)
    assert not {"ce-sequence"} & headers.keys()
    assert not {"sequence", "seq"} & body.keys()
    assert body["link"].startswith("/settlement.")
    assert message == ANNOUNCER.message(noticed(fact)), "the same bytes"


def test_amounts_have_the_decimals_of_their_currency():
    assert notice_fields(DISCREPANCY)["total_discrepancy"] == "12345678901234567890123456789"
    assert notice_fields(ESCALATION)["amount"] == "-0.066"
    assert notice_fields(RECALL)["amount"] == "12.50"
    assert notice_fields(PROOF)["our_closing"] == "-0.05"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ce-noticesequence": "0", "ce-id": "proof.1"},
        {"ce-noticesequence": "-1", "ce-id": "proof.1"},
        {"ce-noticesequence": "9" * 30, "ce-id": "proof.1"},
        {"ce-noticesequence": "٣", "ce-id": "proof.1"},
        {"ce-noticesequence": "3", "ce-id": "move.1"},
        {"ce-noticesequence": "3"},
        {"ce-noticesequence": "3", "ce-id": f"{UUID(int=1)}.3"},
    ],
)
def test_what_no_notice_can_have_is_not_ours(headers):
    assert notice_position_in(headers) is None
