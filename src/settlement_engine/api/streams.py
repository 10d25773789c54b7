"""The streaming calls: follow events, and execute many settlements over one stream.

Promises: both write only as fast as the caller reads, both have limits, and both end when the engine drains. A
stream that ended is resumed without gaps or repeats: events by their sequence, settlements by their
idempotency key. Event streams are written in slices, in turn with all others; for a caller who does not read,
no more than one batch and the connection's buffer is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from settlement_engine.api import render
from settlement_engine.api.call import Call, CallLimit, Drain
from settlement_engine.api.errors import fault_of, status_of_fault
from settlement_engine.api.grammar import Found, check_uuid, refuse
from settlement_engine.api.turns import STREAMS_IDLE_RATIO, Steps, Turns
from settlement_engine.domain.announcement import announcement_type
from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import InvalidInstruction, Unavailable
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from settlement_engine.api.service import SettlementCalls
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.ports import Announcement, Engine, Stream

T = TypeVar("T")
SendEvents: TypeAlias = Callable[[Sequence[T]], Awaitable[None]]
WriteEvent: TypeAlias = "Callable[[pb.SettlementEvent], T]"
SendResponse: TypeAlias = Callable[[pb.SettlementResponse], Awaitable[None]]

RETRY_AFTER_FIELD: Final = "retry_after_seconds"
"""The key in an item's refusal_fields that replaces the RetryInfo of a unary call."""

READ_BATCH_MAX: Final = 100
EVENTS_AT_ONCE_MAX: Final = 8
"""A batch with more events is written in slices (``turns.py``)."""

EVENT_TYPES_MAX: Final = 32
EVENT_TYPES: Final = frozenset(
    {
        *("settlement.accepted", "settlement.contradicted", "settlement.disproved"),
        *(f"settlement.{state}" for state in State),
    }
)


class EventStreams:
    """Serves StreamSettlementEvents."""

    def __init__(self, engine: Engine, stream: Stream, settings: ApiSettings, drain: Drain) -> None:
        self._engine = engine
        self._stream = stream
        self._drain = drain
        self._bound = CallLimit("event streams", settings.event_streams_max)
        self._turns = Turns(STREAMS_IDLE_RATIO)

    async def follow(
        self, request: pb.StreamRequest, call: Call, send: SendEvents[T], write: WriteEvent[T]
    ) -> None:
        """Send the events after a sequence until the caller disconnects, the head is reached, or draining.

        ``write`` converts an event to what the protocol sends. An empty batch comes first, to show that the
        stream is open; for a stream that begins at the head it is one message with the head's sequence.
        """
        del call
        settlement_id, types = _read(request)
        after = request.after_sequence
        with self._bound:
            async with self._drain.until_drained():
                if request.begins_at_head:
                    after = await self._stream.head()
                    await send([write(pb.SettlementEvent(sequence=after))])
                else:
                    await send(())
                batches = (
                    self._up_to_the_head(after, settlement_id)
                    if request.ends_at_head
                    else self._engine.moves(after, settlement_id)
                )
                try:
                    async for batch in batches:
                        events = await self._turns.run(_writing(batch, types, write))
                        if events:
                            await send(events)
                finally:
                    if isinstance(batches, AsyncGenerator):
                        await batches.aclose()

    async def _up_to_the_head(
        self, after: int, settlement_id: UUID | None
    ) -> AsyncIterator[Sequence[Announcement]]:
        """Yield what exists up to the current head of the stream."""
        head = await self._stream.head()
        while after < head:
            batch = await self._stream.read(after, READ_BATCH_MAX, settlement_id)
            wanted = [one for one in batch if one.moved.position <= head]
            yield wanted
            if len(wanted) < READ_BATCH_MAX:
                return
            after = wanted[-1].moved.position


def _read(request: pb.StreamRequest) -> tuple[UUID | None, frozenset[str]]:
    """Check which events are requested."""
    found: Found = []
    if request.after_sequence < 0:
        found.append(("after_sequence", "must not be negative"))
    if request.after_sequence and request.begins_at_head:
        found.append(("after_sequence", "must be 0 where the stream begins at the head"))
    settlement_id = None
    if request.settlement_id:
        settlement_id = check_uuid("settlement_id", request.settlement_id, found)
    if len(request.event_types) > EVENT_TYPES_MAX:
        found.append(("event_types", f"has more than {EVENT_TYPES_MAX} items"))
    elif not EVENT_TYPES.issuperset(request.event_types):
        found.append(("event_types", f"must be of: {', '.join(sorted(EVENT_TYPES))}"))
    refuse(found)
    return settlement_id, frozenset(request.event_types)


