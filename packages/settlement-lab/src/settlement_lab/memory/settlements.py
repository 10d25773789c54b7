"""Settlements in memory: admission, steps, claims and reading (``ports.SettlementStore``).

The same guards as ``sql/migrations/*/functions.sql``, in the same order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.settlement import Moved, Recorded, Settlement
from settlement_engine.errors import Contention
from settlement_engine.ports import Admitted, Claimed, Named, NamedBy, Verdict
from settlement_lab.memory.applying import Applying
from settlement_lab.memory.guards import require_sound
from settlement_lab.memory.records import NOBODY, Open

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.ports import Admission, Outcome, SettlementFilter, Step
    from settlement_lab.memory.records import Records

GONE_LATELY: Final = timedelta(seconds=3)
"""How long after an engine was declared gone every claim also looks for its settlements."""


class MemorySettlements:
    """See ``ports.SettlementStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # --- admission ------------------------------------------------------------------------------

    async def admit(self, admissions: Sequence[Admission], owner: int) -> list[Admitted]:
        """Store new instructions; see the port."""
        for admission in admissions:
            require_sound(admission.instruction)
        at = self._records.clock.now()
        # The first of a batch gets the key. Keys are processed in the order of the database's locks.
        in_order = sorted(admissions, key=lambda admission: admission.instruction.key_hash)
        written = {each.settlement_id for each in in_order if self._write(each, owner, at)}
        return [self._answer(admission, written, at) for admission in admissions]

    def _write(self, admission: Admission, owner: int, at: datetime) -> bool:
        """Store one instruction unless its key, its obligation or its identifier is in use."""
        records, wish, key = self._records, admission.instruction, admission.settlement_id
        is_taken = wish.key_hash in records.by_key or key in records.lives
        if is_taken or records.holder(wish.obligation_id) is not None:
            return False
        records.lives[key] = Settlement(
            id=key,
            instruction=wish,
            state=State.VALIDATING,
            seq=1,
            epoch=1,
            created_at=at,
            value_date=wish.value_date or at.date(),
        )
        records.hashes[key] = Recorded(key_hash=wish.key_hash, content_hash=wish.content_hash)
        records.by_key[wish.key_hash] = key
        records.by_obligation.setdefault(wish.obligation_id, []).append(key)
        records.open[key] = Open(owner=owner, epoch=1, due_at=at)
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

    def _answer(self, admission: Admission, written: set[UUID], at: datetime) -> Admitted:
        wish, key = admission.instruction, admission.settlement_id
        if key in written:
            return Admitted(verdict=Verdict.ACCEPTED, settlement_id=key, at=at)
        known = self._records.by_key.get(wish.key_hash)
        if known is not None:
            before = self._records.lives[known].instruction.content_hash
            is_same = before == wish.content_hash
            verdict = Verdict.REPLAYED if is_same else Verdict.KEY_TAKEN
            return Admitted(verdict=verdict, settlement_id=known, at=at)
        holder = self._records.holder(wish.obligation_id)
        if holder is None:
            what = f"the identifier {key} is another settlement's"
            raise Contention(what)
        return Admitted(verdict=Verdict.OBLIGATION_TAKEN, settlement_id=holder, at=at)

    # --- steps and claims -----------------------------------------------------------------------

    async def apply(self, steps: Sequence[Step], owner: int) -> list[Outcome]:
        """Apply steps; see the port."""
        return Applying(self._records, steps, owner).run()

    async def claim(self, owner: int, limit: int, *, is_sweep: bool = False) -> list[Claimed]:
        """Take over what is due and what engines that are gone have left; see the port."""
        now = self._records.clock.now()
        self._notice_the_dead(owner, now)
        claimed = self._take_due(owner, limit, now)
        claimed += self._take_orphans(owner, limit, now, is_sweep=is_sweep)
        return [
            Claimed(settlement=self._records.copy(key), was_asked=was_asked)
            for key, was_asked in claimed
        ]

    async def owned(self, owner: int) -> set[UUID]:
        """Return the open settlements that an engine owns."""
        return {key for key, each in self._records.open.items() if each.owner == owner}

    async def reclaim(self, owner: int, settlement_ids: Sequence[UUID]) -> list[Claimed]:
        """Take over again what the engine has lost track of; see the port."""
        mine = await self.owned(owner)
        found = [key for key in settlement_ids if key in mine]
        for key in found:
            self._take(key, owner)
        return [Claimed(settlement=self._records.copy(key), was_asked=True) for key in found]

    def _notice_the_dead(self, owner: int, now: datetime) -> None:
        """Declare engines gone whose session has ended or whose lease has expired."""
        dead = [
            engine
            for number, engine in self._records.engines.items()
            if number != owner and not engine.is_gone
            if engine.lease_until < now or not self._records.sessions.is_held(number)
        ]
        for engine in dead:
            engine.is_gone, engine.gone_at = True, now

    def _take_due(self, owner: int, limit: int, now: datetime) -> list[tuple[UUID, bool]]:
        due = sorted(
            (resting.due_at, key)
            for key, resting in self._records.open.items()
            if resting.owner == NOBODY and resting.due_at is not None and resting.due_at <= now
        )[:limit]
        for _, key in due:
            self._take(key, owner)
            life = self._records.lives[key]
            if life.state is State.LOCKED and life.attempt is not None:
                # The request of a parked settlement that is due is sent now: that counts as one more send.
                self._records.count(key, sends=1)
        return [(key, False) for _, key in due]

    def _take_orphans(
        self, owner: int, limit: int, now: datetime, *, is_sweep: bool
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
        spared = living | {NOBODY, owner}
        orphans = sorted(
            key
            for key, each in self._records.open.items()
            if each.owner not in spared and (is_sweep or each.owner in gone)
        )[:limit]
        for key in orphans:
            self._take(key, owner)
        return [(key, True) for key in orphans]

    def _take(self, key: UUID, owner: int) -> None:
        resting = self._records.open[key]
        resting.owner = owner
        resting.epoch += 1

    # --- reading --------------------------------------------------------------------------------

    async def load(self, settlement_ids: Sequence[UUID]) -> dict[UUID, Settlement]:
        """Return the settlements that exist."""
        known = self._records.lives
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
        if number in self._records.lives:
            named.add(Named(number, NamedBy.SETTLEMENT_ID))
        for key, references in self._records.references:
            if references.uetr == number:
                named.add(Named(key, NamedBy.UETR))
            if references.end_to_end_id == name:
                named.add(Named(key, NamedBy.END_TO_END_ID))
        named |= {
            Named(moved.settlement_id, NamedBy.RAIL_REFERENCE)
            for moved in self._records.moves
            if moved.detail.get("rail_reference") == name
        }
        return sorted(named)

    async def count_settlements(self, wanted: SettlementFilter) -> int:
        """Count settlements, up to the filter's limit."""
        return len(await self.list_settlements(wanted))

    async def life(self, settlement_id: UUID) -> list[Moved]:
        """Return all moves of a settlement, oldest first."""
        return list(self._records.moves_of.get(settlement_id, ()))

    async def list_settlements(self, wanted: SettlementFilter) -> list[Settlement]:
        """Return settlements, newest first."""
        found = [life for life in self._records.lives.values() if _is_wanted(life, wanted)]
        found.sort(key=lambda life: life.id, reverse=True)
        return [self._records.copy(life.id) for life in found[: wanted.limit]]


def _is_wanted(life: Settlement, wanted: SettlementFilter) -> bool:
    wish = life.instruction
    sides = (folded_bank(wish.from_bank), folded_bank(wish.to_bank))
    return (
        (not wanted.states or life.state in wanted.states)
        and (not wanted.bank or folded_bank(wanted.bank) in sides)
        and (not wanted.currency or wanted.currency == wish.amount.currency)
        and (not wanted.obligation_id or wanted.obligation_id == wish.obligation_id)
        and (wanted.before_id is None or life.id < wanted.before_id)
        and (wanted.from_id is None or life.id >= wanted.from_id)
        and (wanted.since is None or life.created_at >= wanted.since)
        and (wanted.until is None or life.created_at < wanted.until)
    )
