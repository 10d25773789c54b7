"""The store in memory as the processes of a world share it, looked at after every commit."""

from __future__ import annotations

from datetime import time, timedelta
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from settlement_engine.domain.ledger import GUARDED
from settlement_engine.domain.lifecycle import ENDS, HOLDING
from settlement_engine.domain.windows import Window
from settlement_lab.memory import (
    MemoryAccounts,
    MemoryAuditor,
    MemoryInbound,
    MemoryRegistry,
    MemorySettlements,
    MemoryStream,
    Records,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.lifecycle import State
    from settlement_engine.domain.settlement import Moved, Settlement
    from settlement_engine.ports import Admission, Admitted, Clock, Ids, Outcome, Question, Step

CURRENCY: Final = "EUR"


class PromiseBroken(AssertionError):
    """Something that must hold at every committed instant does not."""


class WatchedSettlements(MemorySettlements):
    """The store's own settlements; the books are checked whenever they have changed."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self._kept = records

    @override
    async def admit(self, admissions: Sequence[Admission], owner: int) -> list[Admitted]:
        """Admit, and check."""
        found = await super().admit(admissions, owner)
        check(self._kept)
        return found

    @override
    async def apply(self, steps: Sequence[Step], owner: int) -> list[Outcome]:
        """Apply, and check."""
        found = await super().apply(steps, owner)
        check(self._kept)
        return found


class MemoryBooks:
    """What one process has of the shared records."""

    is_instant: Final = True

    def __init__(self, records: Records, ids: Ids) -> None:
        self.records = records
        self.owner = 0
        self.is_closed = False
        self.settlements: Any = WatchedSettlements(records)
        self.accounts: Any = MemoryAccounts(records, ids)
        self.stream: Any = _Stream(self)
        self.inbound: Any = MemoryInbound(records)
        self.registry: Any = _Registry(self)

    def end_session(self, owner: int) -> None:
        """End the session of an engine."""
        self.records.sessions.kill(owner)

    def close(self) -> None:
        """End what this process had, and what is still on its way to be opened."""
        self.is_closed = True
        self.end_session(self.owner)


class _Registry(MemoryRegistry):
    """Remembers which number this process has."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__(books.records)
        self._books = books

    @override
    async def join(self, lease_seconds: float) -> int:
        """Join; a connection that is opened anew has ended the one before."""
        if self._books.owner:
            self._books.end_session(self._books.owner)
        self._books.owner = await super().join(lease_seconds)
        if self._books.is_closed:
            self._books.end_session(self._books.owner)
        return self._books.owner

    @override
    async def beat(self, owner: int, lease_seconds: float) -> bool:
        """Renew the lease; the last words of a dead process open no session."""
        is_alive = await super().beat(owner, lease_seconds)
        if self._books.is_closed:
            self._books.end_session(owner)
        return is_alive


class _Stream(MemoryStream):
    """Lets the engine lead whose session is the oldest that is open."""

    def __init__(self, books: MemoryBooks) -> None:
        super().__init__(books.records)
        self._books = books

    @override
    async def is_leader(self) -> bool:
        """Say whether this process publishes."""
        sessions = self._books.records.sessions
        alive = (number for number in self._books.records.engines if sessions.is_held(number))
        return next(alive, 0) == self._books.owner


class MemoryGround:
    """Where the engines of a world keep their books: in memory."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.records = Records(clock=clock)
        self._ids = ids
        self.records.windows[:] = [_window(time(0, 0))]

    def books(self) -> MemoryBooks:
        """Return what a new process has of it."""
        return MemoryBooks(self.records, self._ids)

    def shut_window(self, seconds: float) -> None:
        """Shut the currency's window; it opens again after that long."""
        opens = (self.records.clock.now() + timedelta(seconds=seconds)).time()
        self.records.windows[:] = [_window(opens)]

    def state_of(self, settlement_id: UUID) -> State | None:
        """Return the state of a settlement as it is committed."""
        life = self.records.lives.get(settlement_id)
        return life.state if life else None

    def amount_of(self, settlement_id: UUID) -> int:
        """Return a settlement's amount in minor units."""
        return self.records.lives[settlement_id].instruction.amount.minor

    def permitted(self, question: Question) -> str:
        """Say what is wrong with a sending: nothing leaves that is not recorded, to the byte."""
        life = self.records.lives.get(question.settlement_id)
        if life is None or life.attempt is None or life.state not in HOLDING | ENDS:
            return "sent before the intent was recorded"
        recorded = (life.attempt.references, life.attempt.payload)
        if (question.references, question.payload) != recorded:
            return "sent other bytes than were recorded"
        return ""

    async def lives(self) -> dict[UUID, Settlement]:
        """Return every settlement as it is now."""
        return {key: self.records.copy(key) for key in self.records.lives}

    async def moves(self) -> Sequence[Moved]:
        """Return everything that happened, in order."""
        return self.records.moves

    async def open_reports(self) -> int:
        """Count the reports of inbound messages that are still to be worked off."""
        return (await MemoryInbound(self.records).open_count())[0]

    async def differences(self) -> list[str]:
        """Prove the books."""
        proof = await MemoryAuditor(self.records).prove()
        return [f"{each.check}: {each.subject}" for each in proof.differences]


def _window(opens: time) -> Window:
    """Make a window of every day from a time on until midnight."""
    return Window(
        currency=CURRENCY,
        zone="UTC",
        opens=opens,
        closes=time(0, 0),
        weekdays=frozenset(range(1, 8)),
    )


def check(records: Records) -> None:
    """Check what must hold at every committed instant: conservation, funds, holds."""
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
