"""Which statements count: what the engine asks of the store, and what the API asks of the engine.

Promises: every call of the store is one transaction, by the database's clock, under the lock of the account's
statements, that imports hold, too. Must never: let one person alone change which statements count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.breaks.authority import ResolutionRole
    from settlement_engine.domain.statement_decisions import StatementChange, StatementProposal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementRules:
    """The roles that decide on statements, and for how long a proposal may be approved."""

    roles: Sequence[ResolutionRole]
    valid_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementChanging:
    """What one person proposes about kept statements of one account."""

    change: StatementChange
    statement_ids: tuple[int, ...]
    reason: str
    who: str
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDecision:
    """The decision of a person on a proposal. ``signed`` is the fingerprint that an approval signs."""

    proposal_id: int
    who: str
    signed: bytes = b""
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementProposalFilter:
    """Which proposals to list, the latest first. Empty fields do not filter."""

    limit: int
    statement_id: int | None = None
    before_id: int | None = None
    has_ended: bool = False  # whether decided and expired ones are listed too


class StatementDecisionStore(Protocol):
    """Keeps proposals about statements, and decisions. The same call of the same person again changes nothing.

    Raises Unavailable, Contention, and NotFound for what does not exist.
    """

    async def propose(self, wanted: StatementChanging, rules: StatementRules) -> StatementProposal:
        """Write a proposal. A dry run returns the number 0. Raises InvalidInstruction, WrongState, NotPermitted."""
        ...

    async def approve(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Approve a proposal: from then on its statements are set aside, or count again.

        Raises InvalidInstruction, WrongState, NotPermitted.
        """
        ...

    async def decline(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Decline a proposal; its proposer may. Raises WrongState, NotPermitted."""
        ...

    async def proposal(self, proposal_id: int) -> StatementProposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: StatementProposalFilter) -> list[StatementProposal]:
        """Return proposals, the latest first."""
        ...


class StatementDecider(Protocol):
    """What the API may ask of the engine about statements that are set aside: the configured roles hold."""

    async def propose(self, wanted: StatementChanging) -> StatementProposal:
        """Propose to set statements aside, or to let them count again."""
        ...

    async def approve(self, wanted: StatementDecision) -> StatementProposal:
        """Approve a proposal; the account is reconciled anew."""
        ...

    async def decline(self, wanted: StatementDecision) -> StatementProposal:
        """Decline a proposal."""
        ...

    async def proposal(self, proposal_id: int) -> StatementProposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: StatementProposalFilter) -> list[StatementProposal]:
        """Return proposals, the latest first."""
        ...
