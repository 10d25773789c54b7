"""The rail ach: payments wait in the open file of their bank, and their calls until the operator has acknowledged it.

Promises: a payment that was in no closed file when its call ended is reported as undelivered; one that may have left
has no answer but the operator's. Must never: answer by itself for a payment whose file is closed or being closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.messages.nacha.routing import trace_number
from settlement_engine.ports.rail_files import FileItem
from settlement_engine.rails.ach import RAIL_NAME
from settlement_engine.rails.ach.closer import FileCloser
from settlement_engine.rails.ach.courier import FileCourier
from settlement_engine.rails.ach.open_file import OpenFile, WaitingPayment
from settlement_engine.rails.ach.orders import fault_of, read_order, read_terms, write_order
from settlement_engine.rails.ach.sent_files import highest_trace, page_since

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import BankPage, Clock, Question, RailCapabilities, RailFileStore
    from settlement_engine.ports.rail_files import AttemptKey
    from settlement_engine.ports.rails import Receive, Report
    from settlement_engine.rails.ach.connections import AchConnection, AchConnections

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class BankFiles:
    """The files of one bank: the open one, and what closes and carries them."""

    def __init__(
        self,
        connection: AchConnection,
        store: RailFileStore,
        clock: Clock,
        raise_alarm: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.open = OpenFile(connection.profile.acknowledged_seconds)
        self.courier = FileCourier(connection, self.open, store, raise_alarm)
        self.closer = FileCloser(connection, self.open, store, clock, self.courier.wake)


class AchRail:
    """A rail that takes payments, and hears of them from the operator's files only."""

    name: Final = RAIL_NAME

    def __init__(
        self,
        connections: AchConnections,
        store: RailFileStore,
        clock: Clock,
        count_alarm: Callable[[str, str], None] | None = None,
    ) -> None:
        self._connections = connections
        self._store = store
        self._count_alarm = count_alarm
        self._files = {
            each.name: BankFiles(each, store, clock, self._raise_alarm) for each in connections.all
        }
        self._capabilities = connections.capabilities()
        self._tasks: set[asyncio.Task[None]] = set()
        self._traces_above = 0

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        return self._capabilities

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the operator reports."""
        for each in self._files.values():
            each.courier.receive = receive

    async def start(self) -> None:
        """Open the folders, and begin to close and carry files. Raises Misconfigured."""
        for each in self._files.values():
            await asyncio.to_thread(each.connection.transport.start)
        self._traces_above = await asyncio.to_thread(highest_trace, self._connections.all)
        for each in self._files.values():
            self._spawn(each.closer.run())
            self._spawn(each.courier.run())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(work))

    async def stop(self) -> None:
        """Stop it again; what is closed and not placed is placed after the next start."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in self._files.values():
            each.connection.transport.unlock()

    # --- payments -----------------------------------------------------------------------------------

    async def allocate_traces(self, settlements: Sequence[Settlement]) -> Sequence[str]:
        """Return a trace for each settlement, under the institution of its bank."""
        numbers = await self._store.allocate_traces(len(settlements), above=self._traces_above)
        return [
            trace_number(self._of(each.instruction.from_bank).party.institution, number)
            for each, number in zip(settlements, numbers, strict=True)
        ]

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        """List the payments that were placed since then, as the archive has them (``ports.PaymentLister``)."""
        return await asyncio.to_thread(page_since, self._connections.all, since, after)

    async def filed(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts that are in a closed file."""
        return await self._store.filed(keys)

    async def never_left(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts whose call has ended before their file was stored, and that are in none."""
        files = [each.open for each in self._files.values()]
        unknown = frozenset(key for each in files for key in each.left_closing(keys))
        if not unknown:
            return unknown
        unfiled = unknown - await self._store.filed(unknown)
        for each in files:
            each.forget_left(unknown)
        return unfiled

    def withdraw(self, settlement_id: UUID) -> bool:
        """Take a payment out of the open file, if it is in one of this process."""
        return any(each.open.withdraw(settlement_id) for each in self._files.values())

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the bytes of an attempt."""
        connection = self._of(settlement.instruction.from_bank)
        return write_order(settlement, references, connection.party, connection.profile.same_day)

    def fault_of(self, instruction: Instruction) -> str:
        """Say what an entry cannot carry of a payment, with its field; empty when it can carry everything."""
        connection = self._connections.of(instruction.from_bank)
        return (
            ""
            if connection is None
            else fault_of(instruction, connection.party, connection.profile.entry_classes)
        )

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse what the bytes ask the bank to do; None when they cannot be read."""
        return read_terms(payload)

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Put payments into the open file, and wait for its acknowledgement."""
        waiting: list[tuple[OpenFile, WaitingPayment]] = []
        for question in questions:
            order = read_order(question.payload)
            connection = self._connections.of(order.from_bank) if order is not None else None
            if order is None or connection is None or not question.trace:
                log.warning("rail.unreadable_payload", rail=self.name)
                continue
            item = FileItem(
                settlement_id=question.settlement_id,
                attempt=question.attempt,
                trace=question.trace,
                fencing_token=question.fencing_token,
            )
            waiting.append(
                (self._files[connection.name].open, WaitingPayment(question, order, item, report))
            )
        if not waiting:
            return
        for open_file, payment in waiting:
            open_file.put(payment)
        try:
            await asyncio.wait([payment.ended for _, payment in waiting])
        finally:
            for open_file, payment in waiting:
                open_file.let_go(payment)

    def _of(self, bank: str) -> AchConnection:
        connection = self._connections.of(bank)
        assert connection is not None, "a payment is routed only where somebody takes it"
        return connection

    def _raise_alarm(self, alarm: str) -> None:
        """Log the alarm, and count it."""
        log.warning("rail.alarm", rail=self.name, alarm=alarm)
        if self._count_alarm is not None:
            self._count_alarm(self.name, alarm.lower())
