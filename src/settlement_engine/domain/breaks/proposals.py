"""Proposals to close a break with a transfer: one person proposes, another one approves.

The checks are here, so that every store refuses alike. Promises: who approves signs the fingerprint of what was
proposed, and its items are still open then. Must never: let one person alone move money.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- msgspec resolves the field's type
from typing import TYPE_CHECKING
from uuid import UUID  # noqa: TC003 -- msgspec resolves the field's type

import msgspec

from settlement_engine.domain.breaks.authority import check_has_role, check_limit
from settlement_engine.domain.breaks.history import BreakEventKind, BreakStatus, check_event
from settlement_engine.domain.breaks.resolutions import (
    BreakItem,
    BreakResolution,
    EvidenceDigest,
    resolution_sha256,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.proposals import (
    Decision,
    check_second_person,
    check_undecided,
)
from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from settlement_engine.domain.breaks.authority import ResolutionRole
    from settlement_engine.domain.breaks.history import BreakWork


class BreakProposal(msgspec.Struct, frozen=True, kw_only=True):
    """How one person would close a break, and the decision of a second person.

    ``content_sha256`` is the fingerprint of everything above it. ``seen_at`` is the database's time of the reading.
    """

    id: int
    break_id: int
    resolution: BreakResolution
    account_id: int
    currency: str
    amount_minor: int
    """What it posts, with the sign of the bank's statement."""
    items: tuple[BreakItem, ...]
    reason: str
    evidence_name: str
    evidence_bytes: int
    evidence_sha256: bytes
    proposed_by: str
    content_sha256: bytes
    proposed_at: datetime
    expires_at: datetime
    seen_at: datetime
    decision: Decision = Decision.OPEN
    decided_by: str = ""
    decided_at: datetime | None = None
    role: str = ""
    """The role by which it was approved."""
    match_id: int | None = None
    transfer_group: UUID | None = None
    """The transfer that its approval posted."""

    @property
    def has_expired(self) -> bool:
        """Say whether the time in which it may be approved is over."""
        return self.seen_at >= self.expires_at


def fingerprint_of(proposal: BreakProposal) -> bytes:
    """Make the fingerprint of a proposal again from what it says."""
    return resolution_sha256(
        proposal.break_id,
        proposal.resolution,
        proposal.items,
        proposal.reason,
        EvidenceDigest(proposal.evidence_name, proposal.evidence_bytes, proposal.evidence_sha256),
        proposal.proposed_by,
    )


def check_proposing(work: BreakWork, roles: Sequence[ResolutionRole], who: str) -> None:
    """Refuse a proposal to a break that is closed, or by a person without a role. Raises WrongState, NotPermitted."""
    check_has_role(roles, who)
    check_event(work.status, BreakEventKind.PROPOSED)


def check_matching(work: BreakWork, roles: Sequence[ResolutionRole], who: str) -> None:
    """Refuse an exact match by a person without a role, or of a closed break. Raises WrongState, NotPermitted."""
    check_has_role(roles, who)
    check_event(work.status, BreakEventKind.MATCHED)


def check_break_approval(
    proposal: BreakProposal,
    work: BreakWork,
    open_items: Container[tuple[str, str]],
    roles: Sequence[ResolutionRole],
    *,
    who: str,
    signed: bytes,
) -> str:
    """Return the role by which a person approves a proposal; ``open_items`` are sides and ids.

    Raises NotPermitted, WrongState, InvalidInstruction.
    """
    check_second_person(proposal, who, signed)
    _check_decidable(proposal, work, BreakEventKind.APPROVED)
    if proposal.has_expired:
        what = "the proposal has expired"
        raise WrongState(what, why="its evidence may be out of date", todo="Propose it again.")
    gone = [each for each in proposal.items if (each.side.value, each.id) not in open_items]
    if gone:
        what = f"an item of the proposal is matched already: {gone[0].id}"
        raise WrongState(
            what,
            why="what is open has changed since it was proposed",
            todo="Propose it again with the items that are open.",
        )
    return check_limit(roles, who, proposal.currency, proposal.amount_minor).name


def check_break_declining(
    proposal: BreakProposal, work: BreakWork, roles: Sequence[ResolutionRole], who: str
) -> None:
    """Refuse to decline what is decided, and a person without a role; the proposer may decline."""
    if not is_same_person(proposal.proposed_by, who):
        check_has_role(roles, who)
    _check_decidable(proposal, work, BreakEventKind.DECLINED)


def _check_decidable(proposal: BreakProposal, work: BreakWork, kind: BreakEventKind) -> None:
    check_undecided(proposal)
    check_event(work.status, kind)
    is_waiting = work.status is BreakStatus.PROPOSED and work.proposal_id == proposal.id
    assert is_waiting, "an undecided proposal is the one that its break waits for"
