"""Dead letters over gRPC and JSON: listed, shown, retried, dropped."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from hashlib import sha256

import grpc
import pytest

from settlement_engine.api.pages import make_token
from settlement_engine.domain.deadletters import DeadLetterOutcome
from settlement_engine.errors import IdempotencyConflict, Overloaded
from settlement_engine.proto import settlement_pb2 as pb

GOOD = {
    "obligation_id": "OBL-1",
    "from_bank": "ALPHA",
    "to_bank": "BETA",
    "amount": "12.50",
    "currency": "EUR",
}


async def keep_dead_letter(edge, body=GOOD, why="it could not be read"):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    await edge.world.dead_letters.keep_dead_letter("clearing.instructions", payload, why)
    [dead_letter] = await edge.world.dead_letters.dead_letters(1)
    return dead_letter.id


async def retry(edge, dead_letter_id, **fields):
    return await edge.intake.RetryDeadLetter(
        pb.RetryDeadLetterRequest(id=dead_letter_id, **fields), timeout=10
    )


async def drop(edge, dead_letter_id, reason="a test of theirs", **fields):
    return await edge.intake.DropDeadLetter(
        pb.DropDeadLetterRequest(id=dead_letter_id, reason=reason, **fields), timeout=10
    )


def outcomes(dead_letter):
    return [act.outcome for act in dead_letter.acts]


async def test_dead_letters_are_listed_newest_first_without_payloads(edge):
    made = [await keep_dead_letter(edge, b"x" * number) for number in range(1, 6)]
    await drop(edge, made[4])
    first = await edge.intake.ListDeadLetters(pb.ListDeadLettersRequest(page_size=3), timeout=10)
    assert [each.id for each in first.letters] == [4, 3, 2]
    assert [each.payload_bytes for each in first.letters] == [4, 3, 2]
    assert {each.payload for each in first.letters} == {b""}
    request = pb.ListDeadLettersRequest(page_size=3, page_token=first.next_page_token)
    rest = await edge.intake.ListDeadLetters(request, timeout=10)
    assert [each.id for each in rest.letters] == [1]
    assert rest.next_page_token == ""
    request = pb.ListDeadLettersRequest(with_ended=True)
    everything = await edge.intake.ListDeadLetters(request, timeout=10)
    assert [(each.id, each.is_open) for each in everything.letters][:2] == [(5, False), (4, True)]
    other = pb.ListDeadLettersRequest(with_ended=True, page_token=first.next_page_token)
    forged = [
        pb.ListDeadLettersRequest(page_token=make_token((False,), place))
        for place in ("9" * 30, "0", "x")
    ]
    for wrong in (other, *forged):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await edge.intake.ListDeadLetters(wrong, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_dead_letter_is_shown_with_its_payload(edge):
    dead_letter_id = await keep_dead_letter(edge, b"\x00rubbish")
    found = await edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=dead_letter_id), timeout=10)
    assert (found.payload, found.why, found.is_open) == (
        b"\x00rubbish",
        "it could not be read",
        True,
    )
    status, body, _ = await edge.post("GetDeadLetter", {"id": dead_letter_id})
    assert status == 200
    assert base64.b64decode(body["payload"]) == b"\x00rubbish"


@pytest.mark.parametrize("dead_letter_id", [0, -1, 99])
async def test_an_unknown_dead_letter_is_not_found(edge, dead_letter_id):
    for ask in (
        lambda: edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=dead_letter_id), timeout=10),
        lambda: retry(edge, dead_letter_id),
        lambda: drop(edge, dead_letter_id),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_retried_dead_letter_is_submitted_once_as_clearing(edge):
    dead_letter_id = await keep_dead_letter(edge)
    answer = await retry(edge, dead_letter_id, who="mara")
    [act] = answer.acts
    assert (act.outcome, act.who, act.words) == ("ACCEPTED", "mara (local)", "")
    assert not answer.is_open
    [settlement] = edge.world.settlements.values()
    assert act.settlement_id == str(settlement.id)
    assert settlement.instruction.caller == "clearing"
    again = await retry(edge, dead_letter_id)
    assert again == answer
    assert len(edge.world.submitted) == 1


async def test_retrying_an_accepted_message_is_a_replay(edge):
    first = await keep_dead_letter(edge)
    await retry(edge, first)
    second = await keep_dead_letter(edge)
    answer = await retry(edge, second)
    assert outcomes(answer) == ["REPLAYED"]
    assert len(edge.world.settlements) == 1


async def test_a_dead_letter_refused_again_stays_open_with_the_new_reason(edge):
    dead_letter_id = await keep_dead_letter(edge, b"rubbish")
    answer = await retry(edge, dead_letter_id)
    assert outcomes(answer) == ["REFUSED"]
    assert answer.is_open
    assert answer.acts[0].words
    assert edge.world.submitted == []
    conflicting = await keep_dead_letter(edge)
    what = "the idempotency key stands for another instruction"
    edge.world.failures["OBL-1"] = IdempotencyConflict(what, field="amount")
    answer = await retry(edge, conflicting)
    assert outcomes(answer) == ["REFUSED"]
    assert what in answer.acts[0].words
    del edge.world.failures["OBL-1"]
    assert outcomes(await retry(edge, conflicting)) == ["REFUSED", "ACCEPTED"]


async def test_a_temporary_error_of_a_retry_is_not_recorded(edge):
    dead_letter_id = await keep_dead_letter(edge)
    edge.world.failures["OBL-1"] = Overloaded("too much at once", retry_after_seconds=1.0)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry(edge, dead_letter_id)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    dead_letter = await edge.world.dead_letters.dead_letter(dead_letter_id)
    assert dead_letter.acts == ()


async def test_a_retry_is_recorded_even_if_its_caller_disconnects(edge):
    dead_letter_id = await keep_dead_letter(edge)
    may_note, noting = asyncio.Event(), asyncio.Event()
    note = edge.world.dead_letters.note_dead_letter

    async def note_later(*arguments):
        noting.set()
        await may_note.wait()
        return await note(*arguments)

    edge.world.dead_letters.note_dead_letter = note_later
    call = edge.intake.RetryDeadLetter(pb.RetryDeadLetterRequest(id=dead_letter_id), timeout=10)
    asking = asyncio.ensure_future(call)
    await asyncio.wait_for(noting.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_note.set()
    await edge.calls.undisturbed.finished()
    dead_letter = await edge.world.dead_letters.dead_letter(dead_letter_id)
    assert [act.outcome for act in dead_letter.acts] == [DeadLetterOutcome.ACCEPTED]


async def test_a_dropped_dead_letter_stays_readable(edge):
    dead_letter_id = await keep_dead_letter(edge, b"rubbish")
    answer = await drop(edge, dead_letter_id, "a test of theirs", who="mara")
    [act] = answer.acts
    assert (act.outcome, act.who, act.words) == ("DROPPED", "mara (local)", "a test of theirs")
    assert (await drop(edge, dead_letter_id, "once more")) == answer
    found = await edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=dead_letter_id), timeout=10)
    assert found.payload == b"rubbish"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry(edge, dead_letter_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_an_accepted_dead_letter_cannot_be_dropped(edge):
    dead_letter_id = await keep_dead_letter(edge)
    await retry(edge, dead_letter_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drop(edge, dead_letter_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\x00b", "card 4111111111111111"])
async def test_an_invalid_reason_is_refused(edge, reason):
    dead_letter_id = await keep_dead_letter(edge)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drop(edge, dead_letter_id, reason)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status, body, _ = await edge.post("DropDeadLetter", {"id": dead_letter_id, "reason": reason})
    assert status == 400
    assert body["violations"][0]["field"] == "reason"


async def retry_many(edge, **fields):
    return await edge.intake.RetryDeadLetters(pb.RetryDeadLettersRequest(**fields), timeout=10)


async def drop_many(edge, reason="a test of theirs", **fields):
    return await edge.intake.DropDeadLetters(
        pb.DropDeadLettersRequest(reason=reason, **fields), timeout=10
    )


def good(number):
    return {**GOOD, "obligation_id": f"OBL-{number}"}


def numbers(answer):
    return [each.id for each in answer.letters]


async def test_a_truncated_dead_letter_cannot_be_retried(edge):
    payload = json.dumps(GOOD).encode()
    await edge.world.dead_letters.keep_dead_letter(
        "clearing.instructions", payload, "why", kept_bytes_max=5
    )
    found = await edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=1), timeout=10)
    assert (found.payload, found.payload_bytes, found.is_whole) == (
        payload[:5],
        len(payload),
        False,
    )
    assert found.payload_hash == sha256(payload).digest()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry(edge, 1)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "without its whole payload" in (refused.value.details() or "")
    assert numbers(await retry_many(edge)) == []
    assert outcomes((await drop_many(edge)).letters[0]) == ["DROPPED"]


async def test_many_dead_letters_are_retried_oldest_first_up_to_the_limit(edge):
    made = [await keep_dead_letter(edge, body) for body in (good(1), b"rubbish", good(3), good(4))]
    dry = await retry_many(edge, is_dry_run=True, limit=3)
    assert (numbers(dry), dry.next_after_id) == (made[:3], made[2])
    assert [outcomes(each) for each in dry.letters] == [[], [], []]
    assert edge.world.submitted == []
    first = await retry_many(edge, limit=3, who="mara")
    assert [outcomes(each) for each in first.letters] == [["ACCEPTED"], ["REFUSED"], ["ACCEPTED"]]
    assert {each.acts[0].who for each in first.letters} == {"mara (local)"}
    assert {each.payload for each in first.letters} == {b""}
    rest = await retry_many(edge, filter=pb.DeadLetterFilter(after_id=first.next_after_id))
    assert (numbers(rest), rest.next_after_id) == ([made[3]], 0)
    again = await retry_many(edge)
    assert numbers(again) == [made[1]], "what is at its end is not tried again"
    assert len(edge.world.settlements) == 3


async def test_dead_letters_are_selected_by_subject_and_time(edge):
    first = await keep_dead_letter(edge, good(1))
    await edge.world.dead_letters.keep_dead_letter("elsewhere", json.dumps(good(2)).encode(), "why")
    chosen = pb.DeadLetterFilter(subject="elsewhere")
    assert numbers(await retry_many(edge, filter=chosen)) == [first + 1]
    at = (await edge.world.dead_letters.dead_letter(first)).received_at + timedelta(days=1)
    late = pb.DeadLetterFilter()
    late.since.FromDatetime(at)
    assert numbers(await retry_many(edge, filter=late)) == []
    early = pb.DeadLetterFilter()
    early.until.FromDatetime(at)
    assert numbers(await retry_many(edge, filter=early)) == [first]


async def test_a_temporary_error_stops_a_bulk_retry_and_keeps_its_results(edge):
    made = [await keep_dead_letter(edge, good(number)) for number in (1, 2, 3)]
    edge.world.failures["OBL-2"] = Overloaded("too much at once", retry_after_seconds=1.0)
    answer = await retry_many(edge)
    assert numbers(answer) == made[:1]
    assert "too much at once" in answer.stopped_because
    assert answer.next_after_id == made[0]
    assert (await edge.world.dead_letters.dead_letter(made[1])).acts == ()


async def test_many_dead_letters_are_dropped_with_one_reason(edge):
    made = [await keep_dead_letter(edge, b"rubbish") for _ in range(3)]
    dry = await drop_many(edge, is_dry_run=True)
    assert (numbers(dry), [each.is_open for each in dry.letters]) == (made, [True] * 3)
    answer = await drop_many(edge, limit=2, who="mara")
    assert [act.words for each in answer.letters for act in each.acts] == ["a test of theirs"] * 2
    assert answer.next_after_id == made[1]
    assert numbers(await drop_many(edge)) == made[2:]


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("limit", {"limit": 101}),
        ("limit", {"limit": -1}),
        ("filter.subject", {"filter": {"subject": "a\x00b"}}),
        ("filter.after_id", {"filter": {"after_id": -1}}),
    ],
)
async def test_an_invalid_bulk_request_names_the_field(edge, field, body):
    await keep_dead_letter(edge, good(1))
    status, answer, _ = await edge.post("RetryDeadLetters", body)
    assert status == 400
    assert answer["violations"][0]["field"] == field
    status, answer, _ = await edge.post("DropDeadLetters", {**body, "reason": "a test"})
    assert status == 400
    status, answer, _ = await edge.post("DropDeadLetters", {"reason": " "})
    assert answer["violations"][0]["field"] == "reason"
    assert edge.world.submitted == []


async def test_an_invalid_instant_is_refused(edge):
    wrong = pb.DeadLetterFilter()
    wrong.since.seconds = 2**62
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry_many(edge, filter=wrong)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
