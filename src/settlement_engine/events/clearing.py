"""Clearing's instructions: read from a JetStream stream into the engine, each settled once.

Until an instruction is acknowledged, NATS delivers it again, which is harmless because admission is idempotent. A
message that can never be admitted (it cannot be parsed, or its key or obligation was used for something else) becomes
a dead letter with the reason, and is not delivered again. Promises: after a temporary error the message is delivered
again later, so nothing is lost. Must never: acknowledge an instruction before it was stored.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from settlement_engine.errors import (
    CallerError,
    Contention,
    InvalidInstruction,
    Misconfigured,
    Overloaded,
    SettlementEngineError,
    Unavailable,
)
from settlement_engine.events.connection import (
    RECONNECT,
    TROUBLE,
    NatsAccess,
    connect,
    heed_cancellation,
)
from settlement_engine.events.deadletters import DeadLetterQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from settlement_engine.domain.backoff import Backoff
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import DeadLetterStore, Engine

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

DELIVERIES_WITHOUT_END: Final = -1
YIELD_EVERY_BYTES: Final = 64 * 1024
"""After parsing so many bytes, other tasks of the event loop may run."""

PASSING: Final = (Overloaded, Unavailable, Contention)
"""Temporary errors that say nothing about the instruction: it is delivered again, without a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingSettings:
    """The intake's bounds.

    ``faults_max`` is how often an instruction may cause an internal error before it becomes a dead letter, so
    that it is not delivered for ever. Of a dead letter ``kept_bytes_max`` bytes are kept, and only its
    description while ``open_dead_letters_max`` wait for a person. ``makes_stream`` is for development: elsewhere
    the stream belongs to clearing.
    """

    stream: str = "clearing"
    subject: str = "clearing.instructions"
    durable: str = "settlement-engine"
    makes_stream: bool = False
    batch_max: int = 200
    fetch_seconds: float = 1.0
    ack_wait_seconds: float = 30.0
    ack_timeout_seconds: float = 5.0
    ack_pending_max: int = 1_000
    again_after_seconds: float = 1.0
    faults_max: int = 5
    payload_bytes_max: int = 64 * 1024
    kept_bytes_max: int = 64 * 1024
    open_dead_letters_max: int = 100_000
    reconnect: Backoff = RECONNECT


@dataclass(frozen=True, slots=True)
class _Parsed:
    """An instruction and the message that contained it."""

    message: Msg
    instruction: Instruction


