"""The registry of running engines, and the failover barrier after a change of the database server.

The barrier stops all sending after the server has changed, until it is known what the new server has lost.
Promises: the database's own record decides whether sending is paused. Must never: allow an engine to send before
``accept`` was called for the server that it is connected to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.lifecycle import State
    from settlement_engine.ports.rails import BankPayment


class EngineRegistry(Protocol):
    """Which engines run. An engine is gone when its database session or its lease has ended."""

    async def now(self) -> datetime:
        """Return the current time by the database's clock."""
        ...

    async def join(self, lease_seconds: float) -> int:
        """Register this process and hold its session; returns its new engine id, never used before."""
        ...

    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        """Renew the lease; False when another engine has declared this one gone: it must join again."""
        ...

    async def leave(self, engine_id: int) -> None:
        """End the session: settlements that it still owns can be claimed at once."""
        ...


RESTARTED: Final = "restarted"
"""The reason *restarted*: the only one that a check of the event stream can rule out."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Which database this is: its server, the server's timeline, and up to where its log is on disk.

    ``started_at`` distinguishes one run of the server from the next, because a restore may lie between them.
    ``unsafe`` lists the settings that could lose acknowledged commits; empty if there are none.
    """

    system_identifier: str
    timeline: int
    database_id: int
    flushed: int
    started_at: datetime | None = None
    unsafe: str = ""

    def is_same(self, other: Server) -> bool:
        """Say whether both are the same server on the same timeline."""
        return (self.system_identifier, self.timeline, self.database_id) == (
            other.system_identifier,
            other.timeline,
            other.database_id,
        )


class BarrierState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the failover barrier by the database's own record: open, or closed with the reason.

    ``server`` is the one on which the record was written. Commits after ``since`` may have been lost.
    """

    system_epoch: int
    epoch_id: UUID
    is_open: bool
    why: str
    server: Server
    since: datetime | None
    at: datetime


class BarrierStep(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in the journal of a recovery."""

    system_epoch: int
    step: str
    why: str
    timeline: int
    detail: Mapping[str, object]
    at: datetime


class StaleDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """Why this database may not have everything that was committed last.

    ``system_epoch_min`` is the first system epoch that cannot have been used; ``known_to`` the last stream position up
    to which nothing is missing; ``since`` a time at which something is known to be missing.
    """

    why: str
    system_epoch_min: int = 0
    known_to: int | None = None
    since: datetime | None = None


class KnownPayment(msgspec.Struct, frozen=True, kw_only=True):
    """What we know about a bank's payment. Without a settlement there is a case about it already."""

    reference: str
    settlement_id: UUID | None = None
    attempt: int = 0
    state: State | None = None


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """An announcement: its stream position, its id and the time of its move."""

    position: int
    name: str
    at: datetime | None


class EventStreamCheck(Protocol):
    """The event stream, which is outside of the database and still has the last announcement."""

    async def last_announced(self) -> Announced | None:
        """Return the last announcement; None if there is none or the stream is unreachable. Never raises."""
        ...


class BarrierStore(Protocol):
    """The record of system epochs: when and why each began, and the journal of each recovery.

    Raises Unavailable, Contention. Before ``accept`` was called for the current server, no other code may use
    the database.
    """

    async def look(self) -> tuple[Server, BarrierState | None]:
        """Return which server this is, and the record; None in a database that was never used."""
        ...

    async def shut(
        self, believed: UUID | None, stale_database: StaleDatabase, server: Server
    ) -> None:
        """Begin a system epoch with sending paused, unless the record has changed since the caller read it.

        The caller reads the record again afterwards. All engines lose their ids and must join again; payments
        after the point of no return have no owner until they are claimed.
        """
        ...

    def accept(self, server: Server) -> None:
        """Allow this process to connect to this server and to no other."""
        ...

    async def lead(self) -> bool:
        """Be or become the engine that leads the recovery; False while another session does."""
        ...

    def doubt(self, server: Server) -> str:
        """Say why this may not be the server that this process wrote to last; empty if it is.

        ``RESTARTED`` means that it is the same server, which was restarted meanwhile.
        """
        ...

    def when_refused(self, call: Callable[[], None]) -> None:
        """Set the function to call when a connection reached another server than the accepted one."""
        ...

    async def others_alive(self) -> int:
        """Count engines of the earlier system epoch that may not have noticed yet that they are gone."""
        ...

    async def unclaimed(self) -> int:
        """Count settlements of the engines that are gone which no engine has claimed yet."""
        ...

    async def last_written(self) -> datetime:
        """Return the time of the last write that the database has."""
        ...

    async def announced(self, position: int) -> Announced | None:
        """Return the announcement of this database at a stream position; None if it has no move there."""
        ...

    async def known(self, references: Sequence[str], since: datetime) -> list[KnownPayment]:
        """Return which of these payments we know; most of them are newer than ``since``."""
        ...

    async def report_unknown(self, payments: Sequence[BankPayment], rail: str) -> int:
        """Open one case for each payment that is not ours, however often it is reported."""
        ...

    async def unknown(self, limit: int) -> list[str]:
        """Return the references of payments that the bank has and we do not know, newest first."""
        ...

    async def is_confirmed(self, epoch_id: UUID) -> bool:
        """Say whether a person has confirmed this recovery, for banks that give no list of payments."""
        ...

    async def listed(self, epoch_id: UUID) -> frozenset[str]:
        """Return the rails whose banks have been asked for their payments in this recovery."""
        ...

    async def note(self, epoch_id: UUID, step: str, detail: Mapping[str, str]) -> bool:
        """Record a step (listed, confirmed, opened); False when this recovery is over."""
        ...
