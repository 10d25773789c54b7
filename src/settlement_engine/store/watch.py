"""Which server this process writes to, so that no connection reaches another one unnoticed.

Promises: a connection is used only if it is to the very server that was accepted, on the same timeline
and with no less of its log on disk than was seen before. Everything else is refused, and told: an opening
comes first (``docs/operating/failover.md``). Nothing is written while the server's settings would let
acknowledged commits be lost. It reads nothing of ours and writes nothing.
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
        self._tell: Callable[[], None] = lambda: None
        self.failed_writers: set[int] = set()
        """Connections whose last write the server did not take; ``store/probe.py`` finds out about it."""
        self.unsafe = ""
        """Which settings of the server would let acknowledged commits be lost, as last heard."""

    def when_refused(self, call: Callable[[], None]) -> None:
        """Name who hears that no host was the accepted server, or that it has become unsafe."""
        self._tell = call

    def tell_refusal(self) -> None:
        """Tell it."""
        self._tell()

    def accept(self, server: Server) -> None:
        """Let connections reach this server from now on."""
        self._accepted = server
        self._flushed = server.flushed
        self.unsafe = server.unsafe

    def heard(self, unsafe: str) -> None:
        """Remember which settings are unsafe; what has become so is told, so that nothing is sent."""
        was_safe, self.unsafe = not self.unsafe, unsafe
        if unsafe and was_safe:
            self._tell()

    def wrote(self, writer: int) -> None:
        """Note that a write of this connection worked."""
        self.failed_writers.discard(writer)

    def did_not_write(self, writer: int) -> None:
        """Note that the server did not take a write of this connection."""
        self.failed_writers.add(writer)

    def require_safe(self) -> None:
        """Raise Unavailable while a commit could be lost after it was acknowledged."""
        if self.unsafe:
            raise unsafe_server(self.unsafe)

    @property
    def flushed(self) -> int:
        """How far the log was on disk when it was last seen.

        To be noted before a server is asked: what is seen while its answer is on the way, or while this
        process is frozen, says nothing about the answer.
        """
        return self._flushed

    def saw(self, flushed: int) -> None:
        """Remember how far the log was on disk: a state with less of it is an older one."""
        self._flushed = max(self._flushed, flushed)

    def doubt(self, server: Server, seen_before: int) -> str:
        """Say why this is not the server that was written to last; empty if it may be.

        ``seen_before`` is what ``flushed`` was before the server was asked.
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
        """Say whether this is an earlier timeline of the accepted system."""
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
            self.heard(server.unsafe)
            return
        what = "the database has to be checked first"
        raise Unavailable(what, why=doubt or "nothing was accepted yet")


def unsafe_server(why: str) -> Unavailable:
    """Say that the server may lose what it acknowledges."""
    what = "this PostgreSQL server is not safe for money"
    todo = "Switch it on again, reload, and run CHECKPOINT: the engine then continues by itself."
    return Unavailable(f"{what}: {why}", why=why, todo=todo)
