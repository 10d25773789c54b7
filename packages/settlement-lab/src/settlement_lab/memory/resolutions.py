"""Proposals and approvals in memory (``ports.ResolutionStore``)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.proposals import (
    EVIDENCE_BYTES_MAX,
    Decision,
    Proposal,
    basis_of,
    check_approval,
    check_attestable,
    check_person,
    check_undecided,
    content_sha256,
    is_approved_by,
    is_declined_by,
    is_waiting,
    require_room,
)
from settlement_engine.errors import InvariantViolated, NotFound
from settlement_lab.memory.records import Filed

if TYPE_CHECKING:
    from typing import Any
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import ProposalFilter, ProposalSpec
    from settlement_lab.memory.records import Records


class MemoryResolutions:
    """See ``ports.ResolutionStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def propose(self, spec: ProposalSpec) -> Proposal:
        """Record a proposal; see the port."""
        if not 1 <= len(spec.evidence) <= EVIDENCE_BYTES_MAX:
            what = "the store refused a write that violates a rule of the books"
            raise InvariantViolated(what, why="the evidence's size")
        evidence = (spec.evidence_name, spec.evidence)
        content = content_sha256(spec.settlement_id, spec.finding, spec.reason, evidence, spec.who)
        settlement, now = self._settlement(spec.settlement_id), self._records.clock.now()
        alive = self._alive(spec.settlement_id)
        if alive is not None and require_room(self._seen(alive), settlement, content):
            return self._seen(alive)
        check_attestable(settlement, spec.finding)
        check_person(settlement, spec.finding, spec.who)
        if alive is not None and not spec.is_dry_run:
            change(alive, decision=Decision.SUPERSEDED, decided_by=spec.who, decided_at=now)
        proposal = Proposal(
            id=0 if spec.is_dry_run else len(self._records.resolutions) + 1,
            settlement_id=spec.settlement_id,
            finding=spec.finding,
            reason=spec.reason,
            evidence_name=spec.evidence_name,
            evidence_bytes=len(spec.evidence),
            evidence_sha256=hashlib.sha256(spec.evidence).digest(),
            content_sha256=content,
            state=settlement.state,
            sends=basis_of(settlement, spec.finding),
            proposed_by=spec.who,
            proposed_at=now,
            expires_at=now + timedelta(seconds=spec.valid_seconds),
            seen_at=now,
        )
        if not spec.is_dry_run:
            filed = Filed(proposal=proposal, evidence=spec.evidence)
            self._records.resolutions[proposal.id] = filed
        return proposal

    def _settlement(self, settlement_id: UUID) -> Settlement:
        if settlement_id not in self._records.histories:
            what = "there is no settlement with this id"
            raise NotFound(what, listed_by="list")
        return self._records.copy(settlement_id)

    def _alive(self, settlement_id: UUID) -> Filed | None:
        for filed in self._records.resolutions.values():
            proposal = filed.proposal
            is_alive = proposal.decision in (Decision.OPEN, Decision.APPROVED)
            if proposal.settlement_id == settlement_id and is_alive and not proposal.finished_at:
                return filed
        return None

    async def proposal(self, proposal_id: int) -> Proposal | None:
        """Return a proposal."""
        filed = self._records.resolutions.get(proposal_id)
        return self._seen(filed) if filed is not None else None

    async def proposals(self, wanted: ProposalFilter) -> list[Proposal]:
        """Return proposals, newest first; see the port."""
        found = [
            seen
            for seen in map(self._seen, reversed(self._records.resolutions.values()))
            if wanted.settlement_id in (None, seen.settlement_id)
            if wanted.before_id is None or seen.id < wanted.before_id
            if wanted.has_ended or is_waiting(seen)
        ]
        return found[: wanted.limit]

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of the evidence."""
        filed = self._records.resolutions.get(proposal_id)
        return filed.evidence if filed is not None else None

    async def approve(
        self, proposal_id: int, who: str, signed: bytes, *, is_dry_run: bool = False
    ) -> Proposal:
        """Approve a proposal; see the port."""
        filed, now = self._filed(proposal_id), self._records.clock.now()
        if not is_approved_by(filed.proposal, who, signed):
            settlement = self._settlement(filed.proposal.settlement_id)
            check_approval(self._seen(filed), settlement, who, signed)
            if is_dry_run:
                return self._seen(filed)
            change(filed, decision=Decision.APPROVED, decided_by=who, decided_at=now)
        return self._seen(filed)

    async def decline(self, proposal_id: int, who: str, *, is_dry_run: bool = False) -> Proposal:
        """Decline a proposal; see the port."""
        filed, now = self._filed(proposal_id), self._records.clock.now()
        if not is_declined_by(filed.proposal, who):
            check_undecided(filed.proposal)
            if is_dry_run:
                return self._seen(filed)
            change(filed, decision=Decision.DECLINED, decided_by=who, decided_at=now)
        return self._seen(filed)

    def _seen(self, filed: Filed) -> Proposal:
        return msgspec.structs.replace(filed.proposal, seen_at=self._records.clock.now())

    def _filed(self, proposal_id: int) -> Filed:
        filed = self._records.resolutions.get(proposal_id)
        if filed is None:
            what = f"there is no proposal {proposal_id}"
            raise NotFound(what, listed_by="proposals --all")
        return filed

    # --- the engine -----------------------------------------------------------------------------

    async def take_up(self, pause_seconds: float, count_max: int) -> list[Proposal]:
        """Return approved proposals to be applied; see the port."""
        now = self._records.clock.now()
        pause = timedelta(seconds=pause_seconds)
        due = [
            filed
            for filed in self._records.resolutions.values()
            if filed.proposal.decision is Decision.APPROVED and not filed.proposal.finished_at
            if not self._records.histories[filed.proposal.settlement_id].is_ended
            if filed.taken_up_at is None or filed.taken_up_at <= now - pause
        ][:count_max]
        for filed in due:
            filed.taken_up_at = now
        return [self._seen(filed) for filed in due]


def change(filed: Filed, **fields: Any) -> None:  # noqa: ANN401 - the fields of a proposal
    """Change these fields of a stored proposal."""
    filed.proposal = msgspec.structs.replace(filed.proposal, **fields)
