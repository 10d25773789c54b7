"""Settlements in PostgreSQL: admission, transitions, claims and reading (``ports.SettlementStore``).

A batch is one call with parallel arrays, and one transaction. The calls guard and record; which transition applies
was decided before. Admission, transitions and claims have connections of their own, so that none waits for
another's answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.payment import write_payment
from settlement_engine.domain.settlement import new_settlement
from settlement_engine.errors import Contention
from settlement_engine.ports import (
    NAMED_MAX,
    Claimed,
    Existing,
    Named,
    NamedBy,
    Result,
    TransitionResult,
    Unreadable,
    Verdict,
)
from settlement_engine.store import arrays
from settlement_engine.store.announcement_cache import AnnouncementCache
from settlement_engine.store.database import WRITERS_PLAN, DatabaseConnection, DatabaseConnections
from settlement_engine.store.loading import load_all, load_each
from settlement_engine.store.messages import message_arrays
from settlement_engine.store.queries import query
from settlement_engine.store.remaining import lock_what_is_left
from settlement_engine.store.rows import to_moved
from settlement_engine.store.settlement_lists import filter_values, list_statement
from settlement_engine.store.transition_arrays import (
    json_of,
    lock_arrays,
    step_arrays,
    touched_accounts,
    transfer_arrays,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Instruction, Moved, Settlement
    from settlement_engine.ports import SettlementFilter, TransitionCommand
    from settlement_engine.store.database import DatabaseSettings, Readers

ADMISSION_TRIES_MAX: Final = 5
APPLYING_MAX: Final = 2
"""While one batch of transitions is written, the next is prepared, or waits for the same rows' locks."""

LONG_BATCH: Final = 100
"""Encoding a longer batch takes tens of milliseconds, so other tasks run between its parts."""

_ACCEPTED: Final = 0
_TRY_AGAIN: Final = 4
_VERDICTS: Final = {
    1: Verdict.REPLAYED,
    2: Verdict.KEY_TAKEN,
    3: Verdict.OBLIGATION_TAKEN,
    5: Verdict.NOT_LEFT,
}
_RESULTS: Final = (
    Result.APPLIED,
    Result.STALE,
    Result.SHORT,
    Result.INACTIVE,
    Result.SHUT,
    Result.FULL,
    Result.LESS_LEFT,
)


