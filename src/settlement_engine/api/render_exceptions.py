"""Converts cases and proposals to messages of the API.

It must never decide anything; what a person may do safely comes from ``domain``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from settlement_engine.api.render import move, timestamp
from settlement_engine.domain.advice import advise
from settlement_engine.domain.exceptions import CaseKind, Severity
from settlement_engine.domain.lifecycle import QUESTION
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.proposals import Decision, Ending, Finding
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.domain.exceptions import CaseFile, ExceptionCase
    from settlement_engine.domain.proposals import Proposal
    from settlement_engine.domain.settlement import Route, Settlement

KINDS: Final[Mapping[int, CaseKind]] = MappingProxyType(
    {pb.ExceptionKind.Value(f"EXCEPTION_KIND_{kind.name}"): kind for kind in CaseKind}
)
_KIND_NUMBERS: Final = {kind: pb.ExceptionKind.ValueType(number) for number, kind in KINDS.items()}
_SEVERITIES: Final = {
    severity: pb.ExceptionSeverity.Value(f"EXCEPTION_SEVERITY_{severity.name}")
    for severity in Severity
}
_FINDINGS: Final = {
    finding: pb.ResolutionFinding.Value(f"RESOLUTION_FINDING_{finding.name}") for finding in Finding
}


def case(found: ExceptionCase, rail_class: str) -> pb.SettlementException:
    """Convert a case as a list shows it."""
    answer = pb.SettlementException(
        id=str(found.id),
        kind=_KIND_NUMBERS[found.kind],
        severity=_SEVERITIES[found.severity],
        settlement_id=str(found.settlement_id or ""),
        opened_time=timestamp(found.opened_at),
        age_seconds=max(int(found.age_seconds), 0),
        said=found.detail,
        acknowledged_by=found.acknowledged_by,
        closed_by=found.closed_by,
        close_reason=found.close_reason,
    )
    if found.acknowledged_at is not None:
        answer.acknowledged_time.CopyFrom(timestamp(found.acknowledged_at))
    if found.closed_at is not None:
        answer.closed_time.CopyFrom(timestamp(found.closed_at))
    if found.settlement is not None:
        _add_settlement(answer, found, found.settlement)
    else:
        detail = found.detail
        answer.amount, answer.currency = detail.get("amount", ""), detail.get("currency", "")
        answer.rail, answer.end_to_end_id = detail.get("rail", ""), detail.get("reference", "")
    advice = advise(found, rail_class)
    answer.safe.extend(advice.safe)
    answer.unsafe.extend(advice.unsafe)
    return answer


def _exposed(kind: CaseKind, route: Route) -> int:
    """Return the account on which the amount is held, or should be."""
    if kind is CaseKind.UNCOVERED_RETURN:
        return route.target_id
    return route.agent_id if kind is CaseKind.DISPROVED else route.source_id


def _add_settlement(
    answer: pb.SettlementException, found: ExceptionCase, settlement: Settlement
) -> None:
    """Add the banks, the amount, the state and the next enquiry of the settlement."""
    instruction = settlement.instruction
    answer.obligation_id = instruction.obligation_id
    answer.state = settlement.state.name
    answer.is_frozen = settlement.is_frozen
    answer.amount = format_amount(instruction.amount.minor, instruction.amount.currency)
    answer.currency = instruction.amount.currency
    answer.from_bank = instruction.from_bank
    answer.to_bank = instruction.to_bank
    if settlement.attempt is not None:
        answer.account_id = str(_exposed(found.kind, settlement.attempt.route))
        answer.rail = settlement.attempt.route.rail
        answer.end_to_end_id = settlement.attempt.references.end_to_end_id
        answer.uetr = str(settlement.attempt.references.uetr)
    question = QUESTION.get(settlement.state)
    if question is not None:
        answer.next_question = question.value
        if settlement.next_action_at is not None:
            answer.next_question_time.CopyFrom(timestamp(settlement.next_action_at))


def case_file(found: CaseFile, rail_class: str) -> pb.SettlementException:
    """Convert a case with everything that is needed to decide it."""
    answer = case(found.case, rail_class)
    answer.asked_now = found.is_asked_now
    if found.believed is not None:
        answer.believed.CopyFrom(move(found.believed))
    if found.last_answer is not None:
        answer.last_question = QUESTION[found.last_answer.state].value
        answer.last_answer = found.last_answer.event.name
        answer.last_answer_time.CopyFrom(timestamp(found.last_answer.at))
    answer.proposals.extend(proposal(each) for each in found.proposals)
    return answer


def proposal(found: Proposal) -> pb.ResolutionProposal:
    """Convert a proposal, with its status."""
    answer = pb.ResolutionProposal(
        id=str(found.id or ""),
        settlement_id=str(found.settlement_id),
        finding=_FINDINGS[found.finding],
        reason=found.reason,
        evidence_name=found.evidence_name,
        evidence_bytes=found.evidence_bytes,
        evidence_sha256=found.evidence_sha256.hex(),
        proposed_by=found.proposed_by,
        content_sha256=found.content_sha256.hex(),
        proposed_time=timestamp(found.proposed_at),
        expires_time=timestamp(found.expires_at),
        status=_status(found),
        decided_by=found.decided_by,
    )
    if found.decided_at is not None:
        answer.decided_time.CopyFrom(timestamp(found.decided_at))
    if found.finished_at is not None:
        answer.finished_time.CopyFrom(timestamp(found.finished_at))
    return answer


def _status(found: Proposal) -> pb.ProposalStatus.ValueType:
    if found.decision is Decision.OPEN:
        is_over = found.has_expired
        return pb.PROPOSAL_STATUS_EXPIRED if is_over else pb.PROPOSAL_STATUS_OPEN
    if found.decision is Decision.DECLINED:
        return pb.PROPOSAL_STATUS_DECLINED
    if found.decision is Decision.SUPERSEDED:
        return pb.PROPOSAL_STATUS_SUPERSEDED
    return {
        Ending.PENDING: pb.PROPOSAL_STATUS_APPROVED,
        Ending.ATTESTED: pb.PROPOSAL_STATUS_APPLIED,
        Ending.OVERTAKEN: pb.PROPOSAL_STATUS_OVERTAKEN,
    }[found.ending]