def _writing(
    batch: Sequence[Announcement], types: frozenset[str], write: WriteEvent[T]
) -> Steps[list[T]]:
    """Convert the requested events of a batch one by one; no types means all types."""
    is_long = len(batch) > EVENTS_AT_ONCE_MAX
    if is_long:
        yield
    events: list[T] = []
    for one in batch:
        if not types or announcement_type(one.moved) in types:
            events.append(write(render.event(one)))
            if is_long:
                yield
    return events


class _Answers:
    """The answers of one stream: one task writes them, and unwritten ones count as in flight."""

    def __init__(self, in_flight_max: int, send: SendResponse) -> None:
        self._free = asyncio.Semaphore(in_flight_max)
        self._send = send
        self._waiting: asyncio.Queue[pb.SettlementResponse | None] = asyncio.Queue()

    async def wait_for_capacity(self) -> None:
        """Wait until one more may be in flight; ``write`` frees its slot."""
        await self._free.acquire()

    def put(self, answer: pb.SettlementResponse) -> None:
        """Queue an answer to be written after the earlier ones."""
        self._waiting.put_nowait(answer)

    def end(self) -> None:
        """Mark the end of the answers."""
        self._waiting.put_nowait(None)

    async def write(self) -> None:
        """Write until the end mark, as fast as the caller reads."""
        while (answer := await self._waiting.get()) is not None:
            await self._send(answer)
            self._free.release()


class ManySettlements:
    """Serves the streaming ExecuteSettlements."""

    def __init__(self, calls: SettlementCalls, settings: ApiSettings, drain: Drain) -> None:
        self._calls = calls
        self._in_flight_max = settings.stream_in_flight_max
        self._drain = drain

    async def execute(
        self,
        requests: AsyncIterator[pb.SettlementRequest | Exception],
        call: Call,
        send: SendResponse,
    ) -> None:
        """Execute the requests, a limited number at once, and answer each when it has ended."""
        if call.idempotency_key:
            description = "each settlement of a stream has its own; the header is for single calls"
            raise InvalidInstruction([("idempotency_key", description)])
        until = _deadline(call)
        answers = _Answers(self._in_flight_max, send)

        async def one(request: pb.SettlementRequest | Exception) -> None:
            answers.put(await self._answer(request, _left(call, until)))

        drained: Unavailable | None = None
        async with asyncio.TaskGroup() as writing:
            writing.create_task(answers.write())
            async with asyncio.TaskGroup() as group:
                try:
                    async with self._drain.until_drained():
                        async for request in requests:
                            await answers.wait_for_capacity()
                            group.create_task(one(request))
                except Unavailable as error:
                    drained = error
            answers.end()
        if drained is not None:
            raise drained

    async def _answer(
        self, request: pb.SettlementRequest | Exception, call: Call
    ) -> pb.SettlementResponse:
        """Execute one request; an error is an answer too, because the stream continues."""
        if isinstance(request, Exception):
            return _unserved("", request)
        try:
            return await self._calls.execute(request, call)
        except Exception as error:  # noqa: BLE001 - one item must not end the others' stream
            return _unserved(request.obligation_id, error)


def _deadline(call: Call) -> float | None:
    if call.deadline_seconds is None:
        return None
    return asyncio.get_running_loop().time() + call.deadline_seconds


def _left(call: Call, until: float | None) -> Call:
    """Return the call for one item, with what remains of the stream's deadline."""
    if until is None:
        return call
    left = max(until - asyncio.get_running_loop().time(), 0.0)
    return Call(caller=call.caller, deadline_seconds=left)


def _unserved(obligation_id: str, error: Exception) -> pb.SettlementResponse:
    """Convert an error to an item of the stream: no settlement, and the error in the refusal's fields."""
    fault = fault_of(error)
    answer = pb.SettlementResponse(
        obligation_id=obligation_id,
        error=status_of_fault(fault),
        refusal_code=fault.reason,
        refusal_detail=fault.message,
    )
    answer.refusal_fields.update(fault.metadata)
    answer.refusal_fields.update(fault.violations)
    if fault.retry_after_seconds is not None:
        answer.refusal_fields[RETRY_AFTER_FIELD] = f"{fault.retry_after_seconds:g}"
    return answer
