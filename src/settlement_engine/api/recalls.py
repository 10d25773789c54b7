"""The calls about a recall after completion, independent of the protocol that carries them.

Promises: a request has a named person, and is durable when the call returns; the bank is asked after that. Must
never: say that money has come back because a bank has promised it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api import grammar
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.api.render import timestamp
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.recalls import REASON_CHARACTERS_MAX, RecallState
from settlement_engine.errors import InvalidInstruction
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.api.service import SettlementCalls
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.ports import Recalls

STATES: Final[Mapping[RecallState, pb.RecallState.ValueType]] = MappingProxyType(
    {
        RecallState.REQUESTED: pb.RECALL_STATE_REQUESTED,
        RecallState.IN_PROCESS: pb.RECALL_STATE_IN_PROCESS,
        RecallState.OVERDUE: pb.RECALL_STATE_OVERDUE,
        RecallState.PROMISED: pb.RECALL_STATE_PROMISED,
        RecallState.REFUSED: pb.RECALL_STATE_REFUSED,
        RecallState.RETURNED: pb.RECALL_STATE_RETURNED,
    }
)

MAY_BE_RECALLED: Final = frozenset({State.COMPLETED, State.RETURNED})
"""The states of settlements that may have a recall."""


class RecallCalls:
    """Serves the calls; they are part of SettlementService."""

    def __init__(
        self,
        settlements: SettlementCalls,
        recalls: Recalls,
        undisturbed: Undisturbed,
        *,
        trusts_names: bool = True,
    ) -> None:
        self._settlements = settlements
        self._trusts_names = trusts_names
        self._recalls = recalls
        self._undisturbed = undisturbed

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "RecallSettlement": Unary(pb.RecallSettlementRequest, self.request),
            "GetSettlementStatus": Unary(pb.SettlementStatusRequest, self.status),
        }

    async def request(self, request: pb.RecallSettlementRequest, call: Call) -> pb.SettlementRecall:
        """Ask for the money of a completed settlement back."""
        who = who_acts(call, trusts_names=self._trusts_names)
        found: grammar.Found = []
        settlement_id = grammar.check_uuid("settlement_id", request.settlement_id, found)
        grammar.check_reason(request.reason, REASON_CHARACTERS_MAX, found)
        if found or settlement_id is None:
            raise InvalidInstruction(found)
        work = self._recalls.request(settlement_id, who, request.reason)
        return to_message(await self._undisturbed.run(work))

    async def status(
        self, request: pb.SettlementStatusRequest, call: Call
    ) -> pb.SettlementStatusResponse:
        """Return a settlement's status with its history, and its recall if there is one."""
        del call
        settlement, answer = await self._settlements.status_of(request)
        if settlement.state in MAY_BE_RECALLED:
            recall = await self._recalls.recall(settlement.id)
            if recall is not None:
                answer.recall.CopyFrom(to_message(recall))
        return answer


def to_message(recall: RecallRequest) -> pb.SettlementRecall:
    """Convert a recall to its message."""
    first, last = recall.steps[0], recall.steps[-1]
    answer = pb.SettlementRecall(
        settlement_id=str(recall.settlement_id),
        state=STATES[recall.state],
        reason=first.detail.get("reason", ""),
        requested_by=first.detail.get("requested_by", ""),
        requested_time=timestamp(first.at),
        replayed=recall.is_replay,
    )
    if last is not first:
        answer.code = last.detail.get("code", "")
        answer.text = last.detail.get("text", "")
        answer.changed_time.CopyFrom(timestamp(last.at))
    return answer
