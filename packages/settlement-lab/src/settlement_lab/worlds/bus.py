"""JetStream as one stream in memory that speaks the NATS protocol, and a consumer of it.

The real relay, publisher and outbox cursor run against it and exchange the same bytes as with a server.
A batch is stored whole or not at all, a wrong expected last sequence is refused, and acknowledgements can
be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from nats.js.errors import NotFoundError

from settlement_client import MemoryInbox
from settlement_engine.errors import Unavailable
from settlement_engine.events.announce import ID_HEADER
from settlement_engine.events.publisher import KNOWN_ID, WRONG_LAST_ID, WRONG_LAST_SEQUENCE
from settlement_lab.worlds.call_boundary import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import Process, VirtualLoop

    Hear = Callable[[Any], Coroutine[Any, Any, None]]

WIRE_SECONDS: Final = (0.001, 0.004)
SLOW_SECONDS: Final = (1.0, 6.0)
"""The slower ones exceed the relay's time-out: the frames arrive when nobody waits for them."""

DOWN_SECONDS: Final = (3.0, 20.0)
DUPLICATE_WINDOW_SECONDS: Final = 20.0
CONSUMER_SECONDS: Final = 0.2
REDELIVERY_SECONDS: Final = (1.0, 5.0, 40.0)
LAST_SEQUENCE: Final = "Nats-Expected-Last-Sequence"
LAST_ID: Final = "Nats-Expected-Last-Msg-Id"


class Frame(NamedTuple):
    """One message as it comes over the wire; ``reply`` is where its acknowledgement goes."""

    reply: str
    subject: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Bus:
    """The stream, and whether it can be reached."""

    loop: VirtualLoop
    faults: Faults
    chronicle: Chronicle
    is_atomic: bool
    log: list[dict[str, str]] = field(default_factory=list)
    texts: list[tuple[str, bytes]] = field(default_factory=list)
    known: dict[str, tuple[int, float]] = field(default_factory=dict)
    is_down: bool = False
    config: Any = None
    wires: list[Wire] = field(default_factory=list)
    arrived: Callable[[], None] = lambda: None

    def go_down(self) -> None:
        """End all connections; new ones are refused for a while."""
        self.is_down = True
        for wire in self.wires:
            wire.end()
        self.wires.clear()
        self.loop.later(self.faults.seconds(DOWN_SECONDS), self.come_back)

    def come_back(self) -> None:
        """Accept connections again, with everything that was stored."""
        self.is_down = False

    def store(self, batch: Sequence[Frame]) -> dict[str, Any]:
        """Store a batch as a whole, or return why not."""
        now = self.loop.time()
        for frame in batch:
            sequence, known_at = self.known.get(frame.headers.get(ID_HEADER, ""), (0, 0.0))
            if sequence and now - known_at < DUPLICATE_WINDOW_SECONDS:
                if len(batch) == 1:
                    return {"stream": "settlement-events", "seq": sequence, "duplicate": True}
                return _fault(KNOWN_ID, "batch contains a known message id")
        first = batch[0].headers
        expected = first.get(LAST_SEQUENCE)
        if expected is not None and int(expected) != len(self.log):
            return _fault(WRONG_LAST_SEQUENCE, f"wrong last sequence: {len(self.log)}")
        last_id = self.log[-1].get(ID_HEADER, "") if self.log else ""
        if first.get(LAST_ID, last_id) != last_id:
            return _fault(WRONG_LAST_ID, f"wrong last msg ID: {last_id}")
        for frame in batch:
            self.log.append(frame.headers)
            self.texts.append((frame.subject, frame.body))
            self.known[frame.headers.get(ID_HEADER, "")] = len(self.log), now
        self.chronicle.note(f"bus stores {len(batch)}, up to {len(self.log)}")
        self.arrived()
        return {"stream": "settlement-events", "seq": len(self.log)}

    def connector(self, process: Process) -> Callable[[Any], Any]:
        """Return the function with which a relay opens connections, in one process."""

        @contextlib.asynccontextmanager
        async def connect(_access: object) -> AsyncIterator[Wire]:
            await asyncio.sleep(self.faults.seconds(WIRE_SECONDS))
            wire = Wire(self, process)
            if self.is_down:
                raise wire.lost_error()
            self.wires.append(wire)
            try:
                yield wire
            finally:
                wire.end()
                if wire in self.wires:
                    self.wires.remove(wire)

        return connect


