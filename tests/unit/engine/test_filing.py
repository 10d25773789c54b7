"""Rails whose payments go into files: traces with the route, and what a takeover, or a cancel, may rely upon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.routing import RouteDecision, RouteReason
from settlement_engine.engine.filing import Filing
from settlement_engine.ports import Claimed, FileRail, Unreadable
from tests.support.decided import attempt, settlement
from tests.unit.engine.engine_world import ScriptedRail, running

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import SendRail


class Files:
    """A rail that gives traces, and says what is filed."""

    def __init__(self) -> None:
        self.given = 0
        self.closed: set[tuple[UUID, int]] = set()
        self.open: set[UUID] = set()
        self.left: set[tuple[UUID, int]] = set()

    async def allocate_traces(self, settlements: Sequence[Settlement]) -> Sequence[str]:
        first, self.given = self.given + 1, self.given + len(settlements)
        return [str(number) for number in range(first, self.given + 1)]

    async def filed(self, keys: Collection[tuple[UUID, int]]) -> frozenset[tuple[UUID, int]]:
        return frozenset(self.closed.intersection(keys))

    async def never_left(self, keys: Collection[tuple[UUID, int]]) -> frozenset[tuple[UUID, int]]:
        return frozenset(self.left.intersection(keys))

    def withdraw(self, settlement_id: UUID) -> bool:
        is_open = settlement_id in self.open
        self.open.discard(settlement_id)
        return is_open


RAIL = attempt().route.rail
OTHER_ROUTE = msgspec.structs.replace(attempt().route, rail="other")


def filing(rail: object) -> Filing:
    rails: Any = {RAIL: rail, "other": object()}
    known: Mapping[str, SendRail] = rails
    return Filing(known)


async def test_only_a_payment_that_goes_into_a_file_now_has_a_trace() -> None:
    files = Files()
    assert isinstance(files, FileRail)
    routes = [
        RouteDecision(rail="other"),
        RouteDecision(rail=RAIL),
        RouteDecision(rail=""),
        RouteDecision(rail=RAIL, waits_for=RouteReason.LANE_FULL),
        RouteDecision(rail=RAIL),
    ]
    paid = [settlement(State.VALIDATING) for _ in routes]
    found = await filing(files).with_traces(paid, routes)
    assert [each.trace for each in found] == ["", "1", "", "", "2"]
    assert [each.rail for each in found] == [each.rail for each in routes]
    assert files.given == 2, "a number is not wasted"


async def test_what_is_in_no_closed_file_counts_as_not_asked() -> None:
    files = Files()
    open_one, filed = settlement(State.LOCKED), settlement(State.LOCKED, id=UUID(int=2))
    other = settlement(State.LOCKED, id=UUID(int=3), attempt=attempt(route=OTHER_ROUTE))
    files.closed.add((filed.id, 1))
    claims: list[Claimed | Unreadable] = [
        Claimed(settlement=open_one, was_asked=True),
        Claimed(settlement=filed, was_asked=True),
        Claimed(settlement=settlement(State.SENT), was_asked=True),
        Claimed(settlement=other, was_asked=True),
        Claimed(settlement=open_one, was_asked=False),
    ]
    found = await filing(files).without_unfiled(claims)
    asked = [each.was_asked for each in found if isinstance(each, Claimed)]
    assert asked == [False, True, True, True, False]


async def test_a_rail_without_files_takes_no_part() -> None:
    without = filing(object())
    assert not without.is_used
    claims = [Claimed(settlement=settlement(State.LOCKED), was_asked=True)]
    assert await without.without_unfiled(claims) == claims
    assert not without.withdraw(settlement(State.LOCKED))


@pytest.mark.parametrize("state", [State.VALIDATING, State.LOCKED, State.SENT])
def test_only_a_locked_payment_of_the_open_file_is_withdrawn(state: State) -> None:
    files = Files()
    paid = settlement(state)
    assert not filing(files).withdraw(paid)
    files.open.add(paid.id)
    assert filing(files).withdraw(paid) is (state is State.LOCKED)


class FileScriptedRail(Files, ScriptedRail):
    """A rail of files whose first call ends while its file is being stored, which the store has not."""

    def __init__(self) -> None:
        Files.__init__(self)
        ScriptedRail.__init__(self)
        self.sends.append(None)

    async def send(self, questions: Any, report: Any) -> None:
        await super().send(questions, report)
        self.left = {(each.settlement_id, each.attempt) for each in questions}


async def test_silence_about_a_payment_in_no_file_is_no_doubt_and_it_is_sent_again() -> None:
    async with running(rail=FileScriptedRail()) as world:
        settlement = await world.settle()
        assert await world.history(settlement) == ["validating", "locked", "completed"]
        assert [word for word, _, _ in world.rail.asked] == ["send", "send"]
