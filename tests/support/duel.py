"""Two engines on one store: one can be frozen at any point, as SIGSTOP would freeze its process.

A frozen engine has no effect outside: all calls of its store, registry, rail and screening wait until it
is resumed. Both engines send to one bank, whose ledger shows what it has done.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Ask, Event, State, is_recorded
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Instruction, Priority
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.ports import (
    AccountSpec,
    Answer,
    Funding,
    RailCapabilities,
    RailClass,
    Result,
)
from tests.support.payments import payment_bytes, payment_terms
from tests.support.stores import CountedIds, MemoryStores, PostgresStores, WallClock
from tests.unit.engine.engine_world import SETTINGS, Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import Question
    from tests.support.stores import Stores

TIMEOUT_SECONDS = 20.0
LOOK_SECONDS = 0.005
LONG_LEASE_SECONDS = 600.0

BEFORE_COMMIT = "before the commit"
INSIDE = "inside the transaction"
BEFORE_ASK = "after the commit, before the question"
BEFORE_ANSWER = "after the question, before the answer"
POINTS = (BEFORE_COMMIT, INSIDE, BEFORE_ASK, BEFORE_ANSWER)


class Freezer:
    """Freezes one engine at a point of a state, once, and resumes it on request."""

    def __init__(self) -> None:
        self._armed: tuple[State, str] | None = None
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.is_frozen = asyncio.Event()
        self.was_thawed = False

    def arm(self, state: State, point: str) -> None:
        """Freeze the next time this point is reached."""
        self._armed = (state, point)

    async def reach(self, point: str, *states: State) -> None:
        """Record a point that was reached; if it is the armed one, the engine freezes here."""
        if self._armed is not None and self._armed[1] == point and self._armed[0] in states:
            self._armed = None
            self._thawed.clear()
            self.is_frozen.set()
        await self._thawed.wait()

    async def pass_by(self) -> None:
        """Wait while the engine is frozen."""
        await self._thawed.wait()

    def thaw(self) -> None:
        """Resume the engine."""
        self.was_thawed = True
        self._thawed.set()


class Bank:
    """A bank that executes each reference once. ``acknowledges`` and ``is_silent`` apply to sends.

    While it ``takes_its_time`` nothing settles.
    """

    def __init__(self) -> None:
        self.acknowledges = False
        self.is_silent = False
        self.takes_its_time = False
        self.payloads: dict[str, set[bytes]] = {}
        self.received: Counter[str] = Counter()
        self.debits: Counter[str] = Counter()
        self._barred: set[str] = set()

    def send(self, question: Question) -> Event | None:
        """Accept a payment; a second arrival is only counted."""
        reference = question.references.end_to_end_id
        self.received[reference] += 1
        self.payloads.setdefault(reference, set()).add(question.payload)
        if reference in self._barred:
            return Event.REJECTED
        if self.is_silent:
            return None
        return Event.ACKNOWLEDGED if self.acknowledges else self._settle(reference)

    def enquire(self, question: Question) -> Event:
        """Return the payment's status; a payment that has arrived settles now."""
        reference = question.references.end_to_end_id
        if reference in self._barred:
            return Event.REJECTED
        if not self.received[reference]:
            return Event.NOT_FOUND
        return Event.ACKNOWLEDGED if self.takes_its_time else self._settle(reference)

    def recall(self, question: Question) -> Event:
        """Give back what has not settled, and block it for ever."""
        reference = question.references.end_to_end_id
        if self.debits[reference]:
            return Event.SETTLED
        self._barred.add(reference)
        return Event.RECALLED

    def _settle(self, reference: str) -> Event:
        if not self.debits[reference]:
            self.debits[reference] += 1
        return Event.SETTLED


