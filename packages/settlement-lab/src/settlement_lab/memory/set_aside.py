"""Which statements two people have set aside, in memory (``ports.StatementDecisionStore``)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.breaks.authority import check_has_role
from settlement_engine.domain.proposals import Decision, is_repeated
from settlement_engine.domain.statement_decisions import (
    ChosenStatement,
    StatementChange,
    StatementProposal,
    account_of,
    check_approval,
    check_changing,
    check_declining,
    no_proposal,
    proposal_sha256,
    waiting_instead,
)
from settlement_engine.domain.statements import END_OF_DAY, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.ports import (
        StatementChanging,
        StatementDecision,
        StatementProposalFilter,
        StatementRules,
    )
    from settlement_lab.memory.records import Records


def end_of_day(records: Records) -> set[int]:
    """Return the numbers of all kept end-of-day statements."""
    return {
        each.result.id
        for each in records.statements
        if each.is_kept and isinstance(each.said, Statement) and each.said.source in END_OF_DAY
    }


class MemoryStatementDecisions:
    """See ``ports.StatementDecisionStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept = records.set_aside

    async def propose(self, wanted: StatementChanging, rules: StatementRules) -> StatementProposal:
        """Write a proposal; see the port."""
        check_has_role(rules.roles, wanted.who)
        ids = sorted(wanted.statement_ids)
        found = self._chosen(ids)
        account_id = account_of(ids, found)
        content = proposal_sha256(wanted.change, ids, wanted.reason, wanted.who)
        known = waiting_instead(content, ids, self._seen_all())
        if known is not None:
            return known
        check_changing(wanted.change, found)
        now = self._records.clock.now()
        proposal = StatementProposal(
            id=0 if wanted.is_dry_run else len(self._kept.proposals) + 1,
            account_id=account_id,
            change=wanted.change,
            statement_ids=tuple(ids),
            reason=wanted.reason,
            proposed_by=wanted.who,
            content_sha256=content,
            proposed_at=now,
            expires_at=now + timedelta(seconds=rules.valid_seconds),
            seen_at=now,
        )
        if not wanted.is_dry_run:
            self._kept.proposals.append(proposal)
        return proposal

    async def approve(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Approve a proposal; see the port."""
        proposal = self._seen(wanted.proposal_id)
        if is_repeated(proposal, Decision.APPROVED, wanted.who, wanted.signed):
            return proposal
        found = self._chosen(proposal.statement_ids)
        role = check_approval(proposal, found, rules.roles, who=wanted.who, signed=wanted.signed)
        if wanted.is_dry_run:
            return proposal
        self._kept.approved.append(proposal.id)
        if proposal.change is StatementChange.SET_ASIDE:
            self._kept.statements.update(proposal.statement_ids)
        else:
            self._kept.statements.difference_update(proposal.statement_ids)
        return self._decided(proposal, Decision.APPROVED, wanted.who, role)

    async def decline(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Decline a proposal; see the port."""
        proposal = self._seen(wanted.proposal_id)
        if is_repeated(proposal, Decision.DECLINED, wanted.who):
            return proposal
        check_declining(proposal, rules.roles, wanted.who)
        if wanted.is_dry_run:
            return proposal
        return self._decided(proposal, Decision.DECLINED, wanted.who)

    async def proposal(self, proposal_id: int) -> StatementProposal | None:
        """Return a proposal."""
        return next((each for each in self._seen_all() if each.id == proposal_id), None)

    async def proposals(self, wanted: StatementProposalFilter) -> list[StatementProposal]:
        """Return proposals, the latest first."""
        found = [
            each
            for each in reversed(self._seen_all())
            if (wanted.statement_id is None or wanted.statement_id in each.statement_ids)
            and (wanted.before_id is None or each.id < wanted.before_id)
            and (wanted.has_ended or each.is_waiting)
        ]
        return found[: wanted.limit]

    def _chosen(self, ids: Sequence[int]) -> Mapping[int, ChosenStatement]:
        return {
            each.result.id: ChosenStatement(
                id=each.result.id,
                account_id=each.result.account_id,
                is_kept=each.is_kept,
                is_set_aside=each.result.id in self._kept.statements,
            )
            for each in self._records.statements
            if each.result.id in ids
        }

    def _seen_all(self) -> list[StatementProposal]:
        now = self._records.clock.now()
        return [msgspec.structs.replace(each, seen_at=now) for each in self._kept.proposals]

    def _seen(self, proposal_id: int) -> StatementProposal:
        for each in self._seen_all():
            if each.id == proposal_id:
                return each
        raise no_proposal(proposal_id)

    def _decided(
        self, proposal: StatementProposal, decision: Decision, who: str, role: str = ""
    ) -> StatementProposal:
        decided = msgspec.structs.replace(
            proposal,
            decision=decision,
            decided_by=who,
            decided_at=self._records.clock.now(),
            role=role,
        )
        self._kept.proposals[proposal.id - 1] = decided
        return decided
