"""Covers in memory (``ports.CoverStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.covers import (
    COVER,
    COVERS_MAX,
    MAY_BE_REPAIRED,
    Cover,
    CoverRefusal,
)
from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import InvariantViolated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.ports.covers import AttemptKey, CoverResult, FailedCover, NewCover
    from settlement_lab.memory.records import Records


class MemoryCovers:
    """See ``ports.CoverStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def latest(self, keys: Sequence[AttemptKey]) -> Mapping[UUID, Cover]:
        """Return the last cover of each attempt; see the port."""
        found = {}
        for key in keys:
            covers = self._records.covers.stored.get(key)
            if covers:
                found[key[0]] = with_sends(self._records, key, covers[-1])
        return found

    async def record(self, covers: Sequence[NewCover]) -> None:
        """Store first covers; see the port."""
        is_new = [self._is_new(new) for new in covers]  # what is refused is refused before a write
        for new, is_stored_now in zip(covers, is_new, strict=True):
            if is_stored_now:
                self._store(new)

    def _is_new(self, new: NewCover) -> bool:
        """Say whether a cover is to be stored; refuse one that the tables' constraints refuse."""
        history, number = self._records.histories.get(new.settlement_id), new.cover.number
        attempt = history.attempt if history is not None else None
        if attempt is None or attempt.number != new.attempt:
            what = "a cover is of an attempt to send"
            raise InvariantViolated(what)
        is_ordered = {number > 1, bool(new.cover.ordered_by), bool(new.cover.reason)}
        if len(is_ordered) > 1:
            what = "the first cover is ordered by nobody, and every repair by a person"
            raise InvariantViolated(what)
        if number > 1 and new.cover.is_found:
            what = "only a first cover is found at its bank"
            raise InvariantViolated(what)
        stored = self._records.covers.stored.get((new.settlement_id, new.attempt), [])
        if len(stored) >= number:
            return False
        if number > COVERS_MAX:
            what = "there are no more covers of one payment"
            raise InvariantViolated(what)
        if len(stored) != number - 1 or (stored and stored[-1].refusal is None):
            what = "a cover is repaired only after its bank has refused the one before"
            raise InvariantViolated(what)
        return True

    def _store(self, new: NewCover) -> None:
        stored = self._records.covers.stored.setdefault((new.settlement_id, new.attempt), [])
        at = self._records.clock.now()
        stored.append(msgspec.structs.replace(new.cover, recorded_at=at, sends=0, undelivered=0))

    async def note(self, results: Sequence[CoverResult]) -> None:
        """Store what is proved of covers; see the port."""
        for result in results:
            covers = self._records.covers.stored[(result.settlement_id, result.attempt)]
            place = result.number - 1
            key = (result.settlement_id, result.attempt, result.number)
            if result.undelivered:
                proofs = self._records.covers.undelivered.setdefault(key, set())
                proofs.add(result.undelivered)
            elif covers[place].refusal is None:
                refusal = CoverRefusal(code=result.code, text=result.text)
                covers[place] = msgspec.structs.replace(covers[place], refusal=refusal)
                self._records.covers.refused_at[key] = self._records.clock.now()

    async def open_failed(self, failed: Sequence[FailedCover]) -> None:
        """Open an exception for each; see the port."""
        for each in failed:
            if each.settlement_id in self._records.open:
                self._records.open_case(
                    CaseKind.COVER_FAILED,
                    each.settlement_id,
                    each.fingerprint,
                    each.detail,
                    self._records.clock.now(),
                )

    async def order(self, repair: NewCover) -> bool:
        """Store a repair; see the port."""
        history = self._records.histories.get(repair.settlement_id)
        if history is None or history.state not in MAY_BE_REPAIRED or history.is_frozen:
            return False
        if history.attempt is None or history.attempt.number != repair.attempt:
            return False
        if not self._is_new(repair) or self._is_paid(repair.settlement_id):
            return False
        self._store(repair)
        parked = self._records.open[repair.settlement_id]
        if parked.engine_id == 0:
            parked.due_at = self._records.clock.now()
        return True

    def _is_paid(self, settlement_id: UUID) -> bool:
        """Say whether FROM has reported by itself, or in a statement, that it has paid a cover."""
        ids = {
            cover.message_id
            for key, covers in self._records.covers.stored.items()
            for cover in covers
            if key[0] == settlement_id
        }
        return any(
            each.settlement_id == settlement_id
            and each.report.event is Event.SETTLED
            and (each.report.entry is not None or each.report.references.message_id in ids)
            for each in self._records.inbound_reports.values()
        )


def with_sends(records: Records, key: AttemptKey, cover: Cover) -> Cover:
    """Return a cover with how often it was allowed to leave, and how often it is proved that it did not."""
    sends = sum(
        moved.event is Event.COVER_DUE and moved.detail.get(COVER) == str(cover.number)
        for moved in records.moves_of.get(key[0], [])
    )
    undelivered = records.covers.undelivered.get((*key, cover.number), ())
    return msgspec.structs.replace(cover, sends=sends, undelivered=len(undelivered))
