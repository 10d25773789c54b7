"""The callers of a world, and the operators who decide what is parked or in doubt.

A caller keeps its key and asks again until it has an answer. It remembers all answers, and the auditor
checks them at the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery, PaymentDetails
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.errors import IdempotencyConflict, NotFound, SettlementEngineError
from settlement_lab.worlds.compensations import release
from settlement_lab.worlds.memory_books import CURRENCY

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.node import Node

BANKS: Final = ("AAA", "BBB")
AMOUNTS: Final = (100, 300, 500)
DELIVERIES: Final = (None, Delivery.PAY_OUT, Delivery.BOOK)
BEARERS: Final = ("", "DEBT", "SHAR", "CRED")
"""Who bears the charges of a payment, by its number; those whose delivery is left open say nothing of it."""
TRIES_MAX: Final = 400
EXTERNAL_TIMEOUT_SECONDS: Final = (4.0, 15.0)
LOOKS_MAX: Final = 4
THINK_SECONDS: Final = (0.1, 2.0, 15.0)
WAIT_SECONDS: Final = 5.0
APPROVAL_SHARE: Final = 0.7


class Unanswered(Exception):
    """The engine did not answer in time, or reported that it could not serve the call."""


@dataclass(slots=True)
class Caller:
    """One obligation and its caller. ``seen`` has the answers that it received, in order."""

    number: int
    request: Instruction
    settlement_id: UUID | None = None
    conflict: str = ""
    seen: list[tuple[int, State]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def note(self, settlement: Settlement) -> None:
        """Record an answer."""
        name = self.request.idempotency_key
        if self.conflict:
            self.violations.append(f"{name}: was refused as a conflict before")
        if self.settlement_id not in (None, settlement.id):
            self.violations.append(f"{name}: is {self.settlement_id} and {settlement.id}")
        self.settlement_id = settlement.id
        self.seen.append((settlement.seq, settlement.state))


def draw_request(
    number: int, faults: Faults, before: list[Caller], obligations: int
) -> Instruction:
    """Draw an instruction; sometimes for an obligation that another caller already has."""
    chance = faults.chance
    source = BANKS[0] if chance.random() < 0.75 else BANKS[1]  # noqa: PLR2004 - one account is hot
    target = BANKS[1] if source == BANKS[0] else BANKS[0]
    obligation = f"o-{number}"
    if before and (number >= obligations or faults.happens("caller_takes_obligation")):
        obligation = before[int(chance.random() * len(before))].request.obligation_id
    # By number, so that the other draws of a seed stay what they were.
    delivery = DELIVERIES[number % len(DELIVERIES)]
    bearer = BEARERS[number % len(BEARERS)] if delivery is not None else ""
    return Instruction(
        caller="caller",
        idempotency_key=f"k-{number}",
        obligation_id=obligation,
        from_bank=source,
        to_bank=target,
        amount=Money(AMOUNTS[int(chance.random() * len(AMOUNTS))], CURRENCY),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
        requested_delivery=delivery,
        payment=PaymentDetails(charge_bearer=bearer) if bearer else None,
    )


class People:
    """Callers and operators."""

    def __init__(self, faults: Faults, nodes: list[Node], chronicle: Chronicle) -> None:
        self._faults = faults
        self._nodes = nodes
        self._chronicle = chronicle
        self.callers: list[Caller] = []

    async def _somebody(self) -> Node:
        """Return an engine that accepts calls."""
        while True:
            up = [node for node in self._nodes if node.is_up]
            if up:
                return up[int(self._faults.chance.random() * len(up))]
            await asyncio.sleep(1.0)

    async def _ask(
        self, call: Callable[[Node], Coroutine[Any, Any, Any]], seconds: float
    ) -> Settlement:
        """Call an engine, with a time-out; the engine may die meanwhile."""
        node = await self._somebody()
        task = node.run(_caught(call(node)))
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            if self._faults.chance.random() < 0.5:  # noqa: PLR2004 - the caller hangs up, or is cut off
                task.cancel()
            raise Unanswered
        found = task.result()
        if isinstance(found, (IdempotencyConflict, NotFound)):
            raise found
        if not isinstance(found, Settlement):
            raise Unanswered
        return found

    async def call(self, caller: Caller) -> None:
        """Submit until it is accepted or finally refused; then perhaps read, cancel or repeat."""
        name = caller.request.idempotency_key
        for _ in range(TRIES_MAX):
            seconds = self._faults.seconds(EXTERNAL_TIMEOUT_SECONDS)
            try:
                found = await self._ask(lambda node: _settle(node, caller.request), seconds)
            except IdempotencyConflict as conflict:
                caller.conflict = conflict.field
                self._chronicle.note(f"{name} conflicts in {conflict.field}")
                if caller.settlement_id is not None:
                    caller.violations.append(f"{name}: was accepted, and conflicts now")
                return
            except Unanswered:
                self._faults.note("caller_gives_up")
                continue
            caller.note(found)
            self._chronicle.note(f"{name} receives {found.state}")
            await self._after(caller)
            return
        caller.violations.append(f"{name}: was never answered")

    async def _after(self, caller: Caller) -> None:
        if self._faults.happens("caller_cancels", 2):
            await self._once(caller, lambda node: node.engine.cancel(_known(caller)))
        await self._look(caller)
        if self._faults.happens("caller_cancels", 3):
            await self._once(caller, lambda node: node.engine.cancel(_known(caller)))
        if self._faults.happens("caller_repeats", 3):
            await self._once(caller, lambda node: _settle(node, caller.request))
        if self._faults.happens("caller_changes_content", 2):
            await self._contradict(caller)
        await self._look(caller)

    async def _look(self, caller: Caller) -> None:
        """Read the status some times, from any engine."""
        for _ in range(int(self._faults.chance.random() * LOOKS_MAX)):
            await self._once(caller, lambda node: _load(node, _known(caller)))

    async def _once(self, caller: Caller, call: Callable[[Node], Coroutine[Any, Any, Any]]) -> None:
        await asyncio.sleep(self._faults.seconds(THINK_SECONDS))
        try:
            caller.note(await self._ask(call, self._faults.seconds(EXTERNAL_TIMEOUT_SECONDS)))
        except Unanswered:
            return
        except (IdempotencyConflict, NotFound) as error:
            caller.violations.append(f"{caller.request.idempotency_key}: {error.what}")

    async def _contradict(self, caller: Caller) -> None:
        """Use the key for other content: that must be refused."""
        other = replace(caller.request, amount=Money(caller.request.amount.minor + 1, CURRENCY))
        try:
            await self._ask(lambda node: _settle(node, other), EXTERNAL_TIMEOUT_SECONDS[-1])
        except (Unanswered, IdempotencyConflict):
            return
        caller.violations.append(
            f"{caller.request.idempotency_key}: was accepted for other content"
        )

    def look_after(
        self, settlements: dict[UUID, Settlement], truth: Callable[[Settlement], Event | None]
    ) -> None:
        """Decide what is parked, and attest from the bank's ledger what can no longer be enquired."""
        up = [node for node in self._nodes if node.is_up]
        if not up:
            return
        node = up[int(self._faults.chance.random() * len(up))]
        for settlement in settlements.values():
            event: Event | None = None
            if settlement.state is State.HELD:
                is_fine = self._faults.chance.random() < APPROVAL_SHARE
                event = Event.APPROVED if is_fine else Event.DECLINED
            elif settlement.state in (State.IN_DOUBT, State.SENT, State.RECALLING):
                event = truth(settlement)
                if event is not None:
                    self._faults.note("attested")
            if event is Event.APPROVED and settlement.instruction.compensates is not None:
                _ = node.run(release(node, node.books.resolutions, settlement))
            elif event is not None:
                _ = node.run(_request(node, settlement, event))


async def _request(node: Node, settlement: Settlement, event: Event) -> None:
    node.engine._mailbox.request(settlement, event)  # noqa: SLF001 - as the case worker does


async def _settle(node: Node, request: Instruction) -> Settlement:
    return replace(await node.engine.settle(request, WAIT_SECONDS))


async def _load(node: Node, settlement_id: UUID) -> Settlement | None:
    found: dict[UUID, Settlement] = await node.store.load([settlement_id])
    return found.get(settlement_id)


async def _caught(call: Coroutine[Any, Any, Any]) -> object:
    """Return the result, or the error of the call."""
    try:
        return await call
    except SettlementEngineError as error:
        return error


def _known(caller: Caller) -> UUID:
    assert isinstance(caller.settlement_id, UUID), "the caller knows the id"
    return caller.settlement_id
