"""Exceptions in memory (``ports.MatterStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.exceptions import (
    DOUBTS,
    ENGINE,
    LastAnswer,
    Matter,
    MatterFile,
    MatterKind,
    believed,
    check_closing,
    latest_answer,
    unknown,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.lifecycle import HOLDING, State
from settlement_engine.domain.proposals import (
    ATTESTED,
    OF_PARKED,
    Decision,
    Ending,
    Proposal,
    is_outdated,
)
from settlement_engine.domain.settlement import Attestation
from settlement_engine.errors import WrongState
from settlement_engine.store.exceptions import PROPOSALS_MAX
from settlement_lab.memory.records import NOBODY
from settlement_lab.memory.resolutions import change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt, Moved, Settlement
    from settlement_engine.ports import DoubtLimit, MatterFilter
    from settlement_lab.memory.records import MatterKey, Records

AT_THE_RAIL = frozenset({State.SENT, State.RECALLING})


class MemoryMatters:
    """See ``ports.MatterStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # --- the engine's looks ---------------------------------------------------------------------

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        """Open a matter for each payment that is past a limit, the oldest first."""
        by_rail = {limit.rail: limit for limit in limits}
        now = self._records.clock.now()
        found: list[tuple[datetime, UUID, MatterKind, Attempt]] = []
        for key in self._records.open:
            life = self._records.lives[key]
            if life.state not in HOLDING or life.attempt is None:
                continue
            limit = by_rail.get(life.attempt.route.rail) or by_rail.get("")
            if limit is None:
                continue
            is_at_rail = life.state in AT_THE_RAIL
            seconds = limit.overdue_seconds if is_at_rail else limit.in_doubt_seconds
            kind = MatterKind.OVERDUE if is_at_rail else MatterKind.IN_DOUBT
            is_known = (key, kind, str(life.attempt.number)) in self._records.matters
            if not is_known and life.attempt.recorded_at + timedelta(seconds=seconds) <= now:
                found.append((life.attempt.recorded_at, key, kind, life.attempt))
        found.sort(key=lambda each: each[:2])
        for recorded_at, key, kind, attempt in found[:count_max]:
            since = recorded_at.isoformat(timespec="microseconds")
            detail = {"rail": attempt.route.rail, "since": since}
            self._records.open_matter(kind, key, str(attempt.number), detail, now)
        return len(found[:count_max])

    async def open_altered(
        self, settlement_id: UUID, fingerprint: str, detail: Mapping[str, str]
    ) -> bool:
        """Freeze a settlement of which something was altered; see the port."""
        if settlement_id not in self._records.lives:
            return False
        self._records.lives[settlement_id].is_frozen = True
        return self._records.open_matter(
            MatterKind.ALTERED_PAYMENT,
            settlement_id,
            fingerprint,
            detail,
            self._records.clock.now(),
        )

    async def open_unbookable(self, settlement_id: UUID, detail: Mapping[str, str]) -> bool:
        """Open an exception for a step that cannot be written; see the port."""
        kind, known = MatterKind.CANNOT_BE_BOOKED, self._records.matters
        own = [each for (key, of, _), each in known.items() if (key, of) == (settlement_id, kind)]
        if any(each.closed_at is None for each in own):
            return False
        now = self._records.clock.now()
        return self._records.open_matter(kind, settlement_id, str(len(own)), detail, now)

    async def open_held(self, count_max: int) -> int:
        """Open a matter for each settlement that is parked; see the port."""
        records, now = self._records, self._records.clock.now()
        over = [
            (place, matter, records.lives[matter.settlement_id])
            for place, matter in records.matters.items()
            if matter.kind is MatterKind.HELD and matter.settlement_id and not matter.closed_at
        ]
        over = [each for each in over if not _is_parked(each[2], each[0][2])]
        for place, matter, life in over[:count_max]:
            reason = f"the settlement is parked no more: {life.state.value}"
            records.matters[place] = msgspec.structs.replace(
                matter, closed_at=now, closed_by=ENGINE, close_reason=reason
            )
        parked = [
            (key, str(records.lives[key].seq))
            for key in sorted(records.open)
            if records.lives[key].state is State.HELD
        ]
        new = [
            each for each in parked if (each[0], MatterKind.HELD, each[1]) not in records.matters
        ]
        for key, fingerprint in new[:count_max]:
            detail = records.moves_of[key][-1].detail
            records.open_matter(MatterKind.HELD, key, fingerprint, detail, now)
        return len(new[:count_max])

    async def close_ended(self, count_max: int) -> int:
        """Close the doubts of settlements that have ended; see the port."""
        records, now = self._records, self._records.clock.now()
        over = [
            (filed, records.lives[filed.proposal.settlement_id])
            for filed in records.resolutions.values()
            if not filed.proposal.finished_at
            if records.lives[filed.proposal.settlement_id].is_ended
            or is_outdated(filed.proposal, records.lives[filed.proposal.settlement_id])
        ]
        approved = [pair for pair in over if pair[0].proposal.decision is Decision.APPROVED]
        for filed, life in approved[:count_max]:
            is_attested = _is_applied(filed.proposal, life, records.moves_of[life.id])
            ending = Ending.ATTESTED if is_attested else Ending.OVERTAKEN
            change(filed, finished_at=now, ending=ending)
        undecided = [
            filed
            for filed, life in over
            if life.is_ended and filed.proposal.decision is Decision.OPEN
        ]
        for filed in undecided[:count_max]:
            change(filed, decision=Decision.SUPERSEDED, decided_by=ENGINE, decided_at=now)
        ended = [
            (place, matter, records.lives[matter.settlement_id])
            for place, matter in records.matters.items()
            if matter.closed_at is None and matter.settlement_id is not None
            if _is_over(matter, records.lives[matter.settlement_id])
        ]
        for place, matter, life in ended[:count_max]:
            reason = f"the settlement has ended: {life.state.value}"
            records.matters[place] = msgspec.structs.replace(
                matter, closed_at=now, closed_by=ENGINE, close_reason=reason
            )
        return len(ended[:count_max])

    # --- reading --------------------------------------------------------------------------------

    async def matters(self, wanted: MatterFilter) -> list[Matter]:
        """Return matters, newest first; see the port."""
        found = [
            self._seen(matter)
            for matter in reversed(self._records.matters.values())
            if not wanted.kinds or matter.kind in wanted.kinds
            if wanted.settlement_id in (None, matter.settlement_id)
            if wanted.has_closed or matter.closed_at is None
            if wanted.before_id is None or matter.id < wanted.before_id
        ]
        return found[: wanted.limit]

    async def matter(self, matter_id: int) -> MatterFile | None:
        """Return a matter with everything that a person needs; see the port."""
        place = self._place(matter_id)
        if place is None:
            return None
        records, matter = self._records, self._seen(self._records.matters[place])
        key = matter.settlement_id
        if key is None:
            return MatterFile(
                matter=matter, believed=None, last_answer=None, is_asked_now=False, proposals=()
            )
        moves = records.moves_of[key]
        own = records.answers_of(key)
        last = own[-1] if own else None
        quiet = LastAnswer(state=last.state, event=last.event, at=last.last_at) if last else None
        resting = records.open.get(key)
        filed = [
            msgspec.structs.replace(each.proposal, seen_at=matter.seen_at)
            for each in records.resolutions.values()
            if each.proposal.settlement_id == key
        ]
        return MatterFile(
            matter=matter,
            believed=believed(moves),
            last_answer=latest_answer(moves, quiet),
            is_asked_now=resting is not None and resting.owner != NOBODY,
            proposals=tuple(filed[-PROPOSALS_MAX:]),
        )

    def _place(self, matter_id: int) -> MatterKey | None:
        found = (key for key, each in self._records.matters.items() if each.id == matter_id)
        return next(found, None)

    def _seen(self, matter: Matter) -> Matter:
        key = matter.settlement_id
        return msgspec.structs.replace(
            matter,
            seen_at=self._records.clock.now(),
            settlement=self._records.copy(key) if key is not None else None,
        )

    # --- people ---------------------------------------------------------------------------------

    async def acknowledge(self, matter_id: int, who: str) -> Matter:
        """Note that somebody is looking; see the port."""
        place, before = self._known(matter_id)
        if before.closed_at is not None:
            what = f"the exception was closed by {before.closed_by}"
            raise WrongState(what, why="it is already closed")
        if before.acknowledged_at is None:
            self._records.matters[place] = msgspec.structs.replace(
                before, acknowledged_at=self._records.clock.now(), acknowledged_by=who
            )
        return self._seen(self._records.matters[place])

    async def close_matter(self, matter_id: int, who: str, reason: str) -> Matter:
        """Close a matter; see the port."""
        place, before = self._known(matter_id)
        is_replay = is_same_person(before.closed_by, who) and before.close_reason == reason
        if before.closed_at is None or not is_replay:
            check_closing(before, who)
            self._records.matters[place] = msgspec.structs.replace(
                before, closed_at=self._records.clock.now(), closed_by=who, close_reason=reason
            )
        return self._seen(self._records.matters[place])

    def _known(self, matter_id: int) -> tuple[MatterKey, Matter]:
        place = self._place(matter_id)
        if place is None:
            raise unknown(matter_id)
        return place, self._records.matters[place]


def _is_over(matter: Matter, life: Settlement) -> bool:
    """Say whether the settlement's end closes the matter."""
    if matter.kind is MatterKind.CANNOT_BE_BOOKED:
        return life.ended_at is not None and life.ended_at >= matter.opened_at
    return matter.kind in DOUBTS and life.is_ended


def _is_parked(life: Settlement, fingerprint: str) -> bool:
    return life.state is State.HELD and str(life.seq) == fingerprint


def _is_applied(proposal: Proposal, life: Settlement, moves: Sequence[Moved]) -> bool:
    """Say whether what people approved has become a move."""
    if proposal.finding in OF_PARKED:
        event = ATTESTED[proposal.finding]
        return any(each.seq == proposal.sends + 1 and each.event is event for each in moves)
    return life.is_ended and life.attestation is not Attestation.NONE
