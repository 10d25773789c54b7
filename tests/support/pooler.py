"""A connection pooler in front of PostgreSQL, like PgBouncer, in transaction mode or in session mode.

Promises: a client logs in on a server connection, which is then shared. In transaction mode a client has
a connection only from its first message until the server is idle again. The process number that a client
gets is invented by the pooler, as with PgBouncer.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

INVENTED_PID: Final = 424_242


class Backend:
    """One connection to the server."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


class Pooler:
    """Listens on its own port for the length of the block."""

    def __init__(self, host: str, port: int, *, per_transaction: bool) -> None:
        self._address = (host, port)
        self._per_transaction = per_transaction
        self._free: list[Backend] = []
        self._has_free = asyncio.Condition()
        self._all: list[Backend] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for backend in self._all:
            backend.writer.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        startup = await _untyped(reader)
        while struct.unpack("!I", startup[4:8])[0] in (80877103, 80877104):  # TLS and GSS: no
            writer.write(b"N")
            startup = await _untyped(reader)
        backend = Backend(*await asyncio.open_connection(*self._address))
        self._all.append(backend)
        backend.writer.write(startup)
        await self._log_in(backend, reader, writer)
        if self._per_transaction:
            await self._give_back(backend)
        pump: asyncio.Task[None] | None = None
        while True:
            kind, message = await _typed(reader)
            if kind == b"X":
                return
            if pump is None or pump.done():
                if self._per_transaction:
                    backend = await self._take()
                pump = asyncio.create_task(self._answer(backend, writer))
                self._tasks.add(pump)
            backend.writer.write(message)

    async def _answer(self, backend: Backend, writer: StreamWriter) -> None:
        """Forward the server's messages; in transaction mode until the server is idle again."""
        while True:
            kind, message = await _typed(backend.reader)
            if self._per_transaction and kind == b"Z" and message[5:6] == b"I":
                await self._give_back(backend)
                writer.write(message)
                return
            writer.write(message)

    async def _log_in(self, backend: Backend, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            kind, message = await _typed(backend.reader)
            if kind == b"K":
                message = kind + struct.pack("!III", 12, INVENTED_PID, 1)
            writer.write(message)
            if kind == b"Z":
                return
            if kind == b"R" and struct.unpack("!I", message[5:9])[0] in (3, 5, 10, 11):
                backend.writer.write((await _typed(reader))[1])

    async def _take(self) -> Backend:
        async with self._has_free:
            await self._has_free.wait_for(lambda: self._free)
            return self._free.pop()

    async def _give_back(self, backend: Backend) -> None:
        async with self._has_free:
            self._free.append(backend)
            self._has_free.notify()


async def _untyped(reader: StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack("!I", head)[0] - 4)


async def _typed(reader: StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    return kind, kind + await _untyped(reader)
