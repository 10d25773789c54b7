"""Dead letters and the actions on them: append-only, and closed once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.deadletters import (
    LetterAct,
    LetterFilter,
    LetterOutcome,
    MessageOrigin,
)
from settlement_engine.errors import Contention, InvariantViolated, NotFound, WrongState
from tests.support.told_lives import BEGAN

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBJECT = "clearing.instructions"
SETTLEMENT = UUID(int=7)
ENDS = {
    LetterOutcome.ACCEPTED: SETTLEMENT,
    LetterOutcome.REPLAYED: SETTLEMENT,
    LetterOutcome.DROPPED: None,
}


def act(outcome, words="because", who="mara", settlement_id=None):
    return LetterAct(at=BEGAN, who=who, outcome=outcome, words=words, settlement_id=settlement_id)


async def bury(stores, text="rubbish"):
    await stores.letters.bury(SUBJECT, text.encode(), f"why {text}")
    [letter] = await stores.letters.dead_letters(1)
    return letter


async def test_dead_letters_are_stored_with_their_reason_latest_first(stores):
    for number in range(3):
        await stores.letters.bury(SUBJECT, bytes([0, 255, number]), f"why {number}")
    letters = await stores.letters.dead_letters(2)
    assert [each.payload for each in letters] == [bytes([0, 255, 2]), bytes([0, 255, 1])]
    assert [each.why for each in letters] == ["why 2", "why 1"]
    assert letters[0].id > letters[1].id
    assert letters[0].received_at >= letters[1].received_at
    older = await stores.letters.dead_letters(1, before_id=letters[1].id)
    assert [each.payload for each in older] == [bytes([0, 255, 0])]


async def test_one_can_be_read_alone(stores):
    letter = await bury(stores)
    assert await stores.letters.dead_letter(letter.id) == letter
    assert await stores.letters.dead_letter(10**6) is None


async def test_acts_are_kept_in_order_with_the_stores_own_time(stores):
    letter = await bury(stores)
    await stores.letters.note_letter(letter.id, act(LetterOutcome.REFUSED, "still wrong"))
    await stores.letters.note_letter(letter.id, act(LetterOutcome.REFUSED, "again", who="olaf"))
    ended = await stores.letters.note_letter(
        letter.id, act(LetterOutcome.ACCEPTED, "", settlement_id=SETTLEMENT)
    )
    assert [(each.who, each.outcome, each.words) for each in ended.acts] == [
        ("mara", LetterOutcome.REFUSED, "still wrong"),
        ("olaf", LetterOutcome.REFUSED, "again"),
        ("mara", LetterOutcome.ACCEPTED, ""),
    ]
    assert ended.ending == ended.acts[-1]
    assert ended.acts[-1].settlement_id == SETTLEMENT
    times = [each.at for each in ended.acts]
    assert times == sorted(times)
    assert times[0] >= letter.received_at
    assert await stores.letters.dead_letter(letter.id) == ended


@pytest.mark.parametrize("outcome", ENDS)
@pytest.mark.parametrize("later", LetterOutcome)
async def test_a_dead_letter_is_closed_once(stores, outcome, later):
    letter = await bury(stores)
    ended = await stores.letters.note_letter(letter.id, act(outcome, settlement_id=ENDS[outcome]))
    with pytest.raises(WrongState, match=f"already closed: {outcome.name}"):
        await stores.letters.note_letter(letter.id, act(later, settlement_id=ENDS.get(later)))
    assert await stores.letters.dead_letter(letter.id) == ended


async def test_of_two_concurrent_closings_one_is_refused(stores):
    letter = await bury(stores)
    other = stores.beside()
    found = await asyncio.gather(
        stores.letters.note_letter(letter.id, act(LetterOutcome.DROPPED)),
        other.letters.note_letter(letter.id, act(LetterOutcome.DROPPED, who="olaf")),
        return_exceptions=True,
    )
    failed = [each for each in found if isinstance(each, Exception)]
    assert len(failed) == 1
    assert isinstance(failed[0], (WrongState, Contention))
    after = await stores.letters.dead_letter(letter.id)
    assert len(after.acts) == 1


async def test_open_dead_letters_can_be_listed_alone(stores):
    waiting = await bury(stores, "waiting")
    tried = await bury(stores, "tried")
    dropped = await bury(stores, "dropped")
    await stores.letters.note_letter(tried.id, act(LetterOutcome.REFUSED))
    await stores.letters.note_letter(dropped.id, act(LetterOutcome.DROPPED))
    found = [each.id for each in await stores.letters.dead_letters(100, is_open_only=True)]
    assert {waiting.id, tried.id} <= set(found)
    assert dropped.id not in found
    everything = [each.id for each in await stores.letters.dead_letters(100)]
    assert dropped.id in everything


def origin(sequence, seconds=0, stream="clearing"):
    return MessageOrigin(
        stream=stream, sequence=sequence, stored_at=BEGAN + timedelta(seconds=seconds)
    )


async def test_a_redelivered_message_is_one_dead_letter(stores):
    waiting = await stores.letters.waiting_letters(1_000)
    assert await stores.letters.bury(SUBJECT, b"a", "why", origin(5))
    other = stores.beside()
    found = await asyncio.gather(
        *(each.letters.bury(SUBJECT, b"a", "again", origin(5)) for each in (stores, other))
    )
    assert found == [False, False]
    [letter] = await stores.letters.dead_letters(1)
    assert (letter.origin, letter.why) == (origin(5), "why")
    await stores.letters.note_letter(letter.id, act(LetterOutcome.DROPPED))
    assert not await stores.letters.bury(SUBJECT, b"a", "after its end", origin(5))
    for another in (origin(6), origin(5, stream="other"), origin(5, seconds=1)):
        assert await stores.letters.bury(SUBJECT, b"a", "another message", another)
    assert await stores.letters.waiting_letters(1_000) == waiting + 3
    assert await stores.letters.waiting_letters(2) == min(2, waiting + 3)


@pytest.mark.parametrize("kept", [0, 4, 10, 11, None])
async def test_a_large_message_is_truncated_with_its_size_and_hash(stores, kept):
    payload = b"0123456789"
    await stores.letters.bury(SUBJECT, payload, "too large", kept_bytes_max=kept)
    [letter] = await stores.letters.dead_letters(1)
    assert letter.payload == payload[:kept]
    assert letter.payload_bytes == 10
    assert letter.payload_hash == sha256(payload).digest()
    assert letter.is_whole == (kept not in {0, 4})
    [light] = await stores.letters.dead_letters(1, has_payload=False)
    assert light == msgspec.structs.replace(letter, payload=b"")
    assert light.is_whole == letter.is_whole
    assert await stores.letters.open_letters(9, after_id=letter.id - 1, has_payload=False) == [
        light
    ]
    assert await stores.letters.dead_letter(letter.id) == letter


async def test_open_dead_letters_are_listed_oldest_first_by_subject_and_time(stores):
    first = await bury(stores, "first")
    await stores.letters.bury("elsewhere", b"second", "why")
    [second] = await stores.letters.dead_letters(1)
    await stores.letters.bury(SUBJECT, b"third", "why", kept_bytes_max=1)
    [third] = await stores.letters.dead_letters(1)
    ended = await bury(stores, "ended")
    await stores.letters.note_letter(ended.id, act(LetterOutcome.DROPPED))

    async def found(limit=1_000, **bounds):
        after_id = bounds.pop("after_id", first.id - 1)
        is_whole_only = bounds.pop("is_whole_only", False)
        letters = await stores.letters.open_letters(
            limit, after_id=after_id, wanted=LetterFilter(**bounds), is_whole_only=is_whole_only
        )
        return [each.id for each in letters]

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
    letter = await bury(stores)
    measured = await stores.gauges.gauges(0)
    assert measured.open_dead_letters == before + 1
    assert measured.oldest_dead_letter_seconds >= 0.0
    await stores.letters.note_letter(letter.id, act(LetterOutcome.DROPPED))
    assert (await stores.gauges.gauges(0)).open_dead_letters == before


async def test_recently_closed_dead_letters_are_not_deleted(stores):
    letter = await bury(stores)
    ended = await stores.letters.note_letter(letter.id, act(LetterOutcome.DROPPED))
    assert await stores.letters.remove_letters(30, 1_000) == 0
    assert await stores.letters.dead_letter(letter.id) == ended


async def test_an_unknown_dead_letter_cannot_be_acted_upon(stores):
    with pytest.raises(NotFound):
        await stores.letters.note_letter(10**6, act(LetterOutcome.DROPPED))


@pytest.mark.parametrize(
    "wrong",
    [
        act(LetterOutcome.DROPPED, words=""),
        act(LetterOutcome.DROPPED, who=""),
        act(LetterOutcome.ACCEPTED),
        act(LetterOutcome.DROPPED, settlement_id=SETTLEMENT),
    ],
)
async def test_an_action_needs_a_person_and_a_reason(stores, wrong):
    letter = await bury(stores)
    with pytest.raises(InvariantViolated):
        await stores.letters.note_letter(letter.id, wrong)
    assert await stores.letters.dead_letter(letter.id) == letter
