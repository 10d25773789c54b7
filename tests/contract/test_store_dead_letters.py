"""Dead letters and the actions on them: append-only, and closed once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.deadletters import (
    DeadLetterAct,
    DeadLetterFilter,
    DeadLetterOutcome,
    MessageOrigin,
)
from settlement_engine.errors import Contention, InvariantViolated, NotFound, WrongState
from tests.support.made_histories import BEGAN

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBJECT = "clearing.instructions"
SETTLEMENT = UUID(int=7)
ENDS = {
    DeadLetterOutcome.ACCEPTED: SETTLEMENT,
    DeadLetterOutcome.REPLAYED: SETTLEMENT,
    DeadLetterOutcome.DROPPED: None,
}


def act(outcome, words="because", who="mara", settlement_id=None):
    return DeadLetterAct(
        at=BEGAN, who=who, outcome=outcome, words=words, settlement_id=settlement_id
    )


async def keep_dead_letter(stores, text="rubbish"):
    await stores.dead_letters.keep_dead_letter(SUBJECT, text.encode(), f"why {text}")
    [dead_letter] = await stores.dead_letters.dead_letters(1)
    return dead_letter


async def test_dead_letters_are_stored_with_their_reason_latest_first(stores):
    for number in range(3):
        await stores.dead_letters.keep_dead_letter(
            SUBJECT, bytes([0, 255, number]), f"why {number}"
        )
    dead_letters = await stores.dead_letters.dead_letters(2)
    assert [each.payload for each in dead_letters] == [bytes([0, 255, 2]), bytes([0, 255, 1])]
    assert [each.why for each in dead_letters] == ["why 2", "why 1"]
    assert dead_letters[0].id > dead_letters[1].id
    assert dead_letters[0].received_at >= dead_letters[1].received_at
    older = await stores.dead_letters.dead_letters(1, before_id=dead_letters[1].id)
    assert [each.payload for each in older] == [bytes([0, 255, 0])]


async def test_one_can_be_read_alone(stores):
    dead_letter = await keep_dead_letter(stores)
    assert await stores.dead_letters.dead_letter(dead_letter.id) == dead_letter
    assert await stores.dead_letters.dead_letter(10**6) is None


async def test_acts_are_kept_in_order_with_the_stores_own_time(stores):
    dead_letter = await keep_dead_letter(stores)
    await stores.dead_letters.note_dead_letter(
        dead_letter.id, act(DeadLetterOutcome.REFUSED, "still wrong")
    )
    await stores.dead_letters.note_dead_letter(
        dead_letter.id, act(DeadLetterOutcome.REFUSED, "again", who="olaf")
    )
    ended = await stores.dead_letters.note_dead_letter(
        dead_letter.id, act(DeadLetterOutcome.ACCEPTED, "", settlement_id=SETTLEMENT)
    )
    assert [(each.who, each.outcome, each.words) for each in ended.acts] == [
        ("mara", DeadLetterOutcome.REFUSED, "still wrong"),
        ("olaf", DeadLetterOutcome.REFUSED, "again"),
        ("mara", DeadLetterOutcome.ACCEPTED, ""),
    ]
    assert ended.ending == ended.acts[-1]
    assert ended.acts[-1].settlement_id == SETTLEMENT
    times = [each.at for each in ended.acts]
    assert times == sorted(times)
    assert times[0] >= dead_letter.received_at
    assert await stores.dead_letters.dead_letter(dead_letter.id) == ended


@pytest.mark.parametrize("outcome", ENDS)
@pytest.mark.parametrize("later", DeadLetterOutcome)
async def test_a_dead_letter_is_closed_once(stores, outcome, later):
    dead_letter = await keep_dead_letter(stores)
    ended = await stores.dead_letters.note_dead_letter(
        dead_letter.id, act(outcome, settlement_id=ENDS[outcome])
    )
    with pytest.raises(WrongState, match=f"already closed: {outcome.name}"):
        await stores.dead_letters.note_dead_letter(
            dead_letter.id, act(later, settlement_id=ENDS.get(later))
        )
    assert await stores.dead_letters.dead_letter(dead_letter.id) == ended


async def test_of_two_concurrent_closings_one_is_refused(stores):
    dead_letter = await keep_dead_letter(stores)
    other = stores.beside()
    found = await asyncio.gather(
        stores.dead_letters.note_dead_letter(dead_letter.id, act(DeadLetterOutcome.DROPPED)),
        other.dead_letters.note_dead_letter(
            dead_letter.id, act(DeadLetterOutcome.DROPPED, who="olaf")
        ),
        return_exceptions=True,
    )
    failed = [each for each in found if isinstance(each, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], (WrongState, Contention))
    after = await stores.dead_letters.dead_letter(dead_letter.id)
    assert len(after.acts) == 1


async def test_open_dead_letters_can_be_listed_alone(stores):
    waiting = await keep_dead_letter(stores, "waiting")
    tried = await keep_dead_letter(stores, "tried")
    dropped = await keep_dead_letter(stores, "dropped")
    await stores.dead_letters.note_dead_letter(tried.id, act(DeadLetterOutcome.REFUSED))
    await stores.dead_letters.note_dead_letter(dropped.id, act(DeadLetterOutcome.DROPPED))
    found = [each.id for each in await stores.dead_letters.dead_letters(100, is_open_only=True)]
    assert {waiting.id, tried.id} <= set(found)
    assert dropped.id not in found
    everything = [each.id for each in await stores.dead_letters.dead_letters(100)]
    assert dropped.id in everything


def origin(sequence, seconds=0, stream="clearing"):
    return MessageOrigin(
        stream=stream, sequence=sequence, stored_at=BEGAN + timedelta(seconds=seconds)
    )


async def test_a_redelivered_message_is_one_dead_letter(stores):
    waiting = await stores.dead_letters.waiting_dead_letters(1_000)
    assert await stores.dead_letters.keep_dead_letter(SUBJECT, b"a", "why", origin(5))
    other = stores.beside()
    found = await asyncio.gather(
        *(
            each.dead_letters.keep_dead_letter(SUBJECT, b"a", "again", origin(5))
            for each in (stores, other)
        )
    )
    assert found == [False, False]
    [dead_letter] = await stores.dead_letters.dead_letters(1)
    assert (dead_letter.origin, dead_letter.why) == (origin(5), "why")
    await stores.dead_letters.note_dead_letter(dead_letter.id, act(DeadLetterOutcome.DROPPED))
    assert not await stores.dead_letters.keep_dead_letter(SUBJECT, b"a", "after its end", origin(5))
    for another in (origin(6), origin(5, stream="other"), origin(5, seconds=1)):
        assert await stores.dead_letters.keep_dead_letter(SUBJECT, b"a", "another message", another)
    assert await stores.dead_letters.waiting_dead_letters(1_000) == waiting + 3
    assert await stores.dead_letters.waiting_dead_letters(2) == min(2, waiting + 3)


@pytest.mark.parametrize("kept", [0, 4, 10, 11, None])
async def test_a_large_message_is_truncated_with_its_size_and_hash(stores, kept):
    payload = b"0123456789"
    await stores.dead_letters.keep_dead_letter(SUBJECT, payload, "too large", kept_bytes_max=kept)
    [dead_letter] = await stores.dead_letters.dead_letters(1)
    assert dead_letter.payload == payload[:kept]
    assert dead_letter.payload_bytes == 10
    assert dead_letter.payload_hash == sha256(payload).digest()
    assert dead_letter.is_whole == (kept not in {0, 4})
    [light] = await stores.dead_letters.dead_letters(1, has_payload=False)
    assert light == msgspec.structs.replace(dead_letter, payload=b"")
    assert light.is_whole == dead_letter.is_whole
    assert await stores.dead_letters.open_dead_letters(
        9, after_id=dead_letter.id - 1, has_payload=False
    ) == [light]
    assert await stores.dead_letters.dead_letter(dead_letter.id) == dead_letter


async def test_open_dead_letters_are_listed_oldest_first_by_subject_and_time(stores):
    first = await keep_dead_letter(stores, "first")
    await stores.dead_letters.keep_dead_letter("elsewhere", b"second", "why")
    [second] = await stores.dead_letters.dead_letters(1)
    await stores.dead_letters.keep_dead_letter(SUBJECT, b"third", "why", kept_bytes_max=1)
    [third] = await stores.dead_letters.dead_letters(1)
    ended = await keep_dead_letter(stores, "ended")
    await stores.dead_letters.note_dead_letter(ended.id, act(DeadLetterOutcome.DROPPED))

    async def found(limit=1_000, **bounds):
        after_id = bounds.pop("after_id", first.id - 1)
        is_whole_only = bounds.pop("is_whole_only", False)
        dead_letters = await stores.dead_letters.open_dead_letters(
            limit, after_id=after_id, wanted=DeadLetterFilter(**bounds), is_whole_only=is_whole_only
        )
        return [each.id for each in dead_letters]

    assert await found() == [first.id, second.id, third.id]
    assert await found(2) == [first.id, second.id]
    assert await found(after_id=first.id) == [second.id, third.id]
    assert await found(subject="elsewhere") == [second.id]
    assert await found(is_whole_only=True) == [first.id, second.id]
    assert await found(since=second.received_at) == [second.id, third.id]
    assert first.id in await found(until=second.received_at)
    assert second.id not in await found(until=second.received_at)


async def test_open_dead_letters_are_measured(stores):
    before = (await stores.gauges.gauges(0)).open_dead_letters
    dead_letter = await keep_dead_letter(stores)
    measured = await stores.gauges.gauges(0)
    assert measured.open_dead_letters == before + 1
    assert measured.oldest_dead_letter_seconds >= 0.0
    await stores.dead_letters.note_dead_letter(dead_letter.id, act(DeadLetterOutcome.DROPPED))
    assert (await stores.gauges.gauges(0)).open_dead_letters == before


async def test_recently_closed_dead_letters_are_not_deleted(stores):
    dead_letter = await keep_dead_letter(stores)
    ended = await stores.dead_letters.note_dead_letter(
        dead_letter.id, act(DeadLetterOutcome.DROPPED)
    )
    assert await stores.dead_letters.remove_dead_letters(30, 1_000) == 0
    assert await stores.dead_letters.dead_letter(dead_letter.id) == ended


async def test_an_unknown_dead_letter_cannot_be_acted_upon(stores):
    with pytest.raises(NotFound):
        await stores.dead_letters.note_dead_letter(10**6, act(DeadLetterOutcome.DROPPED))


@pytest.mark.parametrize(
    "wrong",
    [
        act(DeadLetterOutcome.DROPPED, words=""),
        act(DeadLetterOutcome.DROPPED, who=""),
        act(DeadLetterOutcome.ACCEPTED),
        act(DeadLetterOutcome.DROPPED, settlement_id=SETTLEMENT),
    ],
)
async def test_an_action_needs_a_person_and_a_reason(stores, wrong):
    dead_letter = await keep_dead_letter(stores)
    with pytest.raises(InvariantViolated):
        await stores.dead_letters.note_dead_letter(dead_letter.id, wrong)
    assert await stores.dead_letters.dead_letter(dead_letter.id) == dead_letter
