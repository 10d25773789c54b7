"""Case management: the cases that need a person, and the resolutions that two people agree on.

Promises: every call is one transaction, by the database's clock. Must never: let one person alone move money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.exceptions import CaseFile, CaseKind, ExceptionCase
    from settlement_engine.domain.proposals import Finding, Proposal
    from settlement_engine.evidence.dossier import Dossier


class DoubtLimit(msgspec.Struct, frozen=True, kw_only=True):
    """After how long a payment without a final state becomes a case for a person, for one rail.

    Both times count from the commit of the send intent. An empty rail stands for all rails that have no limit
    of their own.
    """

    rail: str
    in_doubt_seconds: float
    overdue_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFilter:
    """Which cases to list, newest first. Empty fields do not filter."""

    kinds: frozenset[CaseKind] = frozenset()
    settlement_id: UUID | None = None
    has_closed: bool = False  # whether closed ones are listed too
    limit: int = 100
    before_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalSpec:
    """What a person proposes. ``who`` is that person."""

    settlement_id: UUID
    finding: Finding
    reason: str
    evidence_name: str
    evidence: bytes
    who: str
    valid_seconds: float
    is_dry_run: bool = False  # check everything, write nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFilter:
    """Which proposals to list, newest first."""

    settlement_id: UUID | None = None
    has_ended: bool = False  # whether proposals that were decided and carried out are listed too
    limit: int = 100
    before_id: int | None = None


class CaseStore(Protocol):
    """Keeps the cases that need a person. Every call is one transaction, by the database's clock.

    Raises Unavailable, Contention.
    """

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        """Open one case for each payment that is past a limit; returns how many are new."""
        ...

    async def open_altered(
        self, settlement_id: UUID, fingerprint: str, detail: Mapping[str, str]
    ) -> bool:
        """Freeze a settlement whose record was altered, and open a case; False if there is one already.

        ``detail`` says what was altered; the same fingerprint of the same settlement is one case.
        """
        ...

    async def open_unbookable(self, settlement_id: UUID, detail: Mapping[str, str]) -> bool:
        """Open a case for a transition that cannot be written; False while one is open already.

        Raises Broken as well.
        """
        ...

    async def open_held(self, count_max: int) -> int:
        """Open a case for each settlement that screening has parked, once each time it is parked.

        Cases of settlements that are not parked any more are closed; returns how many are new.
        """
        ...

    async def close_ended(self, count_max: int) -> int:
        """Close the cases of settlements that have ended; returns how many there were.

        Their approved proposals end too, carried out or not; undecided proposals are superseded.
        """
        ...

    async def cases(self, wanted: CaseFilter) -> list[ExceptionCase]:
        """Return cases, newest first, with their settlements."""
        ...

    async def case(self, case_id: int) -> CaseFile | None:
        """Return a case with everything that a person needs to decide it."""
        ...

    async def acknowledge(self, case_id: int, who: str) -> ExceptionCase:
        """Record who works on the case; only the first person is kept. Raises NotFound, WrongState."""
        ...

    async def close_case(self, case_id: int, who: str, reason: str) -> ExceptionCase:
        """Close a case. Raises NotFound, WrongState, NotPermitted; the same call again changes nothing."""
        ...


class ResolutionStore(Protocol):
    """Keeps proposals, approvals and evidence. Every call is one transaction, by the database's clock.

    Raises Unavailable, Contention.
    """

    async def propose(self, spec: ProposalSpec) -> Proposal:
        """Write a proposal; it supersedes an undecided one. The same proposal again returns the existing one.

        A dry run returns what would be written, with the number 0 unless it exists already.

        Raises NotFound, WrongState.
        """
        ...

    async def proposal(self, proposal_id: int) -> Proposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: ProposalFilter) -> list[Proposal]:
        """Return proposals, newest first: those still to be decided or carried out, or all."""
        ...

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of the evidence; None if there is no such proposal."""
        ...

    async def approve(
        self, proposal_id: int, who: str, signed: bytes, *, is_dry_run: bool = False
    ) -> Proposal:
        """Approve a proposal whose fingerprint is ``signed``; the same call again changes nothing.

        A dry run makes the same checks, writes nothing, and returns the proposal unchanged.
        Raises NotFound, NotPermitted, WrongState, InvalidInstruction.
        """
        ...

    async def decline(self, proposal_id: int, who: str, *, is_dry_run: bool = False) -> Proposal:
        """Decline a proposal; its own proposer may. A dry run only checks. Raises NotFound, WrongState."""
        ...

    async def take_up(self, pause_seconds: float, count_max: int) -> list[Proposal]:
        """Return approved proposals whose settlements have not ended, to be carried out.

        None of them is returned again before the pause is over.
        """
        ...


class CaseManagement(Protocol):
    """What the API may ask of case management: its stores, and what only the engine knows."""

    @property
    def cases(self) -> CaseStore:
        """The store of the cases."""
        ...

    @property
    def resolutions(self) -> ResolutionStore:
        """The store of the proposals."""
        ...

    @property
    def proposal_valid_seconds(self) -> float:
        """For how many seconds a proposal may be approved."""
        ...

    def rail_class(self, rail: str) -> str:
        """Return the class of a rail; empty for one that this engine does not have."""
        ...

    def takes_enquiries(self, rail: str) -> bool:
        """Say whether a rail is asked for a payment's status; one that this engine does not have may be."""
        ...


class Archive(Protocol):
    """Copies everything about one settlement, in one snapshot. Raises Unavailable."""

    async def dossier(self, settlement_id: UUID) -> Dossier | None:
        """Return the copy; None when there is no such settlement."""
        ...
