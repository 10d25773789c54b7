from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from nats.aio.client import Client

from settlement_engine.domain.announcement import POSITIONS_PER_EPOCH
from settlement_engine.domain.lifecycle import STATUS, TRANSITIONS, is_recorded
from settlement_engine.events.announce import (
    BODY_BYTES_MAX,
    GENERATION,
    Announcer,
    Body,
    rfc3339,
)
from tests.unit.events.fakes import announcement

ANNOUNCER = Announcer(prefix="settlement", source="/settlement-engine/test")
MOVES = [
    (state, event, row.state)
    for state, rows in TRANSITIONS.items()
    for event, row in rows.items()
    if is_recorded(state, row)
]


def headers_of(message):
    return Client._parse_header_lines(message.headers.encode())


@pytest.mark.parametrize("move", MOVES, ids=lambda move: f"{move[0]}-{move[1]}")
def test_every_move_of_the_page_can_be_announced(move):
    message = ANNOUNCER.message(announcement(9, settlement=3, seq=2, move=move))
    headers = headers_of(message)
    body = json.loads(message.body)
    assert message.subject == headers["ce-type"] == body["event_type"]
    assert body["state"] == move[2].name
    assert body["previous_state"] == move[0].name
    assert body["event"] == move[1].name
    assert body["status"] == STATUS[move[2]].name
    assert headers["ce-sequence"] == "9" == str(body["sequence"])
    assert headers["ce-id"] == headers["Nats-Msg-Id"] == message.event_id == body["event_id"]
    assert message.event_id == f"{body['settlement_id']}.{body['seq']}"


@pytest.mark.parametrize("system_epoch", [0, 1, 12])
def test_the_settlement_is_named_by_its_own_name_in_every_epoch(system_epoch):
    told = announcement(system_epoch * POSITIONS_PER_EPOCH + 9, settlement=3, seq=2)
    message = ANNOUNCER.message(told)
    name = str(told.moved.settlement_id)
    assert headers_of(message)["ce-subject"] == name == json.loads(message.body)["settlement_id"]
    assert message.event_id == (f"{name}.2.{system_epoch}" if system_epoch else f"{name}.2")


def test_the_same_move_gives_the_same_bytes():
    one = announcement(5, detail={"text": "the bank's words"})
    assert ANNOUNCER.message(one) == Announcer(
        prefix="settlement", source="/settlement-engine/test"
    ).message(one)


@pytest.mark.parametrize("detail", [{}, {"text": 'ä "quoted" \u2028 \x01', "code": "\\"}])
@pytest.mark.parametrize("obligation_id", ["O-1", 'Ö"\\\u0007'])
@pytest.mark.parametrize("compensates", [None, UUID(int=9)])
def test_what_is_put_together_is_what_would_be_written_whole(obligation_id, detail, compensates):
    told = msgspec.structs.replace(
        announcement(5, settlement=4, seq=2, detail=detail),
        obligation_id=obligation_id,
        compensates=compensates,
    )
    body = Announcer(prefix="settlement", source="/x").message(told).body
    assert body.encode() == msgspec.json.encode(msgspec.json.decode(body, type=Body, strict=True))
    fields = [name for name in Body.__struct_fields__ if compensates or name != "compensates"]
    assert list(json.loads(body)) == fields
    assert json.loads(body).get("compensates", "") == str(compensates or "")
    assert json.loads(body)["obligation_id"] == obligation_id


def test_texts_are_kept_for_two_generations_and_no_longer():
    announcer = Announcer(prefix="settlement", source="/x")
    for number in range(3 * GENERATION):
        announcer.message(announcement(number + 1, settlement=number))
    assert len(announcer._new_generation) + len(announcer._old_generation) == 2 * GENERATION


def test_the_subject_has_the_configured_prefix_and_the_type_has_not():
    message = Announcer(prefix="bank.settle", source="/x").message(announcement(1))
    assert message.subject == "bank.settle.accepted"
    assert headers_of(message)["ce-type"] == "settlement.accepted"


def test_words_of_others_stay_in_the_body():
    text = 'x\r\nNats-Rollup: all\r\n\r\n"quoted" \u0001 ⚠'
    message = ANNOUNCER.message(announcement(1, detail={"text": text, "code": text}))
    assert json.loads(message.body)["detail"] == {"text": text, "code": text}
    assert set(headers_of(message)) == set(headers_of(ANNOUNCER.message(announcement(1))))
    assert message.headers.isascii()


def test_overlong_details_are_shortened_and_the_facts_stay():
    message = ANNOUNCER.message(
        announcement(1, detail={f"key{n}": "y" * 9_000 for n in range(100)})
    )
    assert len(message.body.encode()) < BODY_BYTES_MAX
    body = json.loads(message.body)
    assert body["amount"] == "12.50"
    assert body["detail"]["key0"] == "y" * 1_000


def test_times_are_in_utc_with_microseconds():
    dubai = timezone(timedelta(hours=4))
    assert rfc3339(datetime(2026, 1, 31, 9, 30, tzinfo=UTC)) == "2026-01-31T09:30:00.000000Z"
    assert rfc3339(datetime(2026, 1, 31, 1, 30, 0, 7, dubai)) == "2026-01-30T21:30:00.000007Z"


@pytest.mark.parametrize("prefix", ["", "a b", "a.>", "*", "a..b", "a\r\n"])
def test_a_prefix_that_is_no_subject_is_refused(prefix):
    with pytest.raises(AssertionError):
        Announcer(prefix=prefix, source="/x")


@pytest.mark.parametrize("source", ["", "a b", "a\r\nb", "ü"])
def test_a_source_that_could_break_a_header_is_refused(source):
    with pytest.raises(AssertionError):
        Announcer(prefix="settlement", source=source)
