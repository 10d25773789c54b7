"""The relay: it publishes the outbox to JetStream, each move once and in order.

The outbox is the stream of moves itself; the relay records only the position up to which JetStream has everything.
Promises: each announcement is in the stream exactly once, in the order of positions, however often the engine, the
relay or NATS fails, and also with several relays at the same time. While NATS is unreachable, the relay waits and
delays nothing else. Must never: skip a position, write one out of order, or record a position as published that
JetStream has not acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from settlement_engine.domain.announcement import (
    POSITIONS_PER_EPOCH,
    follows,
    system_epoch_of,
    waiting,
)
from settlement_engine.errors import SettlementEngineError
from settlement_engine.events.announce import Announcer, Message
from settlement_engine.events.appending import Appender
from settlement_engine.events.connection import (
    RECONNECT,
    TROUBLE,
    NatsAccess,
    connect,
    heed_cancellation,
)
from settlement_engine.events.leadership import Leadership, SoleLeader
from settlement_engine.events.notice_relay import NoticeRelay
from settlement_engine.events.position import OutboxCursor, StreamPosition
from settlement_engine.events.publisher import BATCH_MAX, BATCH_MIN, Conflict, Publisher
from settlement_engine.events.refusal import NatsRefusal
from settlement_engine.events.stream import StreamSpec, ensure_stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from nats.js import JetStreamContext

    from settlement_engine.domain.backoff import Backoff
    from settlement_engine.events.connection import NatsLink
    from settlement_engine.ports import (
        Announcement,
        Meter,
        NoticeOutbox,
        StaleDatabase,
        Stream,
    )

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


T = TypeVar("T")

NOTHING_AHEAD: Final[tuple[int, list[Announcement]]] = (-1, [])
"""The empty read-ahead: it continues at no position."""


class RelayNotifier(Protocol):
    """Notifies when there may be something new to publish."""

    async def wait(self, timeout_seconds: float) -> None:
        """Return at the next notification, or at once if there was one since the last call, or at the time-out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """The relay's bounds.

    From ``batch_min`` messages on they are sent as one atomic batch, if the server supports it.
    ``linger_seconds`` is how long an announcement waits for others, unless a batch is full: so the moves of one
    settlement are published together, after its caller got the answer, and under load batches are shared.
    ``mark_seconds`` is how often the published position is recorded, ``check_seconds`` how often the stream
    is compared with the outbox without a reason. ``drain_seconds`` bounds ``stop``.
    """

    stream: StreamSpec = field(default_factory=StreamSpec)
    source: str = "/settlement-engine"
    batch_min: int = BATCH_MIN
    batch_max: int = 1_000
    poll_seconds: float = 0.05
    standby_poll_seconds: float = 1.0
    ack_timeout_seconds: float = 5.0
    linger_seconds: float = 0.025
    mark_seconds: float = 0.25
    check_seconds: float = 30.0
    drain_seconds: float = 5.0
    reconnect: Backoff = RECONNECT


