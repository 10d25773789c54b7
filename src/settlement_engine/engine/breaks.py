"""Work on breaks: what people do, with the configured roles and limits, and the steps of the escalation table.

Promises: whatever moves money is decided by two people and posted by the store in the commit of the approval; each
step of an escalation is taken once, by whichever engine looks first, with an event in the break's history. Must
never: escalate a closed break, or take a step back.
"""

from __future__ import annotations

from asyncio import sleep
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from settlement_engine.domain.breaks.aging import (
    AgeBucket,
    bucket_of,
    business_days_between,
    due_at,
)
from settlement_engine.domain.breaks.escalation import next_step
from settlement_engine.errors import SettlementEngineError
from settlement_engine.ports import (
    BreakDecisionSpec,
    BreakEscalationStep,
    BreakMatchSpec,
    BreakProposalSpec,
    UnmatchSpec,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from settlement_engine.domain.breaks.history import BreakWork
    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.breaks.rules import BreakRules
    from settlement_engine.ports import (
        BreakDecision,
        BreakEscalations,
        BreakFile,
        BreakMatch,
        BreakProposalFilter,
        BreakProposed,
        BreakStepSpec,
        BreakToEscalate,
        BreakWorkStore,
        Clock,
        Ids,
    )

BREAKS_AT_ONCE: Final = 1_000
"""The most breaks that are looked at in one transaction."""

log = structlog.get_logger(__name__)


class BreakMeter(Protocol):
    """Counts the work of people on breaks."""

    def break_step(self, step: str) -> None:
        """Count one step of the work on a break."""
        ...


class EscalationMeter(Protocol):
    """Counts escalations, and shows the open breaks."""

    def breaks_escalated(self, level: int, count: int) -> None:
        """Count breaks that were escalated to a level."""
        ...

    def open_breaks(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Show how many breaks are open, by age bucket and currency."""
        ...


class EngineBreaks:
    """What the API uses of the work on breaks (``ports.BreakManagement``)."""

    def __init__(
        self,
        rules: BreakRules,
        store: BreakWorkStore,
        *,
        clock: Clock,
        ids: Ids,
        meter: BreakMeter,
        zone: str = "UTC",
    ) -> None:
        self._rules = rules
        self._store = store
        self._clock = clock
        self._ids = ids
        self._meter = meter
        self._zone = zone

    async def file(self, break_id: int) -> BreakFile | None:
        """Return a break with its history."""
        return await self._store.file(break_id)

    def age_business_days(self, business_date: date) -> int:
        """Return the age of a break in business days."""
        today = self._rules.calendar.local_date(self._clock.now())
        return business_days_between(self._rules.calendar, business_date, today)

    def due_at(self, work: BreakWork) -> datetime | None:
        """Return when a break is due: as it was assigned or escalated, or else after it was opened."""
        if work.is_closed or work.due_at is not None:
            return work.due_at
        return due_at(self._rules.calendar, work.opened_at, self._rules.due_business_days)

    async def assign(self, spec: BreakStepSpec) -> BreakFile:
        """Make an open break somebody's work."""
        found = await self._store.assign(spec)
        self._count("assigned", is_dry_run=spec.is_dry_run)
        return found

    async def comment(self, spec: BreakStepSpec) -> BreakFile:
        """Add a comment."""
        found = await self._store.comment(spec)
        self._count("commented", is_dry_run=spec.is_dry_run)
        return found

    async def match(self, wanted: BreakMatch) -> int:
        """Match open items of one account exactly; returns the match, or 0 for a dry run."""
        ours, theirs = await self._items(wanted)
        chosen = replace(wanted, ours=ours, theirs=theirs)
        found = await self._store.match(BreakMatchSpec(wanted=chosen, roles=self._rules.roles))
        self._count("matched", is_dry_run=wanted.is_dry_run)
        return found

    async def unmatch(self, match_id: int, who: str, reason: str, *, is_dry_run: bool) -> list[int]:
        """Take a match back; returns the breaks that are open again by it."""
        spec = UnmatchSpec(
            match_id=match_id,
            who=who,
            reason=reason,
            zone=self._zone,
            roles=self._rules.roles,
            is_dry_run=is_dry_run,
        )
        found = await self._store.unmatch(spec)
        self._count("unmatched", is_dry_run=is_dry_run)
        return found

    async def propose(self, wanted: BreakProposed) -> BreakProposal:
        """Propose how to close a break with a transfer."""
        ours, theirs = await self._items(wanted)
        spec = BreakProposalSpec(
            wanted=replace(wanted, ours=ours, theirs=theirs),
            roles=self._rules.roles,
            valid_seconds=self._rules.proposal_valid_seconds,
        )
        found = await self._store.propose(spec)
        self._count("proposed", is_dry_run=wanted.is_dry_run)
        return found

    async def approve(self, wanted: BreakDecision) -> BreakProposal:
        """Approve a proposal: its transfer is posted in the same commit."""
        found = await self._store.approve(self._decision(wanted))
        self._count("approved", is_dry_run=wanted.is_dry_run)
        if not wanted.is_dry_run:
            log.warning(
                "break_closed_by_two",
                break_id=found.break_id,
                proposal=found.id,
                resolution=found.resolution.value,
                amount_minor=found.amount_minor,
                currency=found.currency,
                proposed_by=found.proposed_by,
                approved_by=found.decided_by,
            )
        return found

    async def decline(self, wanted: BreakDecision) -> BreakProposal:
        """Decline a proposal."""
        found = await self._store.decline(self._decision(wanted))
        self._count("declined", is_dry_run=wanted.is_dry_run)
        return found

    async def proposal(self, proposal_id: int) -> BreakProposal | None:
        """Return a proposal."""
        return await self._store.proposal(proposal_id)

    async def proposals(self, wanted: BreakProposalFilter) -> list[BreakProposal]:
        """Return proposals, newest first."""
        return await self._store.proposals(wanted)

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of a proposal's evidence."""
        return await self._store.evidence(proposal_id)

    async def _items(
        self, wanted: BreakMatch | BreakProposed
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the items that are named, or those of the break."""
        if wanted.ours or wanted.theirs:
            return wanted.ours, wanted.theirs
        found = await self._store.file(wanted.break_id)
        return ((), ()) if found is None else (found.ours, found.theirs)

    def _decision(self, wanted: BreakDecision) -> BreakDecisionSpec:
        return BreakDecisionSpec(
            wanted=wanted, roles=self._rules.roles, group_id=self._ids.new(), zone=self._zone
        )

    def _count(self, step: str, *, is_dry_run: bool) -> None:
        if not is_dry_run:
            self._meter.break_step(step)


class BreakEscalator:
    """Takes the steps of the escalation table at regular intervals."""

    def __init__(self, rules: BreakRules, store: BreakEscalations, meter: EscalationMeter) -> None:
        self._rules = rules
        self._store = store
        self._meter = meter

    async def run(self) -> None:
        """Look for ever. What could not be looked at is looked at the next time."""
        while True:
            try:
                await self.look()
            except SettlementEngineError as error:
                log.warning("breaks_not_escalated", why=error.why or error.what)
            await sleep(self._rules.escalation_interval_seconds)

    async def look(self) -> int:
        """Escalate every open break that is due for it; returns how many were."""
        counts: Counter[tuple[str, str]] = Counter()
        done = after_id = 0
        while found := await self._store.to_escalate(after_id, BREAKS_AT_ONCE):
            after_id = found[-1].id
            for each in found:
                counts[self._bucket(each).label, each.currency] += 1
            done += await self._escalate([step for each in found if (step := self._step(each))])
            if len(found) < BREAKS_AT_ONCE:
                break
        self._meter.open_breaks(counts)
        return done

    async def _escalate(self, steps: list[BreakEscalationStep]) -> int:
        if not steps:
            return 0
        taken = set(await self._store.escalate(steps))
        levels = Counter(each.level for each in steps if each.break_id in taken)
        for level, count in sorted(levels.items()):
            self._meter.breaks_escalated(level, count)
            log.warning("breaks_escalated", level=level, count=count)
        return len(taken)

    def _age(self, found: BreakToEscalate) -> int:
        calendar = self._rules.calendar
        today = calendar.local_date(found.seen_at)
        return business_days_between(calendar, found.business_date, today)

    def _bucket(self, found: BreakToEscalate) -> AgeBucket:
        return bucket_of(self._age(found))

    def _step(self, found: BreakToEscalate) -> BreakEscalationStep | None:
        rule = next_step(
            self._rules.escalation,
            found.level,
            age_business_days=self._age(found),
            currency=found.currency,
            amount_minor=found.amount_minor,
        )
        if rule is None:
            return None
        due = due_at(self._rules.calendar, found.seen_at, rule.due_business_days)
        return BreakEscalationStep(
            break_id=found.id,
            was=found.level,
            level=rule.level,
            owner=rule.owner_group,
            due_at=due,
        )
