"""Settlements in PostgreSQL: admission, transitions, claims and reading (``ports.SettlementStore``).

A batch is one call with parallel arrays, and one transaction. The calls guard and record; which transition applies
was decided before. Admission, transitions and claims have connections of their own, so that none waits for
another's answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.lifecycle import Do, is_recorded
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
from settlement_engine.store.rows import to_moved
from settlement_engine.store.settlement_lists import filter_values, list_statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt, Instruction, Moved, Settlement
    from settlement_engine.ports import SettlementFilter, TransitionCommand
    from settlement_engine.store.database import DatabaseSettings, Readers

T = TypeVar("T")

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
)


def _json(value: Mapping[str, str]) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


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
        if not steps:
            return []
        columns: list[str] = []
        for write in (_step_arrays, _lock_arrays, _transfer_arrays):
            columns += write(steps)
            if len(steps) > LONG_BATCH:
                await asyncio.sleep(0)
        name = "apply"
        messages = [step.message for step in steps if step.message is not None]
        if messages:
            name = "apply_and_keep"
            columns += message_arrays(messages)
        row = await self._applying.fetchrow(name, engine_id, _accounts(steps), *columns)
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
        arrays.texts([_json(each.metadata) for each in instructions]),
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


def _accounts(steps: Sequence[TransitionCommand]) -> str:
    """List every account whose row the transitions may change; the database locks them in order."""
    touched: set[int] = set()
    for step in steps:
        attempt = step.attempt or step.settlement.attempt
        if step.transition.do in (Do.LOCK, Do.POST, Do.RELEASE, Do.REVERSE) and attempt is not None:
            touched.add(attempt.route.source_id)
            touched.add(attempt.route.target_id)
        for transfer in step.transfers:
            touched.add(transfer.debit_id)
            touched.add(transfer.credit_id)
    return arrays.integers(sorted(touched))


def _step_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    settlements = [step.settlement for step in steps]
    refusals = [step.refusal for step in steps]
    return (
        arrays.uuids([settlement.id for settlement in settlements]),
        arrays.integers([settlement.seq for settlement in settlements]),
        arrays.integers([settlement.fencing_token for settlement in settlements]),
        arrays.words([settlement.state for settlement in settlements]),
        arrays.words([step.event for step in steps]),
        arrays.words([step.transition.state for step in steps]),
        arrays.words([step.transition.do for step in steps]),
        arrays.booleans([is_recorded(step.settlement.state, step.transition) for step in steps]),
        arrays.integers([_attempt_number(step) for step in steps]),
        arrays.seconds([step.due_seconds for step in steps]),
        arrays.texts([_json(step.detail) for step in steps]),
        arrays.texts([refusal.code.value if refusal else None for refusal in refusals]),
        arrays.texts([_json(refusal.detail) if refusal else None for refusal in refusals]),
        arrays.texts([step.rail_reference or None for step in steps]),
        arrays.texts([step.confirmation or None for step in steps]),
    )


def _attempt_number(step: TransitionCommand) -> int:
    attempt = step.attempt or step.settlement.attempt
    return attempt.number if attempt else 0


def _lock_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    numbers = [
        number for number, step in enumerate(steps, start=1) if step.transition.do is Do.LOCK
    ]
    locks = [steps[number - 1] for number in numbers]
    attempts = [_present(lock.attempt) for lock in locks]
    window_openings = [_present(lock.window_opening) for lock in locks]
    routes = [attempt.route for attempt in attempts]
    names = [attempt.references for attempt in attempts]
    amounts = [lock.settlement.instruction.amount for lock in locks]
    return (
        arrays.integers(numbers),
        arrays.integers([attempt.number for attempt in attempts]),
        arrays.texts([route.rail for route in routes]),
        arrays.integers([route.source_id for route in routes]),
        arrays.integers([route.agent_id for route in routes]),
        arrays.integers([route.clearing_id for route in routes]),
        arrays.integers([route.target_id for route in routes]),
        arrays.uuids([name.uetr for name in names]),
        arrays.texts([name.end_to_end_id for name in names]),
        arrays.texts([name.message_id for name in names]),
        _traces(attempts),
        arrays.octets([attempt.payload for attempt in attempts]),
        arrays.instants([attempt.valid_until for attempt in attempts]),
        arrays.words([route.delivery for route in routes]),
        arrays.integers([amount.minor for amount in amounts]),
        arrays.texts([amount.currency for amount in amounts]),
        arrays.instants([window_opening.opens_at for window_opening in window_openings]),
        arrays.instants([window_opening.closes_at for window_opening in window_openings]),
    )


def _traces(attempts: Sequence[Attempt]) -> str:
    """List the traces; nothing if no payment has one, as on most rails."""
    if not any(attempt.trace for attempt in attempts):
        return arrays.texts(())
    return arrays.texts([attempt.trace or None for attempt in attempts])


def _transfer_arrays(steps: Sequence[TransitionCommand]) -> tuple[str, ...]:
    pairs = [
        (number, transfer)
        for number, step in enumerate(steps, start=1)
        for transfer in step.transfers
    ]
    transfers = [transfer for _, transfer in pairs]
    return (
        arrays.integers([number for number, _ in pairs]),
        arrays.integers([transfer.leg.value for transfer in transfers]),
        arrays.integers([transfer.debit_id for transfer in transfers]),
        arrays.integers([transfer.credit_id for transfer in transfers]),
        arrays.integers([transfer.amount_minor for transfer in transfers]),
        arrays.texts([transfer.currency for transfer in transfers]),
    )


def _present(value: T | None) -> T:
    assert value is not None, "a lock has its attempt and its window opening, an answer its verdict"
    return value
