"""The record of failover barriers and epochs in PostgreSQL (``ports.BarrierStore``).

It has connections of its own, the only ones that may reach a server before it was accepted.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from settlement_engine.domain.announcement import event_name
from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import Contention, Unavailable
from settlement_engine.ports import Announced, BarrierState, BarrierStep, KnownPayment, Server
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.hosts import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from settlement_engine.ports import BankPayment, StaleDatabase
    from settlement_engine.store.database import DatabaseSettings
    from settlement_engine.store.watch import ServerWatch

TIMEOUTS: Final = {"statement_timeout": "60000", "transaction_timeout": "60000"}
"""Milliseconds: a recovery may have to scan a large table."""

QUEUED_MOST: Final = timedelta(days=1)
"""Most payments are sent within a day of their instruction; older ones are found by a second query."""

NO_ID: Final = UUID(int=0)
_INSTANT_SHIFT: Final = 80
"""A UUID of version 7 begins with 48 bits of milliseconds (RFC 9562)."""


class PostgresBarrierStore:
    """See ``ports.BarrierStore``; leadership is a session lock on its connection."""

    def __init__(self, settings: DatabaseSettings, watch: ServerWatch) -> None:
        self._watch = watch
        self._seen_before: int | None = None
        self._connections = [
            DatabaseConnection(replace(settings, url=url, watch=None), TIMEOUTS)
            for url in addresses(settings.url)
        ]
        self._connection = self._connections[0]

    async def close(self) -> None:
        """Close the connections, which gives up the leadership."""
        for line in self._connections:
            await line.close()

    async def look(self) -> tuple[Server, BarrierState | None]:
        """Return the server's identity and the latest record; of several primaries the latest one's."""
        self._seen_before = self._watch.flushed
        found = await asyncio.gather(*map(_reach, self._connections))
        reached = [each for each in found if isinstance(each, Server)]
        if not reached:
            raise next(each for each in found if not isinstance(each, Server))
        server = max(reached, key=lambda each: (each.timeline, each.flushed))
        if len(self._connections) > 1 and self._watch.is_left_behind(server):
            what = "only the former primary can be reached"
            todo = "Start the new primary again. After a restore of a backup, restart the engines."
            raise Unavailable(what, why=f"timeline {server.timeline}", todo=todo)
        self._connection = self._connections[found.index(server)]
        row = await self._connection.fetchrow("last_opening")
        return server, _opening(row) if row is not None else None

    async def shut(
        self, believed: UUID | None, stale_database: StaleDatabase, server: Server
    ) -> None:
        """Begin a new epoch with sending paused; see the port."""
        await self._connection.fetchrow(
            "shut_engines",
            believed,
            stale_database.why,
            stale_database.system_epoch_min,
            stale_database.known_to,
            stale_database.since,
            server.system_identifier,
            server.timeline,
            server.database_id,
        )

    def accept(self, server: Server) -> None:
        """Allow every connection of this process to use this server."""
        self._watch.accept(server)
        self._seen_before = None

    def doubt(self, server: Server) -> str:
        """Return why this is not the server to which this process wrote last; empty if it is."""
        seen = self._watch.flushed if self._seen_before is None else self._seen_before
        return self._watch.doubt(server, seen)

    def when_refused(self, call: Callable[[], None]) -> None:
        """Set what is called when a connection was refused."""
        self._watch.when_refused(call)

    async def lead(self) -> bool:
        """Acquire or keep the leadership of the recovery; return whether this engine has it."""
        row = await self._connection.fetchrow("try_opening")
        return row is not None and bool(row[0])

    async def others_alive(self) -> int:
        """Count engines of the earlier epoch that may not have noticed the new one yet."""
        return _count(await self._connection.fetchrow("others_alive"))

    async def unclaimed(self) -> int:
        """Count the open settlements whose owners are engines of the earlier epoch."""
        return _count(await self._connection.fetchrow("unclaimed"))

    async def last_written(self) -> datetime:
        """Return the time of the last write."""
        row = await self._connection.fetchrow("last_written")
        assert row is not None
        found: datetime = row[0]
        return found

    async def announced(self, position: int) -> Announced | None:
        """Return what this database announces at a stream position."""
        row = await self._connection.fetchrow("move_at", position)
        if row is None:
            return None
        name = event_name(row["settlement_id"], row["seq"], position)
        return Announced(position=position, name=name, at=row["at"])

    async def known(self, references: Sequence[str], since: datetime) -> list[KnownPayment]:
        """Return which of these payments we know: first among recent ones, then among all."""
        found = await self._known(list(references), _first_id(since - QUEUED_MOST))
        seen = {payment.reference for payment in found}
        missing = [reference for reference in references if reference not in seen]
        return found + (await self._known(missing, NO_ID) if missing else [])

    async def _known(self, references: list[str], first_id: UUID) -> list[KnownPayment]:
        rows = await self._connection.fetch("known_payments", references, first_id)
        return [
            KnownPayment(
                reference=row["reference"],
                settlement_id=row["settlement_id"],
                attempt=row["number"] or 0,
                state=State(row["state"]) if row["state"] else None,
            )
            for row in rows
        ]

    async def report_unknown(self, payments: Sequence[BankPayment], rail: str) -> int:
        """Open a case for each payment that is not ours; see the port."""
        details = [
            {
                **payment.facts,
                "rail": rail,
                "reference": payment.reference,
                "said": payment.event.value,
                "received_at": payment.received_at.isoformat(),
            }
            for payment in payments
        ]
        rows = await self._connection.fetch(
            "report_unknown", [payment.reference for payment in payments], _json(details)
        )
        return len(rows)

    async def unknown(self, limit: int) -> list[str]:
        """Return the references of payments that the bank has and we do not."""
        rows = await self._connection.fetch("unknown_payments", limit)
        return [row["reference"] for row in rows]

    async def is_confirmed(self, epoch_id: UUID) -> bool:
        """Return whether a person has confirmed this recovery."""
        row = await self._connection.fetchrow("is_confirmed", epoch_id)
        return row is not None and bool(row[0])

    async def listed(self, epoch_id: UUID) -> frozenset[str]:
        """Return the rails whose banks' lists were compared in this recovery."""
        rows = await self._connection.fetch("listed_rails", epoch_id)
        return frozenset(row["rail"] for row in rows)

    async def note(self, epoch_id: UUID, step: str, detail: Mapping[str, str]) -> bool:
        """Record a step; return False when this recovery is over."""
        [text] = _json([detail])
        row = await self._connection.fetchrow("note_opening", epoch_id, step, text)
        return row is not None

    async def journal(self, limit: int) -> list[BarrierStep]:
        """Return the last steps of the journal, newest first."""
        return [
            BarrierStep(
                system_epoch=row["era"],
                step=row["step"],
                why=row["why"],
                timeline=row["timeline"],
                detail=msgspec.json.decode(row["detail"]),
                at=row["at"],
            )
            for row in await self._connection.fetch("all_openings", limit)
        ]


def _count(row: asyncpg.Record | None) -> int:
    assert row is not None, "a count always returns a row"
    return int(row[0])


async def _reach(line: DatabaseConnection) -> Server | Unavailable | Contention:
    try:
        row = await line.fetchrow("server")
    except (Unavailable, Contention) as error:
        return error
    assert row is not None, "the query about the server always returns a row"
    return Server(**dict(row))


def _json(details: Sequence[Mapping[str, str]]) -> list[str]:
    return [msgspec.json.encode(dict(detail), order="sorted").decode() for detail in details]


def _first_id(instant: datetime) -> UUID:
    """Return the smallest identifier that an instruction of that instant can have."""
    return UUID(int=max(int(instant.timestamp() * 1000), 0) << _INSTANT_SHIFT)


def _opening(row: asyncpg.Record) -> BarrierState:
    return BarrierState(
        system_epoch=row["era"],
        epoch_id=row["incarnation"],
        is_open=row["step"] == "opened",
        why=row["why"],
        server=Server(
            system_identifier=row["system_identifier"],
            timeline=row["timeline"],
            database_id=row["database_id"],
            flushed=0,
        ),
        since=row["since"],
        at=row["at"],
    )
