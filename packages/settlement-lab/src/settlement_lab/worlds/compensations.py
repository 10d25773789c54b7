"""Compensations in a world: people who have what has completed paid back, and two others who release it.

Promises: each world draws from a generator of its own, so that a world without compensations is the same as if there
were none anywhere. Several are submitted for one settlement, at once and to different engines, and for more than is
left. Must never: know what the engines have admitted when they draw the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.proposals import Decision, Finding
from settlement_engine.domain.settlement import Instruction, Priority
from settlement_engine.errors import InvalidInstruction, SettlementEngineError
from settlement_engine.ports import Answer, ProposalFilter, ProposalSpec
from settlement_lab.worlds.faults import COMPENSATIONS
from settlement_lab.worlds.memory_books import CURRENCY

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.ports import ResolutionStore
    from settlement_lab.worlds.bank import Bank
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.node import Node

COMPENSATED_MAX: Final = 4
AT_ONCE_MAX: Final = 3
TRIES_MAX: Final = 4
THINK_SECONDS: Final = 10.0
CALL_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 1.0
SHARES: Final = (0.3, 0.5, 0.7, 1.0)
"""Which part of the whole amount one compensation is of; several together are often more."""

RETURNED_SHARE: Final = 0.5
RETURN_SECONDS: Final = 8.0
"""How often, and how soon, the bank sends back what is being compensated: by itself that would be seldom."""

CALLER: Final = "somebody"
PEOPLE: Final = ("ada", "grace")
VALID_SECONDS: Final = 1_000_000.0


class CompensatingWorld(Protocol):
    """What the people act on."""

    bank: Bank
    chronicle: Chronicle
    faults: Faults
    ground: Any
    nodes: list[Node]


class CompensationRequests:
    """The people's side: they have some settlements paid back, in parts, often more than once."""

    def __init__(self, world: CompensatingWorld, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._count = 0

    async def run(self) -> None:
        """Submit some compensations, those of one settlement at once."""
        for _ in range(1 + int(self._chance.random() * COMPENSATED_MAX)):
            await asyncio.sleep(self._chance.expovariate(1 / THINK_SECONDS))
            histories: dict[UUID, Settlement] = await self._world.ground.histories()
            completed = [
                each for _, each in sorted(histories.items()) if each.state is State.COMPLETED
            ]
            if not completed:
                continue
            settlement = completed[int(self._chance.random() * len(completed))]
            count = 1 + int(self._chance.random() * AT_ONCE_MAX)
            wanted = [self._draw(settlement) for _ in range(count)]
            if not self._world.faults.is_over and self._chance.random() < RETURNED_SHARE:
                self._let_return(settlement.id)
            await asyncio.gather(*map(self._submit, wanted))

    def _let_return(self, settlement_id: UUID) -> None:
        """Let the bank send the same money back meanwhile."""
        bank = self._world.bank
        its = (each for each in bank.book.values() if each.settlement_id == settlement_id)
        paid = next(its, None)
        seconds = self._chance.expovariate(1 / RETURN_SECONDS)
        if paid is not None:  # a pair has no message at this bank
            bank.later(seconds, bank.send_all_back, paid)

    def _draw(self, settlement: Settlement) -> Instruction:
        self._count += 1
        before = settlement.instruction
        share = SHARES[int(self._chance.random() * len(SHARES))]
        return Instruction(
            caller=CALLER,
            idempotency_key=f"c-{self._count}",
            obligation_id=f"oc-{self._count}",
            from_bank=before.to_bank,
            to_bank=before.from_bank,
            amount=Money(max(1, int(before.amount.minor * share)), CURRENCY),
            value_date=None,
            priority=Priority.NORMAL,
            metadata={},
            compensates=settlement.id,
        )

    async def _submit(self, wanted: Instruction) -> None:
        """Submit until an engine answers; it may die meanwhile, and the same call is made again."""
        assert wanted.compensates is not None, "it is a compensation"
        self._world.faults.note(COMPENSATIONS)
        what = f"{wanted.idempotency_key} compensates settlement {wanted.compensates.int}"
        for _ in range(TRIES_MAX):
            up = [node for node in self._world.nodes if node.is_up]
            if not up:
                await asyncio.sleep(THINK_SECONDS)
                continue
            node = up[int(self._chance.random() * len(up))]
            task = node.run(_settled(node, wanted))
            await asyncio.wait({task}, timeout=CALL_SECONDS)
            found = task.result() if task.done() and not task.cancelled() else None
            if isinstance(found, InvalidInstruction):
                self._world.faults.note("compensation_not_left")
                self._world.chronicle.note(f"{what}: refused")
                return
            if found is not None and not isinstance(found, SettlementEngineError):
                self._world.chronicle.note(f"{what}: accepted")
                return


def draw_compensations(
    world: CompensatingWorld, chance: random.Random
) -> CompensationRequests | None:
    """Draw whether people of this world have completed settlements paid back."""
    if chance.random() >= world.faults.rates[COMPENSATIONS]:
        return None
    return CompensationRequests(world, chance)


async def _settled(node: Node, wanted: Instruction) -> object:
    try:
        return await node.engine.settle(wanted, WAIT_SECONDS)
    except SettlementEngineError as error:
        return error


async def release(node: Node, resolutions: ResolutionStore, settlement: Settlement) -> None:
    """Let two people release a compensation, and tell an engine, as its case worker would."""
    proposal = await _approved(resolutions, settlement)
    first, second = proposal.proposed_by, proposal.decided_by
    node.engine._mailbox.hear(  # noqa: SLF001 - as the case worker does
        [
            Answer(
                settlement_id=settlement.id,
                event=Event.APPROVED,
                seq=settlement.seq,
                papers={"proposal": str(proposal.id), "proposed_by": first, "approved_by": second},
            )
        ]
    )


async def _approved(resolutions: ResolutionStore, settlement: Settlement) -> Proposal:
    """Return the approved release: an earlier one that may not have been carried out, or a new one."""
    wanted = ProposalFilter(settlement_id=settlement.id, has_ended=True)
    for known in await resolutions.proposals(wanted):
        if known.decision is Decision.APPROVED:
            return known
    first, second = PEOPLE
    proposal = await resolutions.propose(
        ProposalSpec(
            settlement_id=settlement.id,
            finding=Finding.RELEASE,
            reason="the world's",
            evidence_name="reason.txt",
            evidence=b"the world's",
            who=first,
            valid_seconds=VALID_SECONDS,
        )
    )
    return await resolutions.approve(proposal.id, second, proposal.content_sha256)


def faults_of_compensations(
    histories: dict[UUID, Settlement], moves: list[Moved], faults: Faults
) -> Iterator[str]:
    """Check that no more is paid back than was paid, and that what paid back was released before."""
    total_minor: dict[UUID, int] = {}
    events: dict[UUID, list[Event]] = {}
    for moved in moves:
        events.setdefault(moved.settlement_id, []).append(moved.event)
    for key, history in histories.items():
        compensates = history.instruction.compensates
        if compensates is None:
            continue
        seen = events[key]
        if Event.CLEARED in seen and Event.APPROVED not in seen[: seen.index(Event.CLEARED)]:
            yield f"compensation {key.int}: its funds were held before two people had released it"
        if history.state is State.COMPLETED:
            back = sum(each.part_minor for each in history.returns)
            total_minor[compensates] = (
                total_minor.get(compensates, 0) + history.instruction.amount.minor - back
            )
            faults.note("compensation_completed")
        elif history.refusal_code:
            faults.note("compensation_refused")
    for key, total in total_minor.items():
        whole = histories[key].instruction.amount
        returned = sum(each.part_minor for each in histories[key].returns)
        if total + returned > whole.minor:
            yield f"settlement {key.int}: {total} paid back and {returned} returned of {whole}"
        if histories[key].is_frozen:
            faults.note("compensation_then_returned")


def paid_back(histories: dict[UUID, Settlement], moves: Sequence[Moved]) -> set[UUID]:
    """Return the settlements for whose compensation funds were held."""
    held = {moved.settlement_id for moved in moves if moved.to_state is State.LOCKED}
    found = {histories[key].instruction.compensates for key in held}
    return {key for key in found if key is not None}