class PostgresSettlements:
    """See ``ports.SettlementStore``."""

    def __init__(
        self, settings: DatabaseSettings, readers: Readers, cache: AnnouncementCache | None = None
    ) -> None:
        self._readers = readers
        self._cache = AnnouncementCache() if cache is None else cache
        self._admitting = DatabaseConnection(settings, WRITERS_PLAN, is_writing=True)
        self._applying = DatabaseConnections(settings, APPLYING_MAX, WRITERS_PLAN, is_writing=True)
        self._claiming = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connections."""
        for line in (self._admitting, self._applying, self._claiming):
            await line.close()

    async def admit(
        self, new: Sequence[tuple[UUID, Instruction]], engine_id: int
    ) -> list[Settlement | Existing]:
        """Store new instructions; see the port."""
        answers: dict[int, Settlement | Existing] = {}
        pending = list(range(len(new)))
        for _ in range(ADMISSION_TRIES_MAX):
            pending = await self._admit(new, engine_id, pending, answers)
            if not pending:
                return [answers[index] for index in range(len(new))]
        # The obligation's holder released it between two attempts, repeatedly.
        what = "the obligation is being changed by other calls"
        raise Contention(what)

    async def _admit(
        self,
        new: Sequence[tuple[UUID, Instruction]],
        engine_id: int,
        indices: list[int],
        answers: dict[int, Settlement | Existing],
    ) -> list[int]:
        batch = [new[index] for index in indices]
        row = await self._admitting.fetchrow("admit", engine_id, *_admission_arrays(batch))
        assert row is not None
        at, verdicts, ids = row
        again = []
        for position, index in enumerate(indices):
            verdict = verdicts[position] if verdicts else _ACCEPTED
            if verdict == _TRY_AGAIN:
                again.append(index)
            elif verdict == _ACCEPTED:
                answers[index] = admitted = new_settlement(*batch[position], at)
                self._cache.keep_admitted(admitted)
            else:
                answers[index] = Existing(
                    verdict=_VERDICTS[verdict], settlement_id=ids[position], at=at
                )
        return again

    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Apply transitions; see the port."""
        if not any(step.gives_back for step in steps):
            return await self._apply(self._applying.fetchrow, steps, engine_id)
        async with self._applying.transaction() as connection:
            at, are_late = await lock_what_is_left(connection, steps)
            kept = [step for step, is_late in zip(steps, are_late, strict=True) if not is_late]

            async def fetchrow(name: str, *arguments: object) -> asyncpg.Record | None:
                return await connection.fetchrow(query(name), *arguments)

            written = iter(await self._apply(fetchrow, kept, engine_id))
        late = TransitionResult(result=Result.LESS_LEFT, at=at)
        return [late if is_late else next(written) for is_late in are_late]

    async def _apply(
        self,
        fetchrow: Callable[..., Awaitable[asyncpg.Record | None]],
        steps: Sequence[TransitionCommand],
        engine_id: int,
    ) -> list[TransitionResult]:
        if not steps:
            return []
        columns: list[str] = []
        for write in (step_arrays, lock_arrays, transfer_arrays):
            columns += write(steps)
            if len(steps) > LONG_BATCH:
                await asyncio.sleep(0)
        name = "apply"
        messages = [step.message for step in steps if step.message is not None]
        if messages:
            name = "apply_and_keep"
            columns += message_arrays(messages)
        row = await fetchrow(name, engine_id, touched_accounts(steps), *columns)
        assert row is not None
        at, results, available = row
        return [
            TransitionResult(
                result=_RESULTS[result],
                at=at,
                available_minor=available[index] if available else 0,
            )
            for index, result in enumerate(results)
        ]

    async def claim(
        self, engine_id: int, limit: int, *, is_sweep: bool = False
    ) -> list[Claimed | Unreadable]:
        """Claim settlements that are due, and those of engines that have failed; see the port."""
        rows = await self._claiming.fetch("claim", engine_id, limit, is_sweep)
        if not rows:
            return []
        return await self._claimed({row["settlement_id"]: row["was_asked"] for row in rows})

    async def _claimed(self, was_asked: Mapping[UUID, bool]) -> list[Claimed | Unreadable]:
        found, unreadable = await load_each(
            lambda keys: self._claiming.fetch("load", keys), list(was_asked)
        )
        return [
            *(Claimed(settlement=each, was_asked=was_asked[key]) for key, each in found.items()),
            *(Unreadable(settlement_id=key, why=error.why) for key, error in unreadable.items()),
        ]

    async def owned(self, engine_id: int) -> set[UUID]:
        """Return the open settlements that an engine owns."""
        return {row["settlement_id"] for row in await self._claiming.fetch("owned", engine_id)}

    async def reclaim(
        self, engine_id: int, settlement_ids: Sequence[UUID]
    ) -> list[Claimed | Unreadable]:
        """Claim again what the engine no longer has in memory; see the port."""
        rows = await self._claiming.fetch("reclaim", engine_id, list(settlement_ids))
        return await self._claimed({row["settlement_id"]: True for row in rows})

    async def claim_unfiled(self, engine_id: int, settlement_id: UUID) -> Settlement | None:
        """Claim a locked payment that is in no file; see the port."""
        async with self._claiming.session() as connection, connection.transaction():
            await connection.fetch(query("lock_open"), settlement_id)
            row = await connection.fetchrow(query("claim_unfiled"), engine_id, settlement_id)
        if row is None:
            return None
        found = await load_all(lambda keys: self._claiming.fetch("load", keys), [settlement_id])
        return found[settlement_id]

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that exist. Raises CorruptRecord if one cannot be read."""
        return await load_all(lambda keys: self._readers.fetch("load", keys), list(settlement_ids))

    async def find_by_obligation(self, obligation_id: str) -> Settlement | None:
        """Return the live or completed settlement of an obligation, else its latest."""
        row = await self._readers.fetchrow("find_by_obligation", obligation_id)
        return (await self.load([row["id"]]))[row["id"]] if row else None

    async def find_by_keys(self, key_hashes: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements with these idempotency keys, by key hash."""
        rows = await self._readers.fetch("find_by_keys", list(key_hashes))
        found = await self.load([row["id"] for row in rows]) if rows else {}
        return {row["key_hash"]: found[row["id"]] for row in rows}

    async def history(self, settlement_id: UUID) -> list[Moved]:
        """Return all transitions of a settlement, oldest first."""
        return [to_moved(row) for row in await self._readers.fetch("history", settlement_id)]

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        ids = await self._listed(wanted)
        found = await self.load(ids)
        return [found[settlement_id] for settlement_id in ids]

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        """Count settlements, up to the filter's limit."""
        return len(await self._listed(wanted))

    async def _listed(self, wanted: SettlementFilter) -> list[UUID]:
        name = list_statement(wanted)
        rows = await self._readers.fetch_as_planned(name, *filter_values(wanted))
        return [row["id"] for row in rows]

    async def find_by_any_id(self, name: str) -> list[Named]:
        """Return which settlements an identifier may mean; see the port."""
        by_obligation = await self._readers.fetchrow("find_by_obligation", name)
        rows = await self._readers.fetch("find_by_any_id", name, as_uuid(name), NAMED_MAX)
        named = [Named(row["settlement_id"], NamedBy(row["named_by"])) for row in rows]
        if by_obligation is not None:
            named.append(Named(by_obligation["id"], NamedBy.OBLIGATION_ID))
        return named


