"""The store in memory as the processes of a world share it, checked after every commit."""

from __future__ import annotations

from datetime import time, timedelta
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.ledger import GUARDED
from settlement_engine.domain.lifecycle import ENDS, HOLDING
from settlement_engine.domain.windows import Window
from settlement_lab.memory import (
    MemoryAccounts,
    MemoryAuditor,
    MemoryBreakerOrders,
    MemoryCovers,
    MemoryInbound,
    MemoryRecalls,
    MemoryRegistry,
    MemoryResolutions,
    MemorySettlements,
    MemoryStream,
    Records,
)
from settlement_lab.worlds.deliveries import delivery_faults

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.lifecycle import State
    from settlement_engine.domain.recalls import RecallRequest
    from settlement_engine.domain.settlement import Instruction, Moved, Settlement
    from settlement_engine.ports import (
        Clock,
        Existing,
        Ids,
        Question,
        TransitionCommand,
        TransitionResult,
    )

CURRENCY: Final = "EUR"


class PromiseBroken(AssertionError):
    """A condition that must hold after every commit does not hold."""


class WatchedSettlements(MemorySettlements):
    """The store's settlements; the books are checked after every change."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self._kept = records

    @override
    async def admit(
        self, new: Sequence[tuple[UUID, Instruction]], engine_id: int
    ) -> list[Settlement | Existing]:
        """Admit, and check."""
        found = await super().admit(new, engine_id)
        check(self._kept)
        return found

    @override
    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Apply, and check."""
        found = await super().apply(steps, engine_id)
        check(self._kept)
        return found


class MemoryBooks:
    """The part of the shared records that one process uses."""

    is_instant: Final = True

    def __init__(self, records: Records, ids: Ids) -> None:
        self.records = records
        self.engine_id = 0
        self.is_closed = False
        self.settlements: Any = WatchedSettlements(records)
        self.accounts: Any = MemoryAccounts(records, ids)
        self.stream: Any = _Stream(self)
        self.inbound: Any = MemoryInbound(records)
        self.breaker_orders: Any = MemoryBreakerOrders(records)
        self.recalls: Any = MemoryRecalls(records)
        self.resolutions: Any = MemoryResolutions(records)
        self.covers: Any = MemoryCovers(records)
        self.registry: Any = _Registry(self)

    def end_session(self, engine_id: int) -> None:
        """End the session of an engine."""
        self.records.sessions.kill(engine_id)

    def close(self) -> None:
        """End the sessions of this process, and those that are still being opened."""
        self.is_closed = True
        self.end_session(self.engine_id)


class _Registry(MemoryRegistry):
    """Remembers the engine id of this process."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__(books.records)
        self._books = books

    @override
    async def join(self, lease_seconds: float) -> int:
        """Join; a new connection ends the session of the earlier one."""
        if self._books.engine_id:
            self._books.end_session(self._books.engine_id)
        self._books.engine_id = await super().join(lease_seconds)
        if self._books.is_closed:
            self._books.end_session(self._books.engine_id)
        return self._books.engine_id

    @override
    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        """Renew the lease; a late call of a dead process opens no session."""
        is_alive = await super().renew(engine_id, lease_seconds)
        if self._books.is_closed:
            self._books.end_session(engine_id)
        return is_alive


class _Stream(MemoryStream):
    """Makes the engine with the oldest open session the leader."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__(books.records)
        self._books = books

    @override
    async def is_leader(self) -> bool:
        """Return whether this process publishes."""
        sessions = self._books.records.sessions
        alive = (number for number in self._books.records.engines if sessions.is_held(number))
        return next(alive, 0) == self._books.engine_id


class MemoryGround:
    """The records of a world's engines, in memory."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.records = Records(clock=clock)
        self._ids = ids
        self.records.windows[:] = [_window(time(0, 0))]

    def books(self) -> MemoryBooks:
        """Return the ports for a new process."""
        return MemoryBooks(self.records, self._ids)

    def shut_window(self, seconds: float) -> None:
        """Close the currency's window for some seconds."""
        opens = (self.records.clock.now() + timedelta(seconds=seconds)).time()
        self.records.windows[:] = [_window(opens)]

    def state_of(self, settlement_id: UUID) -> State | None:
        """Return the committed state of a settlement."""
        history = self.records.histories.get(settlement_id)
        return history.state if history else None

    def amount_of(self, settlement_id: UUID) -> int:
        """Return a settlement's amount in minor units."""
        return self.records.histories[settlement_id].instruction.amount.minor

    def permitted(self, question: Question) -> str:
        """Return what is wrong with a send: only recorded bytes may leave; empty if nothing is wrong."""
        history = self.records.histories.get(question.settlement_id)
        if history is None or history.attempt is None or history.state not in HOLDING | ENDS:
            return "sent before the intent was recorded"
        recorded = (history.attempt.references, history.attempt.payload)
        if (question.references, question.payload) != recorded:
            return "sent other bytes than were recorded"
        return ""

    async def histories(self) -> dict[UUID, Settlement]:
        """Return every settlement as it is now."""
        return {key: self.records.copy(key) for key in self.records.histories}

    async def moves(self) -> Sequence[Moved]:
        """Return all moves, in order."""
        return self.records.moves

    def recalls(self) -> dict[UUID, RecallRequest]:
        """Return the recalls of all settlements."""
        return dict(self.records.recalls)

    def overdue_recalls(self) -> set[UUID | None]:
        """Return the settlements with an open exception about an overdue recall."""
        return {
            case.settlement_id
            for case in self.records.cases.values()
            if case.kind is CaseKind.RECALL_OVERDUE and case.closed_at is None
        }

    async def open_reports(self) -> int:
        """Count the reports of inbound messages that are not yet processed."""
        return (await MemoryInbound(self.records).open_count())[0]

    async def differences(self) -> list[str]:
        """Prove the books; return the differences."""
        proof = await MemoryAuditor(self.records).prove()
        found = [f"{each.check}: {each.subject}" for each in proof.differences]
        return [*found, *delivery_faults(self.records)]


def _window(opens: time) -> Window:
    """Make a window of every day from ``opens`` until midnight."""
    return Window(
        currency=CURRENCY,
        zone="UTC",
        opens=opens,
        closes=time(0, 0),
        weekdays=frozenset(range(1, 8)),
    )


def check(records: Records) -> None:
    """Check what must hold after every commit: conservation, funds, holds."""
    held: dict[int, int] = {}
    for lock in records.locks.values():
        if not lock.outcome:
            held[lock.account_id] = held.get(lock.account_id, 0) + lock.amount_minor
    total = 0
    for account in records.accounts.values():
        total += account.debits_posted - account.credits_posted
        if account.held != held.get(account.id, 0):
            message = f"account {account.id} holds {account.held}, its holds {held.get(account.id)}"
            raise PromiseBroken(message)
        if account.kind in GUARDED and account.available + account.credit_limit < 0:
            message = f"account {account.id} is overdrawn: {account.available}"
            raise PromiseBroken(message)
    if total:
        message = f"debits and credits differ by {total}"
        raise PromiseBroken(message)
