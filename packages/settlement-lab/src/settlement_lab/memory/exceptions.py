"""Cases in memory (``ports.CaseStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.exceptions import (
    DOUBTS,
    ENGINE,
    CaseFile,
    CaseKind,
    ExceptionCase,
    LastAnswer,
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
    from settlement_engine.ports import CaseFilter, DoubtLimit
    from settlement_lab.memory.records import CaseKey, Records

AT_THE_RAIL = frozenset({State.SENT, State.RECALLING})


class MemoryCases:
    """See ``ports.CaseStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    # --- checks of the engine -------------------------------------------------------------------

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        """Open a case for each payment that is past a limit, the oldest first."""
        by_rail = {limit.rail: limit for limit in limits}
        now = self._records.clock.now()
        found: list[tuple[datetime, UUID, CaseKind, Attempt]] = []
        for key in self._records.open:
            history = self._records.histories[key]
            if history.state not in HOLDING or history.attempt is None:
                continue
            limit = by_rail.get(history.attempt.route.rail) or by_rail.get("")
            if limit is None:
                continue
            is_at_rail = history.state in AT_THE_RAIL
            seconds = limit.overdue_seconds if is_at_rail else limit.in_doubt_seconds
            kind = CaseKind.OVERDUE if is_at_rail else CaseKind.IN_DOUBT
            is_known = (key, kind, str(history.attempt.number)) in self._records.cases
            if not is_known and history.attempt.recorded_at + timedelta(seconds=seconds) <= now:
                found.append((history.attempt.recorded_at, key, kind, history.attempt))
        found.sort(key=lambda each: each[:2])
        for recorded_at, key, kind, attempt in found[:count_max]:
            since = recorded_at.isoformat(timespec="microseconds")
            detail = {"rail": attempt.route.rail, "since": since}
            self._records.open_case(kind, key, str(attempt.number), detail, now)
        return len(found[:count_max])

    async def open_altered(
        self, settlement_id: UUID, fingerprint: str, detail: Mapping[str, str]
    ) -> bool:
        """Freeze a settlement whose record was altered; see the port."""
        if settlement_id not in self._records.histories:
            return False
        self._records.histories[settlement_id].is_frozen = True
        return self._records.open_case(
            CaseKind.ALTERED_PAYMENT,
            settlement_id,
            fingerprint,
            detail,
            self._records.clock.now(),
        )

    async def open_unbookable(self, settlement_id: UUID, detail: Mapping[str, str]) -> bool:
        """Open a case for a transition that cannot be written; see the port."""
        kind, known = CaseKind.CANNOT_BE_BOOKED, self._records.cases
        own = [each for (key, of, _), each in known.items() if (key, of) == (settlement_id, kind)]
        if any(each.closed_at is None for each in own):
            return False
        now = self._records.clock.now()
        return self._records.open_case(kind, settlement_id, str(len(own)), detail, now)

    async def open_held(self, count_max: int) -> int:
        """Open a case for each settlement that is parked for a person; see the port."""
        records, now = self._records, self._records.clock.now()
        over = [
            (place, case, records.histories[case.settlement_id])
            for place, case in records.cases.items()
            if case.kind is CaseKind.HELD and case.settlement_id and not case.closed_at
        ]
        over = [each for each in over if not _is_parked(each[2], each[0][2])]
        for place, case, history in over[:count_max]:
            reason = f"the settlement is parked no more: {history.state.value}"
            records.cases[place] = msgspec.structs.replace(
                case, closed_at=now, closed_by=ENGINE, close_reason=reason
            )
        parked = [
            (key, str(records.histories[key].seq))
            for key in sorted(records.open)
            if records.histories[key].state is State.HELD
        ]
        new = [each for each in parked if (each[0], CaseKind.HELD, each[1]) not in records.cases]
        for key, fingerprint in new[:count_max]:
            detail = records.moves_of[key][-1].detail
            records.open_case(CaseKind.HELD, key, fingerprint, detail, now)
        return len(new[:count_max])

    async def close_ended(self, count_max: int) -> int:
        """Close the in-doubt cases of settlements that have ended; see the port."""
        records, now = self._records, self._records.clock.now()
        over = [
            (filed, records.histories[filed.proposal.settlement_id])
            for filed in records.resolutions.values()
            if not filed.proposal.finished_at
            if records.histories[filed.proposal.settlement_id].is_ended
            or is_outdated(filed.proposal, records.histories[filed.proposal.settlement_id])
        ]
        approved = [pair for pair in over if pair[0].proposal.decision is Decision.APPROVED]
        for filed, history in approved[:count_max]:
            is_attested = _is_applied(filed.proposal, history, records.moves_of[history.id])
            ending = Ending.ATTESTED if is_attested else Ending.OVERTAKEN
            change(filed, finished_at=now, ending=ending)
        undecided = [
            filed
            for filed, history in over
            if history.is_ended and filed.proposal.decision is Decision.OPEN
        ]
        for filed in undecided[:count_max]:
            change(filed, decision=Decision.SUPERSEDED, decided_by=ENGINE, decided_at=now)
        ended = [
            (place, case, records.histories[case.settlement_id])
            for place, case in records.cases.items()
            if case.closed_at is None and case.settlement_id is not None
            if _is_over(case, records.histories[case.settlement_id])
        ]
        for place, case, history in ended[:count_max]:
            reason = f"the settlement has ended: {history.state.value}"
            records.cases[place] = msgspec.structs.replace(
                case, closed_at=now, closed_by=ENGINE, close_reason=reason
            )
        return len(ended[:count_max])

    # --- reading --------------------------------------------------------------------------------

    async def cases(self, wanted: CaseFilter) -> list[ExceptionCase]:
        """Return cases, newest first; see the port."""
        found = [
            self._seen(case)
            for case in reversed(self._records.cases.values())
            if not wanted.kinds or case.kind in wanted.kinds
            if wanted.settlement_id in (None, case.settlement_id)
            if wanted.has_closed or case.closed_at is None
            if wanted.before_id is None or case.id < wanted.before_id
        ]
        return found[: wanted.limit]

    async def case(self, case_id: int) -> CaseFile | None:
        """Return a case with everything that a person needs; see the port."""
        place = self._place(case_id)
        if place is None:
            return None
        records, case = self._records, self._seen(self._records.cases[place])
        key = case.settlement_id
        if key is None:
            return CaseFile(
                case=case, believed=None, last_answer=None, is_asked_now=False, proposals=()
            )
        moves = records.moves_of[key]
        own = records.answers_of(key)
        last = own[-1] if own else None
        quiet = LastAnswer(state=last.state, event=last.event, at=last.last_at) if last else None
        parked = records.open.get(key)
        filed = [
            msgspec.structs.replace(each.proposal, seen_at=case.seen_at)
            for each in records.resolutions.values()
            if each.proposal.settlement_id == key
        ]
        return CaseFile(
            case=case,
            believed=believed(moves),
            last_answer=latest_answer(moves, quiet),
            is_asked_now=parked is not None and parked.engine_id != NOBODY,
            proposals=tuple(filed[-PROPOSALS_MAX:]),
        )

    def _place(self, case_id: int) -> CaseKey | None:
        found = (key for key, each in self._records.cases.items() if each.id == case_id)
        return next(found, None)

    def _seen(self, case: ExceptionCase) -> ExceptionCase:
        key = case.settlement_id
        return msgspec.structs.replace(
            case,
            seen_at=self._records.clock.now(),
            settlement=self._records.copy(key) if key is not None else None,
        )

    # --- people ---------------------------------------------------------------------------------

    async def acknowledge(self, case_id: int, who: str) -> ExceptionCase:
        """Record that a person is working on the case; see the port."""
        place, before = self._known(case_id)
        if before.closed_at is not None:
            what = f"the exception was closed by {before.closed_by}"
            raise WrongState(what, why="it is already closed")
        if before.acknowledged_at is None:
            self._records.cases[place] = msgspec.structs.replace(
                before, acknowledged_at=self._records.clock.now(), acknowledged_by=who
            )
        return self._seen(self._records.cases[place])

    async def close_case(self, case_id: int, who: str, reason: str) -> ExceptionCase:
        """Close a case; see the port."""
        place, before = self._known(case_id)
        is_replay = is_same_person(before.closed_by, who) and before.close_reason == reason
        if before.closed_at is None or not is_replay:
            check_closing(before, who)
            self._records.cases[place] = msgspec.structs.replace(
                before, closed_at=self._records.clock.now(), closed_by=who, close_reason=reason
            )
        return self._seen(self._records.cases[place])

    def _known(self, case_id: int) -> tuple[CaseKey, ExceptionCase]:
        place = self._place(case_id)
        if place is None:
            raise unknown(case_id)
        return place, self._records.cases[place]


def _is_over(case: ExceptionCase, history: Settlement) -> bool:
    """Return whether the settlement's final state closes the case."""
    if case.kind is CaseKind.CANNOT_BE_BOOKED:
        return history.ended_at is not None and history.ended_at >= case.opened_at
    return case.kind in DOUBTS and history.is_ended


def _is_parked(history: Settlement, fingerprint: str) -> bool:
    return history.state is State.HELD and str(history.seq) == fingerprint


def _is_applied(proposal: Proposal, history: Settlement, moves: Sequence[Moved]) -> bool:
    """Return whether an approved proposal has become a move."""
    if proposal.finding in OF_PARKED:
        event = ATTESTED[proposal.finding]
        return any(each.seq == proposal.sends + 1 and each.event is event for each in moves)
    return history.is_ended and history.attestation is not Attestation.NONE
