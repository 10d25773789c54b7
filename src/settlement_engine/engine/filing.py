"""What the engine asks of rails whose payments wait in an open file: traces, and whether a payment is in a closed one.

Promises: a trace is allocated before the send intent that has it; a payment that is in no closed file has never left,
so its send continues after a takeover as if it had not been asked. Must never: take a file that is being closed by
another engine for one that is not; the claim has ended that engine's right to close it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import Broken
from settlement_engine.ports import Answer, Claimed, FileRail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.routing import RouteDecision
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.ports import SendRail, Unreadable

NOT_FILED: Final = "its call ended before its file was stored, and it is in none: nothing has left"

log = structlog.get_logger(__name__)


class Filing:
    """The rails of an engine whose payments go into files."""

    def __init__(self, rails: Mapping[str, SendRail]) -> None:
        self._rails = {name: rail for name, rail in rails.items() if isinstance(rail, FileRail)}
        self.is_used = bool(self._rails)

    async def with_traces(
        self, settlements: Sequence[Settlement], routes: list[RouteDecision]
    ) -> list[RouteDecision]:
        """Return the routes, with a trace where the rail puts payments into files. Raises Unavailable."""
        found = list(routes)
        for name, rail in self._rails.items():
            places = [
                place
                for place, route in enumerate(routes)
                if route.rail == name and route.waits_for is None
            ]
            if not places:
                continue
            traces = await rail.allocate_traces([settlements[place] for place in places])
            for place, trace in zip(places, traces, strict=True):
                found[place] = msgspec.structs.replace(routes[place], trace=trace)
        return found

    def withdraw(self, settlement: Settlement) -> bool:
        """Take a payment out of the open file of this process; False if it is not in it. Its rail answers."""
        attempt = settlement.attempt
        if settlement.state is not State.LOCKED or attempt is None:
            return False
        rail = self._rails.get(attempt.route.rail)
        return rail is not None and rail.withdraw(settlement.id)

    def may_be_unfiled(self, settlement: Settlement, gate: Gate) -> bool:
        """Say whether the store may prove that a payment has never left, in whichever engine it waits.

        Not while a restored database is compared with the bank, and not for what was found to have left before that.
        """
        attempt = settlement.attempt
        if settlement.state is not State.LOCKED or attempt is None or not attempt.trace:
            return False
        rail = attempt.route.rail
        is_known = gate.is_open_for(rail) and not gate.is_at_bank(attempt.references.end_to_end_id)
        return rail in self._rails and is_known

    async def without_unfiled(
        self, claimed: Sequence[Claimed | Unreadable]
    ) -> Sequence[Claimed | Unreadable]:
        """Return the claims; what is in no closed file counts as not asked. Raises Unavailable."""
        found = claimed
        for name, rail in self._rails.items():
            keys = [key for each in claimed if (key := _key_at(name, each)) is not None]
            if not keys:
                continue
            unfiled = frozenset(keys) - await rail.filed(keys)
            found = [
                msgspec.structs.replace(each, was_asked=False)
                if isinstance(each, Claimed) and _key_at(name, each) in unfiled
                else each
                for each in found
            ]
        return found


def _key_at(rail: str, claim: Claimed | Unreadable) -> tuple[UUID, int] | None:
    """Return the attempt that an engine which is gone may have put into a file of this rail; None for any other."""
    if not isinstance(claim, Claimed) or not claim.was_asked:
        return None
    settlement = claim.settlement
    attempt = settlement.attempt
    is_locked = settlement.state is State.LOCKED
    if attempt is None or not is_locked or attempt.route.rail != rail:
        return None
    return settlement.id, attempt.number


async def never_left(
    rail: SendRail | None, lease: EngineLease, unanswered: dict[UUID, int]
) -> list[Answer]:
    """Answer for the payments of a call without an answer that are in no closed file, and take them out.

    In doubt they would come into no file any more, and nobody can be asked about them.
    """
    if not isinstance(rail, FileRail):
        return []
    try:
        unfiled = await lease.until_reached(lambda: rail.never_left(list(unanswered.items())))
    except Broken as error:
        log.exception("filed_not_read", why=error.why or error.what)
        return []
    return [
        Answer(
            settlement_id=settlement_id,
            event=Event.UNDELIVERED,
            attempt=unanswered.pop(settlement_id),
            text=NOT_FILED,
            is_held_back=True,
        )
        for settlement_id, _ in unfiled
    ]
