"""The message journal: stores messages in batches, before they leave or where no transition stores them.

Promises: ``keep`` returns only after the commit, and messages that arrive while one batch is written form the next
one. What only has to be kept sometime is stored in the background. Must never: hold a connection while anybody
outside is asked, or keep more than its bounds waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from settlement_engine.engine.batching import Batcher
from settlement_engine.engine.inbound import InboundWorker
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.ports import MessageRail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import InboundStore, MessageStore, Meter, SendRail

CALLS_BATCH_MAX: Final = 500
"""The most calls whose messages are stored in one commit."""

CALLS_WAITING_MAX: Final = 5_000
"""The most calls that wait; further ones are refused, and what they would have sent stays here."""

LATER_MAX: Final = 5_000
"""The most messages that wait in the background; further ones are lost, and that is counted."""

log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    """The messages of one call, and whether they are stored."""

    messages: Sequence[KeptMessage]
    is_stored: asyncio.Future[None]


class MessageJournal:
    """One for each engine; it works while ``run`` does."""

    def __init__(
        self, settings: EngineSettings, store: MessageStore, lease: EngineLease, meter: Meter
    ) -> None:
        self._store = store
        self._lease = lease
        self._meter = meter
        self._under_way = 0
        self._later = 0
        self._queue: Batcher[_Waiting] = Batcher(
            self._write,
            batch_max=CALLS_BATCH_MAX,
            batch_linger_seconds=settings.batch_linger_seconds,
            in_flight=lambda: self._under_way,
        )

    async def run(self) -> None:
        """Store messages for ever."""
        await self._queue.run()

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        """Store messages; returns after the commit. Raises Unavailable, Contention, Broken."""
        if not messages:
            return
        if self._under_way >= CALLS_WAITING_MAX:
            raise Unavailable("too many messages wait to be stored")
        waiting = _Waiting(messages, asyncio.get_running_loop().create_future())
        self._under_way += 1
        try:
            self._queue.offer([waiting])
            await waiting.is_stored
        finally:
            self._under_way -= 1

    def keep_later(self, messages: Sequence[KeptMessage]) -> None:
        """Store messages that changed nothing; nobody waits for it."""
        if self._later + len(messages) > LATER_MAX:
            self._meter.invariant_warning("message_not_kept", len(messages))
            return
        self._later += len(messages)
        self._lease.spawn(self._until_kept(messages))

    async def _until_kept(self, messages: Sequence[KeptMessage]) -> None:
        try:
            await self._lease.until_reached(lambda: self.keep(messages))
        except Broken as error:
            self._meter.invariant_warning("message_not_kept", len(messages))
            log.error("message_not_kept", why=error.why or error.what)  # noqa: TRY400 - a refusal
        finally:
            self._later -= len(messages)

    async def _write(self, batch: list[_Waiting]) -> None:
        wanted = [each for each in batch if not each.is_stored.done()]  # others have given up
        if not wanted:
            return
        try:
            await self._store.keep([message for each in wanted for message in each.messages])
        except Broken as error:
            await self._write_each(wanted, error)
        except (Unavailable, Contention) as error:
            _tell(wanted, error)
        else:
            _tell(wanted)

    async def _write_each(self, wanted: list[_Waiting], error: Broken) -> None:
        """Store one by one: a message that the database refuses costs no other call's."""
        if len(wanted) == 1:
            _tell(wanted, error)
            return
        for each in wanted:
            await self._write([each])


def _tell(wanted: list[_Waiting], error: Exception | None = None) -> None:
    for each in wanted:
        if each.is_stored.done():
            continue
        if error is None:
            each.is_stored.set_result(None)
        else:
            each.is_stored.set_exception(error)


def message_workers(
    settings: EngineSettings,
    inbound: InboundStore,
    messages: MessageStore | None,
    rails: Mapping[str, SendRail],
    lease: EngineLease,
    meter: Meter,
) -> tuple[InboundWorker, MessageJournal | None]:
    """Make what stores the messages of the rails: those that come unasked, and all others."""
    worker = InboundWorker(settings, inbound, lease, meter)
    for rail in rails.values():
        rail.listen(worker.receive)
    if messages is None:
        return worker, None
    journal = MessageJournal(settings, messages, lease, meter)
    for rail in rails.values():
        if isinstance(rail, MessageRail):
            rail.keep_messages(journal.keep)
    return worker, journal
