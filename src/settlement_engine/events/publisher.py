"""Appends messages to a JetStream stream: right after a known sequence number, or not at all.

Every append states the sequence number that it must follow (``Nats-Expected-Last-Sequence``). Promises: two relays
cannot interleave, a message that was sent twice is stored once, and there is never a gap. A relay that is wrong about
the end of the stream gets a ``Conflict`` and has to read the stream again. Duplicate detection by message id is only
a second protection, because it expires.

With a server from 2.12 on a batch is atomic: one acknowledgement for up to a thousand messages. A few messages, and
all with an older server, are sent one by one without waiting. Then each states its predecessor by sequence number and
by id (``Nats-Expected-Last-Msg-Id``): another publisher's message could have the predecessor's number, and the rest
would be stored after a gap.

Must never: count a message as stored because the stream knows its id; the known message may be another publisher's.
That is a ``Conflict``, and the stream has to be read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.errors import SettlementEngineError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.msg import Msg

    from settlement_engine.events.announce import Message
    from settlement_engine.events.connection import NatsLink

BATCH_MAX: Final = 1_000
"""The server's own limit for an atomic batch."""

BATCH_MIN: Final = 9
"""Fewer messages go one by one. For each batch the server makes a store of its own in files and forces
them to disk eight to nine times; a message by itself is forced once."""

WINDOW_MAX: Final = 250
"""So many single messages are under way at a time."""

NO_RESPONDERS: Final = "503"
KNOWN_ID: Final = 10201
ATOMIC_DISABLED: Final = 10174
BATCH_INCOMPLETE: Final = 10176
WRONG_LAST_ID: Final = 10070
WRONG_LAST_SEQUENCE: Final = 10071
CONFLICTS: Final = frozenset(
    {KNOWN_ID, ATOMIC_DISABLED, BATCH_INCOMPLETE, WRONG_LAST_ID, WRONG_LAST_SEQUENCE}
)


class Conflict(SettlementEngineError):
    """The stream has another end than expected, or knows the id of a message. Nothing was stored.

    ``is_known_id`` marks the second case: then the messages have to be sent one by one, and the stream's message
    with that id, at ``known_sequence``, has to be read.
    """

    reason = "CONFLICT"

    def __init__(
        self, what: str, *, why: str, is_known_id: bool, known_sequence: int | None = None
    ) -> None:
        super().__init__(what, why=why)
        self.is_known_id = is_known_id
        self.known_sequence = known_sequence


class NotStored(Unavailable):
    """NATS is reachable, but did not store what was sent to it, or did not confirm it."""


