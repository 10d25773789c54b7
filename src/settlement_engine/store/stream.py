"""The stream of all transitions (the outbox), engine leases, and gauges, in PostgreSQL.

The transitions are the outbox: each has a gapless position, allocated under the row lock of ``stream_head`` in the
transaction that records the transition, so that positions follow the order of the commits.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.announcement import waiting
from settlement_engine.domain.deadletters import COUNTED_MAX
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import Unavailable
from settlement_engine.ports import Balance, Gauges
from settlement_engine.store.announcement_cache import (
    AnnouncementCache,
    to_announced_fields,
    to_announcement,
)
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.notices import PostgresNotices
from settlement_engine.store.queries import query
from settlement_engine.store.rows import to_moved
from settlement_engine.store.safety import require_safety

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Moved
    from settlement_engine.ports import Announcement
    from settlement_engine.store.announcement_cache import AnnouncedFields
    from settlement_engine.store.database import DatabaseSettings, Readers

LEADER_KNOWN_SECONDS: Final = 0.25
LEADER_QUIET_MS: Final = 1_500
"""A relay leader that sends no query for this long loses the leadership."""


class PostgresStream:
    """See ``ports.Stream``; the relay's leadership is a session lock on a connection of its own.

    The leader queries before each batch and several times a second besides. One that does not is frozen or
    disconnected: the server ends its session, and another engine becomes the leader.
    """

    def __init__(
        self, settings: DatabaseSettings, readers: Readers, cache: AnnouncementCache | None = None
    ) -> None:
        self._readers = readers
        self._cache = AnnouncementCache() if cache is None else cache
        self._leads_until = 0.0
        # Transitions that the server could still lose must not be announced.
        self._relay = DatabaseConnection(
            settings, {"idle_session_timeout": str(LEADER_QUIET_MS)}, needs_safety=True
        )
        self.notices = PostgresNotices(readers, self._relay)

    async def close(self) -> None:
        """Close the connection, which gives up the leadership."""
        await self._relay.close()

    async def read(
        self, after: int, limit: int, settlement_id: UUID | None = None
    ) -> list[Announcement]:
        """Return the announcements after the position, oldest first."""
        if settlement_id is None:
            rows = await self._readers.fetch("read_stream", after, limit)
        else:
            rows = await self._readers.fetch("read_stream_of", after, limit, settlement_id)
        moves = [to_moved(row) for row in rows]
        cache = [self._cache.find(moved.settlement_id) for moved in moves]
        if None in cache:
            await self._complete(cache, moves)
        return [to_announcement(*pair) for pair in zip(moves, cache, strict=True)]

    async def _complete(self, cache: list[AnnouncedFields | None], moves: Sequence[Moved]) -> None:
        """Read the settlement data that is not cached."""
        pairs = zip(moves, cache, strict=True)
        missing = {moved.settlement_id for moved, found in pairs if found is None}
        loaded: dict[UUID, AnnouncedFields] = {}
        for row in await self._readers.fetch("facts", list(missing)):
            found = loaded[row["id"]] = to_announced_fields(row)
            self._cache.keep(row["id"], found)
        for number, moved in enumerate(moves):
            cache[number] = cache[number] or loaded.get(moved.settlement_id)

    async def head(self) -> int:
        """Return the last position."""
        row = await self._readers.fetchrow("stream_head")
        assert row is not None
        return int(row["position"])

    async def published(self) -> int:
        """Return the position up to which JetStream is known to hold everything."""
        row = await self._readers.fetchrow("stream_head")
        assert row is not None
        return int(row["published"])

    async def mark_published(self, position: int) -> None:
        """Store the position; it never decreases. After the server ended an idle session, retry once."""
        try:
            await self._relay.fetch("mark_published", position)
        except Unavailable:
            await self._relay.fetch("mark_published", position)

    async def is_leader(self) -> bool:
        """Acquire or keep the relay's leadership; False while another session has it.

        The answer is cached for a moment, so that many small batches do not query before each.
        """
        now = time.monotonic()
        if now < self._leads_until:
            return True
        try:
            row = await self._relay.fetchrow("try_leadership")
        except Unavailable:
            return False
        leads = row is not None and bool(row[0])
        self._leads_until = now + LEADER_KNOWN_SECONDS if leads else 0.0
        return leads


class PostgresRegistry:
    """See ``ports.EngineRegistry``: a session lock and a lease show that an engine is alive."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._lease = DatabaseConnection(settings)

    async def now(self) -> datetime:
        """Return the database's time."""
        async with self._lease.session() as connection:
            found: datetime = await connection.fetchval(query("database_time"))
        return found

    async def join(self, lease_seconds: float) -> int:
        """Register this process; it takes the session lock first, so that no row exists without its lock."""
        await require_safety(self._settings)
        async with self._lease.session() as connection:
            engine_id = int(await connection.fetchval(query("next_engine")))
            held = await connection.fetchval(query("hold_session"), engine_id)
            assert held, "no other engine has this new id"
            await connection.execute(
                query("join_engine"), engine_id, socket.gethostname(), os.getpid(), lease_seconds
            )
        return engine_id

    async def renew(self, engine_id: int, lease_seconds: float) -> bool:
        """Renew the lease, and hold the session lock again if the connection was lost."""
        async with self._lease.session() as connection:
            if not await connection.fetchval(query("hold_session"), engine_id):
                return False
            row = await connection.fetchrow(query("beat"), engine_id, lease_seconds)
        if row is not None and self._settings.watch is not None:
            self._settings.watch.saw(row["flushed"])
            self._settings.watch.checked(row["unsafe"])
        return row is not None

    async def leave(self, engine_id: int) -> None:
        """Mark the engine as gone, and end its session."""
        try:
            await self._lease.fetch("leave_engine", engine_id)
        finally:
            await self._lease.close()


