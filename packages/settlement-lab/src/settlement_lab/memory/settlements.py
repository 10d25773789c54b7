"""Settlements in memory: admission, steps, claims and reading (``ports.SettlementStore``).

The same guards as ``sql/migrations/*/functions.sql``, in the same order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.compensation_checks import (
    COMPENSATIONS_MAX,
    compensable_minor,
    why_not_compensable,
)
from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.payment import text_at
from settlement_engine.domain.settlement import Moved, Recorded, new_settlement
from settlement_engine.errors import Contention
from settlement_engine.ports import Claimed, Existing, Named, NamedBy, Verdict
from settlement_lab.memory.applying import Applying
from settlement_lab.memory.guards import require_paying_back, require_sound
from settlement_lab.memory.records import NOBODY, Open

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import (
        SettlementFilter,
        TransitionCommand,
        TransitionResult,
    )
    from settlement_lab.memory.records import Records

GONE_LATELY: Final = timedelta(seconds=3)
"""How long after an engine was declared gone every claim also looks for its settlements."""


class MemorySettlements:
    """See ``ports.SettlementStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # --- admission ------------------------------------------------------------------------------

    async def admit(
        self, new: Sequence[tuple[UUID, Instruction]], engine_id: int
    ) -> list[Settlement | Existing]:
        """Store new instructions; see the port."""
        for _, instruction in new:
            require_sound(instruction)
        at = self._records.clock.now()
        # The first of a batch gets the key. Keys are processed in the order of the database's locks.
        in_order = sorted(new, key=lambda each: each[1].key_hash)
        written = {
            key for key, instruction in in_order if self._write(key, instruction, engine_id, at)
        }
        return [self._answer(key, instruction, written, at) for key, instruction in new]

    def _write(self, key: UUID, request: Instruction, engine_id: int, at: datetime) -> bool:
        """Store one instruction unless its key, its obligation or its identifier is in use."""
        records = self._records
        is_taken = request.key_hash in records.by_key or key in records.histories
        if is_taken or records.holder(request.obligation_id) is not None:
            return False
        if not self._is_left(request):
            return False
        records.histories[key] = new_settlement(key, request, at)
        records.hashes[key] = Recorded(key_hash=request.key_hash, content_hash=request.content_hash)
        records.by_key[request.key_hash] = key
        records.by_obligation.setdefault(request.obligation_id, []).append(key)
        if request.compensates is not None:
            records.compensating.setdefault(request.compensates, []).append(key)
        records.open[key] = Open(engine_id=engine_id, fencing_token=1, due_at=at)
        records.append(
            Moved(
                position=records.head + 1,
                settlement_id=key,
                seq=1,
                from_state=State.PENDING,
                event=Event.ADMITTED,
                to_state=State.VALIDATING,
                at=at,
                detail={},
            )
        )
        return True

    def _is_left(self, request: Instruction) -> bool:
        """Say whether enough is left of what a compensation compensates; other instructions pass."""
        if request.compensates is None:
            return True
        require_paying_back(request, self._records.histories.get(request.compensates))
        found = self._records.copy(request.compensates)
        is_full = len(found.compensations) >= COMPENSATIONS_MAX
        is_enough = request.amount.minor <= compensable_minor(found)
        return is_enough and not is_full and not why_not_compensable(found)

    def _answer(
        self, key: UUID, request: Instruction, written: set[UUID], at: datetime
    ) -> Settlement | Existing:
        if key in written:
            return new_settlement(key, request, at)
        known = self._records.by_key.get(request.key_hash)
        if known is not None:
            before = self._records.histories[known].instruction.content_hash
            is_same = before == request.content_hash
            verdict = Verdict.REPLAYED if is_same else Verdict.KEY_TAKEN
            return Existing(verdict=verdict, settlement_id=known, at=at)
        holder = self._records.holder(request.obligation_id)
        if holder is None and request.compensates is not None:
            return Existing(verdict=Verdict.NOT_LEFT, settlement_id=request.compensates, at=at)
        if holder is None:
            what = f"the identifier {key} is another settlement's"
            raise Contention(what)
        return Existing(verdict=Verdict.OBLIGATION_TAKEN, settlement_id=holder, at=at)

    # --- steps and claims -----------------------------------------------------------------------

    async def apply(
        self, steps: Sequence[TransitionCommand], engine_id: int
    ) -> list[TransitionResult]:
        """Apply steps; see the port."""
        return Applying(self._records, steps, engine_id).run()

    async def claim(self, engine_id: int, limit: int, *, is_sweep: bool = False) -> list[Claimed]:
        """Take over what is due and what engines that are gone have left; see the port."""
        now = self._records.clock.now()
        self._notice_the_dead(engine_id, now)
        claimed = self._take_due(engine_id, limit, now)
        claimed += self._take_orphans(engine_id, limit, now, is_sweep=is_sweep)
        return [
            Claimed(settlement=self._records.copy(key), was_asked=was_asked)
            for key, was_asked in claimed
        ]

    async def owned(self, engine_id: int) -> set[UUID]:
        """Return the open settlements that an engine owns."""
        return {key for key, each in self._records.open.items() if each.engine_id == engine_id}

    async def reclaim(self, engine_id: int, settlement_ids: Sequence[UUID]) -> list[Claimed]:
        """Take over again what the engine has lost track of; see the port."""
        mine = await self.owned(engine_id)
        found = [key for key in settlement_ids if key in mine]
        for key in found:
            self._take(key, engine_id)
        return [Claimed(settlement=self._records.copy(key), was_asked=True) for key in found]

    async def claim_unfiled(self, engine_id: int, settlement_id: UUID) -> Settlement | None:
        """Claim a locked payment that is in no file; see the port."""
        history, records = self._records.histories.get(settlement_id), self._records
        attempt = history.attempt if history is not None else None
        if history is None or history.state is not State.LOCKED or attempt is None:
            return None
        key = settlement_id, attempt.number
        is_filed = any(key == item.key for _, items in records.rail_files for item in items)
        if not attempt.trace or is_filed:
            return None
        self._take(settlement_id, engine_id)
        if attempt.sends <= attempt.undelivered:
            records.count(settlement_id, sends=1)
        return records.copy(settlement_id)

    def _notice_the_dead(self, engine_id: int, now: datetime) -> None:
        """Declare engines gone whose session has ended or whose lease has expired."""
        dead = [
            engine
            for number, engine in self._records.engines.items()
            if number != engine_id and not engine.is_gone
            if engine.lease_until < now or not self._records.sessions.is_held(number)
        ]
        for engine in dead:
            engine.is_gone, engine.gone_at = True, now

    def _take_due(self, engine_id: int, limit: int, now: datetime) -> list[tuple[UUID, bool]]:
        due = sorted(
            (parked.due_at, key)
            for key, parked in self._records.open.items()
            if parked.engine_id == NOBODY and parked.due_at is not None and parked.due_at <= now
        )[:limit]
        for _, key in due:
            self._take(key, engine_id)
            history = self._records.histories[key]
            if history.state is State.LOCKED and history.attempt is not None:
                # The request of a parked settlement that is due is sent now: that counts as one more send.
                self._records.count(key, sends=1)
        return [(key, False) for _, key in due]

    def _take_orphans(
        self, engine_id: int, limit: int, now: datetime, *, is_sweep: bool
    ) -> list[tuple[UUID, bool]]:
        """Take what belongs to engines that are gone: recently, or at any time with ``is_sweep``."""
        engines = self._records.engines
        gone = {
            number
            for number, each in engines.items()
            if each.gone_at is not None and each.gone_at > now - GONE_LATELY
        }
        if not gone and not is_sweep:
            return []
        living = {number for number, each in engines.items() if not each.is_gone}
        spared = living | {NOBODY, engine_id}
        orphans = sorted(
            key
            for key, each in self._records.open.items()
            if each.engine_id not in spared and (is_sweep or each.engine_id in gone)
        )[:limit]
        for key in orphans:
            self._take(key, engine_id)
        return [(key, True) for key in orphans]

    def _take(self, key: UUID, engine_id: int) -> None:
        parked = self._records.open[key]
        parked.engine_id = engine_id
        parked.fencing_token += 1

    # --- reading --------------------------------------------------------------------------------

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that exist."""
        known = self._records.histories
        return {key: self._records.copy(key) for key in settlement_ids if key in known}

    async def find_by_obligation(self, obligation_id: str) -> Settlement | None:
        """Return the open or completed settlement of an obligation, else its latest."""
        found = self._records.holder(obligation_id)
        if found is None:
            found = max(self._records.by_obligation.get(obligation_id, ()), default=None)
        return self._records.copy(found) if found else None

    async def find_by_keys(self, key_hashes: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements of these idempotency keys, by the key's hash."""
        records = self._records
        known = {key: records.by_key[key] for key in key_hashes if key in records.by_key}
        return {key: records.copy(found) for key, found in known.items()}

    async def find_by_any_id(self, name: str) -> list[Named]:
        """Return the settlements that a name may mean; see the port."""
        by_obligation = await self.find_by_obligation(name)
        number = as_uuid(name)
        named = {Named(by_obligation.id, NamedBy.OBLIGATION_ID)} if by_obligation else set()
        if number in self._records.histories:
            named.add(Named(number, NamedBy.SETTLEMENT_ID))
        for key, attempt in self._records.attempts:
            references = attempt.references
            if references.uetr == number:
                named.add(Named(key, NamedBy.UETR))
            if references.end_to_end_id == name:
                named.add(Named(key, NamedBy.END_TO_END_ID))
            if references.message_id == name:
                named.add(Named(key, NamedBy.MESSAGE_ID))
            if name and attempt.trace == name:
                named.add(Named(key, NamedBy.TRACE))
        for key, history in self._records.histories.items():
            if name and text_at(history.instruction.payment, "end_to_end_id") == name:
                named.add(Named(key, NamedBy.CALLERS_END_TO_END_ID))
        stated = self._records.stating(name) if name else set()
        return sorted(named | {Named(key, NamedBy.RAIL_REFERENCE) for key in stated})

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        """Count settlements, up to the filter's limit."""
        return len(await self.list_settlements(wanted))

    async def history(self, settlement_id: UUID) -> list[Moved]:
        """Return all moves of a settlement, oldest first."""
        return list(self._records.moves_of.get(settlement_id, ()))

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        histories = self._records.histories.values()
        found = [history for history in histories if _is_wanted(history, wanted)]
        if wanted.only_compensated:
            compensated = {each.instruction.compensates for each in histories}
            found = [history for history in found if history.id in compensated]
        found.sort(key=lambda history: history.id, reverse=True)
        return [self._records.copy(history.id) for history in found[: wanted.limit]]


def _is_wanted(history: Settlement, wanted: SettlementFilter) -> bool:
    request = history.instruction
    sides = (folded_bank(request.from_bank), folded_bank(request.to_bank))
    return (
        (not wanted.states or history.state in wanted.states)
        and (not wanted.bank or folded_bank(wanted.bank) in sides)
        and (not wanted.currency or wanted.currency == request.amount.currency)
        and (not wanted.obligation_id or wanted.obligation_id == request.obligation_id)
        and (wanted.before_id is None or history.id < wanted.before_id)
        and (wanted.from_id is None or history.id >= wanted.from_id)
        and (wanted.since is None or history.created_at >= wanted.since)
        and (wanted.until is None or history.created_at < wanted.until)
        and wanted.compensates in (None, request.compensates)
        and (not wanted.only_compensations or request.compensates is not None)
    )
