"""Lookups: a settlement is found by every identifier that it has, in both stores."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import PaymentDetails
from settlement_engine.domain.proposals import Finding
from settlement_engine.ports import NAMED_MAX, Named, NamedBy, ProposalFilter, SettlementFilter
from tests.contract.test_store_exceptions import spec as proposal_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def acknowledged(scene, reference: str):
    """Bring a settlement to where the rail has reported its own reference."""
    locked = await scene.bring(State.LOCKED)
    return await scene.move(
        locked,
        Event.ACKNOWLEDGED,
        rail_reference=reference,
        detail={"rail_reference": reference},
        due_seconds=60.0,
    )


async def test_a_settlement_is_found_by_each_of_its_names(scene):
    reference = f"MOCK {scene.source_bank}"
    settlement = await acknowledged(scene, reference)
    assert settlement.rail_reference == reference
    names = settlement.attempt.references
    find = scene.stores.settlements.find_by_any_id
    for name, named_by in (
        (str(settlement.id), NamedBy.SETTLEMENT_ID),
        (str(settlement.id).upper(), NamedBy.SETTLEMENT_ID),
        (settlement.instruction.obligation_id, NamedBy.OBLIGATION_ID),
        (str(names.uetr), NamedBy.UETR),
        (str(names.uetr).upper(), NamedBy.UETR),
        (names.end_to_end_id, NamedBy.END_TO_END_ID),
        (names.message_id, NamedBy.MESSAGE_ID),
        (reference, NamedBy.RAIL_REFERENCE),
    ):
        assert await find(name) == [Named(settlement.id, named_by)], named_by


async def test_a_settlement_is_found_by_its_trace(scene):
    trace = f"TRACE {scene.source_bank}"
    settlement = await scene.locked(trace)
    await scene.locked()
    assert (await scene.load(settlement)).attempt.trace == trace
    assert await scene.stores.settlements.find_by_any_id(trace) == [
        Named(settlement.id, NamedBy.TRACE)
    ]


async def test_a_settlement_is_found_by_its_callers_own_reference(scene):
    name = f"C-{scene.source_bank}"
    settlement = await scene.new(payment=PaymentDetails(end_to_end_id=name))
    await scene.new(payment=PaymentDetails(remittance=name))
    found = [Named(settlement.id, NamedBy.CALLERS_END_TO_END_ID)]
    assert await scene.stores.settlements.find_by_any_id(name) == found


@pytest.mark.parametrize("name", ["", "nobody", str(uuid.UUID(int=7)), "x" * 500, "{7}", "%"])
async def test_an_unknown_identifier_finds_nothing(scene, name):
    assert await scene.stores.settlements.find_by_any_id(name) == []


async def test_a_very_long_reference_is_accepted(scene):
    """An index over whole references would refuse this one, and the payment with it."""
    reference = f"{scene.source_bank} " + "é" * 490
    settlement = await acknowledged(scene, reference)
    found = await scene.stores.settlements.find_by_any_id(reference)
    assert found == [Named(settlement.id, NamedBy.RAIL_REFERENCE)]


async def test_a_shared_identifier_finds_all_settlements(scene):
    shared = f"SAME {scene.source_bank}"
    first, second = [await acknowledged(scene, shared) for _ in range(2)]
    named = await scene.stores.settlements.find_by_any_id(shared)
    assert {each.settlement_id for each in named} == {first.id, second.id}
    other = await scene.new(obligation_id=shared)
    named = await scene.stores.settlements.find_by_any_id(shared)
    assert Named(other.id, NamedBy.OBLIGATION_ID) in named
    assert len(named) == 3


async def test_an_obligation_finds_the_settlement_that_holds_it(scene):
    name = f"OBL-{scene.source_bank}"
    await scene.bring(State.FAILED, obligation_id=name)
    freed = await scene.bring(State.ROLLED_BACK, obligation_id=name)
    find = scene.stores.settlements.find_by_any_id
    assert await find(name) == [Named(freed.id, NamedBy.OBLIGATION_ID)]
    living = await scene.new(obligation_id=name)
    assert await find(name) == [Named(living.id, NamedBy.OBLIGATION_ID)]


async def test_a_reference_shared_by_many_is_read_up_to_the_limit(scene):
    shared = f"ALL {scene.source_bank}"
    for _ in range(3):
        await acknowledged(scene, shared)
    assert 1 < len(await scene.stores.settlements.find_by_any_id(shared)) <= NAMED_MAX


# --- lists ----------------------------------------------------------------------------------------


async def test_settlements_are_listed_and_counted_by_when_they_came(scene):
    histories = [await scene.new() for _ in range(4)]
    store, bank = scene.stores.settlements, scene.source_bank
    second, last = histories[1].created_at, histories[3].created_at

    async def listed(**wanted):
        asked = SettlementFilter(bank=bank, **wanted)
        found = await store.list_settlements(asked)
        assert await store.count_settlements(asked) == len(found)
        return [each.id for each in found][::-1]

    ids = [each.id for each in histories]
    assert await listed() == ids
    assert await listed(since=second) == ids[1:]
    assert await listed(until=last) == ids[:3]
    assert await listed(since=second, until=last) == ids[1:3]
    assert await listed(since=last + timedelta(seconds=1)) == []
    assert await listed(from_id=ids[2]) == ids[2:]
    assert await listed(from_id=ids[1], before_id=ids[3]) == ids[1:3]
    assert await store.count_settlements(SettlementFilter(bank=bank, limit=3)) == 3


@pytest.mark.parametrize("fold", [str.upper, str.lower])
async def test_counts_and_lists_agree(scene, fold):
    """With every filter, and under every spelling of a bank."""
    name = f"OBL-{scene.source_bank}"
    await scene.bring(State.FAILED, obligation_id=name)
    living = await scene.bring(State.SENT, obligation_id=name)
    await scene.new()
    store = scene.stores.settlements
    for wanted, count in (
        ({"bank": fold(scene.source_bank)}, 3),
        ({"bank": fold(scene.target_bank)}, 3),
        ({"obligation_id": name}, 2),
        ({"obligation_id": name, "states": frozenset({State.SENT})}, 1),
        ({"obligation_id": name, "before_id": living.id}, 1),
        ({"obligation_id": name, "from_id": living.id}, 1),
        ({"obligation_id": name, "bank": "GAMMA"}, 0),
        ({"obligation_id": name, "limit": 1}, 1),
        ({"bank": fold(scene.source_bank), "currency": "USD"}, 0),
    ):
        asked = SettlementFilter(**wanted)
        assert len(await store.list_settlements(asked)) == count, wanted
        assert await store.count_settlements(asked) == count, wanted


async def test_open_proposals_are_listed_and_all_on_request(scene):
    resolutions = scene.stores.resolutions
    settlement = await scene.bring(State.IN_DOUBT)
    other = await scene.bring(State.IN_DOUBT)
    superseded = await resolutions.propose(proposal_spec(settlement))
    waiting = await resolutions.propose(proposal_spec(settlement, Finding.NOT_SETTLED))
    expired = await resolutions.propose(proposal_spec(other, valid_seconds=0.000_001))

    async def listed(**wanted):
        return [each.id for each in await resolutions.proposals(ProposalFilter(**wanted))]

    assert await listed(settlement_id=settlement.id) == [waiting.id]
    assert await listed(settlement_id=other.id) == []
    everything = [expired.id, waiting.id, superseded.id]
    assert (await listed(has_ended=True))[:3] == everything
    assert await listed(has_ended=True, before_id=expired.id, limit=1) == [waiting.id]
    approved = await resolutions.approve(waiting.id, "grace", waiting.content_sha256)
    assert await listed(settlement_id=settlement.id) == [approved.id]
    approved = await resolutions.decline(
        (await resolutions.propose(proposal_spec(other))).id, "grace"
    )
    assert await listed(settlement_id=other.id) == []


async def test_a_repeated_call_is_marked_as_a_replay(scene):
    from tests.support.histories import funding

    paid_in = funding(7, bank=scene.source_bank, idempotency_key=f"K {scene.source_bank}")
    accounts = scene.stores.accounts
    assert not (await accounts.fund(paid_in)).is_replay
    assert (await accounts.fund(paid_in)).is_replay
    assert not (await scene.source()).is_replay
