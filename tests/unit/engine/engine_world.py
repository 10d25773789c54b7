"""An engine on the store in memory, with a rail whose answers the test sets."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Instruction, Priority
from settlement_engine.domain.windows import Window
from settlement_engine.engine.case_worker import EngineCases
from settlement_engine.engine.recaller import Recaller
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.errors import InvariantViolated, Unavailable
from settlement_engine.ports import (
    AccountFilter,
    AccountSpec,
    Answer,
    Funding,
    RailCapabilities,
    RailClass,
)
from settlement_lab.memory import (
    MemoryAccounts,
    MemoryAuditor,
    MemoryBanks,
    MemoryBreakerOrders,
    MemoryCases,
    MemoryInbound,
    MemoryMessages,
    MemoryRecalls,
    MemoryRegistry,
    MemoryResolutions,
    MemorySettlements,
    MemoryStream,
    Records,
)
from tests.support.jumpingloop import LoopClock
from tests.support.payments import payment_bytes, payment_terms
from tests.support.unasked import Unasked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import BarrierStore, EventStreamCheck, Question

SOON = Backoff(first_seconds=0.01, max_seconds=0.02)
SETTINGS: dict[str, Any] = {
    "claim_interval_seconds": 0.005,
    "sweep_interval_seconds": 0.02,
    "look_interval_seconds": 0.02,
    "heartbeat_seconds": 0.02,
    "lease_seconds": 0.2,
    "retry_pause_seconds": 0.005,
    "watch_interval_seconds": 0.005,
    "stream_poll_seconds": 0.02,
    "resend": SOON,
    "enquiry": SOON,
    "screening": SOON,
    "has_real_windows": False,
    "admission_timeout_seconds": 0.3,
    "drain_grace_seconds": 2.0,
    "broken_due_seconds": 0.05,
    "inbound_poll_seconds": 0.02,
    "case_interval_seconds": 0.02,
    "breaker_look_seconds": 0.02,
    "recall_interval_seconds": 0.02,
    "recall": SOON,
    "resolve_pause_seconds": 0.05,
}
TIMEOUT_SECONDS = 5.0


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time."""
        return datetime.now(UTC)


class CountedIds:
    """Identifiers in order."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> UUID:
        """Return the next one."""
        self._last += 1
        return UUID(int=self._last)


class Tally:
    """A meter that records invariant warnings."""

    def __init__(self) -> None:
        self.invariant_warnings: list[str] = []
        self.lanes_shown: list[Any] = []
        self.steps = 0

    def moved(self, steps: Sequence[object], commit_seconds: float | None = None) -> None:
        """Count."""
        assert commit_seconds is None or commit_seconds >= 0
        self.steps += len(steps)

    def rail_answered(self, *_: object) -> None:
        """Ignore."""

    def lanes(self, reports: Any) -> None:
        """Record the lanes' reports."""
        self.lanes_shown.append(reports)

    def batch(self, *_: object) -> None:
        """Ignore."""

    def invariant_warning(self, kind: str, count: int = 1) -> None:
        """Remember."""
        self.invariant_warnings += [kind] * count


