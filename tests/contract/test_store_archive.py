"""Dossiers: both stores return everything about a settlement, and it is consistent."""

from __future__ import annotations

import hashlib
import uuid

import msgspec
import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Finding
from settlement_engine.evidence import bundle
from settlement_engine.evidence.dossier import PROPOSALS_MAX, Dossier
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import ProposalSpec
from tests.support.histories import VALID_UNTIL

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = "1"
REACHED = sorted(set(State) - {State.PENDING})


async def copy(stores, settlement) -> Dossier:
    found = await stores.archive.dossier(settlement.id)
    assert isinstance(found, Dossier)
    return found


def faults(dossier):
    verified = verify(bundle.write(dossier, VERSION), VERSION)
    return [fault for check in verified.checks for fault in check.faults]


@pytest.mark.parametrize("state", REACHED)
async def test_a_dossier_of_any_state_is_consistent_and_can_be_explained(stores, scene, state):
    dossier = await copy(stores, await scene.bring(state))
    assert dossier.standing.state is state
    assert faults(dossier) == []
    assert bundle.read(bundle.write(dossier, VERSION)) == dossier
    assert dossier.standing.state.name in as_text(explain(dossier))


async def test_a_dossier_has_all_stored_data(stores, scene):
    settlement = await scene.bring(State.IN_DOUBT)
    for _ in range(3):
        settlement = await scene.move(settlement, Event.NO_ANSWER, due_seconds=30.0)
    dossier = await copy(stores, settlement)
    payment_request = settlement.instruction
    assert dossier.instruction.caller == payment_request.caller
    assert dossier.instruction.idempotency_key == payment_request.idempotency_key
    assert dossier.instruction.amount_minor == payment_request.amount.minor
    assert dossier.instruction.content_sha256 == payment_request.content_hash.hex()
    assert dossier.standing.owner == 0
    assert dossier.standing.next_action_at == settlement.next_action_at
    moves = await stores.settlements.history(settlement.id)
    assert [(each.position, each.seq, each.at) for each in dossier.moves] == [
        (each.position, each.seq, each.at) for each in moves
    ]
    assert [each.detail for each in dossier.moves] == [dict(each.detail) for each in moves]
    [answer] = dossier.answers.latest
    assert dossier.answers.total == answer.times == 3
    assert answer.event is Event.NO_ANSWER
    assert answer.last_at is not None
    assert dossier.moves[-1].at <= answer.at < answer.last_at <= dossier.taken_at
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


async def test_a_dossier_names_the_owner(stores, scene):
    settlement = await scene.new()
    assert (await copy(stores, settlement)).standing.owner == scene.engine_id


async def test_a_dossier_has_the_text_of_a_contradiction(stores, scene):
    settlement = await scene.bring(State.COMPLETED)
    await scene.move(settlement, Event.CONTRADICTED, detail={"said": "rejected", "code": "RJCT"})
    dossier = await copy(stores, settlement)
    [case] = dossier.exceptions
    assert case.kind == "contradiction"
    assert case.detail["code"] == "RJCT"
    assert (case.closed_at, case.acknowledged_by) == (None, "")
    assert faults(dossier) == []


async def propose(stores, settlement, paper: bytes, *, who="ada"):
    spec = ProposalSpec(
        settlement_id=settlement.id,
        finding=Finding.SETTLED,
        reason="entry 12 of the statement",
        evidence_name="camt.053.xml",
        evidence=paper,
        who=who,
        valid_seconds=600.0,
    )
    return await stores.resolutions.propose(spec)


async def test_a_dossier_has_attestations_with_their_evidence(stores, scene):
    settlement = await scene.bring(State.IN_DOUBT)
    first = await propose(stores, settlement, b"entry 11")
    second = await propose(stores, settlement, b"\x00entry 12", who="grace")
    await stores.resolutions.approve(second.id, "ada", second.content_sha256)
    await scene.move(settlement, Event.ATTESTED_SETTLED)
    await stores.cases.close_ended(1_000)
    dossier = await copy(stores, settlement)
    assert [(each.id, each.decision, each.decided_by) for each in dossier.proposals] == [
        (first.id, "superseded", "grace"),
        (second.id, "approved", "ada"),
    ]
    assert [each.ending for each in dossier.proposals] == ["", "attested"]
    assert dossier.papers == {first.id: b"entry 11", second.id: b"\x00entry 12"}
    assert faults(dossier) == []
    assert "ada" in as_text(explain(dossier))


async def test_a_dossier_has_the_approved_and_latest_proposals_and_their_count(stores, scene):
    count = PROPOSALS_MAX + 1
    many = await scene.bring(State.SENT)
    made = [await propose(stores, many, f"entry {number}".encode()) for number in range(count)]
    await stores.resolutions.approve(made[-1].id, "grace", made[-1].content_sha256)
    await scene.move(many, Event.ATTESTED_SETTLED)
    dossier = await copy(stores, many)
    assert [each.id for each in dossier.proposals] == [each.id for each in made[1:]]
    assert sorted(dossier.papers) == [each.id for each in made[1:]]
    assert dossier.standing.proposals == count
    assert faults(dossier) == []
    assert "1 more proposals" in as_text(explain(dossier))


async def test_a_dossier_has_only_its_settlements_data(stores, scene):
    one, other = await scene.bring(State.RETURNED), await scene.bring(State.COMPLETED)
    first, second = await copy(stores, one), await copy(stores, other)
    assert {each.event_id.partition(".")[0] for each in first.moves} == {str(one.id)}
    assert len(second.transfers) == 2


async def test_an_unknown_settlement_has_no_dossier(stores):
    assert await stores.archive.dossier(uuid.UUID(int=99)) is None


async def test_two_dossiers_of_an_ended_settlement_differ_only_in_their_time(stores, scene):
    settlement = await scene.bring(State.COMPLETED)
    one, two = await copy(stores, settlement), await copy(stores, settlement)
    assert one.taken_at < two.taken_at
    assert msgspec.structs.replace(one, taken_at=two.taken_at) == two
