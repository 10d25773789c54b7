"""Cases for transitions that cannot be written: at most one open per settlement, and never none."""

from __future__ import annotations

import pytest

from settlement_engine.domain.exceptions import ENGINE, CaseKind, Severity
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.ports import CaseFilter

pytestmark = pytest.mark.asyncio(loop_scope="module")

DETAIL = {"state": "sent", "happened": "settled", "why": 'no room: "account_side" \\ {}'}


async def of(stores, settlement, *, has_closed=False):
    wanted = CaseFilter(settlement_id=settlement.id, has_closed=has_closed)
    return await stores.cases.cases(wanted)


async def test_one_case_is_open_at_a_time_and_a_closed_one_does_not_block(stores, scene):
    settlement = await scene.bring(State.SENT)
    assert await stores.cases.open_unbookable(settlement.id, DETAIL)
    assert not await stores.cases.open_unbookable(settlement.id, DETAIL | {"why": "else"})
    [case] = await of(stores, settlement)
    assert (case.kind, case.severity) == (CaseKind.CANNOT_BE_BOOKED, Severity.CRITICAL)
    assert case.detail == DETAIL
    await stores.cases.close_case(case.id, "mara", "repaired, as I believe")
    assert await of(stores, settlement) == []
    assert await stores.cases.open_unbookable(settlement.id, DETAIL)
    [again] = await of(stores, settlement)
    assert again.id != case.id


async def test_one_of_two_engines_leads_a_recovery(stores, scene):
    settlement = await scene.bring(State.SENT)
    beside = stores.beside()
    found = [await side.cases.open_unbookable(settlement.id, DETAIL) for side in (stores, beside)]
    assert found == [True, False]


async def test_a_later_end_closes_the_case(stores, scene):
    settlement = await scene.bring(State.SENT)
    await stores.cases.open_unbookable(settlement.id, DETAIL)
    assert await stores.cases.close_ended(1000) == 0
    await scene.move(await scene.load(settlement), Event.SETTLED)
    assert await stores.cases.close_ended(1000) == 1
    [case] = await of(stores, settlement, has_closed=True)
    assert (case.closed_by, case.close_reason) == (
        ENGINE,
        "the settlement has ended: completed",
    )


async def test_an_earlier_end_closes_no_case(stores, scene):
    settlement = await scene.bring(State.COMPLETED)
    await stores.cases.open_unbookable(settlement.id, DETAIL | {"happened": "returned"})
    assert await stores.cases.close_ended(1000) == 0
    assert len(await of(stores, settlement)) == 1
