"""Compensations are admitted while something is left to compensate, and held for only if two people released them."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.compensation import Compensation
from settlement_engine.domain.compensation_checks import COMPENSATIONS_MAX, compensable_minor
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.proposals import Finding
from settlement_engine.errors import InvariantViolated, NotPermitted
from settlement_engine.evidence import bundle
from settlement_engine.evidence.dossier import Dossier
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import ProposalSpec, SettlementFilter, Verdict
from tests.support.histories import Scene, admission, back_of, spec, verdict_on

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def way_back(scene: Scene) -> Scene:
    """Return the same two banks in the other direction, with their accounts."""
    payer, payee = scene.target_bank, scene.source_bank
    store = scene.stores.accounts
    accounts = {
        AccountKind.NOSTRO: await store.open_account(spec(AccountKind.NOSTRO, payer)),
        AccountKind.VOSTRO: await store.open_account(spec(AccountKind.VOSTRO, payee)),
    }
    controls = [
        *((AccountKind.SUSPENSE, "mock", "EUR"), (AccountKind.SETTLEMENT, "mock", "EUR")),
        *((AccountKind.CLEARING, payer, "EUR"), (AccountKind.FEES, payer, "EUR")),
    ]
    accounts |= {each.kind: each for each in await store.ensure_controls(controls)}
    back = Scene(scene.stores, scene.engine_id, accounts, await scene.stores.stream.head())
    await back.fund(10**6)
    return back


async def verdicts(scene: Scene, *instructions: Any) -> list[Verdict | None]:
    """Say what became of each instruction; None: it was stored."""
    batch = [admission(each) for each in instructions]
    answers = await scene.stores.settlements.admit(batch, scene.engine_id)
    found = list(map(verdict_on, answers))
    for (verdict, settlement_id), instruction in zip(found, instructions, strict=True):
        assert verdict is not Verdict.NOT_LEFT or settlement_id == instruction.compensates
    return [verdict for verdict, _ in found]


async def release(scene: Scene, settlement: Settlement, first: str, second: str) -> Settlement:
    """Park a compensation and release it by two people."""
    settlement = await scene.move(settlement, Event.PARKED)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(a_release(settlement, first))
    await resolutions.approve(proposal.id, second, proposal.content_sha256)
    return await scene.move(settlement, Event.APPROVED, detail={"proposal": str(proposal.id)})


def a_release(settlement: Settlement, who: str) -> ProposalSpec:
    return ProposalSpec(
        settlement_id=settlement.id,
        finding=Finding.RELEASE,
        reason="paid twice",
        evidence_name="reason.txt",
        evidence=b"paid twice",
        who=who,
        valid_seconds=3600.0,
    )


async def test_a_compensation_is_read_with_what_it_compensates_and_the_other_way_round(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    wanted = back.payment_request(minor=60, compensates=completed.id)
    [compensation] = await scene.admit(wanted)
    assert compensation.instruction == wanted
    assert compensation.compensations == ()
    found = await scene.load(completed)
    assert found.compensations == (
        Compensation(settlement_id=compensation.id, state=State.VALIDATING, amount_minor=60),
    )
    assert compensable_minor(found) == 40


async def test_compensations_are_listed_with_what_they_compensate(scene):
    """Also those that failed; and every filter holds beside."""
    first, second, alone = [await scene.bring(State.COMPLETED, minor=100) for _ in range(3)]
    back = await way_back(scene)
    one, other = [
        (await scene.admit(back.payment_request(minor=60, compensates=each.id)))[0]
        for each in (first, second)
    ]
    failed = await release_and_refuse(back, one)
    [again] = await scene.admit(back.payment_request(minor=50, compensates=first.id))
    store, bank = scene.stores.settlements, scene.source_bank

    async def listed(**wanted):
        asked = SettlementFilter(**wanted)
        found = await store.list_settlements(asked)
        assert await store.count_settlements(asked) == len(found)
        return [each.id for each in found]

    name = first.instruction.obligation_id
    for wanted, expected in (
        ({"compensates": first.id}, [again, one]),
        ({"compensates": second.id}, [other]),
        ({"compensates": alone.id}, []),
        ({"compensates": one.id}, []),
        ({"compensates": first.id, "states": frozenset({State.FAILED})}, [failed]),
        ({"compensates": first.id, "before_id": again.id}, [one]),
        ({"compensates": first.id, "obligation_id": name}, []),
        ({"compensates": first.id, "only_compensations": True}, [again, one]),
        ({"compensates": first.id, "only_compensated": True}, []),
        ({"compensates": first.id, "limit": 1}, [again]),
        ({"only_compensations": True, "bank": bank}, [again, other, one]),
        ({"only_compensations": True, "bank": bank, "currency": "USD"}, []),
        ({"only_compensations": True, "bank": bank, "from_id": other.id}, [again, other]),
        ({"only_compensations": True, "only_compensated": True, "bank": bank}, []),
        ({"only_compensations": True, "obligation_id": name}, []),
        ({"only_compensated": True, "bank": bank}, [second, first]),
        ({"only_compensated": True, "bank": bank, "limit": 1}, [second]),
        ({"only_compensated": True, "bank": bank, "before_id": second.id}, [first]),
        ({"only_compensated": True, "bank": bank, "states": frozenset({State.SENT})}, []),
        ({"only_compensated": True, "obligation_id": name}, [first]),
        ({"only_compensated": True, "obligation_id": alone.instruction.obligation_id}, []),
    ):
        assert await listed(**wanted) == [each.id for each in expected], wanted


async def release_and_refuse(scene: Scene, settlement: Settlement) -> Settlement:
    """End a compensation before it has moved anything."""
    failed = await scene.move(settlement, Event.REFUSED)
    assert failed.state is State.FAILED
    return failed


async def test_together_they_are_never_more_than_was_settled(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    wanted = [back.payment_request(minor=60, compensates=completed.id) for _ in range(2)]
    wanted.append(back.payment_request(minor=40, compensates=completed.id))
    found = await verdicts(scene, *wanted)
    # In which order a batch is stored follows from the keys: one of 60 is stored, and 40 if that leaves it.
    assert Counter(found) == {None: 2, Verdict.NOT_LEFT: 1}
    assert found[2] is None
    assert await verdicts(scene, back.payment_request(minor=1, compensates=completed.id)) == [
        Verdict.NOT_LEFT
    ]
    assert compensable_minor(await scene.load(completed)) == 0


async def test_two_calls_at_once_share_what_is_left(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    calls = [
        verdicts(scene, back.payment_request(minor=30, compensates=completed.id)) for _ in range(8)
    ]
    found = [verdict for [verdict] in await asyncio.gather(*calls)]
    assert Counter(found) == {None: 3, Verdict.NOT_LEFT: 5}


async def test_a_repetition_is_a_replay_although_nothing_is_left(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    wanted = back.payment_request(minor=100, compensates=completed.id)
    assert await verdicts(scene, wanted, wanted) == [None, Verdict.REPLAYED]
    assert await verdicts(scene, wanted) == [Verdict.REPLAYED]
    other = replace(wanted, amount=Money(99, "EUR"))
    assert await verdicts(scene, other) == [Verdict.KEY_TAKEN]
    without = replace(wanted, compensates=None)
    assert await verdicts(scene, without) == [Verdict.KEY_TAKEN]
    same_obligation = back.payment_request(
        minor=1, compensates=completed.id, obligation_id=wanted.obligation_id
    )
    assert await verdicts(scene, same_obligation) == [Verdict.OBLIGATION_TAKEN]


async def test_what_has_come_back_is_not_compensated(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    part = back_of(completed, Event.PARTLY_RETURNED, amount_minor=60, charges_minor=5)
    completed = await scene.move(completed, Event.PARTLY_RETURNED, back=part)
    assert await verdicts(
        scene,
        back.payment_request(minor=36, compensates=completed.id),
        back.payment_request(minor=35, compensates=completed.id),
    ) == [Verdict.NOT_LEFT, None]


@pytest.mark.parametrize(
    "state", [state for state in State if state not in (State.PENDING, State.COMPLETED)]
)
async def test_only_what_has_completed_is_compensated(scene, state):
    settlement = await scene.bring(state, minor=100)
    back = await way_back(scene)
    wanted = back.payment_request(minor=1, compensates=settlement.id)
    assert await verdicts(scene, wanted) == [Verdict.NOT_LEFT]


async def test_what_the_rail_has_disproved_is_not_compensated(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    settlement = await scene.move(settlement, Event.ATTESTED_SETTLED)
    settlement = await scene.move(settlement, Event.DISPROVED)
    back = await way_back(scene)
    wanted = back.payment_request(minor=1, compensates=settlement.id)
    assert await verdicts(scene, wanted) == [Verdict.NOT_LEFT]


async def test_one_that_ended_without_effect_gives_back_what_it_took(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    first = await back.new(minor=100, compensates=completed.id)
    await back.move(first, Event.CANCELLED)
    assert compensable_minor(await scene.load(completed)) == 100
    await back.new(minor=100, compensates=completed.id)
    assert compensable_minor(await scene.load(completed)) == 0


@pytest.mark.parametrize("wrong", ["direction", "currency", "bank", "unknown"])
async def test_one_that_does_not_pay_back_is_an_error(scene, wrong):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    wanted = {
        "direction": scene.payment_request(minor=1, compensates=completed.id),
        "currency": back.payment_request(minor=1, currency="USD", compensates=completed.id),
        "bank": back.payment_request(minor=1, to_bank="OTHER", compensates=completed.id),
        "unknown": back.payment_request(minor=1, compensates=UUID(int=1)),
    }[wrong]
    with pytest.raises(InvariantViolated):
        await verdicts(scene, wanted)


async def test_a_settlement_has_a_bounded_number_of_compensations(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    made = [
        back.payment_request(minor=1, compensates=completed.id) for _ in range(COMPENSATIONS_MAX)
    ]
    for settlement in await scene.admit(*made):
        await back.move(settlement, Event.CANCELLED)
    wanted = back.payment_request(minor=1, compensates=completed.id)
    assert await verdicts(scene, wanted) == [Verdict.NOT_LEFT]


async def test_one_that_two_people_have_released_takes_the_course_of_every_settlement(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await back.new(minor=100, compensates=completed.id)
    compensation = await release(back, compensation, "ada", "grace")
    for event in (Event.CLEARED, Event.SETTLED):
        compensation = await back.move(compensation, event)
    assert compensation.state is State.COMPLETED
    assert (await scene.load(completed)).state is State.COMPLETED, "nothing moved here"
    [linked] = (await scene.load(completed)).compensations
    assert (linked.state, linked.effect_minor) == (State.COMPLETED, 100)
    compensation = await back.move(
        compensation,
        Event.PARTLY_RETURNED,
        back=back_of(compensation, Event.PARTLY_RETURNED, amount_minor=30),
    )
    assert compensable_minor(await scene.load(completed)) == 30
    await back.move(compensation, Event.RETURNED)
    assert compensable_minor(await scene.load(completed)) == 100


async def test_no_funds_are_held_for_one_that_was_not_released(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await back.new(minor=100, compensates=completed.id)
    with pytest.raises(InvariantViolated):
        await back.move(compensation, Event.CLEARED)
    compensation = await back.move(compensation, Event.PARKED)
    compensation = await back.move(compensation, Event.APPROVED)  # without a proposal
    with pytest.raises(InvariantViolated):
        await back.move(compensation, Event.CLEARED)
    assert (await back.source()).held == 0


async def test_who_submitted_it_neither_proposes_nor_approves_its_release(scene):
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await back.new(minor=100, compensates=completed.id, caller="alice")
    compensation = await back.move(compensation, Event.PARKED)
    resolutions = scene.stores.resolutions
    with pytest.raises(NotPermitted, match="submitted"):
        await resolutions.propose(a_release(compensation, "Alice"))
    proposal = await resolutions.propose(a_release(compensation, "bob"))
    with pytest.raises(NotPermitted, match="submitted"):
        await resolutions.approve(proposal.id, "alice", proposal.content_sha256)
    with pytest.raises(NotPermitted, match="proposed"):
        await resolutions.approve(proposal.id, "bob", proposal.content_sha256)
    declining = replace(a_release(compensation, "alice"), finding=Finding.DECLINE)
    assert (await resolutions.propose(declining)).finding is Finding.DECLINE


# --- evidence -------------------------------------------------------------------------------------


async def dossier_of(scene: Scene, settlement: Settlement) -> Dossier:
    found = await scene.stores.archive.dossier(settlement.id)
    assert isinstance(found, Dossier)
    return found


def faults(dossier: Dossier) -> list[str]:
    verified = verify(bundle.write(dossier, "1"), "1")
    return [fault for check in verified.checks for fault in check.faults]


async def compensated_pair(scene: Scene) -> tuple[Dossier, Dossier]:
    """Return the evidence of a completed settlement, and of one that has compensated 60 of its 100."""
    completed = await scene.bring(State.COMPLETED, minor=100)
    back = await way_back(scene)
    compensation = await back.new(minor=60, compensates=completed.id)
    compensation = await release(back, compensation, "ada", "grace")
    for event in (Event.CLEARED, Event.SETTLED):
        compensation = await back.move(compensation, event)
    return await dossier_of(scene, completed), await dossier_of(scene, compensation)


async def test_the_evidence_of_both_names_the_other_and_is_consistent(scene):
    settled, compensation = await compensated_pair(scene)
    assert faults(settled) == faults(compensation) == []
    for dossier in (settled, compensation):
        assert bundle.read(bundle.write(dossier, "1")) == dossier
    settled_id, own_id = settled.standing.settlement_id, compensation.standing.settlement_id
    assert compensation.instruction.compensates == settled_id
    assert [each.settlement_id for each in settled.compensations.made] == [own_id]
    assert f"It compensates settlement {settled_id}" in as_text(explain(compensation))
    told = as_text(explain(settled))
    assert f"It is compensated by settlement {own_id}: 0.60 EUR, COMPLETED." in told


async def test_evidence_that_links_the_wrong_settlements_is_noticed(scene):
    settled, compensation = await compensated_pair(scene)
    links = compensation.compensations
    wrong = {
        "the record is of": msgspec.structs.replace(links, compensated=None),
        "has paid": compensated_as(links, from_bank="OTHER"),
        "and what it compensates in USD": compensated_as(links, currency="USD"),
        "is more than 59": compensated_as(links, amount_minor=59),
        "before the settlement": compensated_as(links, completed_at=compensation.taken_at),
    }
    for text, changed in wrong.items():
        found = faults(msgspec.structs.replace(compensation, compensations=changed))
        assert any(text in fault for fault in found), text
    [made] = settled.compensations.made
    larger = msgspec.structs.replace(made, amount_minor=101)
    found = faults(
        msgspec.structs.replace(
            settled, compensations=msgspec.structs.replace(settled.compensations, made=(larger,))
        )
    )
    assert "its compensations pay back 101, which is more than was settled" in found


def compensated_as(links, **changes):
    return msgspec.structs.replace(
        links, compensated=msgspec.structs.replace(links.compensated, **changes)
    )


@pytest.mark.parametrize("who", ["proposer", "approver", "nobody"])
async def test_evidence_of_a_release_by_fewer_than_two_others_is_noticed(scene, who):
    _, compensation = await compensated_pair(scene)
    [proposal] = compensation.proposals
    caller = {"proposer": "Ada", "approver": "GRACE", "nobody": "tester"}[who]
    instruction = msgspec.structs.replace(compensation.instruction, caller=caller)
    proposals = () if who == "nobody" else (proposal,)
    altered = msgspec.structs.replace(compensation, instruction=instruction, proposals=proposals)
    assert any("before two people had released it" in fault for fault in faults(altered))
