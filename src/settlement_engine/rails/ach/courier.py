"""Carries the files of one bank: places what is closed into the outbox, and reads what has come into the inbox.

Promises: a file leaves only after its commit, and is placed again, with the same name and bytes, until that is
recorded; a file of the inbox is archived only after it was stored. Only the process that holds the folders' lock
does either. Must never: decide what a report means for a payment.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import InboundMessage, MessageSource
from settlement_engine.ports.inbound import CONTENT_BYTES_MAX, REPORTS_MAX
from settlement_engine.rails.ach import RAIL_NAME
from settlement_engine.rails.ach.reports import AchAlarm, of_each, read_inbox_file
from settlement_engine.rails.transport.folder import Placing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from settlement_engine.ports import RailFileStore, StatusReport
    from settlement_engine.ports.rail_files import RailFile
    from settlement_engine.ports.rails import Receive
    from settlement_engine.rails.ach.connections import AchConnection
    from settlement_engine.rails.ach.open_file import OpenFile
    from settlement_engine.rails.ach.reports import ReadFile
    from settlement_engine.rails.transport.folder import PickedUp

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

PLACED_AT_ONCE_MAX: Final = 10
"""The most files that are placed before the inbox is read again."""

FILE_NOT_PLACED: Final = "FILE_NOT_PLACED"
FILE_NOT_READ: Final = "FILE_NOT_READ"
"""The alarms for files that stay where they are until a person looks at them."""

_DONE: Final = frozenset({Placing.PLACED, Placing.WAS_PLACED})
_ANSWERS: Final = frozenset({Event.ACKNOWLEDGED, Event.REJECTED, Event.SETTLED})


class FileCourier:
    """One for each bank; it works while ``run`` does."""

    def __init__(
        self,
        connection: AchConnection,
        open_file: OpenFile,
        store: RailFileStore,
        raise_alarm: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._open = open_file
        self._store = store
        self._raise_alarm = raise_alarm
        self._woken = asyncio.Event()
        self.receive: Receive | None = None

    def wake(self) -> None:
        """Look for files now."""
        self._woken.set()

    async def run(self) -> None:
        """Carry files for ever."""
        while True:
            self._woken.clear()
            try:
                if await asyncio.to_thread(self._transport.try_lock):
                    await self.place()
                    await self.read_inbox()
            except (Unavailable, Contention, Broken, OSError) as error:
                log.warning("ach.folders_wait", bank=self._connection.name, why=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._connection.poll_seconds):
                    await self._woken.wait()

    # --- outbox -------------------------------------------------------------------------------------

    async def place(self) -> None:
        """Place the closed files that are not recorded as placed, the oldest first."""
        sender = self._connection.party.sender
        for file in await self._store.unplaced(RAIL_NAME, sender, PLACED_AT_ONCE_MAX):
            await self._place(file)

    async def _place(self, file: RailFile) -> None:
        placed = await asyncio.to_thread(self._transport.place, file.name, file.content)
        if placed.placing in _DONE:
            await self._store.note_placed(file.id)
            return
        self._raise_alarm(FILE_NOT_PLACED)
        log.warning(
            "ach.file_not_placed", name=file.name, result=placed.placing.value, why=placed.why
        )

    # --- inbox --------------------------------------------------------------------------------------

    async def read_inbox(self) -> None:
        """Store what has come in, and archive it. Raises Unavailable when it could not be stored."""
        found, left = await asyncio.to_thread(self._transport.pick_up)
        for each in left:
            self._raise_alarm(FILE_NOT_READ)
            log.warning("ach.file_not_read", name=each.name, why=each.why)
        for file in found:
            try:
                await self._read(file)
            except (Unavailable, Contention, OSError):
                raise
            except Exception:
                # One file that the database or we cannot deal with must not stop those after it.
                self._raise_alarm(FILE_NOT_READ)
                log.exception("ach.file_not_read", name=file.name)

    async def _read(self, file: PickedUp) -> None:
        said = await asyncio.to_thread(read_inbox_file, file.content)
        reports = said.reports
        if said.whole is not None:
            reports = await self._of_whole_file(said)
        if len(file.content) > CONTENT_BYTES_MAX or len(reports) > REPORTS_MAX:
            self._raise_alarm(FILE_NOT_READ)
            log.warning("ach.file_not_read", name=file.name, why="it is larger than a message")
            return
        for alarm in said.alarms:
            self._raise_alarm(alarm.name)
        message = InboundMessage(
            rail=RAIL_NAME,
            source=MessageSource.INBOX,
            content=file.content,
            reports=tuple(reports),
            sender_reference=file.name,
            scope=self._connection.heard_scope,
            sender=self._connection.name,
        )
        assert self.receive is not None, "listen() is called before the rail starts"
        await self.receive([message])
        await asyncio.to_thread(self._transport.archive, file)
        self._answer(reports)

    async def _of_whole_file(self, said: ReadFile) -> tuple[StatusReport, ...]:
        """Return a report for each item of a file that is accepted or refused as a whole."""
        assert said.whole is not None, "it says something of the whole file"
        items = await self._store.items_of(RAIL_NAME, said.sha256)
        if not items:
            self._raise_alarm(AchAlarm.UNKNOWN_FILE.name)
        return of_each(said.whole, [each.trace for each in items], said.reason)

    def _answer(self, reports: Iterable[StatusReport]) -> None:
        """Answer the questions that are still open; the reports themselves are stored already."""
        for report in reports:
            payment = self._open.find(report.references.trace)
            if payment is None or report.event not in _ANSWERS:
                continue
            # *Settled* is decided from the stored report, with its amount; the question is answered all the same.
            event = Event.REJECTED if report.event is Event.REJECTED else Event.ACKNOWLEDGED
            payment.answer(event, code=report.code, text=report.text)