def _admission_arrays(batch: Sequence[tuple[UUID, Instruction]]) -> tuple[str, ...]:
    instructions = [instruction for _, instruction in batch]
    return (
        arrays.uuids([settlement_id for settlement_id, _ in batch]),
        arrays.uuids([each.key_hash for each in instructions]),
        arrays.texts([each.caller for each in instructions]),
        arrays.texts([each.idempotency_key for each in instructions]),
        arrays.octets([each.content_hash for each in instructions]),
        arrays.texts([each.obligation_id for each in instructions]),
        arrays.texts([each.from_bank for each in instructions]),
        arrays.texts([each.to_bank for each in instructions]),
        arrays.integers([each.amount.minor for each in instructions]),
        arrays.texts([each.amount.currency for each in instructions]),
        arrays.dates([each.value_date for each in instructions]),
        arrays.integers([each.priority.value for each in instructions]),
        arrays.texts([json_of(each.metadata) for each in instructions]),
        *_said_arrays(instructions),
        *_compensation_arrays(instructions),
    )


def _said_arrays(instructions: Sequence[Instruction]) -> tuple[str, ...]:
    """Encode what few instructions have: payment details, a rail that they name, a delivery."""
    numbers = [
        number
        for number, each in enumerate(instructions, start=1)
        if each.payment is not None or each.rail or each.requested_delivery is not None
    ]
    saying = [instructions[number - 1] for number in numbers]
    return (
        arrays.integers(numbers),
        arrays.texts([write_payment(each.payment) if each.payment else None for each in saying]),
        arrays.texts([each.rail or None for each in saying]),
        arrays.words([each.requested_delivery for each in saying]),
    )


def _compensation_arrays(instructions: Sequence[Instruction]) -> tuple[str, ...]:
    """Encode which instructions compensate a settlement, and which one."""
    pairs = [
        (number, each.compensates)
        for number, each in enumerate(instructions, start=1)
        if each.compensates is not None
    ]
    return (
        arrays.integers([number for number, _ in pairs]),
        arrays.uuids([compensates for _, compensates in pairs]),
    )
