"""A person's order of another cover: what allows it, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from settlement_engine.domain.covers import COVERS_MAX, Cover, CoverRefusal, LegSays
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.settlement import Route
from settlement_engine.engine.cover_repairs import CoverRepairs
from settlement_engine.errors import Contention, NotFound, SettlementEngineError, WrongState
from settlement_engine.messages.errors import MessageError
from tests.support.decided import ID, NOW, attempt, settlement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import NewCover, Question

PAIR = attempt(route=Route(rail="swift_cover", source_id=1, agent_id=2, clearing_id=3, target_id=4))
REFUSED = Cover(
    number=1,
    message_id="CG1",
    content=b"x",
    recorded_at=NOW,
    valid_until=NOW,
    sends=1,
    refusal=CoverRefusal(code="AM04"),
)


class Rail:
    """Writes another cover, or cannot."""

    def __init__(self) -> None:
        self.fault: MessageError | None = None
        self.says: LegSays | None = LegSays.REFUSED
        self.reads = 0

    def keep_covers(self, _covers: object) -> None: ...

    def know_covers(self, _route: object) -> None: ...

    async def ask_cover(self, _question: Question, _cover: Cover) -> LegSays:
        if self.says is None:
            raise TimeoutError
        return self.says

    def repair(self, _question: Question, failed: Cover, who: str, reason: str) -> Cover:
        if self.fault is not None:
            raise self.fault
        return msgspec.structs.replace(
            failed, number=failed.number + 1, refusal=None, ordered_by=who, reason=reason
        )


class World:
    """One settlement with its last cover, as the stores have them."""

    def __init__(self) -> None:
        self.settlement: Settlement | None = settlement(State.SENT, attempt=PAIR)
        self.cover: Cover | None = REFUSED
        self.ordered: list[NewCover] = []
        self.is_taken = False
        self.rail = Rail()

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        return {ids[0]: self.settlement} if self.settlement is not None else {}

    async def latest(self, keys: Sequence[tuple[UUID, int]]) -> Mapping[UUID, Cover]:
        return {keys[0][0]: self.cover} if self.cover is not None else {}

    async def order(self, repair: NewCover) -> bool:
        self.ordered.append(repair)
        return not self.is_taken

    async def read_directory(self) -> None:
        self.rail.reads += 1

    async def repair(self, rails: Mapping[str, Any] | None = None) -> Cover:
        known = {"swift_cover": self.rail} if rails is None else rails
        repairs = CoverRepairs(
            cast("Any", self), cast("Any", self), cast("Any", known), self.read_directory
        )
        return await repairs.repair(ID, "ada", "funded")


async def test_a_refused_cover_is_followed_by_another_one() -> None:
    world = World()
    found = await world.repair()
    assert (found.number, found.ordered_by, found.reason) == (2, "ada", "funded")
    assert [each.cover.number for each in world.ordered] == [2]


@pytest.mark.parametrize("state", sorted(set(State) - {State.SENT, State.IN_DOUBT}))
async def test_only_what_waits_for_its_cover_is_repaired(state: State) -> None:
    world = World()
    world.settlement = settlement(state, attempt=PAIR)
    with pytest.raises(WrongState):
        await world.repair()
    assert world.ordered == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"settlement": None}, NotFound),
        ({"settlement": settlement(State.SENT)}, WrongState),
        ({"settlement": settlement(State.SENT, attempt=PAIR, is_frozen=True)}, WrongState),
        ({"cover": None}, WrongState),
        ({"cover": msgspec.structs.replace(REFUSED, refusal=None)}, WrongState),
        ({"cover": msgspec.structs.replace(REFUSED, number=COVERS_MAX)}, WrongState),
    ],
    ids=["unknown", "no pair", "frozen", "no cover", "not refused", "too many"],
)
async def test_nothing_else_is(change: dict[str, Any], error: type[SettlementEngineError]) -> None:
    world = World()
    for name, value in change.items():
        setattr(world, name, value)
    with pytest.raises(error):
        await world.repair()
    assert world.ordered == []


@pytest.mark.parametrize("says", [*LegSays, None])
async def test_from_has_to_stand_by_its_no_when_it_is_asked_once_more(says: LegSays | None) -> None:
    world = World()
    world.rail.says = says
    if says in (LegSays.REFUSED, LegSays.GIVEN_BACK, LegSays.UNKNOWN):
        assert (await world.repair()).number == 2
        assert world.rail.reads == 1, "the cover goes where the directory says now"
        return
    with pytest.raises(WrongState):
        await world.repair()
    assert world.ordered == []


async def test_an_engine_without_the_rail_writes_no_cover() -> None:
    world = World()
    with pytest.raises(WrongState, match="does not have the rail"):
        await world.repair(rails={})


async def test_what_the_directory_does_not_say_cannot_be_written() -> None:
    world = World()
    world.rail.fault = MessageError("to_bank", "is not covered")
    with pytest.raises(WrongState, match="cannot be written"):
        await world.repair()
    assert world.ordered == []


async def test_who_comes_second_is_told_to_look_again() -> None:
    world = World()
    world.is_taken = True
    with pytest.raises(Contention):
        await world.repair()