def _fault(err_code: int, description: str) -> dict[str, Any]:
    return {"error": {"code": 400, "err_code": err_code, "description": description}}


class Wire:
    """One connection, as far as relay and publisher use it."""

    def __init__(self, bus: Bus, process: Process) -> None:
        self._bus = bus
        self._process = process
        self._hear: Hear | None = None
        self._batches: dict[str, list[Frame]] = {}
        self._when_lost: list[Callable[[], None]] = []
        self.lost = asyncio.Event()
        self._count = 0

    def end(self) -> None:
        """Break the connection: whoever waits on it gets an error when its process runs."""
        if self.lost.is_set():
            return
        self.lost.set()
        for call in self._when_lost:
            self._bus.loop.call_soon(call, context=self._process.context)

    def lost_error(self) -> Unavailable:
        """Return the error of a lost connection."""
        return Unavailable("simulated: the connection to the bus is lost")

    def call_when_lost(self, call: Callable[[], None]) -> None:
        """Set a function that is called when the connection ends."""
        self._when_lost.append(call)

    def jetstream(self, **_: object) -> Wire:
        """Return the JetStream interface: this object implements it as well."""
        return self

    def new_inbox(self) -> str:
        """Return a subject for acknowledgements."""
        self._count += 1
        return f"_INBOX.{self._count}"

    async def subscribe(self, _subject: str, cb: Hear) -> None:
        """Set who receives the acknowledgements."""
        self._hear = cb

    async def write(self, frames: bytes) -> None:
        """Send protocol frames; their acknowledgements come back later, or never."""
        if self.lost.is_set():
            raise self.lost_error()
        faults = self._bus.faults
        seconds = faults.seconds(WIRE_SECONDS)
        if faults.happens("bus_slow", 0.5):
            seconds += faults.seconds(SLOW_SECONDS)
        self._bus.loop.later(seconds, self._arrive, frames)

    def _arrive(self, frames: bytes) -> None:
        """Process frames at the server, also if the sender is gone by now."""
        faults = self._bus.faults
        read = _read(frames)
        is_whole = not faults.happens("bus_breaks_midway", 0.3)
        for frame in read if is_whole else read[: len(read) // 2]:
            if not self._bus.is_down:
                self._take(frame)
        if not is_whole:
            self.end()

    def _take(self, frame: Frame) -> None:
        batch_id = frame.headers.get("Nats-Batch-Id")
        batch = [frame]
        if batch_id is not None:
            batch = self._batches.setdefault(batch_id, [])
            batch.append(frame)
            if "Nats-Batch-Commit" not in frame.headers:
                return
            del self._batches[batch_id]
        ack = self._bus.store(batch)
        if not self._bus.faults.happens("bus_answer_lost", 0.5):
            seconds = self._bus.faults.seconds(WIRE_SECONDS)
            context = self._process.context
            self._bus.loop.call_later(seconds, self._acknowledge, frame.reply, ack, context=context)

    def _acknowledge(self, reply: str, ack: dict[str, Any]) -> None:
        if self._hear is not None and not self.lost.is_set():
            data = json.dumps(ack).encode()
            finish(self._hear(SimpleNamespace(subject=reply, headers=None, data=data)))

    async def stream_info(self, _name: str) -> Any:
        """Return the stream's settings, and its first and last sequence."""
        await self._ask()
        if self._bus.config is None:
            raise NotFoundError
        last = len(self._bus.log)
        state = SimpleNamespace(first_seq=min(last, 1), last_seq=last, messages=last)
        return SimpleNamespace(config=self._bus.config, state=state)

    async def add_stream(self, config: Any) -> Any:
        """Create the stream."""
        await self._ask()
        config.allow_atomic = self._bus.is_atomic
        self._bus.config = config
        if not self._bus.is_atomic:
            self._bus.faults.note("bus_one_by_one")
        return SimpleNamespace(config=config)

    async def get_msg(self, _name: str, seq: int, subject: str = ">", *, next: bool = False) -> Any:  # noqa: A002 - nats-py's
        """Return one message, or the next one under subjects."""
        await self._ask()
        last = len(self._bus.log) if next else seq
        for number in range(seq, min(last, len(self._bus.log)) + 1):
            if number > 0 and _is_under(self._bus.texts[number - 1][0], subject):
                found, body = self._bus.texts[number - 1]
                headers = self._bus.log[number - 1]
                return SimpleNamespace(
                    seq=number, headers=headers, subject=found, data=body, time=None
                )
        raise NotFoundError

    async def get_last_msg(self, _name: str, subjects: str) -> Any:
        """Return the last message under subjects; it comes with the answer before."""
        for seq in range(len(self._bus.log), 0, -1):
            if _is_under(self._bus.texts[seq - 1][0], subjects):
                return SimpleNamespace(seq=seq)
        raise NotFoundError

    async def _ask(self) -> None:
        await asyncio.sleep(self._bus.faults.seconds(WIRE_SECONDS))
        if self.lost.is_set():
            raise self.lost_error()


def _is_under(subject: str, subjects: str) -> bool:
    """Say whether a subject is one of those that wildcards name."""
    words, wanted = subject.split("."), subjects.split(".")
    is_open = wanted[-1] == ">"
    if len(words) < len(wanted) or (len(words) > len(wanted) and not is_open):
        return False
    pairs = zip(words, wanted[:-1] if is_open else wanted, strict=False)
    return all(two in ("*", one) for one, two in pairs)


def _read(frames: bytes) -> list[Frame]:
    """Read HPUB frames."""
    found = []
    place = 0
    while place < len(frames):
        end = frames.index(b"\r\n", place)
        words = frames[place:end].decode().split(" ")
        reply = words[2] if len(words) == 5 else ""  # noqa: PLR2004 - HPUB subject reply head total
        head, total = int(words[-2]), int(words[-1])
        lines = frames[end + 2 : end + 2 + head].decode().split("\r\n")[1:]
        headers = dict(line.split(": ", 1) for line in lines if line)
        body = frames[end + 2 + head : end + 2 + total]
        found.append(Frame(reply, words[1], headers, body))
        place = end + 2 + total + 2
    return found


@dataclass(slots=True)
class SimulatedConsumer:
    """Reads the stream; its inbox records an event in the same step in which the event is processed."""

    bus: Bus
    inbox: MemoryInbox = field(default_factory=MemoryInbox)
    effects: list[str] = field(default_factory=list)
    place: int = 0
    is_waiting: bool = False

    def __post_init__(self) -> None:
        """Listen."""
        self.bus.arrived = self.wake

    def wake(self) -> None:
        """Go on reading, if no message is being read."""
        if not self.is_waiting:
            self.is_waiting = True
            self.bus.loop.later(CONSUMER_SECONDS, self._read)

    def _read(self) -> None:
        """Handle the next message; if its acknowledgement is lost, it is delivered again."""
        self.is_waiting = False
        if self.place >= len(self.bus.log):
            return
        faults = self.bus.faults
        name = self.bus.log[self.place][ID_HEADER]
        self.handle(name)
        if faults.happens("event_late_again", 0.5):
            self.bus.loop.later(faults.seconds(REDELIVERY_SECONDS), self.handle, name)
        if not faults.happens("event_again", 0.5):
            self.place += 1
        self.wake()

    def handle(self, event_id: str) -> None:
        """Process an event, once for each id."""
        if finish(self.inbox.take(event_id)):
            self.effects.append(event_id)