class ClearingIntake:
    """Reads instructions from clearing. One task runs ``run``; ``stop`` ends it after its batch."""

    def __init__(
        self,
        *,
        nats: NatsAccess,
        parse: Callable[[bytes], Instruction],
        engine: Engine,
        dead_letter_queue: DeadLetterStore,
        settings: ClearingSettings | None = None,
    ) -> None:
        self._nats = nats
        self._parse = parse
        self._engine = engine
        self._settings = settings or ClearingSettings()
        self._dead_letters = DeadLetterQueue(
            dead_letter_queue,
            kept_bytes_max=self._settings.kept_bytes_max,
            open_max=self._settings.open_dead_letters_max,
        )
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failures = 0
        self._sessions = 0
        self._last_trouble = ""
        self._was_healthy = False
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        """Whether NATS answers and the stream exists."""
        return self._is_connected

    async def run(self) -> None:
        """Read instructions until ``stop``. Problems with NATS are waited out, without a limit."""
        try:
            while not self._stopping.is_set():
                heed_cancellation()
                try:
                    await self._session()
                except TROUBLE as trouble:
                    self._note_trouble(trouble)
                    await self._rest(self._settings.reconnect.seconds(self._failures, 0.0))
                finally:
                    self._is_connected = False
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Finish the current batch and end ``run``; other messages stay in NATS."""
        self._stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.ack_wait_seconds):
                await self._stopped.wait()

    async def _session(self) -> None:
        async with connect(self._nats) as connection:
            jetstream = connection.jetstream(timeout=self._settings.ack_timeout_seconds)
            await self._ensure(jetstream)
            subscription = await jetstream.pull_subscribe_bind(
                durable=self._settings.durable, stream=self._settings.stream
            )
            self._is_connected = True
            self._sessions += 1
            while not self._stopping.is_set():
                heed_cancellation()
                messages: list[Msg] = []
                with contextlib.suppress(
                    TimeoutError
                ):  # There was no message; nats-py's own error is a TimeoutError.
                    messages = await subscription.fetch(
                        self._settings.batch_max, timeout=self._settings.fetch_seconds
                    )
                if connection.lost.is_set():
                    raise connection.lost_error()
                self._note_health()
                await self._rest(await self._take(messages))

    async def _ensure(self, jetstream: JetStreamContext) -> None:
        """Find or create the durable consumer; create the stream only if ``makes_stream`` allows it."""
        wanted = self._settings
        if wanted.makes_stream:
            try:
                await jetstream.stream_info(wanted.stream)
            except NotFoundError:
                await jetstream.add_stream(
                    StreamConfig(
                        name=wanted.stream,
                        subjects=[wanted.subject],
                        retention=RetentionPolicy.LIMITS,
                        storage=StorageType.FILE,
                    )
                )
        try:
            found = (await jetstream.consumer_info(wanted.stream, wanted.durable)).config
        except NotFoundError:
            found = (
                await jetstream.add_consumer(
                    wanted.stream,
                    ConsumerConfig(
                        durable_name=wanted.durable,
                        filter_subject=wanted.subject,
                        ack_policy=AckPolicy.EXPLICIT,
                        ack_wait=wanted.ack_wait_seconds,
                        max_deliver=DELIVERIES_WITHOUT_END,
                        max_ack_pending=wanted.ack_pending_max,
                    ),
                )
            ).config
        if found is None or found.ack_policy != AckPolicy.EXPLICIT or found.deliver_subject:
            raise Misconfigured(
                f"the consumer {wanted.durable} of the stream {wanted.stream} cannot be used",
                why="it is not a pull consumer with explicit acknowledgement",
                todo="delete the consumer; the engine creates it again",
            )

    async def _take(self, messages: Sequence[Msg]) -> float:
        """Submit a batch to the engine; return how many seconds to wait before the next."""
        parsed = await self._parse_all(messages)
        if not parsed:
            return 0.0
        results = await self._submit(parsed)
        waits = await asyncio.gather(
            *(
                self._answer(one.message, result)
                for one, result in zip(parsed, results, strict=True)
            )
        )
        return max(waits)

    async def _parse_all(self, messages: Sequence[Msg]) -> list[_Parsed]:
        """Parse a batch; other tasks run between large messages."""
        parsed: list[_Parsed] = []
        read_bytes = 0
        for message in messages:
            one = await self._parse_one(message)
            if one is not None:
                parsed.append(one)
            read_bytes += len(message.data)
            if read_bytes >= YIELD_EVERY_BYTES:
                read_bytes = 0
                await asyncio.sleep(0)
        return parsed

    async def _parse_one(self, message: Msg) -> _Parsed | None:
        """Parse an instruction; an invalid message becomes a dead letter."""
        if len(message.data) > self._settings.payload_bytes_max:
            limit = self._settings.payload_bytes_max
            await self._keep_dead_letter(message, f"the message has more than {limit} bytes")
            return None
        try:
            return _Parsed(message, self._parse(message.data))
        except InvalidInstruction as fault:
            await self._keep_dead_letter(message, _words(fault))
        return None

    async def _submit(self, parsed: Sequence[_Parsed]) -> Sequence[Settlement | Exception]:
        """Submit to the engine. If a whole batch fails, submit its instructions one by one."""
        try:
            return await self._engine.submit([one.instruction for one in parsed])
        except PASSING as fault:
            return [fault] * len(parsed)
        except Exception as fault:  # noqa: BLE001 - one bad instruction must not stop the others
            if len(parsed) == 1:
                return [fault]
        return [result for one in parsed for result in await self._submit([one])]

    async def _answer(self, message: Msg, result: Settlement | Exception) -> float:
        """Acknowledge a message or have it delivered again; return how many seconds to wait."""
        if not isinstance(result, Exception):
            await self._tell(message, message.ack_sync(self._settings.ack_timeout_seconds))
            return 0.0
        if isinstance(result, CallerError):
            await self._keep_dead_letter(message, _words(result))
            return 0.0
        wait_seconds = self._settings.again_after_seconds
        if isinstance(result, Overloaded):
            wait_seconds = max(wait_seconds, result.retry_after_seconds)
        elif not isinstance(result, PASSING):
            log.error("clearing.fault", fault=_words(result))
            if message.metadata.num_delivered >= self._settings.faults_max:
                await self._keep_dead_letter(message, _words(result))
                return 0.0
        await self._tell(message, message.nak(wait_seconds))
        return wait_seconds if isinstance(result, PASSING) else 0.0

    async def _keep_dead_letter(self, message: Msg, why: str) -> None:
        """Store a dead letter, then tell NATS not to deliver the message again."""
        try:
            await self._dead_letters.add(message, why)
        except Unavailable:
            await self._tell(message, message.nak(self._settings.again_after_seconds))
            return
        await self._tell(message, message.term())

    async def _tell(self, message: Msg, telling: Awaitable[object]) -> None:
        """Answer NATS. A lost answer is harmless: the message is delivered again."""
        try:
            await telling
        except TROUBLE as trouble:
            log.info("clearing.answer_lost", subject=message.subject, trouble=_words(trouble))

    async def _rest(self, seconds: float) -> None:
        """Wait; ``stop`` ends the wait."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _note_trouble(self, trouble: Exception) -> None:
        self._failures += 1
        text = _words(trouble)
        if text != self._last_trouble:
            log.warning("clearing.waiting", trouble=text)
            self._last_trouble = text

    def _note_health(self) -> None:
        self._failures = 0
        if self._last_trouble or not self._was_healthy:
            log.info("clearing.listening", stream=self._settings.stream)
            self._last_trouble = ""
            self._was_healthy = True


def _words(fault: BaseException) -> str:
    """Describe an error in one line."""
    why = fault.why if isinstance(fault, SettlementEngineError) else ""
    return " ".join(part for part in (f"{type(fault).__name__}: {fault}", why) if part)
