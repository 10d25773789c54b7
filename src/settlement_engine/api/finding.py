"""Finds the settlement that a caller means, by any identifier that the caller has.

Promises: a settlement id takes precedence over all other identifiers; an identifier shared by several
settlements is refused with their ids, and never resolved by a guess. References are not checked for card
numbers, because banks choose their own references.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.api.grammar import Found, check_obligation, check_uuid, refuse
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import Named, NamedBy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import SettlementStore
    from settlement_engine.proto import settlement_pb2 as pb

ANY_ID_CHARACTERS_MAX: Final = 500
"""The greatest length of a rail's reference."""

SHOWN_MAX: Final = 5
"""How many ids are listed when several settlements share an identifier."""

KINDS: Final = "id, obligation id, UETR, end-to-end id (ours or the caller's), message id, trace or rail reference"
"""By what a settlement is found, for the message that none was."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class SettlementFinder:
    """Finds the one settlement of a call."""

    def __init__(self, settlements: SettlementStore) -> None:
        self._settlements = settlements

    async def find(self, request: pb.SettlementStatusRequest) -> Settlement:
        """Return the settlement. Raises NotFound, InvalidInstruction."""
        if request.any_id:
            return await self._by_any_id(request)
        if request.obligation_id and not request.settlement_id:
            return await self._by_obligation(request.obligation_id)
        found: Found = []
        settlement_id = check_uuid("settlement_id", request.settlement_id, found)
        if request.obligation_id:
            check_obligation(request.obligation_id, found)
        if settlement_id is None or found:
            raise InvalidInstruction(found)
        settlement = await self._load(settlement_id)
        obligation_id = settlement.instruction.obligation_id
        if request.obligation_id and obligation_id != request.obligation_id:
            raise InvalidInstruction([("obligation_id", "is not that of the settlement")])
        return settlement

    async def _by_obligation(self, obligation_id: str) -> Settlement:
        found: Found = []
        check_obligation(obligation_id, found)
        refuse(found)
        settlement = await self._settlements.find_by_obligation(obligation_id)
        if settlement is None:
            raise NotFound("there is no settlement of this obligation", listed_by="list")
        return settlement

    async def _by_any_id(self, request: pb.SettlementStatusRequest) -> Settlement:
        name = request.any_id
        if request.settlement_id or request.obligation_id:
            raise InvalidInstruction(
                [("any_id", "cannot be combined with settlement_id or obligation_id")]
            )
        if len(name) > ANY_ID_CHARACTERS_MAX:
            raise InvalidInstruction(
                [("any_id", f"has more than {ANY_ID_CHARACTERS_MAX} characters")]
            )
        if _CONTROL.search(name) is not None:
            raise InvalidInstruction([("any_id", "contains control characters")])
        return await self._load(_the_one(await self._settlements.find_by_any_id(name)))

    async def _load(self, settlement_id: UUID) -> Settlement:
        settlement = (await self._settlements.load([settlement_id])).get(settlement_id)
        if settlement is None:
            raise NotFound("there is no settlement with this id", listed_by="list")
        return settlement


def _the_one(named: Sequence[Named]) -> UUID:
    """Return the only settlement among the matches; an own id counts before all others."""
    own = [each.settlement_id for each in named if each.named_by is NamedBy.SETTLEMENT_ID]
    meant = own or sorted({each.settlement_id for each in named})
    if not meant:
        raise NotFound(
            "there is no settlement with this reference",
            why=f"no settlement has it as {KINDS}",
            listed_by="list",
        )
    if len(meant) > 1:
        ids = ", ".join(str(each) for each in meant[:SHOWN_MAX])
        more = "" if len(meant) <= SHOWN_MAX else " and others"
        text = f"is a reference of several settlements: {ids}{more}; give the settlement_id of one"
        raise InvalidInstruction([("any_id", text)])
    return meant[0]
