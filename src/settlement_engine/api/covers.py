"""The call that orders the repair of a cover, independent of the protocol that carries it.

Promises: an order has a named person and a reason, and is durable when the call returns; the cover leaves after that.
Must never: say that a cover was paid because it was ordered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.api import grammar
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.domain.covers import REASON_CHARACTERS_MAX
from settlement_engine.errors import InvalidInstruction
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.ports import CoverOrders


class CoverCalls:
    """Serves the call; it is part of SettlementService."""

    def __init__(
        self, covers: CoverOrders, undisturbed: Undisturbed, *, trusts_names: bool = True
    ) -> None:
        self._covers = covers
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the name of the call, as in the proto, to its handler."""
        return {"RepairCover": Unary(pb.RepairCoverRequest, self.repair)}

    async def repair(self, request: pb.RepairCoverRequest, call: Call) -> pb.SettlementCover:
        """Order another cover of a payment whose cover was refused."""
        who = who_acts(call, trusts_names=self._trusts_names)
        found: grammar.Found = []
        settlement_id = grammar.check_uuid("settlement_id", request.settlement_id, found)
        grammar.check_reason(request.reason, REASON_CHARACTERS_MAX, found)
        if found or settlement_id is None:
            raise InvalidInstruction(found)
        work = self._covers.repair(settlement_id, who, request.reason)
        cover = await self._undisturbed.run(work)
        return pb.SettlementCover(
            settlement_id=str(settlement_id),
            number=cover.number,
            message_id=cover.message_id,
            ordered_by=cover.ordered_by,
            reason=cover.reason,
        )
