"""Dossiers: both stores copy everything about a settlement, and what they copy holds together."""

from __future__ import annotations

import hashlib
import uuid

import msgspec
import pytest

from settlement_engine.domain import evidence
from settlement_engine.domain.dossier import Dossier
from settlement_engine.domain.explanation import as_text, explain
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.verification import verify
from tests.support.lives import VALID_UNTIL

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = "1"
REACHED = sorted(set(State) - {State.PENDING})


async def copy(stores, settlement) -> Dossier:
    found = await stores.archive.dossier(settlement.id)
    assert isinstance(found, Dossier)
    return found


def faults(dossier):
    verified = verify(evidence.write(dossier, VERSION), VERSION)
    return [fault for check in verified.checks for fault in check.faults]


@pytest.mark.parametrize("state", REACHED)
async def test_a_copy_of_any_state_holds_together_and_can_be_told(stores, scene, state):
    dossier = await copy(stores, await scene.bring(state))
    assert dossier.standing.state is state
    assert faults(dossier) == []
    assert evidence.read(evidence.write(dossier, VERSION)) == dossier
    assert dossier.standing.state.name in as_text(explain(dossier))


async def test_it_copies_what_is_kept(stores, scene):
    settlement = await scene.bring(State.IN_DOUBT)
    for _ in range(3):
        settlement = await scene.move(settlement, Event.NO_ANSWER, rest_seconds=30.0)
    dossier = await copy(stores, settlement)
    wish = settlement.instruction
    assert dossier.instruction.caller == wish.caller
    assert dossier.instruction.idempotency_key == wish.idempotency_key
    assert dossier.instruction.amount_minor == wish.amount.minor
    assert dossier.instruction.content_sha256 == wish.content_hash.hex()
    assert dossier.standing.owner == 0
    assert dossier.standing.next_action_at == settlement.next_action_at
    moves = await stores.settlements.life(settlement.id)
    assert [(each.position, each.seq, each.at) for each in dossier.moves] == [
        (each.position, each.seq, each.at) for each in moves
    ]
    assert [each.detail for each in dossier.moves] == [dict(each.detail) for each in moves]
    assert dossier.answers.total == len(dossier.answers.latest) == 3
    assert {each.event for each in dossier.answers.latest} == {Event.NO_ANSWER}
    times = [each.at for each in dossier.answers.latest]
    assert times == sorted(times)
    [attempt] = dossier.attempts
    assert (attempt.rail, attempt.sends, attempt.undelivered) == ("mock", 1, 0)
    assert attempt.valid_until == VALID_UNTIL
    payload = settlement.attempt.payload
    assert dossier.payloads == {1: payload}
    assert attempt.payload_sha256 == hashlib.sha256(payload).hexdigest()
    assert attempt.recorded_at == moves[1].at
    assert dossier.hold is not None
    assert dossier.hold.locked_at == moves[1].at
    assert (dossier.hold.amount_minor, dossier.hold.outcome) == (100, "")
    assert [each.id for each in dossier.accounts] == sorted(
        {scene.route.source_id, scene.route.agent_id, scene.route.clearing_id}
        | {scene.route.target_id}
    )
    assert dossier.transfers == ()
    assert dossier.taken_at >= moves[-1].at


async def test_a_return_has_four_transfers(stores, scene):
    dossier = await copy(stores, await scene.bring(State.RETURNED))
    assert [each.leg for each in dossier.transfers] == [1, 2, 4, 5]
    assert dossier.hold is not None
    assert dossier.hold.outcome == "posted"


async def test_who_has_it_is_told(stores, scene):
    settlement = await scene.new()
    assert (await copy(stores, settlement)).standing.owner == scene.owner


async def test_a_contradiction_is_copied_with_its_words(stores, scene):
    settlement = await scene.bring(State.COMPLETED)
    await scene.move(settlement, Event.CONTRADICTED, detail={"said": "rejected", "code": "RJCT"})
    dossier = await copy(stores, settlement)
    [matter] = dossier.exceptions
    assert matter.kind == "contradiction"
    assert matter.detail["code"] == "RJCT"
    assert (matter.closed_at, matter.acknowledged_by) == (None, "")
    assert faults(dossier) == []


async def test_only_what_is_its_own_is_copied(stores, scene):
    one, other = await scene.bring(State.RETURNED), await scene.bring(State.COMPLETED)
    first, second = await copy(stores, one), await copy(stores, other)
    assert {each.event_id.partition(".")[0] for each in first.moves} == {str(one.id)}
    assert len(second.transfers) == 2


async def test_there_is_none_of_an_unknown_settlement(stores):
    assert await stores.archive.dossier(uuid.UUID(int=99)) is None


async def test_two_copies_of_an_ended_life_differ_in_their_time_alone(stores, scene):
    settlement = await scene.bring(State.COMPLETED)
    one, two = await copy(stores, settlement), await copy(stores, settlement)
    assert one.taken_at < two.taken_at
    assert msgspec.structs.replace(one, taken_at=two.taken_at) == two
