"""The work on breaks as messages of the API."""

from __future__ import annotations

from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api.render import timestamp
from settlement_engine.api.render_reconciliation import amount, to_break
from settlement_engine.domain.breaks.aging import bucket_of
from settlement_engine.domain.breaks.resolutions import BreakSide
from settlement_engine.domain.proposals import Decision
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.reconciliation import ReconciliationBreak
    from settlement_engine.ports import BreakFile, BreakManagement

_DECIDED: Final[Mapping[Decision, pb.ProposalStatus.ValueType]] = MappingProxyType(
    {
        Decision.APPROVED: pb.PROPOSAL_STATUS_APPLIED,
        Decision.DECLINED: pb.PROPOSAL_STATUS_DECLINED,
        Decision.SUPERSEDED: pb.PROPOSAL_STATUS_SUPERSEDED,
    }
)


def instant(value: Timestamp) -> datetime:
    """Read an instant."""
    return value.ToDatetime(tzinfo=UTC)


def aged_break(found: ReconciliationBreak, breaks: BreakManagement) -> pb.ReconciliationBreak:
    """Render a break with its age."""
    answer = to_break(found)
    answer.age_business_days = breaks.age_business_days(found.business_date)
    answer.age_bucket = bucket_of(answer.age_business_days).label
    return answer


def worked_break(
    found: ReconciliationBreak, file: BreakFile, breaks: BreakManagement
) -> pb.ReconciliationBreak:
    """Render a break with its age and the state of the work on it."""
    answer, work = aged_break(found, breaks), file.work
    answer.status = work.status.value
    answer.owner = work.owner
    answer.level = work.level
    due_at = breaks.due_at(work)
    if due_at is not None:
        answer.due_time.CopyFrom(timestamp(due_at))
    answer.proposal_id = str(work.proposal_id or "")
    answer.match_id = str(work.match_id or "")
    answer.open_postings.extend(file.ours)
    answer.open_entries.extend(file.theirs)
    answer.suggestions.extend(
        pb.MatchSuggestion(
            matched_by=each.matched_by,
            explanation=each.explanation,
            our_postings=each.ours,
            their_entries=each.theirs,
        )
        for each in file.suggestions
    )
    return answer


def break_proposal(found: BreakProposal) -> pb.BreakProposal:
    """Render a proposal with its status."""
    status = _DECIDED.get(found.decision, pb.PROPOSAL_STATUS_OPEN)
    if found.decision is Decision.OPEN and found.has_expired:
        status = pb.PROPOSAL_STATUS_EXPIRED
    answer = pb.BreakProposal(
        id=str(found.id or ""),
        break_id=str(found.break_id),
        resolution=pb.BreakResolution.Value(f"BREAK_RESOLUTION_{found.resolution.value}"),
        account_id=str(found.account_id),
        amount=amount(found.amount_minor, found.currency),
        currency=found.currency,
        our_postings=[each.id for each in found.items if each.side is BreakSide.OURS],
        their_entries=[each.id for each in found.items if each.side is BreakSide.THEIRS],
        reason=found.reason,
        evidence_name=found.evidence_name,
        evidence_bytes=found.evidence_bytes,
        evidence_sha256=found.evidence_sha256.hex(),
        proposed_by=found.proposed_by,
        content_sha256=found.content_sha256.hex(),
        proposed_time=timestamp(found.proposed_at),
        expires_time=timestamp(found.expires_at),
        status=status,
        decided_by=found.decided_by,
        role=found.role,
        match_id=str(found.match_id or ""),
        transfer_id=str(found.transfer_group or ""),
    )
    if found.decided_at is not None:
        answer.decided_time.CopyFrom(timestamp(found.decided_at))
    return answer
