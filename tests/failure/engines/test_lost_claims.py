"""A claim whose answer is lost: its settlements are found again soon, not by the regular sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import Unavailable
from settlement_lab.memory import MemorySettlements
from tests.unit.engine.engine_world import EngineWorld

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.ports import Claimed

NEVER_SECONDS = 600.0
CLOSE_SECONDS = 0.02


class Claims(MemorySettlements):
    """A store whose claims are written but not answered, a given number of times."""

    def __init__(self, records: Any) -> None:
        super().__init__(records)
        self.claims_lost = 0
        self.reclaims_lost = 0

    @override
    async def claim(self, engine_id: int, limit: int, *, is_sweep: bool = False) -> list[Claimed]:
        found = await super().claim(engine_id, limit, is_sweep=is_sweep)
        if found and self.claims_lost:
            self.claims_lost -= 1
            raise Unavailable("the answer is lost")
        return found

    @override
    async def reclaim(self, engine_id: int, settlement_ids: Sequence[UUID]) -> list[Claimed]:
        found = await super().reclaim(engine_id, settlement_ids)
        if found and self.reclaims_lost:
            self.reclaims_lost -= 1
            raise Unavailable("the answer is lost")
        return found


async def settle_with(*, claims_lost: int, reclaims_lost: int) -> EngineWorld:
    """Settle one whose payment is parked once, so that it must be claimed."""
    world = EngineWorld(close_look_seconds=CLOSE_SECONDS, look_interval_seconds=NEVER_SECONDS)
    store = Claims(world.records)
    store.claims_lost, store.reclaims_lost = claims_lost, reclaims_lost
    for holder in (world.engine._takeover, world.engine._mailbox):
        holder._store = store
    await world.open_bank("AAA", 1_000)
    await world.open_bank("BBB", 0)
    world.rail.sends.append(None)
    world.rail.enquiries.append(None)
    await world.start()
    try:
        found = await world.settle()
        assert found.state is State.COMPLETED
    finally:
        await world.crash()
    assert (store.claims_lost, store.reclaims_lost) == (0, 0)
    return world


async def test_settlements_of_a_claim_with_a_lost_answer_are_found_soon() -> None:
    """The regular sweep would take ten minutes here."""
    world = await settle_with(claims_lost=1, reclaims_lost=0)
    assert "claim_answer_lost" in world.meter.invariant_warnings


async def test_a_reclaim_with_a_lost_answer_is_repeated() -> None:
    """Then another attempt follows."""
    world = await settle_with(claims_lost=1, reclaims_lost=2)
    assert world.meter.invariant_warnings.count("claim_answer_lost") == 3
