"""Work on breaks: what the engine asks of the store, and what the API asks of the engine.

Promises: every call of the store is one transaction, by the database's clock, under the lock of the break's account.
Must never: let one person alone move money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from settlement_engine.domain.breaks.history import BreakEvent, BreakWork  # noqa: TC001 -- fields
from settlement_engine.domain.breaks.resolutions import BreakHead  # noqa: TC001 -- a field
from settlement_engine.domain.breaks.suggestions import BreakSuggestion  # noqa: TC001 -- a field

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.breaks.authority import ResolutionRole
    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.breaks.resolutions import BreakResolution


class BreakFile(msgspec.Struct, frozen=True, kw_only=True):
    """A break with its history, the state that follows from it, and the names of its items."""

    head: BreakHead
    work: BreakWork
    events: tuple[BreakEvent, ...]
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    suggestions: tuple[BreakSuggestion, ...] = ()
    """Only where the break is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakStepSpec:
    """What a person does to a break that closes nothing: a comment, or an assignment to an owner."""

    break_id: int
    who: str
    text: str
    owner: str = ""
    due_at: datetime | None = None
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakMatch:
    """Open items that one person matches: their sums are equal. ``ours`` and ``theirs`` are names of items.

    Without any, those of the break are meant.
    """

    break_id: int
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    who: str
    reason: str
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakProposed:
    """What one person proposes to close a break with. Without items, those of the break are meant."""

    break_id: int
    resolution: BreakResolution
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    who: str
    reason: str
    evidence_name: str = ""
    evidence: bytes = b""
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakDecision:
    """The decision of a person on a proposal. ``signed`` is the fingerprint that an approval signs."""

    proposal_id: int
    who: str
    signed: bytes = b""
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakMatchSpec:
    """A match, and the roles that hold."""

    wanted: BreakMatch
    roles: Sequence[ResolutionRole]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmatchSpec:
    """A match that one person takes back. What is reversed is booked on the day of ``zone``."""

    match_id: int
    who: str
    reason: str
    zone: str = "UTC"
    roles: Sequence[ResolutionRole]
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakProposalSpec:
    """A proposal, the roles that hold, and for how long it may be approved."""

    wanted: BreakProposed
    roles: Sequence[ResolutionRole]
    valid_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakDecisionSpec:
    """A decision, and the roles that hold.

    ``group_id`` is the id of the transfer that an approval posts; ``zone`` is that of the account's booking days.
    """

    wanted: BreakDecision
    roles: Sequence[ResolutionRole]
    group_id: UUID
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakProposalFilter:
    """Which proposals to list, newest first. Empty fields do not filter."""

    limit: int
    break_id: int | None = None
    before_id: int | None = None
    has_ended: bool = False  # whether decided and expired ones are listed too


class BreakToEscalate(msgspec.Struct, frozen=True, kw_only=True):
    """An open break, with what its escalation depends on. ``seen_at`` is the database's time."""

    id: int
    kind: str
    severity: int
    level: int
    due_at: datetime | None
    amount_minor: int
    currency: str
    business_date: date
    opened_at: datetime
    seen_at: datetime


class BreakEscalationStep(msgspec.Struct, frozen=True, kw_only=True):
    """A break that goes from one level to a higher one."""

    break_id: int
    was: int
    level: int
    owner: str
    due_at: datetime


class BreakEscalations(Protocol):
    """The open breaks as their escalation sees them. Raises Unavailable, Contention."""

    async def to_escalate(self, after_id: int, limit: int) -> list[BreakToEscalate]:
        """Return the open breaks behind an id, by id."""
        ...

    async def escalate(self, steps: Sequence[BreakEscalationStep]) -> list[int]:
        """Escalate breaks that are still at the level from which they go; returns which ones were."""
        ...


class BreakWorkStore(BreakEscalations, Protocol):
    """Keeps the work on breaks. The same call of the same person again changes nothing.

    Raises Unavailable, Contention, and NotFound for what does not exist.
    """

    async def file(self, break_id: int) -> BreakFile | None:
        """Return a break with its history."""
        ...

    async def assign(self, spec: BreakStepSpec) -> BreakFile:
        """Make an open break somebody's work. Raises WrongState."""
        ...

    async def comment(self, spec: BreakStepSpec) -> BreakFile:
        """Add a comment, to a closed break as well."""
        ...

    async def match(self, spec: BreakMatchSpec) -> int:
        """Match open items of one account exactly, and close the break; returns the match.

        A dry run returns 0. Raises InvalidInstruction, WrongState, NotPermitted.
        """
        ...

    async def unmatch(self, spec: UnmatchSpec) -> list[int]:
        """Take a live match back, and open again the breaks that it had closed. Raises WrongState, NotPermitted."""
        ...

    async def propose(self, spec: BreakProposalSpec) -> BreakProposal:
        """Write a proposal; it supersedes an undecided one of the break. A dry run returns the number 0.

        Raises InvalidInstruction, WrongState, NotPermitted.
        """
        ...

    async def approve(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Approve a proposal: its transfer, the match and the end of the break are one commit.

        Raises InvalidInstruction, WrongState, NotPermitted.
        """
        ...

    async def decline(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Decline a proposal; its proposer may. Raises WrongState, NotPermitted."""
        ...

    async def proposal(self, proposal_id: int) -> BreakProposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: BreakProposalFilter) -> list[BreakProposal]:
        """Return proposals, newest first."""
        ...

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of a proposal's evidence; None if there is no such proposal."""
        ...


class BreakManagement(Protocol):
    """What the API may ask of the engine about breaks: the configured roles and limits hold."""

    async def file(self, break_id: int) -> BreakFile | None:
        """Return a break with its history."""
        ...

    def age_business_days(self, business_date: date) -> int:
        """Return the age of a break in business days."""
        ...

    def due_at(self, work: BreakWork) -> datetime | None:
        """Return when a break is due; None for a closed one."""
        ...

    async def assign(self, spec: BreakStepSpec) -> BreakFile:
        """Make an open break somebody's work."""
        ...

    async def comment(self, spec: BreakStepSpec) -> BreakFile:
        """Add a comment."""
        ...

    async def match(self, wanted: BreakMatch) -> int:
        """Match open items of one account exactly; returns the match, or 0 for a dry run."""
        ...

    async def unmatch(self, match_id: int, who: str, reason: str, *, is_dry_run: bool) -> list[int]:
        """Take a match back; returns the breaks that are open again by it."""
        ...

    async def propose(self, wanted: BreakProposed) -> BreakProposal:
        """Propose how to close a break with a transfer."""
        ...

    async def approve(self, wanted: BreakDecision) -> BreakProposal:
        """Approve a proposal."""
        ...

    async def decline(self, wanted: BreakDecision) -> BreakProposal:
        """Decline a proposal."""
        ...

    async def proposal(self, proposal_id: int) -> BreakProposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: BreakProposalFilter) -> list[BreakProposal]:
        """Return proposals, newest first."""
        ...

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of a proposal's evidence."""
        ...