class ScriptedScreening:
    """Clears, unless the test set another answer."""

    def __init__(self) -> None:
        self.answers: deque[Event | None] = deque()
        self.asked = 0

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Answer as the test set; None is no answer."""
        for settlement in settlements:
            self.asked += 1
            event = self.answers.popleft() if self.answers else Event.CLEARED
            if event is not None:
                report([Answer(settlement_id=settlement.id, event=event)])


class ScriptedRail:
    """Answers as the test set, request by request; None is no answer. Without an answer set, it settles."""

    name = "scripted"

    def __init__(self) -> None:
        self.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=0.05,
            is_not_found_definite=True,
            validity_seconds=3600,
            deduplicates_seconds=3600,
        )
        self.sends: deque[Event | None] = deque()
        self.enquiries: deque[Event | None] = deque()
        self.recalls: deque[Event | None] = deque()
        self.asked: list[tuple[str, bytes, bool]] = []
        self.answer_delay_seconds = 0.0
        self.unasked = Unasked(self.name)
        self.say = self.unasked.say

    def prepare(self, settlement: Settlement, references: Any) -> bytes:
        """Return the payment's bytes."""
        return payment_bytes(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return what the bytes request."""
        return payment_terms(payload)

    async def _ask(
        self,
        word: str,
        scripted: deque[Event | None],
        questions: Sequence[Question],
        report: Callable[[Sequence[Answer]], None],
    ) -> None:
        self.unasked.note(questions)
        for question in questions:
            self.asked.append((word, question.payload, question.is_possible_duplicate))
            event = scripted.popleft() if scripted else Event.SETTLED
            await asyncio.sleep(self.answer_delay_seconds)
            if event is not None:
                report(
                    [
                        Answer(
                            settlement_id=question.settlement_id,
                            event=event,
                            attempt=question.attempt,
                            code="X1",
                        )
                    ]
                )

    async def send(self, questions: Any, report: Any) -> None:
        """Answer as the test set."""
        await self._ask("send", self.sends, questions, report)

    async def enquire(self, questions: Any, report: Any) -> None:
        """Answer as the test set."""
        await self._ask("enquire", self.enquiries, questions, report)

    async def recall(self, questions: Any, report: Any) -> None:
        """Answer as the test set."""
        await self._ask("recall", self.recalls, questions, report)

    def listen(self, receive: Any) -> None:
        """Set who stores unsolicited messages."""
        self.unasked.receive = receive

    async def start(self) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""


class ShakyStore(MemorySettlements):
    """A store that loses its connection when the test says so: before the commit, or after it."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self.losses: deque[tuple[str, str]] = deque()
        self.poison: set[str] = set()

    def _is_lost(self, call: str, when: str) -> bool:
        if self.losses and self.losses[0] == (call, when):
            self.losses.popleft()
            return True
        return False

    async def admit(self, admissions: Any, engine_id: int) -> Any:
        """Lose the connection before or after the write."""
        for _, instruction in admissions:
            if instruction.idempotency_key in self.poison:
                raise InvariantViolated("poison")
        if self._is_lost("admit", "before"):
            raise Unavailable("lost")
        found = await super().admit(admissions, engine_id)
        if self._is_lost("admit", "after"):
            raise Unavailable("lost")
        return found

    async def apply(self, steps: Any, engine_id: int) -> Any:
        """Lose the connection before or after the write."""
        for step in steps:
            if step.settlement.instruction.obligation_id in self.poison:
                raise InvariantViolated("poison")
        if self._is_lost("apply", "before"):
            raise Unavailable("lost")
        found = await super().apply(steps, engine_id)
        if self._is_lost("apply", "after"):
            raise Unavailable("lost")
        return found


class EngineWorld:
    """One engine and everything that it needs."""

    def __init__(
        self,
        records: Records | None = None,
        *,
        barrier_store: BarrierStore | None = None,
        stream_check: EventStreamCheck | None = None,
        rail: ScriptedRail | None = None,
        others: Sequence[ScriptedRail] = (),
        has_banks: bool = False,
        **settings: Any,
    ) -> None:
        """Build an engine; ``others`` are further rails; with ``has_banks`` it has a bank directory."""
        self.records = records or Records(clock=LoopClock())
        self.ids = CountedIds()
        self.rail = rail or ScriptedRail()
        rails = {each.name: each for each in (self.rail, *others)}
        self.screening = ScriptedScreening()
        self.meter = Tally()
        self.store = ShakyStore(self.records)
        self.accounts = MemoryAccounts(self.records, self.ids)
        self.banks = MemoryBanks(self.records)
        self.stream = MemoryStream(self.records)
        self.inbound = MemoryInbound(self.records)
        self.messages = MemoryMessages(self.records)
        self.recalls = MemoryRecalls(self.records)
        engine_settings = EngineSettings(**(SETTINGS | settings))
        self.recaller = Recaller(engine_settings, self.recalls, rails)
        self.case_management = EngineCases(
            engine_settings,
            MemoryCases(self.records),
            MemoryResolutions(self.records),
            rails,
        )
        self.engine = SettlementService(
            engine_settings,
            store=self.store,
            accounts=self.accounts,
            stream=self.stream,
            registry=MemoryRegistry(self.records),
            rails=rails,
            screening=self.screening,
            clock=LoopClock(),
            inbound=self.inbound,
            ids=self.ids,
            chance=random.Random(1),
            meter=self.meter,
            barrier_store=barrier_store,
            stream_check=stream_check,
            case_management=self.case_management,
            messages=self.messages,
            banks=self.banks if has_banks else None,
            breaker_orders=MemoryBreakerOrders(self.records),
            recaller=self.recaller,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the engine."""
        await self.engine.join()
        self._task = asyncio.get_running_loop().create_task(self.engine.run())

    async def crash(self) -> None:
        """Stop as a crash does: the session ends, and nothing is handed back."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.records.sessions.kill(self.engine._lease.engine_id)

    async def open_bank(self, bank: str, funds: int, currency: str = "EUR") -> None:
        """Open a nostro and a vostro, and fund the nostro."""
        for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
            spec = AccountSpec(
                kind=kind,
                bank=bank,
                currency=currency,
                account_number="",
                credit_limit=0,
                caller="test",
                idempotency_key="",
            )
            await self.accounts.open_account(spec)
        if funds:
            await self.accounts.fund(
                Funding(
                    bank=bank,
                    amount=Money(funds, currency),
                    reference="",
                    account_number="",
                    caller="test",
                    idempotency_key=f"{bank}{currency}",
                )
            )

    async def nostro(self, bank: str = "AAA") -> Account:
        """Return a bank's nostro."""
        [found] = await self.accounts.accounts(AccountFilter(kind=AccountKind.NOSTRO, bank=bank))
        return found

    async def settle(
        self, key: str = "k1", wait_seconds: float = TIMEOUT_SECONDS, **fields: Any
    ) -> Settlement:
        """Settle one."""
        return await self.engine.settle(payment_request(key, **fields), wait_seconds)

    async def history(self, settlement: Settlement) -> list[str]:
        """Return the states that a settlement has passed through."""
        return [move.to_state.value for move in await self.store.history(settlement.id)]

    async def until(self, truth: Callable[[], Any]) -> None:
        """Wait until a condition is true."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not truth():  # noqa: ASYNC110 - a predicate cannot be awaited
                await asyncio.sleep(0.002)


def payment_request(key: str = "k1", amount: int | Money = 100, **fields: Any) -> Instruction:
    """Make an instruction from AAA to BBB."""
    ordinary: dict[str, Any] = {
        "caller": "test",
        "idempotency_key": key,
        "obligation_id": f"o-{key}",
        "from_bank": "AAA",
        "to_bank": "BBB",
        "amount": amount if isinstance(amount, Money) else Money(amount, "EUR"),
        "value_date": None,
        "priority": Priority.NORMAL,
        "metadata": {},
    }
    return Instruction(**(ordinary | fields))


def closed_window() -> Window:
    """Make a window of one minute a week, which is closed now."""
    now = LoopClock().now()
    far = (now.isoweekday() + 2) % 7 + 1
    return Window(
        currency="EUR",
        zone="UTC",
        opens=time(3, 0),
        closes=time(3, 1),
        weekdays=frozenset({far}),
    )


@asynccontextmanager
async def running(funds: int = 10_000, **settings: Any) -> AsyncIterator[EngineWorld]:
    """Run an engine with two banks; at the end the books are proved."""
    world = EngineWorld(**settings)
    await world.open_bank("AAA", funds)
    await world.open_bank("BBB", 0)
    await world.start()
    try:
        yield world
    finally:
        await world.crash()
        proof = await MemoryAuditor(world.records).prove()
        assert not proof.differences
