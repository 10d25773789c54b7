"""A compensation whose engine is killed at any of its moves ends on another engine as if nothing had happened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Decision, Finding
from settlement_engine.errors import InvalidInstruction, SettlementEngineError
from settlement_engine.ports import Answer, ProposalFilter, ProposalSpec
from tests.failure.load import END_SECONDS, POLL_SECONDS, SIDES, LoadTown
from tests.support.frailbank import FrailBank
from tests.support.frailengine import FrailEngine, Watch
from tests.support.histories import funding, payment_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import TransitionCommand, TransitionResult

AMOUNT = 100
MOVES = [
    (State.VALIDATING, Event.PARKED),
    (State.HELD, Event.APPROVED),
    (State.VALIDATING, Event.CLEARED),
    (State.LOCKED, Event.SETTLED),
]
PATH = [Event.ADMITTED, *(event for _, event in MOVES)]


class Killer(Watch):
    """Kills the engine that writes a certain move of a compensation, before or after its commit; once."""

    def __init__(self) -> None:
        self.point: tuple[State, Event] | None = None
        self.is_after = False
        self.killed: FrailEngine | None = None
        self._writing: FrailEngine | None = None

    def before_steps(self, engine: FrailEngine, steps: Sequence[TransitionCommand]) -> None:
        """Kill before the commit, or remember whom to kill after it."""
        self._writing = None
        moves = [
            (step.settlement.state, step.event)
            for step in steps
            if step.settlement.instruction.compensates is not None
        ]
        if self.killed is not None or self.point not in moves:
            return
        if self.is_after:
            self._writing = engine
            return
        self._kill(engine)

    def after_steps(
        self, steps: Sequence[TransitionCommand], outcomes: Sequence[TransitionResult]
    ) -> None:
        """Kill after the commit."""
        if self._writing is not None and self.killed is None:
            self._kill(self._writing)

    def _kill(self, engine: FrailEngine) -> None:
        self.killed = engine
        engine.die()


class Scenery:
    """Two engines on one database, and a settlement that has completed."""

    def __init__(self, url: str) -> None:
        self.town = LoadTown(url)
        self.bank = FrailBank()
        self.killer = Killer()
        self.engines: list[FrailEngine] = []

    async def open(self) -> Settlement:
        """Start, and settle what is to be compensated."""
        await self.town.open()
        await self.town.stores.accounts.fund(funding(10**6, bank=SIDES[1]))
        for _ in range(2):
            engine = FrailEngine(
                self.town.url, self.bank, watch=self.killer, has_real_windows=False
            )
            self.engines.append(await engine.start())
        return await self.settle()

    async def settle(self) -> Settlement:
        """Settle what is to be compensated."""
        wanted = payment_request(from_bank=SIDES[0], to_bank=SIDES[1], minor=AMOUNT)
        settled = await self.engines[0].service.settle(wanted, END_SECONDS)
        assert settled.state is State.COMPLETED
        return settled

    async def close(self) -> None:
        """Stop."""
        for engine in self.engines:
            await engine.keep_dead_letter()
        await self.town.close()

    @property
    def alive(self) -> FrailEngine:
        """Return an engine that runs."""
        return next(each for each in self.engines if not each.is_dead)

    async def load(self, settlement: Settlement) -> Settlement:
        """Return what the database has of it."""
        return (await self.town.stores.settlements.load([settlement.id]))[settlement.id]

    async def look_after(self, settlement: Settlement) -> None:
        """Release it as two people and the case worker would, whoever is alive; the same again changes nothing."""
        now = await self.load(settlement)
        if now.state is not State.HELD:
            return
        resolutions = self.town.stores.resolutions
        known = await resolutions.proposals(ProposalFilter(settlement_id=now.id, has_ended=True))
        if not known:
            spec = ProposalSpec(
                settlement_id=now.id,
                finding=Finding.RELEASE,
                reason="paid twice",
                evidence_name="reason.txt",
                evidence=b"paid twice",
                who="ada",
                valid_seconds=3600.0,
            )
            made = await resolutions.propose(spec)
            known = [await resolutions.approve(made.id, "grace", made.content_sha256)]
        assert known[0].decision is Decision.APPROVED
        papers = {"proposal": str(known[0].id)}
        answer = Answer(settlement_id=now.id, event=Event.APPROVED, seq=now.seq, papers=papers)
        self.alive.service._mailbox.hear([answer])

    async def until_ended(self, settlement: Settlement) -> Settlement:
        """Wait for the end."""
        async with asyncio.timeout(END_SECONDS):
            while not (now := await self.load(settlement)).is_ended:
                await self.look_after(settlement)
                await asyncio.sleep(POLL_SECONDS)
        return now


@pytest.fixture
async def scenery(database_url: str) -> AsyncIterator[Scenery]:
    made = Scenery(database_url)
    yield made
    await made.close()


def back(compensated: Settlement, minor: int = AMOUNT) -> Instruction:
    return payment_request(
        from_bank=SIDES[1], to_bank=SIDES[0], minor=minor, compensates=compensated.id
    )


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", MOVES, ids=[event for _, event in MOVES])
async def test_killed_at_any_move_it_pays_back_once(
    scenery: Scenery, point: tuple[State, Event], is_after: bool
) -> None:
    completed = await scenery.open()
    scenery.killer.point, scenery.killer.is_after = point, is_after
    wanted = back(completed)
    [accepted] = await scenery.engines[0].service.submit([wanted])
    assert not isinstance(accepted, Exception)
    ended = await scenery.until_ended(accepted)
    assert scenery.killer.killed is not None, "the point was reached"
    assert ended.state is State.COMPLETED
    moves = await scenery.town.stores.settlements.history(ended.id)
    events = [moved.event for moved in moves if moved.event is not Event.NO_ANSWER]
    assert [event for event in PATH if event in events] == PATH
    assert scenery.bank.debits[wanted.obligation_id] == 1
    [linked] = (await scenery.load(completed)).compensations
    assert (linked.settlement_id, linked.effect_minor) == (ended.id, AMOUNT)
    assert await scenery.town.stores.differences() == []
    [again] = await scenery.alive.service.submit([wanted])
    assert not isinstance(again, Exception)
    assert (again.id, again.is_replay) == (ended.id, True)


async def test_two_engines_never_admit_more_than_is_left(scenery: Scenery) -> None:
    completed = await scenery.open()
    wanted = [back(completed, 30) for _ in range(12)]
    calls = [
        scenery.engines[number % 2].service.submit([each]) for number, each in enumerate(wanted)
    ]
    found = [result for [result] in await asyncio.gather(*calls)]
    refused = [each for each in found if isinstance(each, SettlementEngineError)]
    accepted = [each for each in found if not isinstance(each, Exception)]
    assert (len(accepted), len(refused)) == (3, 9)
    assert all(isinstance(each, InvalidInstruction) for each in refused)
    for each in accepted:
        assert (await scenery.until_ended(each)).state is State.COMPLETED
    assert await scenery.town.stores.differences() == []
