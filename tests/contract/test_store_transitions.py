"""Transitions: every legal one is applied as defined, and an illegal one changes nothing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    TRANSITIONS,
    Do,
    Event,
    State,
    Transition,
    is_recorded,
    is_repeated_question,
)
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.errors import InvariantViolated
from settlement_engine.ports import Result, TransferFilter
from tests.support.histories import back_of, results

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPLIED, STALE = Result.APPLIED, Result.STALE
REACHED = [state for state in TRANSITIONS if state is not State.PENDING]
FROM = [state for state in REACHED if TRANSITIONS[state]]
LEGS = {
    Do.POST: [Leg.CASH, Leg.OBLIGATION],
    Do.REVERSE: [Leg.CASH, Leg.OBLIGATION, Leg.CASH_RETURNED, Leg.OBLIGATION_RESTORED],
}
SUSPENDED_LEGS = {
    (State.COMPLETED, Event.DISPROVED): [Leg.CASH, Leg.OBLIGATION, Leg.LATE_CASH],
    (State.ROLLED_BACK, Event.DISPROVED): [Leg.LATE_CASH],
    (State.COMPLETED, Event.DEBITED_TWICE): [Leg.CASH, Leg.OBLIGATION, Leg.SECOND_DEBIT],
    (State.RETURNED, Event.DEBITED_TWICE): [
        *(Leg.CASH, Leg.OBLIGATION),
        *(Leg.CASH_RETURNED, Leg.OBLIGATION_RESTORED, Leg.SECOND_DEBIT),
    ],
    (State.COMPLETED, Event.UNCOVERED): [
        *(Leg.CASH, Leg.OBLIGATION),
        *(Leg.CASH_RETURNED, Leg.OBLIGATION_SUSPENDED),
    ],
    (State.COMPLETED, Event.PARTLY_UNCOVERED): [
        *(Leg.CASH, Leg.OBLIGATION),
        *(Leg.CASH_RETURNED, Leg.OBLIGATION_SUSPENDED),
    ],
}
MINOR = 100


# --- transitions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", FROM)
async def test_every_transition_is_applied_as_defined(scene, state):
    for event, transition in TRANSITIONS[state].items():
        before = await scene.bring(state)
        step = scene.step(before, event)
        held, head = (await scene.source()).held, await scene.stores.stream.head()
        counts = (await scene.stores.gauges.gauges(0)).open_by_state

        [outcome] = await scene.apply(step)

        assert outcome.result is APPLIED, event
        after = await scene.load(before)
        is_move = is_recorded(state, transition)
        assert (after.state, after.seq) == (transition.state, before.seq + is_move)
        is_counted = not is_move or is_repeated_question(transition)
        assert after.asked == (
            before.asked + 1 if is_counted and transition.state not in ENDS else 0
        )
        assert after.fencing_token == (0 if transition.state in ENDS else before.fencing_token)
        assert await scene.stores.stream.head() == head + is_move
        if is_move:
            await check_move(scene, step, outcome.at)
        check_words(before, step, after)
        await check_open(scene, state, transition, counts)
        await check_money(scene, step, held)


async def check_move(scene, step, at):
    moved = (await scene.stores.settlements.history(step.settlement.id))[-1]
    assert (moved.seq, moved.from_state) == (step.settlement.seq + 1, step.settlement.state)
    assert (moved.event, moved.to_state) == (step.event, step.transition.state)
    assert (moved.at, moved.detail) == (at, step.detail)
    assert moved.position == await scene.stores.stream.head()


def check_words(before, step, after):
    """Check that references and the end are stored from the transition that brought them."""
    refusal = step.refusal
    code = refusal.code.value if refusal else before.refusal_code
    assert (after.refusal_code, after.refusal_detail) == (
        code,
        refusal.detail if refusal else before.refusal_detail,
    )
    assert after.rail_reference == (step.rail_reference or before.rail_reference)
    assert after.confirmation == (step.confirmation or before.confirmation)
    assert after.is_frozen == (step.transition.do in (Do.EXCEPT, Do.SUSPEND))
    assert (after.ended_at is not None) == (step.transition.state in ENDS)
    if before.ended_at is not None:
        assert after.ended_at == before.ended_at
    if step.transition.do is Do.LOCK:
        assert after.attempt is not None
        recorded_at = after.attempt.recorded_at
        assert after.attempt == msgspec.structs.replace(step.attempt, recorded_at=recorded_at)


async def check_open(scene, state, transition, counts):
    """Check that the list of open settlements has exactly those that have not ended."""
    now = (await scene.stores.gauges.gauges(0)).open_by_state
    expected = dict(counts)
    if state not in ENDS:
        expected[state.value] -= 1
    if transition.state not in ENDS:
        expected[transition.state.value] = expected.get(transition.state.value, 0) + 1
    assert dict(now) == {name: count for name, count in expected.items() if count}


async def check_money(scene, step, held):
    """Check that holds exist only in holding states, and money moves only with POST and REVERSE."""
    was_held, is_held = step.settlement.state in HOLDING, step.transition.state in HOLDING
    assert (await scene.source()).held == held + (is_held - was_held) * MINOR
    made = await scene.stores.accounts.transfers(TransferFilter(group_id=step.settlement.id))
    legs = sorted(transfer.leg for transfer in made)
    expected = LEGS.get(step.transition.do) or SUSPENDED_LEGS.get(
        (step.settlement.state, step.event)
    )
    if expected:
        assert legs == expected
        known = {(each.leg, each.debit_id, each.credit_id, each.amount_minor) for each in made}
        asked = {
            (each.leg, each.debit_id, each.credit_id, each.amount_minor) for each in step.transfers
        }
        assert asked <= known
    else:
        assert len(legs) == {State.COMPLETED: 2, State.RETURNED: 4}.get(step.settlement.state, 0)


async def test_completion_posts_between_four_accounts(scene):
    await scene.bring(State.COMPLETED, minor=250)
    posted = {kind: (await scene.account(kind)).posted for kind in AccountKind if kind in KINDS}
    assert posted[AccountKind.NOSTRO] == 10**9 - 250
    assert posted[AccountKind.CLEARING] == 10**9 - 250
    assert posted[AccountKind.VOSTRO] == 250


KINDS = {AccountKind.NOSTRO, AccountKind.VOSTRO, AccountKind.CLEARING}


async def test_many_settlements_in_one_batch_change_each_account_once_and_by_their_sum(scene):
    count = 60
    histories = await scene.admit(
        *(scene.payment_request(minor=minor) for minor in range(1, count + 1))
    )
    lock = [scene.step(each, Event.CLEARED) for each in histories]
    assert results(await scene.apply(*lock)) == [APPLIED] * count
    locked = [await scene.load(each) for each in histories]
    events = [
        (Event.SETTLED, Event.REJECTED, Event.NO_ANSWER)[number % 3] for number in range(count)
    ]
    steps = [scene.step(each, event) for each, event in zip(locked, events, strict=True)]
    assert results(await scene.apply(*steps)) == [APPLIED] * count
    sums = [sum(range(first, count + 1, 3)) for first in (1, 2, 3)]
    source, target = await scene.source(), await scene.account(AccountKind.VOSTRO)
    assert source.posted == 10**9 - sums[0]
    assert source.held == sums[2]
    assert target.posted == sums[0]


# --- illegal transitions ----------------------------------------------------------------------------


def forgeries(state):
    """Return illegal transitions: an event unknown in the state, or another resulting state."""
    for event in Event:
        known = TRANSITIONS[state].get(event)
        if known is None:
            yield event, Transition(State.COMPLETED, None, None, ())
            yield event, Transition(state, None, None, ())
            yield event, Transition(State.ROLLED_BACK, Do.RELEASE, None, ())
        else:
            other = State.FAILED if known.state is not State.FAILED else State.COMPLETED
            yield event, Transition(other, None, None, ())
            if is_recorded(state, known):
                yield event, Transition(state, None, None, ())


async def is_refused(scene, step):
    """Say whether a return was refused: by the guards, or because less is left."""
    try:
        return results(await scene.apply(step)) == [Result.LESS_LEFT]
    except InvariantViolated:
        return True


@pytest.mark.parametrize("state", REACHED)
async def test_an_illegal_transition_is_refused_and_changes_nothing(scene, state):
    settlement, other = await scene.bring(state), await scene.new()
    before = await scene.everything(settlement, other)
    for event, transition in forgeries(state):
        forged = scene.step(settlement, event, transition)
        if forged.gives_back and state is State.RETURNED:  # nothing is left that could come back
            assert await is_refused(scene, forged)
            continue
        with pytest.raises(InvariantViolated):
            await scene.apply(scene.step(other, Event.PARKED, due_seconds=math.inf), forged)
    assert await scene.everything(settlement, other) == before


@pytest.mark.parametrize("state", [State.VALIDATING, State.FAILED, State.COMPLETED])
@pytest.mark.parametrize("do", [Do.POST, Do.RELEASE])
async def test_a_missing_hold_cannot_be_released_or_posted(scene, state, do):
    settlement = await scene.bring(state)
    before = await scene.everything(settlement)
    for event, transition in TRANSITIONS[State.SENT].items():
        if transition.do is do:
            with pytest.raises(InvariantViolated):
                await scene.apply(scene.step(settlement, event, transition))
    assert await scene.everything(settlement) == before


# --- guards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.VALIDATING, State.LOCKED, State.SENT])
@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": 99},
        {"fencing_token": 0},
        {"fencing_token": 2},
        {"state": State.RECALLING},
    ],
    ids=lambda change: "-".join(map(str, change.items())),
)
async def test_a_transition_based_on_an_older_state_changes_nothing(scene, state, change):
    settlement = await scene.bring(state)
    before = await scene.everything(settlement)
    believed = replace(settlement, **change)
    steps = [scene.step(believed, event) for event in TRANSITIONS[believed.state]]
    for step in steps:
        [outcome] = await scene.apply(step)
        assert outcome.result is STALE
    assert await scene.everything(settlement) == before


@pytest.mark.parametrize("state", [State.VALIDATING, State.LOCKED, State.IN_DOUBT])
async def test_another_engines_settlement_is_not_changed(scene, state):
    settlement = await scene.bring(state)
    before = await scene.everything(settlement)
    for event in TRANSITIONS[state]:
        [outcome] = await scene.apply(scene.step(settlement, event), engine_id=scene.engine_id + 1)
        assert outcome.result is STALE
    assert await scene.everything(settlement) == before


async def test_a_transition_of_an_unknown_settlement_is_stale(scene):
    settlement = replace(await scene.new(), id=scene.admission().settlement_id)
    [outcome] = await scene.apply(scene.step(settlement, Event.PARKED))
    assert outcome.result is STALE


async def test_a_parked_settlement_has_no_owner(scene):
    settlement = await scene.bring(State.SENT)
    await scene.apply(scene.step(settlement, Event.NO_ANSWER, due_seconds=math.inf))
    parked = await scene.load(settlement)
    step = scene.step(parked, Event.SETTLED)
    [outcome] = await scene.apply(step, engine_id=scene.engine_id + 1)
    assert outcome.result is APPLIED
    assert (await scene.load(settlement)).state is State.COMPLETED


async def test_a_transition_that_keeps_a_parked_settlement_makes_its_engine_the_owner(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.apply(scene.step(settlement, Event.NO_ANSWER, due_seconds=math.inf))
    parked = await scene.load(settlement)
    [outcome] = await scene.apply(
        scene.step(parked, Event.ACKNOWLEDGED), engine_id=scene.engine_id + 1
    )
    assert outcome.result is APPLIED
    sent = await scene.load(settlement)
    assert results(await scene.apply(scene.step(sent, Event.SETTLED))) == [STALE]
    answer = await scene.apply(scene.step(sent, Event.SETTLED), engine_id=scene.engine_id + 1)
    assert results(answer) == [APPLIED]


async def test_an_ended_settlement_has_no_owner_and_no_fencing_token(scene):
    settlement = await scene.bring(State.COMPLETED)
    believed = replace(settlement, fencing_token=7)
    answer = await scene.apply(scene.step(believed, Event.RETURNED), engine_id=scene.engine_id + 1)
    assert results(answer) == [APPLIED]


async def test_a_stale_transition_does_not_affect_its_batch(scene):
    one, two, three = [await scene.bring(State.LOCKED) for _ in range(3)]
    answer = await scene.apply(
        scene.step(one, Event.SETTLED),
        scene.step(replace(two, seq=two.seq - 1), Event.SETTLED),
        scene.step(three, Event.REJECTED),
    )
    assert results(answer) == [APPLIED, STALE, APPLIED]
    states = [(await scene.load(each)).state for each in (one, two, three)]
    assert states == [State.COMPLETED, State.LOCKED, State.ROLLED_BACK]


async def test_of_concurrent_transitions_one_is_applied(scene):
    settlement = await scene.bring(State.LOCKED)
    sides = [scene.stores.beside() for _ in range(4)]
    events = [Event.SETTLED, Event.REJECTED, Event.NO_ANSWER, Event.ACKNOWLEDGED] * 5
    answers = await asyncio.gather(
        *(
            sides[number % 4].settlements.apply([scene.step(settlement, event)], scene.engine_id)
            for number, event in enumerate(events)
        )
    )
    assert sorted(results([answer for [answer] in answers])) == [APPLIED, *[STALE] * 19]
    assert (await scene.load(settlement)).seq == settlement.seq + 1


# --- parking ----------------------------------------------------------------------------------------


async def test_a_parked_settlement_has_a_due_time(scene):
    settlement = await scene.bring(State.SENT)
    for seconds, expected in ((0.0, 0.0), (90.5, 90.5), (3600.0 * 24 * 365, 3600.0 * 24 * 365)):
        [outcome] = await scene.apply(scene.step(settlement, Event.NO_ANSWER, due_seconds=seconds))
        settlement = await scene.load(settlement)
        assert settlement.next_action_at == outcome.at + timedelta(seconds=expected)
    await scene.apply(scene.step(settlement, Event.NO_ANSWER, due_seconds=math.inf))
    assert (await scene.load(settlement)).next_action_at is None


async def test_what_an_engine_has_is_due_at_no_time(scene):
    """Its due time is that of its last pause, and so in the past: also while it waits in an open file."""
    for state in (State.VALIDATING, State.LOCKED):
        assert (await scene.load(await scene.bring(state))).next_action_at is None
    parked = await scene.bring(State.SENT)
    await scene.apply(scene.step(parked, Event.NO_ANSWER, due_seconds=0.0))
    assert (await scene.load(parked)).next_action_at is not None
    claimed = await scene.stores.settlements.claim(scene.engine_id, 1_000)
    assert parked.id in {each.settlement.id for each in claimed}
    assert (await scene.load(parked)).next_action_at is None


async def test_enquiries_about_a_payment_are_counted_until_its_end(scene):
    settlement = await scene.new()
    settlement = await scene.move(settlement, Event.NO_ANSWER, due_seconds=0.0)
    assert settlement.asked == 1
    settlement = await scene.move(settlement, Event.CLEARED)
    assert settlement.asked == 0  # what screening was asked is another question
    to_and_fro = (Event.NO_ANSWER, Event.NOT_FOUND, Event.NO_ANSWER, Event.NO_ANSWER)
    at_the_rail = (Event.ACKNOWLEDGED, Event.OVERDUE, Event.NO_ANSWER, Event.RECALL_REFUSED)
    for asked, event in enumerate((*to_and_fro, *at_the_rail), start=1):
        settlement = await scene.move(settlement, event)
        assert settlement.asked == asked, event
    settlement = await scene.move(settlement, Event.SETTLED)
    assert settlement.asked == 0


async def test_requests_sent_at_once_after_transitions_are_counted(scene):
    """No settlement of such a batch is parked, and none had an enquiry before."""
    histories = [await scene.bring(State.LOCKED) for _ in range(3)]
    assert (
        results(await scene.apply(*(scene.step(each, Event.NO_ANSWER) for each in histories)))
        == [APPLIED] * 3
    )
    assert [(await scene.load(each)).asked for each in histories] == [1, 1, 1]


# --- sends ------------------------------------------------------------------------------------------


async def claim_again(scene, settlement):
    """Let the settlement become due: the enquiry is sent again."""
    claimed = await scene.stores.settlements.claim(scene.engine_id, 10_000)
    assert settlement.id in {each.settlement.id for each in claimed}
    return await scene.load(settlement)


def counted(settlement):
    return settlement.attempt.sends, settlement.attempt.undelivered


async def test_sends_and_undelivered_proofs_are_counted(scene):
    settlement = await scene.bring(State.LOCKED)
    assert counted(settlement) == (1, 0)
    settlement = await scene.move(settlement, Event.UNDELIVERED, due_seconds=0.0)
    assert counted(settlement) == (1, 1)
    settlement = await claim_again(scene, settlement)
    assert counted(settlement) == (2, 1)
    settlement = await scene.move(settlement, Event.NO_ANSWER)
    settlement = await scene.move(settlement, Event.NOT_FOUND)
    assert counted(settlement) == (3, 1)
    settlement = await scene.move(settlement, Event.UNDELIVERED, due_seconds=0.0)
    assert counted(settlement) == (3, 2)


async def test_abandoning_requires_proof_that_nothing_was_sent(scene):
    settlement = await scene.bring(State.LOCKED)
    settlement = await scene.move(settlement, Event.NO_ANSWER)
    settlement = await scene.move(settlement, Event.NOT_FOUND)
    assert counted(settlement) == (2, 0)
    before = await scene.everything(settlement)
    assert results(await scene.apply(scene.step(settlement, Event.ABANDONED))) == [STALE]
    assert await scene.everything(settlement) == before
    settlement = await scene.move(settlement, Event.UNDELIVERED, due_seconds=0.0)
    settlement = await claim_again(scene, settlement)
    assert counted(settlement) == (3, 1)
    assert results(await scene.apply(scene.step(settlement, Event.ABANDONED))) == [STALE]


async def test_a_payment_that_was_never_sent_may_be_abandoned(scene):
    settlement = await scene.bring(State.LOCKED)
    for _ in range(3):
        settlement = await scene.move(settlement, Event.UNDELIVERED, due_seconds=0.0)
        settlement = await claim_again(scene, settlement)
    assert counted(settlement) == (4, 3)
    settlement = await scene.move(settlement, Event.ABANDONED)
    assert settlement.state is State.ROLLED_BACK


async def test_a_send_is_proved_undelivered_once(scene):
    """A repeated report must not count for another send that may have arrived."""
    settlement = await scene.bring(State.LOCKED)
    settlement = await scene.move(settlement, Event.NO_ANSWER)
    settlement = await scene.move(settlement, Event.NOT_FOUND)
    settlement = await scene.move(settlement, Event.UNDELIVERED, due_seconds=math.inf)
    assert counted(settlement) == (2, 1)
    for seconds in (None, 0.0):
        step = scene.step(settlement, Event.UNDELIVERED, due_seconds=seconds)
        assert results(await scene.apply(step)) == [STALE]
    assert counted(await scene.load(settlement)) == (2, 1)


# --- contradictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.COMPLETED, State.ROLLED_BACK, State.RETURNED])
async def test_a_contradiction_is_recorded_once_and_freezes(scene, state):
    settlement = await scene.bring(state)
    detail = {"said": "rejected", "code": "AC04"}
    reported = await scene.move(settlement, Event.CONTRADICTED, detail=detail)
    assert (reported.is_frozen, reported.state, reported.seq) == (True, state, settlement.seq + 1)
    before = await scene.everything(settlement)
    again = dict(reversed(detail.items()))
    step = scene.step(reported, Event.CONTRADICTED, detail=again)
    assert results(await scene.apply(step)) == [STALE]
    assert await scene.everything(settlement) == before
    other = await scene.move(reported, Event.CONTRADICTED, detail={"said": "recalled"})
    assert other.seq == reported.seq + 1


async def test_a_contradiction_without_text_also_freezes(scene):
    settlement = await scene.bring(State.COMPLETED)
    reported = await scene.move(settlement, Event.CONTRADICTED, detail={})
    assert reported.is_frozen
    step = scene.step(reported, Event.CONTRADICTED, detail={})
    assert results(await scene.apply(step)) == [STALE]


async def test_a_frozen_settlement_stays_frozen(scene):
    settlement = await scene.bring(State.COMPLETED)
    settlement = await scene.move(settlement, Event.CONTRADICTED)
    settlement = await scene.move(settlement, Event.RETURNED)
    assert settlement.is_frozen


# --- what is given out ------------------------------------------------------------------------------


async def test_returned_values_are_copies(scene):
    settlement = await scene.bring(State.SENT)
    given = await scene.load(settlement)
    given.state, given.seq, given.fencing_token, given.asked = State.COMPLETED, 99, 99, 99
    given.attempt, given.refusal_code = None, "X"
    assert await scene.load(settlement) == settlement


async def test_a_refusal_and_its_detail_are_kept(scene):
    detail = {"required": "100.00", "available": "12.50", "note": 'a "quote", a \\ and {}'}
    refusal = Refusal(code=RefusalCode.INSUFFICIENT_FUNDS, detail=detail)
    settlement = await scene.new()
    settlement = await scene.move(settlement, Event.REFUSED, refusal=refusal)
    assert settlement.refusal_code == "INSUFFICIENT_FUNDS"
    assert settlement.refusal_detail == detail


async def test_a_batch_has_one_time_between_request_and_answer(scene):
    histories = [await scene.new() for _ in range(3)]
    before = datetime.now(UTC)
    outcomes = await scene.apply(*(scene.step(each, Event.PARKED) for each in histories))
    [at] = {outcome.at for outcome in outcomes}
    assert before - timedelta(seconds=1) <= at <= datetime.now(UTC) + timedelta(seconds=1)


async def test_a_missing_settlement_is_not_loaded(scene):
    missing = scene.admission().settlement_id
    assert await scene.stores.settlements.load([missing]) == {}
    assert await scene.stores.settlements.load([]) == {}
    assert await scene.stores.settlements.history(missing) == []


# --- returns ----------------------------------------------------------------------------------------


async def test_two_partial_returns_are_two_postings_and_hold_the_obligation_between(scene):
    settlement = await scene.bring(State.COMPLETED, minor=100)
    for event, back in (
        (Event.PARTLY_RETURNED, {"amount_minor": 60, "charges_minor": 5}),
        (Event.RETURNED, {}),
    ):
        held = await scene.stores.settlements.find_by_obligation(
            settlement.instruction.obligation_id
        )
        assert held.state is State.COMPLETED
        returned = back_of(settlement, event, **back)
        settlement = await scene.move(settlement, event, back=returned)
        assert settlement.returns[-1] == returned
    assert settlement.state is State.RETURNED
    made = await scene.stores.accounts.transfers(TransferFilter(group_id=settlement.id))
    found = sorted((each.posting, each.leg, each.amount_minor) for each in made)
    assert found == [
        *((1, Leg.CASH, 100), (1, Leg.OBLIGATION, 100)),
        *((2, Leg.CASH_RETURNED, 60), (2, Leg.OBLIGATION_RESTORED, 65), (2, Leg.RETURN_CHARGES, 5)),
        *((3, Leg.CASH_RETURNED, 35), (3, Leg.OBLIGATION_RESTORED, 35)),
    ]
    assert (await scene.account(AccountKind.FEES)).posted == -5
    again = scene.payment_request(obligation_id=settlement.instruction.obligation_id)
    assert (await scene.new(obligation_id=again.obligation_id)).state is State.VALIDATING


@pytest.mark.parametrize(
    ("event", "back"),
    [
        (Event.PARTLY_RETURNED, {"amount_minor": 41, "reference": "R-2"}),  # more than is left
        (Event.RETURNED, {"amount_minor": 39, "reference": "R-2"}),  # and something is left
        (Event.PARTLY_RETURNED, {"amount_minor": 40, "reference": "R-2"}),  # and nothing is left
        (Event.PARTLY_RETURNED, {"amount_minor": 10, "reference": "RETURN-1"}),  # booked already
        (Event.PARTLY_RETURNED, {"amount_minor": 10, "posting": 2, "reference": "R-2"}),
    ],
)
async def test_a_return_that_cannot_be_changes_nothing(scene, event, back):
    await scene.bring(State.COMPLETED, minor=100)  # so that the receiver's account covers anything
    settlement = await scene.bring(State.COMPLETED, minor=100)
    settlement = await scene.move(
        settlement,
        Event.PARTLY_RETURNED,
        back=back_of(settlement, Event.PARTLY_RETURNED, amount_minor=60),
    )
    before = await scene.everything(settlement)
    step = scene.step(settlement, event, back=back_of(settlement, event, **back))
    if back["amount_minor"] > settlement.instruction.amount.minor - 60:
        assert results(await scene.apply(step)) == [Result.LESS_LEFT]
    else:
        with pytest.raises(InvariantViolated):
            await scene.apply(step)
    assert await scene.everything(settlement) == before


async def test_another_amount_is_one_case_however_often_it_is_reported(scene):
    settlement = await scene.bring(State.SENT)
    after = await scene.move(settlement, Event.AMOUNT_DIFFERED)
    assert (after.state, after.is_frozen, after.seq) == (State.SENT, True, settlement.seq + 1)
    assert results(await scene.apply(scene.step(after, Event.AMOUNT_DIFFERED))) == [STALE]