class _Fault(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Fault | None = None


class Publisher:
    """Publishes on one connection to one stream."""

    def __init__(
        self,
        connection: NatsLink,
        *,
        stream: str,
        ack_timeout_seconds: float,
        is_atomic: bool,
        batch_min: int = BATCH_MIN,
    ) -> None:
        assert batch_min > 1, "a message alone is no batch"
        self.is_atomic = is_atomic
        self._batch_min = batch_min
        self._connection = connection
        self._stream = stream
        self._ack_timeout_seconds = ack_timeout_seconds
        self._inbox = connection.new_inbox()
        self._rounds = 0
        self._acks: dict[int, _Ack] = {}
        self._wanted = 0
        self._complete = asyncio.Event()
        self._decoder = msgspec.json.Decoder(_Ack)

    async def start(self) -> None:
        """Listen for acknowledgements."""
        self._connection.call_when_lost(self._complete.set)
        await self._connection.subscribe(f"{self._inbox}.*.*", cb=self._hear)

    def check(self) -> None:
        """Raise Unavailable when the connection is lost: without messages to send it would not be noticed."""
        if self._connection.lost.is_set():
            raise self._connection.lost_error()

    async def append(self, messages: Sequence[Message], after: int) -> tuple[int, int]:
        """Append after the sequence number; return how many are stored, and the new last number.

        At least one is stored. Raises Conflict when the stream has another end or knows the first one's id,
        Unavailable when no acknowledgement arrived: then it is unknown what was stored.
        """
        assert 0 < len(messages) <= BATCH_MAX
        if self.is_atomic and len(messages) >= self._batch_min:
            return await self._append_batch(messages, after)
        return await self._append_singles(messages, after)

    async def _append_batch(self, messages: Sequence[Message], after: int) -> tuple[int, int]:
        self._rounds += 1
        (ack,) = await self._exchange(self._batch_frames(messages, after), wanted=1)
        if ack.error is not None:
            if ack.error.err_code == ATOMIC_DISABLED:
                self.is_atomic = False
            raise _refusal(ack.error)
        return len(messages), ack.seq

    async def _append_singles(self, messages: Sequence[Message], after: int) -> tuple[int, int]:
        """Send them in windows, so that a slow server acknowledges some within the time for an answer."""
        count = 0
        last = after
        while count < len(messages):
            window = messages[count : count + WINDOW_MAX]
            try:
                stored, last = await self._append_window(window, last)
            except (Conflict, Unavailable):
                if count == 0:
                    raise
                break  # what was acknowledged before counts; the next append meets the same again
            count += stored
            if stored < len(window):
                break
        return count, last

    async def _append_window(self, messages: Sequence[Message], after: int) -> tuple[int, int]:
        self._rounds += 1
        acks = await self._exchange(self._single_frames(messages, after), wanted=len(messages))
        count = 0
        last = after
        for ack in acks:
            if ack.error is not None or ack.duplicate:
                if count == 0:
                    raise _known(ack) if ack.error is None else _refusal(ack.error)
                break
            count += 1
            last = ack.seq
        return count, last

    def _batch_frames(self, messages: Sequence[Message], after: int) -> bytes:
        batch_id = f"{self._inbox.rpartition('.')[2]}-{self._rounds}"
        first = f"Nats-Expected-Last-Sequence: {after}\r\nNats-Expected-Stream: {self._stream}\r\n"
        frames: list[str] = []
        for number, message in enumerate(messages, 1):
            batch = f"Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n"
            if number == 1:
                batch += first
            if number == len(messages):
                reply = f"{self._inbox}.{self._rounds}.0 "
                frames.append(_frame(message, batch + "Nats-Batch-Commit: 1\r\n", reply))
            else:
                frames.append(_frame(message, batch, ""))
        return "".join(frames).encode()

    def _single_frames(self, messages: Sequence[Message], after: int) -> bytes:
        frames: list[str] = []
        before = ""
        for number, message in enumerate(messages):
            more = (
                f"Nats-Expected-Last-Sequence: {after + number}\r\n{before}"
                f"Nats-Expected-Stream: {self._stream}\r\n"
            )
            frames.append(_frame(message, more, f"{self._inbox}.{self._rounds}.{number} "))
            before = f"Nats-Expected-Last-Msg-Id: {message.event_id}\r\n"
        return "".join(frames).encode()

    async def _exchange(self, frames: bytes, *, wanted: int) -> list[_Ack]:
        """Send the frames and wait for their acknowledgements, in the order of the frames."""
        self._acks = {}
        self._wanted = wanted
        self._complete.clear()
        self.check()
        try:
            async with asyncio.timeout(self._ack_timeout_seconds):
                await self._connection.write(frames)
                await self._complete.wait()
        except TimeoutError:
            raise NotStored(
                "NATS did not acknowledge in time",
                why=f"no acknowledgement within {self._ack_timeout_seconds:g} s",
            ) from None
        if len(self._acks) < wanted:
            raise self._connection.lost_error()
        return [self._acks[number] for number in range(wanted)]

    async def _hear(self, message: Msg) -> None:
        """Note an acknowledgement. One of an earlier round is too late and is ignored."""
        _, round_text, number_text = message.subject.rsplit(".", 2)
        if int(round_text) != self._rounds:
            return
        if message.headers is not None and message.headers.get("Status") == NO_RESPONDERS:
            ack = _Ack(error=_Fault(code=503, description="no stream takes the subject"))
        else:
            ack = self._decoder.decode(message.data)
        self._acks[int(number_text)] = ack
        if len(self._acks) >= self._wanted:
            self._complete.set()


def _refusal(fault: _Fault) -> SettlementEngineError:
    why = f"{fault.description} ({fault.err_code or fault.code})"
    if fault.err_code in CONFLICTS:
        is_known_id = fault.err_code == KNOWN_ID
        return Conflict("the stream is not as it was seen", why=why, is_known_id=is_known_id)
    return NotStored("JetStream does not take the announcements", why=why)


def _known(ack: _Ack) -> Conflict:
    what = "the stream knows the id of an announcement"
    why = f"its message {ack.seq} has the same one"
    return Conflict(what, why=why, is_known_id=True, known_sequence=ack.seq)


def _frame(message: Message, more: str, reply: str) -> str:
    """Write one HPUB frame of the NATS protocol. A batch of them is turned into bytes at once."""
    head = f"NATS/1.0\r\n{message.headers}{more}\r\n"  # our own ASCII text: a character is a byte
    body = message.body
    size = len(head) + (len(body) if body.isascii() else len(body.encode()))
    return f"HPUB {message.subject} {reply}{len(head)} {size}\r\n{head}{body}\r\n"
