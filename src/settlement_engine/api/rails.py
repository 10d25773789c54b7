"""The calls of RailService, independent of the protocol that carries them.

Promises: every order has a named person and a reason, and is recorded before it is followed; a decision of a person
runs to its end even if the caller has disconnected. Must never: move money, or stop enquiries and recalls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import REASON_CHARACTERS_MAX, who_acts
from settlement_engine.api.grammar import Found, check_bank, check_reason, refuse
from settlement_engine.api.render import timestamp
from settlement_engine.domain.breaker_orders import BreakerAction
from settlement_engine.errors import NotFound
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.breaker_orders import BreakerOrder
    from settlement_engine.ports import LaneStatus, RailControl, RailStatus

    AnyOrder = pb.OpenBreakerRequest | pb.CloseBreakerRequest | pb.ProbeRailRequest

HISTORY_MAX: Final = 20
"""The most orders that are shown with a rail: the latest ones."""

RAIL_CHARACTERS_MAX: Final = 64


class RailCalls:
    """Serves the calls."""

    def __init__(
        self, control: RailControl, undisturbed: Undisturbed, *, trusts_names: bool = True
    ) -> None:
        self._control = control
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ListRails": Unary(pb.ListRailsRequest, self.list_rails),
            "GetRail": Unary(pb.GetRailRequest, self.get),
            "OpenBreaker": Unary(pb.OpenBreakerRequest, self.open),
            "CloseBreaker": Unary(pb.CloseBreakerRequest, self.close),
            "ProbeRail": Unary(pb.ProbeRailRequest, self.probe),
        }

    async def list_rails(self, request: pb.ListRailsRequest, call: Call) -> pb.ListRailsResponse:
        """List all rails, in order of preference."""
        del request, call
        return pb.ListRailsResponse(rails=[_rail(each) for each in self._control.rails()])

    async def get(self, request: pb.GetRailRequest, call: Call) -> pb.Rail:
        """Return one rail with the latest orders about it."""
        del call
        self._find(request.name)
        return await self._get(request.name)

    async def open(self, request: pb.OpenBreakerRequest, call: Call) -> pb.Rail:
        """Stop sending to a bank, or to every bank of a rail."""
        return await self._order(request, call, BreakerAction.OPEN)

    async def close(self, request: pb.CloseBreakerRequest, call: Call) -> pb.Rail:
        """Allow sending again."""
        return await self._order(request, call, BreakerAction.CLOSE)

    async def probe(self, request: pb.ProbeRailRequest, call: Call) -> pb.Rail:
        """Have one payment tried."""
        return await self._order(request, call, BreakerAction.PROBE)

    async def _order(self, request: AnyOrder, call: Call, action: BreakerAction) -> pb.Rail:
        who = who_acts(call, trusts_names=self._trusts_names)
        found: Found = []
        if request.bank:
            check_bank("bank", request.bank, found)
        check_reason(request.reason, REASON_CHARACTERS_MAX, found)
        refuse(found)
        self._find(request.rail)
        work = self._control.give(
            request.rail, request.bank, action, who=who, reason=request.reason
        )
        await self._undisturbed.run(work)
        return await self._get(request.rail)

    def _find(self, name: str) -> RailStatus:
        """Return a rail. Raises NotFound."""
        for rail in self._control.rails():
            if rail.name == name:
                return rail
        shown = name[:RAIL_CHARACTERS_MAX]
        raise NotFound(f"this engine has no rail {shown!r}", listed_by="rails list")

    async def _get(self, name: str) -> pb.Rail:
        history = await self._control.latest(name, HISTORY_MAX)
        return _rail(self._find(name), history)


def _rail(rail: RailStatus, history: Sequence[BreakerOrder] = ()) -> pb.Rail:
    return pb.Rail(
        name=rail.name,
        rail_class=rail.rail_class.upper(),
        is_paused=rail.is_paused,
        refuses_while_open=rail.refuses_while_open,
        messages=rail.messages,
        lanes=[_lane(lane) for lane in rail.lanes],
        stops=[_order(order) for order in rail.standing],
        history=[_order(order) for order in history],
    )


def _lane(lane: LaneStatus) -> pb.RailLane:
    return pb.RailLane(
        bank=lane.bank,
        breaker=lane.breaker.upper(),
        why=lane.why,
        is_stopped=lane.is_stopped,
        waiting=lane.waiting,
        in_flight=lane.in_flight,
        tries_in_seconds=lane.tries_in_seconds,
    )


def _order(order: BreakerOrder) -> pb.BreakerOrder:
    return pb.BreakerOrder(
        id=order.id,
        rail=order.rail,
        bank=order.bank,
        action=order.action.name,
        who=order.who,
        reason=order.reason,
        at=timestamp(order.at),
    )
