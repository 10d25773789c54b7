"""The identity of the server that this process writes to, so that no connection reaches another one unnoticed.

Promises: a connection is used only if it reaches the accepted server, on the same timeline and with at least as
much write-ahead log on disk as was seen before. Any other server is refused and reported: a recovery comes first
(``docs/operating/failover.md``). Nothing is written while the server's settings could lose acknowledged commits.
It reads no table and writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.errors import Unavailable
from settlement_engine.ports import RESTARTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from settlement_engine.ports import Server


class ServerWatch:
    """One for each process, shared by all its connections."""

    def __init__(self) -> None:
        self._accepted: Server | None = None
        self._flushed = 0
        self._on_refused: Callable[[], None] = lambda: None
        self.failed_writers: set[int] = set()
        """Connections whose last write the server did not take; ``store/probe.py`` examines the cause."""
        self.unsafe = ""
        """The server's settings that could lose acknowledged commits, as last reported; empty if none."""

    def when_refused(self, call: Callable[[], None]) -> None:
        """Set what is called when no host was the accepted server, or when the server became unsafe."""
        self._on_refused = call

    def tell_refusal(self) -> None:
        """Report that no host was the accepted server."""
        self._on_refused()

    def accept(self, server: Server) -> None:
        """Allow connections to this server from now on."""
        self._accepted = server
        self._flushed = server.flushed
        self.unsafe = server.unsafe

    def checked(self, unsafe: str) -> None:
        """Record which settings are unsafe; a change to unsafe is reported, so that nothing is sent."""
        was_safe, self.unsafe = not self.unsafe, unsafe
        if unsafe and was_safe:
            self._on_refused()

    def wrote(self, writer: int) -> None:
        """Record that a write of this connection succeeded."""
        self.failed_writers.discard(writer)

    def did_not_write(self, writer: int) -> None:
        """Record that the server did not take a write of this connection."""
        self.failed_writers.add(writer)

    def require_safe(self) -> None:
        """Raise Unavailable while an acknowledged commit could be lost."""
        if self.unsafe:
            raise unsafe_server(self.unsafe)

    @property
    def flushed(self) -> int:
        """The write-ahead log position on disk when it was last seen, in bytes.

        Read it before querying a server: what is seen while the answer is on its way, or while this process
        is frozen, says nothing about the answer.
        """
        return self._flushed

    def saw(self, flushed: int) -> None:
        """Record a log position on disk: a server with less of the log is in an older state."""
        self._flushed = max(self._flushed, flushed)

    def doubt(self, server: Server, seen_before: int) -> str:
        """Return why this is not the server that was written to last; empty if it may be.

        ``seen_before`` is the value of ``flushed`` before the server was queried.
        """
        accepted = self._accepted
        if accepted is None:
            return ""
        if server.system_identifier != accepted.system_identifier:
            return "another_system"
        if server.database_id != accepted.database_id:
            return "another_database"
        if server.timeline != accepted.timeline:
            return "another_timeline"
        if server.flushed < seen_before:
            return "older_state"
        return RESTARTED if server.started_at != accepted.started_at else ""

    def is_left_behind(self, server: Server) -> bool:
        """Return whether this server is on an earlier timeline of the accepted system."""
        accepted = self._accepted
        return (
            accepted is not None
            and server.system_identifier == accepted.system_identifier
            and server.timeline < accepted.timeline
        )

    def require(self, server: Server, seen_before: int) -> None:
        """Raise Unavailable unless this is the accepted server."""
        doubt = self.doubt(server, seen_before)
        if self._accepted is not None and not doubt:
            self.saw(server.flushed)
            self.checked(server.unsafe)
            return
        what = "the database has to be checked first"
        raise Unavailable(what, why=doubt or "nothing was accepted yet")


def unsafe_server(why: str) -> Unavailable:
    """Return the error about a server that may lose what it acknowledges."""
    what = "this PostgreSQL server is not safe for money"
    todo = "Switch it on again, reload, and run CHECKPOINT: the engine then continues by itself."
    return Unavailable(f"{what}: {why}", why=why, todo=todo)
