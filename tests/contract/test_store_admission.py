"""Admission: an instruction is stored once, whoever sends it and however often."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Priority
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Verdict
from tests.support.histories import admission, verdict_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPTED, REPLAYED = None, Verdict.REPLAYED
KEY_TAKEN, OBLIGATION_TAKEN = Verdict.KEY_TAKEN, Verdict.OBLIGATION_TAKEN


async def test_an_instruction_is_kept_as_it_came(scene):
    metadata = {"simulate": "settle", 'quote"d': "back\\slash {brace} , comma", "ü": "日本 ' NULL"}
    reported = scene.payment_request(
        caller='some caller, "quoted"',
        obligation_id="NULL",
        minor=10**18 - 1,
        currency="JPY",
        value_date=date(2026, 2, 28),
        priority=Priority.URGENT,
        metadata=metadata,
    )
    [found] = await scene.admit(reported)
    assert found.instruction == reported
    assert (found.state, found.seq, found.fencing_token, found.asked) == (State.VALIDATING, 1, 1, 0)
    assert found.value_date == date(2026, 2, 28)
    assert (found.attempt, found.ended_at, found.is_frozen) == (None, None, False)
    assert (found.refusal_code, found.rail_reference, found.confirmation) == ("", "", "")


async def test_without_a_value_date_the_day_of_receipt_counts(scene):
    before = datetime.now(UTC).date()
    found = await scene.new(value_date=None)
    assert found.instruction.value_date is None
    assert before <= found.value_date <= datetime.now(UTC).date()


async def test_settlements_are_found_by_their_keys(scene):
    settlements = scene.stores.settlements
    one, other = await scene.admit(scene.payment_request(), scene.payment_request())
    keys = [one.instruction.key_hash, other.instruction.key_hash, scene.payment_request().key_hash]
    found = await settlements.find_by_keys(keys)
    assert found == {keys[0]: await scene.load(one), keys[1]: await scene.load(other)}
    assert await settlements.find_by_keys([]) == {}


async def test_the_first_transition_is_the_admission(scene):
    found = await scene.new()
    [moved] = await scene.stores.settlements.history(found.id)
    assert (moved.seq, moved.from_state, moved.event) == (1, State.PENDING, Event.ADMITTED)
    assert (moved.to_state, moved.at, moved.detail) == (State.VALIDATING, found.created_at, {})


async def test_the_same_key_and_content_is_a_replay_in_any_state(scene):
    settlements = scene.stores.settlements
    for state in (State.VALIDATING, State.SENT, State.COMPLETED, State.FAILED, State.RETURNED):
        settlement = await scene.bring(state)
        [again] = await settlements.admit([admission(settlement.instruction)], scene.engine_id)
        assert verdict_on(again) == (REPLAYED, settlement.id)
        assert await scene.load(settlement) == settlement


@pytest.mark.parametrize(
    "change",
    [
        {"amount": Money(101, "EUR")},
        {"amount": Money(100, "USD")},
        {"to_bank": "GAMMA"},
        {"from_bank": "GAMMA"},
        {"obligation_id": "another"},
        {"value_date": date(2026, 1, 1)},
        {"priority": Priority.HIGH},
        {"metadata": {"note": "x"}},
    ],
    ids="-".join,
)
async def test_the_same_key_with_other_content_is_taken(scene, change):
    settlement = await scene.new()
    other = admission(replace(settlement.instruction, **change))
    [answer] = await scene.stores.settlements.admit([other], scene.engine_id)
    assert verdict_on(answer) == (KEY_TAKEN, settlement.id)
    assert await scene.stores.settlements.load([other.settlement_id]) == {}


async def test_keys_belong_to_their_caller(scene):
    first = await scene.new(caller="one", idempotency_key=f"of {scene.source_bank}")
    second = await scene.new(caller="two", idempotency_key=f"of {scene.source_bank}")
    assert first.id != second.id


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (State.VALIDATING, OBLIGATION_TAKEN),
        (State.HELD, OBLIGATION_TAKEN),
        (State.IN_DOUBT, OBLIGATION_TAKEN),
        (State.COMPLETED, OBLIGATION_TAKEN),
        (State.FAILED, ACCEPTED),
        (State.ROLLED_BACK, ACCEPTED),
        (State.RETURNED, ACCEPTED),
    ],
)
async def test_an_obligation_is_taken_while_its_settlement_is_open_or_completed(
    scene, state, verdict
):
    first = await scene.bring(state, obligation_id=scene.source_bank)
    second = scene.admission(obligation_id=scene.source_bank)
    [answer] = await scene.stores.settlements.admit([second], scene.engine_id)
    expected = second.settlement_id if verdict is ACCEPTED else first.id
    assert verdict_on(answer) == (verdict, expected)
    found = await scene.stores.settlements.find_by_obligation(scene.source_bank)
    assert found.id == expected


async def test_of_freed_settlements_the_latest_is_found_by_the_obligation(scene):
    await scene.bring(State.FAILED, obligation_id=scene.source_bank)
    latest = await scene.bring(State.ROLLED_BACK, obligation_id=scene.source_bank)
    found = await scene.stores.settlements.find_by_obligation(scene.source_bank)
    assert found == latest
    assert await scene.stores.settlements.find_by_obligation("unheard of") is None


async def test_admission_answers_in_order_and_the_first_use_of_a_key_counts(scene):
    known = await scene.new()
    one = scene.payment_request()
    batch = [
        admission(one),
        admission(known.instruction),
        admission(one),
        admission(replace(one, amount=Money(5, "EUR"))),
        scene.admission(obligation_id=known.instruction.obligation_id),
        scene.admission(),
    ]
    answers = await scene.stores.settlements.admit(batch, scene.engine_id)
    assert [verdict_on(answer)[0] for answer in answers] == [
        ACCEPTED,
        REPLAYED,
        REPLAYED,
        KEY_TAKEN,
        OBLIGATION_TAKEN,
        ACCEPTED,
    ]
    first = batch[0].settlement_id
    expected = [first, known.id, first, first, known.id, batch[5].settlement_id]
    assert [verdict_on(answer)[1] for answer in answers] == expected
    assert await scene.moves() == 3


async def test_of_one_key_with_many_contents_in_a_batch_the_first_is_kept(scene):
    one = scene.payment_request()
    batch = [admission(replace(one, amount=Money(minor, "EUR"))) for minor in range(1, 101)]
    answers = await scene.stores.settlements.admit(batch, scene.engine_id)
    assert [verdict_on(answer)[0] for answer in answers] == [ACCEPTED, *[KEY_TAKEN] * 99]
    assert {verdict_on(answer)[1] for answer in answers} == {batch[0].settlement_id}


async def test_of_one_obligation_in_a_batch_one_settlement_is_kept(scene):
    batch = [scene.admission(obligation_id=scene.source_bank) for _ in range(10)]
    answers = await scene.stores.settlements.admit(batch, scene.engine_id)
    counts = Counter(verdict_on(answer)[0] for answer in answers)
    assert counts == {ACCEPTED: 1, OBLIGATION_TAKEN: 9}
    [kept] = {verdict_on(answer)[1] for answer in answers}
    assert list(await scene.stores.settlements.load([each.settlement_id for each in batch])) == [
        kept
    ]


async def test_a_batch_that_was_written_may_be_written_again(scene):
    """After a lost connection the outcome is unknown, so the same batch is sent again with the same ids."""
    batch = [scene.admission() for _ in range(20)]
    await scene.stores.settlements.admit(batch, scene.engine_id)
    again = await scene.stores.settlements.admit(batch, scene.engine_id)
    assert [verdict_on(answer) for answer in again] == [
        (REPLAYED, each.settlement_id) for each in batch
    ]
    assert await scene.moves() == 20


async def test_an_empty_batch_does_nothing(scene):
    assert await scene.stores.settlements.admit([], scene.engine_id) == []
    assert await scene.stores.settlements.apply([], scene.engine_id) == []


async def test_twenty_at_once_with_one_key_are_one_settlement(scene):
    one = scene.payment_request()
    sides = [scene.stores.beside() for _ in range(4)]
    attempts = [admission(one) for _ in range(20)]
    answers = await asyncio.gather(
        *(
            sides[number % 4].settlements.admit([each], scene.engine_id)
            for number, each in enumerate(attempts)
        )
    )
    verdicts = Counter(verdict_on(answer)[0] for [answer] in answers)
    assert verdicts == {ACCEPTED: 1, REPLAYED: 19}
    assert len({verdict_on(answer)[1] for [answer] in answers}) == 1
    assert await scene.moves() == 1


async def test_twenty_at_once_for_one_obligation_are_one_settlement(scene):
    sides = [scene.stores.beside() for _ in range(4)]
    answers = await asyncio.gather(
        *(
            sides[number % 4].settlements.admit(
                [scene.admission(obligation_id=scene.source_bank)], scene.engine_id
            )
            for number in range(20)
        )
    )
    verdicts = Counter(verdict_on(answer)[0] for [answer] in answers)
    assert verdicts == {ACCEPTED: 1, OBLIGATION_TAKEN: 19}


@pytest.mark.parametrize(
    "change",
    [
        {"amount": Money(0, "EUR")},
        {"amount": Money(-1, "EUR")},
        {"amount": Money(10**18, "EUR")},
        {"from_bank": "ALFA", "to_bank": "ALFA"},
        {"obligation_id": ""},
        {"obligation_id": "x" * 65},
    ],
    ids=["nothing", "less", "too much", "one bank", "no obligation", "long obligation"],
)
async def test_invalid_data_past_the_api_fails_its_whole_batch(scene, change):
    batch = [scene.admission(), scene.admission(**change)]
    with pytest.raises(InvariantViolated):
        await scene.stores.settlements.admit(batch, scene.engine_id)
    assert await scene.stores.settlements.load([each.settlement_id for each in batch]) == {}
    assert await scene.moves() == 0