class DuelRail:
    """The rail of one engine."""

    name = "duel"

    def __init__(self, bank: Bank, freezer: Freezer) -> None:
        self.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=TIMEOUT_SECONDS,
            is_not_found_definite=True,
            validity_seconds=3600,
            deduplicates_seconds=3600,
        )
        self._bank = bank
        self._freezer = freezer

    def prepare(self, settlement: Settlement, references: Any) -> bytes:
        """Return the payment's bytes."""
        return payment_bytes(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return what the bytes request."""
        return payment_terms(payload)

    async def _ask(
        self,
        questions: Sequence[Question],
        report: Callable[[Sequence[Answer]], None],
        visit: Callable[[Question], Event | None],
        states: tuple[State, ...],
    ) -> None:
        await self._freezer.reach(BEFORE_ASK, *states)
        answers = [(question, visit(question)) for question in questions]
        await self._freezer.reach(BEFORE_ANSWER, *states)
        report(
            [
                Answer(settlement_id=each.settlement_id, event=event, attempt=each.attempt)
                for each, event in answers
                if event is not None
            ]
        )

    async def send(self, questions: Any, report: Any) -> None:
        """Send."""
        await self._ask(questions, report, self._bank.send, (State.LOCKED,))

    async def enquire(self, questions: Any, report: Any) -> None:
        """Ask."""
        await self._ask(questions, report, self._bank.enquire, (State.SENT, State.IN_DOUBT))

    async def recall(self, questions: Any, report: Any) -> None:
        """Request a recall."""
        await self._ask(questions, report, self._bank.recall, (State.RECALLING,))

    def listen(self, receive: Any) -> None:
        """Do nothing: this bank sends no messages of its own."""

    async def start(self) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""


class DuelScreening:
    """Clears everything."""

    def __init__(self, freezer: Freezer) -> None:
        self._freezer = freezer

    async def screen(self, settlements: Any, report: Any) -> None:
        """Clear."""
        await self._freezer.reach(BEFORE_ASK, State.VALIDATING)
        await self._freezer.reach(BEFORE_ANSWER, State.VALIDATING)
        report([Answer(settlement_id=each.id, event=Event.CLEARED) for each in settlements])


class Frozen:
    """A wrapper whose calls wait while the engine is frozen."""

    def __init__(self, inner: Any, freezer: Freezer) -> None:
        self._inner = inner
        self._freezer = freezer

    def __getattr__(self, name: str) -> Any:
        """Wrap the method of this name."""
        call = getattr(self._inner, name)

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            await self._freezer.pass_by()
            found = await call(*arguments, **named)
            await self._freezer.pass_by()
            return found

        return wrapped


class FrozenStore(Frozen):
    """A store with the points around its writes; records what was written after the engine was resumed."""

    def __init__(self, inner: Any, freezer: Freezer) -> None:
        super().__init__(inner, freezer)
        self.applied_after_thaw: list[str] = []
        self.stale_after_thaw = 0

    async def admit(self, admissions: Any, engine_id: int) -> Any:
        """Admit, unless frozen before or in the middle of it."""
        await self._freezer.reach(BEFORE_COMMIT, State.VALIDATING)
        found = await self._inner.admit(admissions, engine_id)
        await self._freezer.pass_by()
        return found

    async def apply(self, steps: Any, engine_id: int) -> Any:
        """Apply, unless frozen before or in the middle of it."""
        moves = [each for each in steps if is_recorded(each.settlement.state, each.transition)]
        await self._freezer.reach(BEFORE_COMMIT, *(each.transition.state for each in moves))
        found = await self._inner.apply(steps, engine_id)
        # What was under way when another task froze is written by the owner, before its lease expired.
        is_after_thaw = self._freezer.was_thawed
        await self._freezer.pass_by()
        if is_after_thaw:
            for step, outcome in zip(steps, found, strict=True):
                if outcome.result is Result.APPLIED:
                    self.applied_after_thaw.append(f"{step.settlement.state} {step.event}")
                elif outcome.result is Result.STALE:
                    self.stale_after_thaw += 1
        return found


class DuelEngine:
    """One of the two engines."""

    def __init__(self, stores: Stores, bank: Bank, *, heartbeat_seconds: float) -> None:
        self.stores = stores
        self.freezer = Freezer()
        self.meter = Tally()
        self.store = FrozenStore(stores.settlements, self.freezer)
        settings = SETTINGS | {
            "lease_seconds": LONG_LEASE_SECONDS,
            "heartbeat_seconds": heartbeat_seconds,
            "admission_timeout_seconds": TIMEOUT_SECONDS,
        }
        self.service = SettlementService(
            EngineSettings(**settings),
            store=self.store,
            accounts=stores.accounts,
            stream=stores.stream,
            registry=Frozen(stores.registry, self.freezer),
            rails={"duel": DuelRail(bank, self.freezer)},
            screening=DuelScreening(self.freezer),
            inbound=stores.inbound,
            clock=WallClock(),
            ids=CountedIds(),
            chance=random.Random(1),
            meter=self.meter,
        )

    @property
    def engine_id(self) -> int:
        """The engine id."""
        return self.service._lease.engine_id

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the engine."""
        await self.service.join()
        task = asyncio.get_running_loop().create_task(self.service.run())
        try:
            yield
        finally:
            self.freezer.thaw()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def end_lease(stores: Stores, engine_id: int) -> None:
    """Let the lease of an engine expire, as it does while the engine is frozen."""
    if isinstance(stores, MemoryStores):
        stores.records.engines[engine_id].lease_until = datetime(2000, 1, 1, tzinfo=UTC)
        return
    assert isinstance(stores, PostgresStores)
    async with stores._readers.line() as line, line.session() as connection:
        await connection.execute(
            "UPDATE engines SET lease_until = '-infinity' WHERE id = $1", engine_id
        )


async def open_banks(stores: Stores) -> None:
    """Open the accounts of two banks, with funds."""
    for bank in ("AAA", "BBB"):
        for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
            await stores.accounts.open_account(
                AccountSpec(
                    kind=kind,
                    bank=bank,
                    currency="EUR",
                    account_number="",
                    credit_limit=0,
                    caller="test",
                    idempotency_key="",
                )
            )
        await stores.accounts.fund(
            Funding(
                bank=bank,
                amount=Money(1_000_000, "EUR"),
                reference="",
                account_number="",
                caller="test",
                idempotency_key=bank,
            )
        )


def payment_request() -> Instruction:
    """Make the instruction that the two engines work on."""
    return Instruction(
        caller="test",
        idempotency_key="duel",
        obligation_id="duel",
        from_bank="AAA",
        to_bank="BBB",
        amount=Money(100, "EUR"),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={},
    )


QUESTIONS = {
    State.VALIDATING: Ask.SCREEN,
    State.LOCKED: Ask.SEND,
    State.IN_DOUBT: Ask.ENQUIRE,
    State.SENT: Ask.ENQUIRE,
    State.RECALLING: Ask.RECALL,
}
"""The states in which the engines are frozen; a test compares them with the state machine's."""
