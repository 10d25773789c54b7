"""A TCP proxy that disturbs the connections between two programs, on a free port, in the test's event loop.

It does exactly what the test sets, and counts it, because a fault that never occurred tests nothing. It
can be slow, have little bandwidth, drop data in one or both directions while connections stay open,
refuse or reset connections, split the data into small pieces, and end a connection at a pattern of bytes:
the request never arrives, or it arrives and the reply is lost. It must never change a byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum, auto
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
DUE_STEP_SECONDS: Final = 1e-6
RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)

IDLE: Final = b"Z\x00\x00\x00\x05I"
"""The end of PostgreSQL's answer to a statement outside a transaction: its changes are committed."""


class Way(StrEnum):
    """A direction."""

    TO_SERVER = auto()
    TO_CLIENT = auto()


class Lost(StrEnum):
    """What a cut loses."""

    REQUEST = (
        auto()
    )  # the bytes with the pattern, on their way to the server: it never receives them
    REPLY = auto()  # the server's answer to the bytes with the pattern: it has done the work
    ANSWER = auto()  # the bytes with the pattern, on their way to the client


@dataclass(slots=True, kw_only=True)
class Cut:
    """Ends a connection at a pattern. ``until`` is the end of the withheld reply, which is read first."""

    lost: Lost
    pattern: bytes
    until: bytes
    client_port: int | None
    times: int
    on_hit: Callable[[], None]

    @property
    def way(self) -> Way:
        """The direction in which the pattern is searched."""
        return Way.TO_CLIENT if self.lost is Lost.ANSWER else Way.TO_SERVER

    def is_met(self, seen: bytes, link: _Link) -> bool:
        """Return whether the pattern is found."""
        is_there = self.client_port in (None, link.client_port)
        return is_there and self.pattern in seen


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through the proxy."""

    writers: dict[Way, asyncio.StreamWriter]
    client_port: int = 0
    tails: dict[Way, bytes] = field(default_factory=lambda: dict.fromkeys(Way, b""))
    due: dict[Way, float] = field(default_factory=lambda: dict.fromkeys(Way, 0.0))
    silenced_by: Cut | None = None
    withheld: bytes = b""

    def reset(self) -> None:
        for writer in self.writers.values():
            wire = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            writer.transport.abort()


class FaultProxy:
    """A proxy before one server. Its faults are attributes; ``clear`` removes all of them."""

    def __init__(self, host: str, port: int, chance: random.Random) -> None:
        self._server_at = (host, port)
        self._chance = chance
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._open = {way: asyncio.Event() for way in Way}
        self.port = 0
        self.hits = 0
        self.resets = 0
        self.connections = 0
        self.refusals = 0
        self.carried_bytes = dict.fromkeys(Way, 0)
        self.cuts: list[Cut] = []
        self.clear()

    def clear(self) -> None:
        """Remove all faults."""
        self.latency_seconds = 0.0
        self.jitter_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.slice_bytes: int | None = None
        self.is_refusing = False
        self.cuts.clear()
        for way in Way:
            self._open[way].set()

    async def __aenter__(self) -> Self:
        listener = await asyncio.start_server(self._serve, HOST, 0)
        self._listener = listener
        self.port = listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Accept no more connections and reset the existing ones."""
        if self._listener is not None:
            self._listener.close()
        self.clear()
        self.reset_all()

    def through(self, url: str) -> str:
        """Return the URL with the proxy's address instead of the server's."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{HOST}:{self.port}"))

    # --- faults ---------------------------------------------------------------------------------

    def black_hole(self, *ways: Way) -> None:
        """Let nothing through in these directions; the connections stay open."""
        for way in ways or tuple(Way):
            self._open[way].clear()

    def reset_all(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            self._reset(link)

    def cut(
        self,
        lost: Lost,
        pattern: bytes,
        *,
        until: bytes = b"",
        client_port: int | None = None,
        times: int = 1,
        on_hit: Callable[[], None] = lambda: None,
    ) -> None:
        """End connections on which the pattern occurs, a given number of times.

        With a client's port only that connection ends; without a pattern, at its next bytes.
        """
        assert pattern or client_port, "an empty pattern would match everywhere"
        self.cuts.append(
            Cut(
                lost=lost,
                pattern=pattern,
                until=until,
                client_port=client_port,
                times=times,
                on_hit=on_hit,
            )
        )

    # --- the connection ----------------------------------------------------------------------

    def _reset(self, link: _Link) -> None:
        self._links.discard(link)
        self.resets += 1
        link.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            self.refusals += 1
            _Link({Way.TO_CLIENT: writer}).reset()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server_at)
        except OSError:
            _Link({Way.TO_CLIENT: writer}).reset()
            return
        client_port = writer.get_extra_info("peername")[1]
        link = _Link({Way.TO_SERVER: server_writer, Way.TO_CLIENT: writer}, client_port)
        self._links.add(link)
        self.connections += 1
        try:
            await asyncio.gather(
                self._carry(Way.TO_SERVER, reader, link),
                self._carry(Way.TO_CLIENT, server_reader, link),
            )
        finally:
            self._links.discard(link)

    async def _carry(self, way: Way, reader: asyncio.StreamReader, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._open[way].wait()
                if not self._passes(way, data, link):
                    return
                self._deliver(way, data, link)
                with contextlib.suppress(OSError):
                    await link.writers[way].drain()
        self._after_the_last(way, link.writers[way].close, link)

    def _passes(self, way: Way, data: bytes, link: _Link) -> bool:
        """Search for patterns, also across two chunks; False if the connection was ended."""
        if way is Way.TO_CLIENT and link.silenced_by is not None:
            return self._withhold(link.silenced_by, data, link)
        seen = link.tails[way] + data
        for cut in [cut for cut in self.cuts if cut.way is way and cut.is_met(seen, link)]:
            cut.times -= 1
            if cut.times == 0:
                self.cuts.remove(cut)
            if cut.lost is not Lost.REPLY:
                self._hit(cut, link)
                return False
            link.silenced_by = cut
        longest = max((len(cut.pattern) for cut in self.cuts), default=1)
        link.tails[way] = seen[1 - longest :] if longest > 1 else b""
        return True

    def _withhold(self, cut: Cut, data: bytes, link: _Link) -> bool:
        """Hold a reply back until it is complete; False when it is."""
        link.withheld += data
        if cut.until not in link.withheld:
            return True
        self._hit(cut, link)
        return False

    def _hit(self, cut: Cut, link: _Link) -> None:
        self.hits += 1
        self._reset(link)
        cut.on_hit()

    def _deliver(self, way: Way, data: bytes, link: _Link) -> None:
        if way is Way.TO_CLIENT and link.silenced_by is not None:
            return
        self.carried_bytes[way] += len(data)
        size = self.slice_bytes or len(data)
        writer = link.writers[way]
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._after_the_last(way, partial(writer.write, piece), link, len(piece))

    def _after_the_last(
        self, way: Way, act: Callable[[], None], link: _Link, size: int = 0
    ) -> None:
        """Do something at its time, and never before earlier actions."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        delay = self.latency_seconds + self.jitter_seconds * self._chance.random()
        if self.bytes_per_second is not None:
            delay += size / self.bytes_per_second
            delay += max(0.0, link.due[way] - now - self.latency_seconds)
        if self.slice_bytes is not None:
            delay += DUE_STEP_SECONDS
        if delay == 0.0 and link.due[way] <= now:
            act()
            return
        link.due[way] = max(now + delay, link.due[way] + DUE_STEP_SECONDS)
        loop.call_at(link.due[way], act)