class PostgresGauges:
    """See ``ports.GaugeSource``."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def _balances(self, accounts_max: int) -> tuple[list[Balance], int]:
        """Return balances per bank and currency, and how many accounts they do not include."""
        if accounts_max <= 0:
            return [], 0
        rows = await self._readers.fetch("balances", accounts_max)
        left_out = await self._readers.fetchrow("accounts_left_out", accounts_max)
        assert left_out is not None
        balances = [
            Balance(
                kind=AccountKind(row["kind"]),
                bank=row["bank"],
                currency=row["currency"],
                posted_minor=int(row["posted"]),
            )
            for row in rows
        ]
        return balances, left_out["accounts"]

    async def gauges(self, accounts_max: int) -> Gauges:
        """Measure what the engine does not count itself."""
        rows = await self._readers.fetch("gauges")
        head = await self._readers.fetchrow("stream_head")
        assert head is not None
        notices = await self._readers.fetchrow("notice_head")
        assert notices is not None
        stuck = await self._readers.fetchrow("without_next_action")
        assert stuck is not None
        cases = await self._readers.fetch("open_cases")
        dead_letters = await self._readers.fetchrow("waiting_dead_letters", COUNTED_MAX)
        assert dead_letters is not None
        reports = await self._readers.fetchrow("waiting_inbound_reports", COUNTED_MAX)
        assert reports is not None
        recalls = await self._readers.fetch("open_recall_counts", COUNTED_MAX)
        differing = await self._readers.fetch("discrepancy_sums", COUNTED_MAX)
        balances, left_out = await self._balances(accounts_max)
        oldest = {row["state"]: float(row["oldest_seconds"]) for row in rows}
        return Gauges(
            open_by_state={row["state"]: row["settlements"] for row in rows},
            oldest_open_seconds=max(oldest.values(), default=0.0),
            oldest_in_doubt_seconds=oldest.get(State.IN_DOUBT.value, 0.0),
            outbox_backlog=waiting(head["published"], head["position"])
            + waiting(notices["published"], notices["position"]),
            without_next_action=stuck["settlements"],
            balances=balances,
            accounts_left_out=left_out,
            open_cases={row["kind"]: row["cases"] for row in cases},
            oldest_cases_seconds={row["kind"]: float(row["oldest_seconds"]) for row in cases},
            open_dead_letters=dead_letters["dead_letters"],
            oldest_dead_letter_seconds=dead_letters["oldest_seconds"],
            open_inbound_reports=reports["reports"],
            oldest_inbound_report_seconds=reports["oldest_seconds"],
            open_recalls={row["state"]: row["recalls"] for row in recalls},
            discrepancies_minor={row["currency"]: int(row["amount_minor"]) for row in differing},
        )
