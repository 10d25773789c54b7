"""Cover payments in a world: some of its payments are pairs, and people repair their covers and cancel them.

Promises: each world draws from generators of its own, so that a world without pairs is the same as if there were none
anywhere. People also order what is not allowed, twice and at once. Must never: let people see more than the records.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.covers import MAY_BE_REPAIRED, is_pair
from settlement_engine.domain.decisions.resending import AT_RAIL
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import Contention, SettlementEngineError, WrongState
from settlement_lab.worlds import pair_auditor
from settlement_lab.worlds.cover_rail import PairBanks
from settlement_lab.worlds.faults import (
    COVER_REPAIRED,
    COVER_SENT_AGAIN,
    PAIR_COMPLETED,
    PAIR_RECALLED,
    PAIRS,
    REPAIR_REFUSED,
)
from settlement_lab.worlds.leg_bank import LegBank
from settlement_lab.worlds.recalls import BankRecalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Moved, Settlement
    from settlement_lab.memory import Records
    from settlement_lab.worlds.bank import Bank
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.node import Node

PAIRED_SHARE: Final = 0.6
"""The share of payments that are paid out to a customer, in a world with pairs."""

LOOKS_MAX: Final = 10
THINK_SECONDS: Final = 6.0
CALL_SECONDS: Final = 10.0
REPAIRING_SHARE: Final = 0.7
CARELESS_SHARE: Final = 0.1
"""How often a cover is to be repaired whatever has become of it."""

TWICE_SHARE: Final = 0.3
CANCELLING_SHARE: Final = 0.08
HEARD_BEFORE_A_RETURN: Final = (State.COMPLETED, Event.CONTRADICTED)


class PairsWorld(Protocol):
    """What the people act on."""

    bank: Bank
    chronicle: Chronicle
    faults: Faults
    ground: Any
    nodes: list[Node]


class WorldPairs:
    """Both banks as they treat pairs, what leaves for them, and the people who look after pairs."""

    def __init__(self, world: PairsWorld, seed: int) -> None:
        self._world = world
        self._chance = random.Random(f"{PAIRS} people {seed}")
        self._records: Records = world.ground.records
        rules = replace(
            world.bank.rules, asks=AT_RAIL
        )  # a bank that cannot be asked is not covered
        self.bank = LegBank(world.bank, rules, random.Random(f"{PAIRS} fates {seed}"))
        self.departures = pair_auditor.Departures(self._records)
        self.banks = PairBanks(self.bank, self.departures.permitted)
        recalls = world.bank.recalls
        if isinstance(recalls, BankRecalls):
            self.bank.recalls = recalls.of(self.bank)

    def paired(self, request: Instruction) -> Instruction:
        """Let a payment be paid out to a customer, or leave it as it is."""
        if self._chance.random() >= PAIRED_SHARE:
            return request
        return replace(request, requested_delivery=Delivery.PAY_OUT)

    # --- people -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look at all pairs from time to time."""
        for _ in range(LOOKS_MAX):
            await asyncio.sleep(self._chance.expovariate(1 / THINK_SECONDS))
            histories: dict[UUID, Settlement] = await self._world.ground.histories()
            for _, settlement in sorted(histories.items()):
                if _is_of_pair(settlement):
                    await self._look_at(settlement)

    async def _look_at(self, settlement: Settlement) -> None:
        drawn = self._chance.random()
        is_failed = settlement.state in MAY_BE_REPAIRED and self._is_refused(settlement)
        if drawn < (REPAIRING_SHARE if is_failed else CARELESS_SHARE):
            times = 2 if self._chance.random() < TWICE_SHARE else 1
            await asyncio.gather(*(self._repair(settlement.id) for _ in range(times)))
        elif settlement.state not in ENDS and drawn > 1 - CANCELLING_SHARE:
            self._world.chronicle.note(f"pair {settlement.id.int} is to be cancelled")
            await self._call(lambda node: node.engine.cancel(settlement.id))

    def _is_refused(self, settlement: Settlement) -> bool:
        assert settlement.attempt is not None, "a pair was sent"
        key = (settlement.id, settlement.attempt.number)
        return any(
            each.refusal is not None for each in self._records.covers.stored.get(key, [])[-1:]
        )

    async def _repair(self, settlement_id: UUID) -> None:
        self._world.chronicle.note(f"the cover of pair {settlement_id.int} is to be repaired")
        found = await self._call(
            lambda node: node.repairs.repair(settlement_id, "somebody", "the world's")
        )
        if isinstance(found, (WrongState, Contention)):
            self._world.faults.note(REPAIR_REFUSED)

    async def _call(self, call: Callable[[Node], Awaitable[object]]) -> object:
        """Call an engine, which may die meanwhile: then nobody knows whether it was done."""
        up = [node for node in self._world.nodes if node.is_up]
        if not up:
            return None
        node = up[int(self._chance.random() * len(up))]
        task = node.run(_caught(call, node))
        await asyncio.wait({task}, timeout=CALL_SECONDS)
        return task.result() if task.done() and not task.cancelled() else None

    # --- the end ------------------------------------------------------------------------------------

    def torn(self, histories: Mapping[UUID, Settlement], moves: Sequence[Moved]) -> set[UUID]:
        """Return the pairs of which one message was paid and the other one not, and that a report may be about.

        Their outcome was attested, or the money is back: between the two moves of a return the pair is completed, and
        TO's refusal may then be heard.
        """
        heard = {
            one.settlement_id
            for one in moves
            if (one.from_state, one.event) == HEARD_BEFORE_A_RETURN
        }
        return {
            key
            for key, each in histories.items()
            if _is_of_pair(each)
            and self.bank.is_torn(key)
            and (each.attestation or (each.state is State.RETURNED and key in heard))
        }

    def violations(
        self, histories: Mapping[UUID, Settlement], moves: Sequence[Moved]
    ) -> Iterator[str]:
        """Compare all pairs with the banks' ledger, and note what has occurred to them."""
        covers = self._records.covers.stored
        self._note(histories, moves)
        yield from pair_auditor.pairs(self.bank, histories, moves, covers)

    def _note(self, histories: Mapping[UUID, Settlement], moves: Sequence[Moved]) -> None:
        faults = self._world.faults
        for settlement in histories.values():
            if _is_of_pair(settlement):
                faults.note(PAIRS)
        for moved in moves:
            if _is_of_pair(histories[moved.settlement_id]) and moved.event in _NOTED:
                faults.note(_NOTED[moved.event])
        for (key, _), covers in self._records.covers.stored.items():
            for cover in covers:
                if cover.number > 1 and cover.message_id in self.bank.book:
                    faults.note(COVER_REPAIRED)
                if self.departures.intents(key, cover.number) > 1:
                    faults.note(COVER_SENT_AGAIN)


_NOTED: Final = {Event.SETTLED: PAIR_COMPLETED, Event.RECALLED: PAIR_RECALLED}


def draw_pairs(world: PairsWorld, seed: int) -> WorldPairs | None:
    """Draw whether payments of this world are pairs."""
    drawn = random.Random(f"{seed} {PAIRS}").random()
    return WorldPairs(world, seed) if drawn < world.faults.rates[PAIRS] else None


def _is_of_pair(settlement: Settlement) -> bool:
    attempt = settlement.attempt
    return attempt is not None and is_pair(attempt.route.rail)


async def _caught(call: Callable[[Node], Awaitable[object]], node: Node) -> object:
    try:
        return await call(node)
    except SettlementEngineError as error:
        return error
