"""Work on breaks in memory (``ports.BreakWorkStore``)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.breaks.authority import check_has_role
from settlement_engine.domain.breaks.history import BreakEventKind, check_event
from settlement_engine.domain.breaks.proposals import (
    BreakProposal,
    check_break_approval,
    check_break_declining,
    check_matching,
    check_proposing,
)
from settlement_engine.domain.breaks.resolutions import (
    BreakResolution,
    BreakSide,
    EvidenceDigest,
    check_resolution,
    resolution_sha256,
)
from settlement_engine.domain.breaks.suggestions import (
    SUGGESTIONS_MAX,
    BreakSuggestion,
    still_open,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.proposals import Decision, is_repeated
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.ports import BreakToEscalate
from settlement_lab.memory.break_corrections import (
    add_match,
    check_room,
    closed_breaks_of,
    end,
    end_settled,
    file_of,
    kept_break,
    named_items,
    open_items,
    post,
    take_back,
)
from settlement_lab.memory.notices import notice_escalation
from settlement_lab.memory.reconciliation import MemoryReconciliation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.breaks.resolutions import BreakHead, BreakItem
    from settlement_engine.ports import (
        BreakDecisionSpec,
        BreakEscalationStep,
        BreakFile,
        BreakMatchSpec,
        BreakProposalFilter,
        BreakProposalSpec,
        BreakStepSpec,
        UnmatchSpec,
    )
    from settlement_lab.memory.accounts import MemoryAccounts
    from settlement_lab.memory.records import Records


class MemoryBreakWork:
    """See ``ports.BreakWorkStore``."""

    def __init__(self, records: Records, accounts: MemoryAccounts) -> None:
        self._records = records
        self._kept = records.reconciled
        self._accounts = accounts
        self._books = MemoryReconciliation(records, accounts)

    async def file(self, break_id: int) -> BreakFile | None:
        """Return a break with its history, and what is suggested about its open items."""
        if not 0 < break_id <= len(self._kept.breaks):
            return None
        found = file_of(self._records, break_id)
        return msgspec.structs.replace(found, suggestions=self._suggested(found))

    def _suggested(self, found: BreakFile) -> tuple[BreakSuggestion, ...]:
        account_id, items = found.head.account_id, {*found.ours, *found.theirs}
        books = (self._kept.ours, self._kept.theirs)
        left = [
            still_open(said, lambda name: any((account_id, name) in book for book in books))
            for (owner, _), said in reversed(self._kept.suggestions.items())
            if owner == account_id and not items.isdisjoint((*said.ours, *said.theirs))
        ]
        return tuple(each for each in left if each is not None)[:SUGGESTIONS_MAX]

    def _need(self, break_id: int) -> BreakFile:
        kept_break(self._records, break_id)
        return file_of(self._records, break_id)

    # --- one person -----------------------------------------------------------------------------

    async def assign(self, spec: BreakStepSpec) -> BreakFile:
        """Make an open break somebody's work; see the port."""
        before = self._need(spec.break_id)
        check_event(before.work.status, BreakEventKind.ASSIGNED)
        is_due_then = spec.due_at in (None, before.work.due_at)
        if (before.work.owner == spec.owner and is_due_then) or spec.is_dry_run:
            return before
        kept = kept_break(self._records, spec.break_id)
        kept.add(
            BreakEventKind.ASSIGNED,
            self._records.clock.now(),
            spec.text,
            who=spec.who,
            owner=spec.owner,
            due_at=spec.due_at,
        )
        return self._need(spec.break_id)

    async def comment(self, spec: BreakStepSpec) -> BreakFile:
        """Add a comment; see the port."""
        before = self._need(spec.break_id)
        is_known = any(
            each.kind is BreakEventKind.COMMENTED
            and each.text == spec.text
            and is_same_person(each.who, spec.who)
            for each in before.events
        )
        if is_known or spec.is_dry_run:
            return before
        now = self._records.clock.now()
        kept = kept_break(self._records, spec.break_id)
        kept.add(BreakEventKind.COMMENTED, now, spec.text, who=spec.who)
        return self._need(spec.break_id)

    async def match(self, spec: BreakMatchSpec) -> int:
        """Match open items exactly, and close the break; see the port."""
        wanted = spec.wanted
        before = self._need(wanted.break_id)
        account_id = before.head.account_id
        for number, known in enumerate(self._kept.matches, start=1):
            is_same = {each.item.id for each in known.ours} == set(wanted.ours) and {
                each.name for each in known.theirs
            } == set(wanted.theirs)
            is_own = known.account_id == account_id and known.who == wanted.who
            if is_same and is_own and not known.reason:
                return number
        check_matching(before.work, spec.roles, wanted.who)
        items = named_items(self._records, account_id, wanted.ours, wanted.theirs)
        check_resolution(before.head, BreakResolution.MATCH, items)
        if wanted.is_dry_run:
            return 0
        said = (wanted.who, wanted.reason)
        match_id = add_match(self._books, self._kept, account_id, items, said)
        end(self._records, before, BreakEventKind.MATCHED, said, match_id)
        end_settled(self._records, match_id, said)
        return match_id

    async def unmatch(self, spec: UnmatchSpec) -> list[int]:
        """Take a live match back; see the port."""
        if not 0 < spec.match_id <= len(self._kept.matches):
            raise NotFound(f"there is no match {spec.match_id}")
        known = self._kept.matches[spec.match_id - 1]
        if known.reason:
            if is_same_person(known.taken_back_by, spec.who) and known.reason == spec.reason:
                return []
            what = f"match {spec.match_id} is taken back already, by {known.taken_back_by}"
            raise WrongState(what, why="a match is taken back once")
        check_has_role(spec.roles, spec.who)
        if spec.is_dry_run:
            return closed_breaks_of(self._records, spec.match_id)
        said = (spec.who, spec.reason)
        return take_back(self._records, self._books, spec.match_id, said, spec.zone)

    # --- two people -----------------------------------------------------------------------------

    async def propose(self, spec: BreakProposalSpec) -> BreakProposal:
        """Write a proposal; see the port."""
        wanted = spec.wanted
        before = self._need(wanted.break_id)
        check_proposing(before.work, spec.roles, wanted.who)
        items = named_items(self._records, before.head.account_id, wanted.ours, wanted.theirs)
        correction = check_resolution(before.head, wanted.resolution, items)
        assert correction is not None, "an exact match is not proposed"
        digest = EvidenceDigest.of(wanted.evidence_name, wanted.evidence)
        content = resolution_sha256(
            wanted.break_id, wanted.resolution, items, wanted.reason, digest, wanted.who
        )
        current = before.work.proposal_id
        if current is not None:
            alive = self._seen(current)
            if alive.content_sha256 == content and not alive.has_expired:
                return alive
        proposal = self._planned(spec, before.head, items, (content, correction.minor))
        if wanted.is_dry_run:
            return proposal
        if current is not None:
            self._decide(current, Decision.SUPERSEDED, wanted.who)
        self._kept.proposals.append((proposal, wanted.evidence))
        kept_break(self._records, wanted.break_id).add(
            BreakEventKind.PROPOSED,
            proposal.proposed_at,
            wanted.reason,
            who=wanted.who,
            proposal_id=proposal.id,
        )
        return proposal

    def _planned(
        self,
        spec: BreakProposalSpec,
        head: BreakHead,
        items: Sequence[BreakItem],
        content: tuple[bytes, int],
    ) -> BreakProposal:
        """Make a proposal; ``content`` is its fingerprint and the amount."""
        wanted, now = spec.wanted, self._records.clock.now()
        return BreakProposal(
            id=0 if wanted.is_dry_run else len(self._kept.proposals) + 1,
            break_id=wanted.break_id,
            resolution=wanted.resolution,
            account_id=head.account_id,
            currency=head.currency,
            amount_minor=content[1],
            items=tuple(sorted(items, key=lambda each: (each.side.value, each.id))),
            reason=wanted.reason,
            evidence_name=wanted.evidence_name,
            evidence_bytes=len(wanted.evidence),
            evidence_sha256=hashlib.sha256(wanted.evidence).digest(),
            proposed_by=wanted.who,
            content_sha256=content[0],
            proposed_at=now,
            expires_at=now + timedelta(seconds=spec.valid_seconds),
            seen_at=now,
        )

    async def approve(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Approve a proposal; see the port."""
        wanted = spec.wanted
        proposal = self._seen(wanted.proposal_id)
        if is_repeated(proposal, Decision.APPROVED, wanted.who, wanted.signed):
            return proposal
        before = self._need(proposal.break_id)
        ours = [each.id for each in proposal.items if each.side is BreakSide.OURS]
        theirs = [each.id for each in proposal.items if each.side is BreakSide.THEIRS]
        found = open_items(self._records, proposal.account_id, ours, theirs)
        role = check_break_approval(
            proposal,
            before.work,
            {(each.side.value, each.id) for each in found},
            spec.roles,
            who=wanted.who,
            signed=wanted.signed,
        )
        check_room(self._records, proposal)
        if wanted.is_dry_run:
            return proposal
        said = (wanted.who, proposal.reason)
        is_matched, group_id = await post(self._accounts, self._books, before.head, proposal, spec)
        match_id = None
        if is_matched:
            posted = open_items(self._records, proposal.account_id, [f"{group_id}/1/12"], [])
            items = [*found, *posted]
            match_id = add_match(self._books, self._kept, proposal.account_id, items, said)
        self._decide(
            proposal.id,
            Decision.APPROVED,
            wanted.who,
            role=role,
            match_id=match_id,
            transfer_group=group_id,
        )
        end(self._records, before, BreakEventKind.APPROVED, said, match_id, proposal.id)
        end_settled(self._records, match_id, said)
        return self._seen(proposal.id)

    async def decline(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Decline a proposal; see the port."""
        wanted = spec.wanted
        proposal = self._seen(wanted.proposal_id)
        if is_repeated(proposal, Decision.DECLINED, wanted.who):
            return proposal
        before = self._need(proposal.break_id)
        check_break_declining(proposal, before.work, spec.roles, wanted.who)
        if wanted.is_dry_run:
            return proposal
        self._decide(proposal.id, Decision.DECLINED, wanted.who)
        kept_break(self._records, proposal.break_id).add(
            BreakEventKind.DECLINED,
            self._records.clock.now(),
            who=wanted.who,
            proposal_id=proposal.id,
        )
        return self._seen(proposal.id)

    def _decide(
        self,
        proposal_id: int,
        decision: Decision,
        who: str,
        **fields: object,
    ) -> None:
        proposal, evidence = self._kept.proposals[proposal_id - 1]
        decided = {"decision": decision, "decided_by": who, "decided_at": self._records.clock.now()}
        changed = msgspec.structs.replace(proposal, **decided, **fields)
        self._kept.proposals[proposal_id - 1] = (changed, evidence)

    def _seen(self, proposal_id: int) -> BreakProposal:
        if not 0 < proposal_id <= len(self._kept.proposals):
            what = f"there is no proposal {proposal_id} about a break"
            raise NotFound(what, listed_by="breaks proposals --all")
        proposal, _ = self._kept.proposals[proposal_id - 1]
        return msgspec.structs.replace(proposal, seen_at=self._records.clock.now())

    async def proposal(self, proposal_id: int) -> BreakProposal | None:
        """Return a proposal."""
        is_there = 0 < proposal_id <= len(self._kept.proposals)
        return self._seen(proposal_id) if is_there else None

    async def proposals(self, wanted: BreakProposalFilter) -> list[BreakProposal]:
        """Return proposals, newest first."""
        found = [self._seen(number) for number in range(len(self._kept.proposals), 0, -1)]
        chosen = [
            each
            for each in found
            if wanted.break_id in (None, each.break_id)
            and (wanted.before_id is None or each.id < wanted.before_id)
            and (wanted.has_ended or self._is_waiting(each))
        ]
        return chosen[: wanted.limit]

    def _is_waiting(self, proposal: BreakProposal) -> bool:
        is_open = kept_break(self._records, proposal.break_id).is_open
        return proposal.decision is Decision.OPEN and not proposal.has_expired and is_open

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of a proposal's evidence."""
        is_there = 0 < proposal_id <= len(self._kept.proposals)
        return self._kept.proposals[proposal_id - 1][1] if is_there else None

    # --- escalation -----------------------------------------------------------------------------

    async def to_escalate(self, after_id: int, limit: int) -> list[BreakToEscalate]:
        """Return the open breaks behind an id, by id."""
        found = []
        for number, kept in enumerate(self._kept.breaks.values(), start=1):
            if kept.is_open and number > after_id:
                work = file_of(self._records, number).work
                found.append(
                    BreakToEscalate(
                        id=number,
                        kind=kept.found.kind,
                        severity=kept.found.severity,
                        level=work.level,
                        due_at=work.due_at,
                        amount_minor=kept.found.amount_minor,
                        currency=kept.found.currency,
                        business_date=kept.found.business_date,
                        opened_at=kept.opened_at,
                        seen_at=self._records.clock.now(),
                    )
                )
        return found[:limit]

    async def escalate(self, steps: Sequence[BreakEscalationStep]) -> list[int]:
        """Escalate breaks that are still at the level from which they go."""
        done = []
        for step in sorted(steps, key=lambda each: each.break_id):
            kept = kept_break(self._records, step.break_id)
            if kept.is_open and file_of(self._records, step.break_id).work.level == step.was:
                kept.add(
                    BreakEventKind.ESCALATED,
                    self._records.clock.now(),
                    owner=step.owner,
                    level=step.level,
                    due_at=step.due_at,
                )
                notice_escalation(self._records, step.break_id, kept, kept.events[-1])
                done.append(step.break_id)
        return done
