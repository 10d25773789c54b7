"""Who is alive, on which server, and how engines are opened again after a change of server."""

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
    """Who is alive. An engine is gone when its session has ended or its lease has run out."""

    async def now(self) -> datetime:
        """Return the present instant by the store's own clock."""
        ...

    async def join(self, lease_seconds: float) -> int:
        """Register this process and hold its session; returns the owner's number, never used before."""
        ...

    async def beat(self, owner: int, lease_seconds: float) -> bool:
        """Renew the lease; False when others have declared this owner gone: it must join anew."""
        ...

    async def leave(self, owner: int) -> None:
        """End the session: what is still owned is free to be claimed at once."""
        ...


RESTARTED: Final = "restarted"
"""The one doubt about a server that witnesses from outside can dispel."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Which database this is: its server, that server's timeline, and up to where its log is on disk.

    ``started_at`` tells one run of the server from the next: what lies between may be a restore.
    ``unsafe`` names the settings that would let acknowledged commits be lost; empty is good.
    """

    system_identifier: str
    timeline: int
    database_id: int
    flushed: int
    started_at: datetime | None = None
    unsafe: str = ""

    def is_same(self, other: Server) -> bool:
        """Say whether both are one server on one timeline."""
        return (self.system_identifier, self.timeline, self.database_id) == (
            other.system_identifier,
            other.timeline,
            other.database_id,
        )


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand by the database's own record: open, or shut and why.

    ``server`` is the one that the record was made on, ``since`` the instant after which something may
    have been forgotten.
    """

    era: int
    incarnation: UUID
    is_open: bool
    why: str
    server: Server
    since: datetime | None
    at: datetime


class OpeningStep(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the journal of openings."""

    era: int
    step: str
    why: str
    timeline: int
    detail: Mapping[str, object]
    at: datetime


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """Why this may not be the database that was written to last.

    ``era_min`` is the first era that nobody can have used; ``known_to`` the last place of the stream up
    to which it is certainly the same; ``since`` an instant at which something is known to be missing.
    """

    why: str
    era_min: int = 0
    known_to: int | None = None
    since: datetime | None = None


class KnownPayment(msgspec.Struct, frozen=True, kw_only=True):
    """What we know of a bank's payment. Without a settlement it is an exception that is on file."""

    reference: str
    settlement_id: UUID | None = None
    attempt: int = 0
    state: State | None = None


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """An announcement by its place, its name and the instant of its move."""

    position: int
    name: str
    at: datetime | None


class Witness(Protocol):
    """Somebody outside the database who remembers what was announced last."""

    async def last_announced(self) -> Announced | None:
        """Return it; None when there is nothing, or when the witness is away. Never raises."""
        ...


class Openings(Protocol):
    """The record of eras: when one began, why, and how the engines were opened again.

    Raises Unavailable, Contention. Nothing else may touch the database before ``accept`` was called for
    the server that it is on.
    """

    async def look(self) -> tuple[Server, Opening | None]:
        """Return which server this is, and the record; None in a database that never was opened."""
        ...

    async def shut(self, believed: UUID | None, suspicion: Suspicion, server: Server) -> None:
        """Begin an era, shut, unless the record is not what the caller believes. Look again after it.

        All engines are gone by it: each takes a new number. What is beyond the line P is nobody's.
        """
        ...

    def accept(self, server: Server) -> None:
        """Let every connection of this process reach this server; all others are refused."""
        ...

    async def lead(self) -> bool:
        """Be, or become, the one engine that opens; False while another session is."""
        ...

    def doubt(self, server: Server) -> str:
        """Say why this is not the server that this process wrote to last; empty if it may be.

        ``RESTARTED`` says that it is, and was away meanwhile.
        """
        ...

    def when_refused(self, call: Callable[[], None]) -> None:
        """Name what is called when a connection has reached another server than the accepted one."""
        ...

    async def others_alive(self) -> int:
        """Count engines of before that may not have noticed yet that they are gone."""
        ...

    async def unclaimed(self) -> int:
        """Count what the engines of before have left and nobody has taken up yet."""
        ...

    async def last_written(self) -> datetime:
        """Return when something was last written, as far as the database knows."""
        ...

    async def announced(self, position: int) -> Announced | None:
        """Return what this database announces at a place; None when it has no move there."""
        ...

    async def known(self, references: Sequence[str], since: datetime) -> list[KnownPayment]:
        """Return which of these payments we know; most of them are younger than ``since``."""
        ...

    async def report_unknown(self, payments: Sequence[BankPayment], rail: str) -> int:
        """Open an exception for each payment that is not ours; one each, however often it is told."""
        ...

    async def unknown(self, limit: int) -> list[str]:
        """Return the references of payments that the bank had and we did not, newest first."""
        ...

    async def is_confirmed(self, incarnation: UUID) -> bool:
        """Say whether a person has confirmed this opening, for banks that give no list."""
        ...

    async def listed(self, incarnation: UUID) -> frozenset[str]:
        """Return the rails whose banks have been asked in this opening."""
        ...

    async def note(self, incarnation: UUID, step: str, detail: Mapping[str, str]) -> bool:
        """Write down a step (listed, confirmed, opened); False when this opening is over."""
        ...
