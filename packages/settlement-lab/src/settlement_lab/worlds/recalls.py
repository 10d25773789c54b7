"""Recalls after completion in a world: people who ask for money back, and the bank that answers them.

Promises: each world draws from a generator of its own, so that a world without recalls is the same as if there were
none anywhere. The bank answers each recall the same way however often it is asked; what it promises it returns once,
or never. Must never: read more of the engine's records than whether a recall has been written down.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.recalls import ASKING, RecallState
from settlement_engine.domain.settlement import Attestation
from settlement_engine.errors import SettlementEngineError
from settlement_lab.worlds.faults import RECALLS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from uuid import UUID

    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Settlement
    from settlement_lab.worlds.bank import Bank, SimulatedPayment
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.node import Node

REQUESTS_MAX: Final = 5
THINK_SECONDS: Final = 12.0
REQUEST_SECONDS: Final = 10.0
REPEATED_SHARE: Final = 0.4
DECISION_SECONDS: Final = (3.0, 30.0)
RETURN_SECONDS: Final = (1.0, 10.0, 40.0)
ANSWER_SECONDS: Final = 60.0
"""How long the bank of a world has to answer a recall."""


class RecallVerdict(StrEnum):
    """What the bank does with a recall."""

    REFUSED = auto()
    SETTLED = auto()  # it only repeats that the payment has settled
    RETURNED = auto()  # it promises, and returns the money
    KEPT = auto()  # it promises, and never returns anything
    DELAYED = auto()  # it decides later, without being asked, and then promises and returns
    SILENT = auto()


PROMISED: Final = frozenset({RecallVerdict.RETURNED, RecallVerdict.KEPT, RecallVerdict.DELAYED})

REFUSED: Final = frozenset({RecallVerdict.REFUSED, RecallVerdict.SETTLED})


class BankRecalls:
    """The bank's side. ``is_recalled`` says whether a recall of the settlement has been written down."""

    def __init__(
        self, bank: Bank, chance: random.Random, is_recalled: Callable[[UUID], bool]
    ) -> None:
        self._bank = bank
        self._chance = chance
        self._is_recalled = is_recalled
        self.verdicts: dict[UUID, RecallVerdict] = {}
        self._decided: set[UUID] = set()

    def of(self, bank: Bank) -> BankRecalls:
        """Return the same verdicts, given for another bank's payments."""
        other = BankRecalls(bank, self._chance, self._is_recalled)
        other.verdicts, other._decided = self.verdicts, self._decided
        return other

    def is_recalled(self, settlement_id: UUID) -> bool:
        """Say whether a recall of the settlement has been written down."""
        return self._is_recalled(settlement_id)

    def answer(self, payment: SimulatedPayment) -> Event | None:
        """Answer a recall of a payment that has settled; None is silence."""
        key = payment.settlement_id
        is_new = key not in self.verdicts
        if is_new:
            verdicts = tuple(RecallVerdict)
            self.verdicts[key] = verdicts[int(self._chance.random() * len(verdicts))]
            self._bank.faults.note(f"recall_{self.verdicts[key].value}")
        verdict = self.verdicts[key]
        if verdict is RecallVerdict.DELAYED and key not in self._decided:
            if is_new:
                self._bank.later(self._seconds(DECISION_SECONDS), self._decide, payment)
            return Event.ACKNOWLEDGED
        if verdict is RecallVerdict.RETURNED and is_new:
            self._bank.later(self._seconds(RETURN_SECONDS), self._bank.send_all_back, payment)
        if verdict in PROMISED:
            return Event.RECALLED
        return _WORDS[verdict]

    def _decide(self, payment: SimulatedPayment) -> None:
        """Promise the money without being asked; the message may be lost."""
        self._decided.add(payment.settlement_id)
        self._bank.speak_of_recall(payment)
        self._bank.later(self._seconds(RETURN_SECONDS), self._bank.send_all_back, payment)

    def _seconds(self, choices: tuple[float, ...]) -> float:
        return choices[int(self._chance.random() * len(choices))]


_WORDS: Final = {
    RecallVerdict.REFUSED: Event.RECALL_REFUSED,
    RecallVerdict.SETTLED: Event.SETTLED,
    RecallVerdict.SILENT: None,
}


class RecallingWorld(Protocol):
    """What the people act on."""

    chronicle: Chronicle
    faults: Faults
    ground: Any
    nodes: list[Node]


class RecallRequests:
    """The people's side: they ask for the money of some settlements that have completed, sometimes twice."""

    def __init__(self, world: RecallingWorld, chance: random.Random) -> None:
        self._world = world
        self._chance = chance

    async def run(self) -> None:
        """Ask for some recalls, one after the other."""
        for _ in range(1 + int(self._chance.random() * REQUESTS_MAX)):
            await asyncio.sleep(self._chance.expovariate(1 / THINK_SECONDS))
            settlement_id = await self._completed()
            if settlement_id is None:
                continue
            await self._request(settlement_id)
            if self._chance.random() < REPEATED_SHARE:
                await self._request(settlement_id)

    async def _completed(self) -> UUID | None:
        """Choose a settlement that the bank itself has completed."""
        histories: dict[UUID, Settlement] = await self._world.ground.histories()
        found = [
            key
            for key, each in sorted(histories.items())
            if each.state is State.COMPLETED and each.attestation is Attestation.NONE
        ]
        return found[int(self._chance.random() * len(found))] if found else None

    async def _request(self, settlement_id: UUID) -> None:
        """Ask an engine, which may die meanwhile: then nobody knows whether it was written down."""
        up = [node for node in self._world.nodes if node.is_up]
        if not up:
            return
        node = up[int(self._chance.random() * len(up))]
        self._world.chronicle.note(f"settlement {settlement_id.int} is to be recalled")
        self._world.faults.note(RECALLS)
        await asyncio.wait({node.run(_requested(node, settlement_id))}, timeout=REQUEST_SECONDS)


async def _requested(node: Node, settlement_id: UUID) -> object:
    assert node.recaller is not None, "the engine of a world with recalls takes them"
    try:
        return await node.recaller.request(settlement_id, "somebody", "the world's")
    except SettlementEngineError as error:
        return error


def is_settled(recall: RecallRequest, settlement: Settlement) -> bool:
    """Say whether nothing more is to be expected of a recall."""
    if settlement.state is State.RETURNED:
        return recall.state is RecallState.RETURNED
    return recall.state not in ASKING
