"""Dead letters over gRPC and JSON: listed, shown, tried again, dropped."""

from __future__ import annotations

import asyncio
import base64
import json

import grpc
import pytest

from settlement_engine.api.pages import make_token
from settlement_engine.domain.deadletters import LetterOutcome
from settlement_engine.errors import IdempotencyConflict, Overloaded
from settlement_engine.proto import settlement_pb2 as pb

GOOD = {
    "obligation_id": "OBL-1",
    "from_bank": "ALPHA",
    "to_bank": "BETA",
    "amount": "12.50",
    "currency": "EUR",
}


async def bury(edge, body=GOOD, why="it could not be read"):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    await edge.world.letters.bury("clearing.instructions", payload, why)
    [letter] = await edge.world.letters.dead_letters(1)
    return letter.id


async def retry(edge, letter_id, **fields):
    return await edge.intake.RetryDeadLetter(
        pb.RetryDeadLetterRequest(id=letter_id, **fields), timeout=10
    )


async def drop(edge, letter_id, reason="a test of theirs", **fields):
    return await edge.intake.DropDeadLetter(
        pb.DropDeadLetterRequest(id=letter_id, reason=reason, **fields), timeout=10
    )


def outcomes(letter):
    return [act.outcome for act in letter.acts]


async def test_they_are_listed_newest_first_page_by_page_without_their_payload(edge):
    made = [await bury(edge, b"x" * number) for number in range(1, 6)]
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


async def test_one_is_shown_with_its_payload(edge):
    letter_id = await bury(edge, b"\x00rubbish")
    found = await edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=letter_id), timeout=10)
    assert (found.payload, found.why, found.is_open) == (
        b"\x00rubbish",
        "it could not be read",
        True,
    )
    status, body, _ = await edge.post("GetDeadLetter", {"id": letter_id})
    assert status == 200
    assert base64.b64decode(body["payload"]) == b"\x00rubbish"


@pytest.mark.parametrize("letter_id", [0, -1, 99])
async def test_an_unknown_one_is_not_found(edge, letter_id):
    for ask in (
        lambda: edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=letter_id), timeout=10),
        lambda: retry(edge, letter_id),
        lambda: drop(edge, letter_id),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_what_can_be_read_by_now_is_submitted_once_as_clearings(edge):
    letter_id = await bury(edge)
    answer = await retry(edge, letter_id, who="mara")
    [act] = answer.acts
    assert (act.outcome, act.who, act.words) == ("ACCEPTED", "mara (local)", "")
    assert not answer.is_open
    [settlement] = edge.world.settlements.values()
    assert act.settlement_id == str(settlement.id)
    assert settlement.instruction.caller == "clearing"
    again = await retry(edge, letter_id)
    assert again == answer
    assert len(edge.world.submitted) == 1


async def test_what_was_taken_in_before_is_a_replay_and_not_settled_twice(edge):
    first = await bury(edge)
    await retry(edge, first)
    second = await bury(edge)
    answer = await retry(edge, second)
    assert outcomes(answer) == ["REPLAYED"]
    assert len(edge.world.settlements) == 1


async def test_what_is_refused_again_stays_open_with_the_new_reason(edge):
    letter_id = await bury(edge, b"rubbish")
    answer = await retry(edge, letter_id)
    assert outcomes(answer) == ["REFUSED"]
    assert answer.is_open
    assert answer.acts[0].words
    assert edge.world.submitted == []
    conflicting = await bury(edge)
    what = "the idempotency key stands for another instruction"
    edge.world.failures["OBL-1"] = IdempotencyConflict(what, field="amount")
    answer = await retry(edge, conflicting)
    assert outcomes(answer) == ["REFUSED"]
    assert what in answer.acts[0].words
    del edge.world.failures["OBL-1"]
    assert outcomes(await retry(edge, conflicting)) == ["REFUSED", "ACCEPTED"]


async def test_what_may_pass_by_itself_is_told_and_not_written_down(edge):
    letter_id = await bury(edge)
    edge.world.failures["OBL-1"] = Overloaded("too much at once", retry_after_seconds=1.0)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry(edge, letter_id)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    letter = await edge.world.letters.dead_letter(letter_id)
    assert letter.acts == ()


async def test_a_caller_who_goes_away_does_not_undo_what_came_of_it(edge):
    letter_id = await bury(edge)
    may_note, noting = asyncio.Event(), asyncio.Event()
    note = edge.world.letters.note_letter

    async def note_later(*arguments):
        noting.set()
        await may_note.wait()
        return await note(*arguments)

    edge.world.letters.note_letter = note_later
    call = edge.intake.RetryDeadLetter(pb.RetryDeadLetterRequest(id=letter_id), timeout=10)
    asking = asyncio.ensure_future(call)
    await asyncio.wait_for(noting.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_note.set()
    await edge.calls.undisturbed.finished()
    letter = await edge.world.letters.dead_letter(letter_id)
    assert [act.outcome for act in letter.acts] == [LetterOutcome.ACCEPTED]


async def test_one_is_dropped_with_a_reason_and_stays_readable(edge):
    letter_id = await bury(edge, b"rubbish")
    answer = await drop(edge, letter_id, "a test of theirs", who="mara")
    [act] = answer.acts
    assert (act.outcome, act.who, act.words) == ("DROPPED", "mara (local)", "a test of theirs")
    assert (await drop(edge, letter_id, "once more")) == answer
    found = await edge.intake.GetDeadLetter(pb.GetDeadLetterRequest(id=letter_id), timeout=10)
    assert found.payload == b"rubbish"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await retry(edge, letter_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_what_was_taken_in_is_not_dropped(edge):
    letter_id = await bury(edge)
    await retry(edge, letter_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drop(edge, letter_id)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\x00b"])
async def test_a_reason_that_says_nothing_is_refused(edge, reason):
    letter_id = await bury(edge)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drop(edge, letter_id, reason)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status, body, _ = await edge.post("DropDeadLetter", {"id": letter_id, "reason": reason})
    assert status == 400
    assert body["violations"][0]["field"] == "reason"
