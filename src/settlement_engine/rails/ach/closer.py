"""Closes the open file of one bank: chooses its payments and its modifier, builds it, and has it stored.

Promises: what is stored is the file with exactly its items, or nothing; after a lost answer the store is asked which
payments are in a file before anything else happens to them. Must never: place a file.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports.rail_files import RailFile
from settlement_engine.rails.ach import RAIL_NAME
from settlement_engine.rails.ach.closing import (
    NumberedOrder,
    content_of,
    file_name,
    free_modifier,
    wait_seconds,
)
from settlement_engine.rails.ach.open_file import OpenFile, Stage
from settlement_engine.rails.ach.same_day import seconds_to_closing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from settlement_engine.ports import Clock, RailFileStore
    from settlement_engine.ports.rail_files import FileClosing
    from settlement_engine.rails.ach.connections import AchConnection
    from settlement_engine.rails.ach.open_file import WaitingPayment

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
WAIT_SECONDS_MAX: Final = 60.0
"""A long wait is looked at again meanwhile: the clock may have been set."""


class FileCloser:
    """One for each bank; it works while ``run`` does."""

    def __init__(
        self,
        connection: AchConnection,
        open_file: OpenFile,
        store: RailFileStore,
        clock: Clock,
        hear_closed: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._open = open_file
        self._store = store
        self._clock = clock
        self._hear_closed = hear_closed
        self._zone = ZoneInfo(connection.party.zone)
        self._last_closed: datetime | None = None

    async def run(self) -> None:
        """Close files for ever."""
        while True:
            is_same_day = await self._until_due()
            try:
                wait = await self.close(is_same_day=is_same_day)
            except (Unavailable, Contention, Broken, OSError) as error:
                log.warning("ach.file_not_closed", why=str(error))
                wait = RETRY_SECONDS
            except Exception:
                # The payments stay where they are; those that may have left are looked up in the store.
                log.exception("ach.file_not_closed")
                wait = RETRY_SECONDS
            if wait:
                await asyncio.sleep(min(wait, WAIT_SECONDS_MAX))

    async def _until_due(self) -> bool:
        """Wait for a first payment, and then until a file is full or old enough; say which of the two."""
        file = self._open
        while True:
            file.changed.clear()
            now = self._clock.now()
            waits = [file.expire(now)]
            for is_same_day in (True, False):
                due_seconds = self._due_seconds(now, is_same_day=is_same_day)
                if due_seconds is not None and due_seconds <= 0:
                    return is_same_day
                waits.append(due_seconds)
            known = [each for each in waits if each is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(min(*known, WAIT_SECONDS_MAX) if known else None):
                    await file.changed.wait()

    def _due_seconds(self, now: datetime, *, is_same_day: bool) -> float | None:
        """Return in how many seconds a file is closed: it is full, old enough, or its window closes."""
        file, connection = self._open, self._connection
        waiting = file.in_file(Stage.OPEN, is_same_day=is_same_day)
        if len(waiting) >= connection.profile.items_max:
            return 0.0
        if not is_same_day:
            return file.due_seconds(now, connection.close_after_seconds)
        rules = connection.profile.same_day
        closing = seconds_to_closing(now, rules) if rules is not None else None
        return file.due_seconds(
            now,
            min(connection.close_after_seconds, connection.same_day_close_after_seconds),
            is_same_day=True,
            closing_seconds=math.inf if closing is None else closing,
        )

    async def close(self, *, is_same_day: bool = False) -> float:
        """Close one of the files, if it may be closed now; returns for how many seconds it has to wait."""
        await self._settle_closing()
        now = self._clock.now().astimezone(self._zone)
        self._open.expire(now)
        used = await self._used(now)
        wait = wait_seconds(used, now, self._last_closed)
        modifier = free_modifier(used)
        if wait or modifier is None:
            return wait or RETRY_SECONDS
        chosen = self._open.begin_closing(
            self._connection.profile.items_max, is_same_day=is_same_day
        )
        if chosen and await self._stored(chosen, modifier, now):
            self._last_closed = now
            self._hear_closed()
        return 0.0

    async def _used(self, now: datetime) -> frozenset[str]:
        """Return the day's modifiers, also those of files that a restored database has lost."""
        party, day = self._connection.party, now.date()
        stored = await self._store.modifiers_of(RAIL_NAME, party.sender, day)
        return stored | await self._connection.placed_modifiers(day)

    async def _settle_closing(self) -> None:
        """Ask the store about payments whose closing had no answer."""
        closing = self._open.in_stage(Stage.CLOSING)
        if not closing:
            return
        filed = await self._store.filed([each.item.key for each in closing])
        self._open.move([each for each in closing if each.item.key in filed], Stage.CLOSED)
        self._open.move([each for each in closing if each.item.key not in filed], Stage.OPEN)
        if filed:
            self._hear_closed()

    async def _stored(self, chosen: list[WaitingPayment], modifier: str, now: datetime) -> bool:
        """Build and store the file; what may not go into it is left out, and the rest is chosen again."""
        party, rules = self._connection.party, self._connection.profile.same_day
        items = [NumberedOrder(each.order, each.item.trace) for each in chosen]
        try:
            content = content_of(items, party, modifier, now, rules)
        except MessageError as error:
            self._leave_out_unbuildable(chosen, error)
            return False
        file = RailFile(
            rail=RAIL_NAME,
            sender=party.sender,
            created_on=now.date(),
            modifier=modifier,
            name=file_name(party, now.date(), modifier),
            content=content,
        )
        closing = await self._store.close_file(file, [each.item for each in chosen])
        if closing.is_stored:
            self._open.move(chosen, Stage.CLOSED)
            log.info("ach.file_closed", name=file.name, items=len(chosen))
            return True
        self._choose_again(chosen, closing)
        return False

    def _choose_again(self, chosen: list[WaitingPayment], closing: FileClosing) -> None:
        """Sort out the payments of a file that was not stored."""
        for each in chosen:
            if each.item.key in closing.filed:
                self._open.move([each], Stage.CLOSED)
            elif each.item.key in closing.gone:
                self._open.move([each], Stage.CLOSED)
                each.give_up()  # it has another owner: nobody here waits for it
            else:
                self._open.move([each], Stage.OPEN)

    def _leave_out_unbuildable(self, chosen: list[WaitingPayment], error: MessageError) -> None:
        """Find the payments that no file can be built with; they never left."""
        now = self._clock.now().astimezone(self._zone)
        for each in chosen:
            try:
                item = NumberedOrder(each.order, each.item.trace)
                content_of(
                    [item], self._connection.party, "A", now, self._connection.profile.same_day
                )
            except MessageError as fault:
                log.warning("ach.entry_not_built", id=str(each.item.settlement_id), why=str(fault))
                each.answer(Event.UNDELIVERED, text=str(fault))
                self._open.let_go(each)  # or no file could be built with the others
            else:
                self._open.move([each], Stage.OPEN)
        log.warning("ach.file_not_built", why=str(error))