class Relay:
    """Publishes the outbox. One task runs ``run``; ``stop`` ends it after the rest is published."""

    def __init__(  # noqa: PLR0913 - the ports that the relay stands on
        self,
        *,
        outbox: Stream,
        nats: NatsAccess,
        meter: Meter,
        settings: RelaySettings | None = None,
        leadership: Leadership | None = None,
        notifier: RelayNotifier | None = None,
        report_stale: Callable[[StaleDatabase], None] | None = None,
        database_run: Callable[[], int] | None = None,
        open_connection: Callable[[NatsAccess], AbstractAsyncContextManager[NatsLink]] = connect,
        notices: NoticeOutbox | None = None,
    ) -> None:
        self._outbox = outbox
        self._nats = nats
        self._open_connection = open_connection
        self._meter = meter
        self._settings = settings or RelaySettings()
        self._spec = self._settings.stream
        self._leadership = leadership or SoleLeader()
        self._notifier = notifier
        assert 0 < self._settings.batch_max <= BATCH_MAX
        self._announcer = Announcer(prefix=self._spec.prefix, source=self._settings.source)
        self._cursor = OutboxCursor(
            self._spec.name, outbox, meter, self._announcer, report_stale, database_run
        )
        self._notices = self._make_notices(notices)
        self._stopping, self._stopped = asyncio.Event(), asyncio.Event()
        self._drain_until = self._mark_due = self._check_due = 0.0
        self._head = self._position = self._marked = self._acknowledged = 0
        self._ahead: tuple[int, list[Announcement]] = NOTHING_AHEAD
        self._gap = 0
        self._was_healthy = False
        self._failures = 0
        self._last_trouble = ""
        self._is_connected = False
        self._refusal = NatsRefusal()

    def _make_notices(self, outbox: NoticeOutbox | None) -> NoticeRelay | None:
        if outbox is None:
            return None
        source = self._settings.source
        return NoticeRelay(outbox=outbox, stream=self._spec, source=source, meter=self._meter)

    @property
    def backlog(self) -> int:
        """How many announcements wait to be published, by the last count."""
        return waiting(self._position, self._head)

    @property
    def is_connected(self) -> bool:
        """Whether NATS answers."""
        return self._is_connected

    @property
    def refused_seconds(self) -> float:
        """For how many seconds JetStream has answered without storing; 0 while it stores."""
        return self._refusal.seconds

    @property
    def state(self) -> str:
        """Describe the state of NATS as text."""
        if refusal := self._refusal.text:
            return refusal
        if self._is_connected:
            return "NATS connected"
        return (
            f"NATS not connected ({self._last_trouble})"
            if self._last_trouble
            else "NATS not connected"
        )

    async def run(self) -> None:
        """Publish until ``stop``. Problems with NATS or the store are waited out, without a limit."""
        try:
            while not self._stopping.is_set():
                heed_cancellation()
                try:
                    await self._session()
                except TROUBLE as trouble:
                    self._note_trouble(trouble)
                    self._refusal.note(trouble)
                    await self._measure()
                    wait_seconds = self._settings.reconnect.seconds(self._failures, 0.0)
                    await self._rest(wait_seconds)
                finally:
                    self._is_connected = False
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Publish what is committed, within ``drain_seconds``, and end ``run``.

        The rest is published after the next start.
        """
        bound = self._settings.drain_seconds
        self._drain_until = self._now() + bound
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound + self._settings.ack_timeout_seconds):
                await self._stopped.wait()

    async def _session(self) -> None:
        """Publish on one connection until it is lost or ``stop`` has finished."""
        async with self._open_connection(self._nats) as connection:
            jetstream = connection.jetstream(timeout=self._settings.ack_timeout_seconds)
            publisher = Publisher(
                connection,
                stream=self._spec.name,
                ack_timeout_seconds=self._settings.ack_timeout_seconds,
                is_atomic=await ensure_stream(jetstream, self._spec),
                batch_min=self._settings.batch_min,
            )
            await publisher.start()
            self._is_connected = True
            await self._publish_all(publisher, jetstream)

    async def _publish_all(self, publisher: Publisher, jetstream: JetStreamContext) -> None:
        position: StreamPosition | None = None
        appender = Appender(publisher)
        while not self._is_out_of_time():
            heed_cancellation()
            publisher.check()
            if not await self._leadership.is_leader():
                if self._stopping.is_set():
                    return
                position = None
                await self._rest(self._settings.standby_poll_seconds)
                continue
            if position is None:
                self._ahead = NOTHING_AHEAD
                position = appender.not_before(await self._look(jetstream))
            try:
                reached = await self._advance(appender, position, jetstream)
                reached = await self._advance_notices(publisher, reached, jetstream)
            except Conflict:
                position = None  # another relay was first, or the stream was touched: look again
                await self._rest(self._settings.poll_seconds)
                continue
            if reached == position:
                if self._stopping.is_set():
                    return
                await self._listen()
            if reached.position - position.position < self._settings.batch_max:
                await self._rest(self._settings.linger_seconds)
            position = None if self._is_check_due() else reached

    async def _look(self, jetstream: JetStreamContext) -> StreamPosition:
        self._check_due = self._now() + self._settings.check_seconds
        published = await self._outbox.published()
        self._marked = max(self._marked, published)
        position = await self._cursor.find(jetstream, published, self._acknowledged)
        self._acknowledged = max(self._acknowledged, position.position)  # found in the stream
        if self._notices is not None:
            await self._notices.look(jetstream)
        return position

    async def _advance_notices(
        self, publisher: Publisher, reached: StreamPosition, jetstream: JetStreamContext
    ) -> StreamPosition:
        """Publish the next notices behind the moves; the position among the moves stays."""
        if self._notices is None:
            return reached
        is_last = self._stopping.is_set()
        last = await self._notices.advance(publisher, jetstream, reached.sequence, is_last=is_last)
        return reached._replace(sequence=last)

    async def _advance(
        self, appender: Appender, position: StreamPosition, jetstream: JetStreamContext
    ) -> StreamPosition:
        """Publish the next batch; return the position after it, or the same one if there is none."""
        found = await self._read(position.position)
        self._position = position.position
        self._head = max(self._head, found[-1].moved.position if found else position.position)
        batch = self._without_gap(found, position.position)
        messages = self._announcer.messages(batch, position.position)[: self._settings.batch_max]
        if not messages and (self._now() >= self._mark_due or self._stopping.is_set()):
            await self._mark(position.position)
            messages = await self._find_marker(position.position)
        if not messages:
            self._note_health()
            return position
        is_held = self._cursor.is_held_in(jetstream, self._marked)
        sending = appender.append(messages, position, is_held)
        if len(found) == self._settings.batch_max:
            count, sequence = await self._read_ahead(messages[-1].position, sending)
        else:
            count, sequence = await sending
        self._note_health()
        self._position = self._acknowledged = messages[count - 1].position
        if self._now() >= self._mark_due:
            await self._mark(self._position)
            self._head = max(self._head, await self._outbox.head())
        return StreamPosition(self._position, sequence)

    async def _find_marker(self, after: int) -> list[Message]:
        """Return the marker of a system epoch without moves: it is published without waiting for one."""
        head = await self._outbox.head()
        if head % POSITIONS_PER_EPOCH or system_epoch_of(head) <= system_epoch_of(after):
            return []
        if await self._outbox.read(after, 1):
            return []  # it was committed before the epoch began, and is published first
        return [self._announcer.marker(system_epoch_of(head), after)]

    async def _read(self, after: int) -> list[Announcement]:
        """Return the next batch: the moves read ahead, and those committed since."""
        position, found = self._ahead
        self._ahead = NOTHING_AHEAD
        if position != after:
            found = []
        if missing := self._settings.batch_max - len(found):
            last = found[-1].moved.position if found else after
            found = found + await self._outbox.read(last, missing)
        return found

    async def _read_ahead(self, after: int, sending: Awaitable[T]) -> T:
        """Read the moves after a full batch while that batch is being published."""
        stored, found = await asyncio.gather(
            sending, self._outbox.read(after, self._settings.batch_max), return_exceptions=True
        )
        if isinstance(stored, BaseException):
            raise stored
        # An unreachable store is noticed when the next batch is read.
        self._ahead = (after, found) if isinstance(found, list) else NOTHING_AHEAD
        return stored

    def _without_gap(self, batch: Sequence[Announcement], after: int) -> Sequence[Announcement]:
        """Cut the batch before a missing position: it may become visible later, and is never skipped."""
        before = after
        for number, announcement in enumerate(batch):
            if not follows(announcement.moved.position, before):
                if before + 1 != self._gap:
                    self._gap = before + 1
                    self._meter.invariant_warning("outbox_gap")
                    log.error("relay.outbox_gap", missing=self._gap)
                return batch[:number]
            before = announcement.moved.position
        return batch

    async def _mark(self, position: int) -> None:
        """Record the position that JetStream has acknowledged."""
        self._mark_due = self._now() + self._settings.mark_seconds
        if position > self._marked:
            await self._outbox.mark_published(position)
            self._marked = position

    async def _measure(self) -> None:
        """Update the backlog while nothing can be published."""
        with contextlib.suppress(*TROUBLE):
            self._head = max(self._head, await self._outbox.head())
            self._position = max(self._position, await self._outbox.published())

    async def _listen(self) -> None:
        """Wait for a notification, or until the next regular check."""
        if self._notifier is None:
            await self._rest(self._settings.poll_seconds)
        else:
            await self._notifier.wait(self._settings.poll_seconds)

    async def _rest(self, seconds: float) -> None:
        """Wait; ``stop`` ends the wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _is_out_of_time(self) -> bool:
        return self._stopping.is_set() and self._now() >= self._drain_until

    def _is_check_due(self) -> bool:
        """Say whether to compare the stream again: it may have been deleted meanwhile."""
        return self._now() >= self._check_due

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _note_trouble(self, trouble: Exception) -> None:
        """Count a failure, and log it if it differs from the last one."""
        self._failures += 1
        why = trouble.why if isinstance(trouble, SettlementEngineError) else ""
        text = f"{type(trouble).__name__}: {trouble} {why}".rstrip()
        if text != self._last_trouble:
            log.warning("relay.waiting", trouble=text)
            self._last_trouble = text

    def _note_health(self) -> None:
        """Reset the count of failures: something was acknowledged, or there is nothing to do."""
        self._failures = 0
        self._refusal.end()
        if self._last_trouble or not self._was_healthy:
            log.info("relay.publishing", position=self._position, backlog=self.backlog)
            self._last_trouble = ""
            self._was_healthy = True
