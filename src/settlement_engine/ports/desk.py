"""What people ask of the store and of the engine about what is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.dossier import Dossier
    from settlement_engine.domain.exceptions import Matter, MatterFile, MatterKind
    from settlement_engine.domain.proposals import Finding, Proposal


class DoubtLimit(msgspec.Struct, frozen=True, kw_only=True):
    """After how long a payment without an end becomes a matter for a person, for a rail.

    Both count from the commit of the line P. The rail's name is empty for all rails that have no limit of
    their own.
    """

    rail: str
    in_doubt_seconds: float
    overdue_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MatterFilter:
    """Which matters to list, newest first. Empty fields do not filter."""

    kinds: frozenset[MatterKind] = frozenset()
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
    is_dry_run: bool = False  # everything is checked, and nothing is written


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFilter:
    """Which proposals to list, newest first."""

    settlement_id: UUID | None = None
    has_ended: bool = False  # whether those are listed too that wait for nobody any more
    limit: int = 100
    before_id: int | None = None


class MatterStore(Protocol):
    """Keeps matters for people. Every call is one transaction, by the database's clock.

    Raises Unavailable, Contention.
    """

    async def open_doubts(self, limits: Sequence[DoubtLimit], count_max: int) -> int:
        """Open a matter for each payment that is past a limit, once; returns how many are new."""
        ...

    async def open_altered(
        self, settlement_id: UUID, fingerprint: str, detail: Mapping[str, str]
    ) -> bool:
        """Freeze a settlement of which something was altered, and open a matter; False if it is known.

        ``detail`` says what was altered; the same fingerprint of the same settlement is one matter.
        """
        ...

    async def open_unbookable(self, settlement_id: UUID, detail: Mapping[str, str]) -> bool:
        """Open an exception for a step that cannot be written; False while one is open already.

        Raises Broken as well.
        """
        ...

    async def open_held(self, count_max: int) -> int:
        """Open a matter for each settlement that screening has parked, once for each parking.

        What is parked no more is closed; returns how many are new.
        """
        ...

    async def close_ended(self, count_max: int) -> int:
        """Close the doubts of settlements that have ended; returns how many there were.

        Proposals that were approved have ended with them, one way or the other; what was not decided is
        superseded.
        """
        ...

    async def matters(self, wanted: MatterFilter) -> list[Matter]:
        """Return matters, newest first, with their settlements."""
        ...

    async def matter(self, matter_id: int) -> MatterFile | None:
        """Return a matter with everything that a person needs."""
        ...

    async def acknowledge(self, matter_id: int, who: str) -> Matter:
        """Note that somebody is looking; the first one is kept. Raises NotFound, WrongState."""
        ...

    async def close_matter(self, matter_id: int, who: str, reason: str) -> Matter:
        """Close a matter. Raises NotFound, WrongState, NotPermitted; the same call again changes nothing."""
        ...


class ResolutionStore(Protocol):
    """Keeps what people attest. Every call is one transaction, by the database's clock.

    Raises Unavailable, Contention.
    """

    async def propose(self, spec: ProposalSpec) -> Proposal:
        """Write a proposal down; it supersedes one that is not decided. The same one again is that one.

        A dry run returns what would be written, with the number 0 unless it is there already.

        Raises NotFound, WrongState.
        """
        ...

    async def proposal(self, proposal_id: int) -> Proposal | None:
        """Return a proposal."""
        ...

    async def proposals(self, wanted: ProposalFilter) -> list[Proposal]:
        """Return proposals, newest first: those that wait to be decided or carried out, or all."""
        ...

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of the evidence."""
        ...

    async def approve(
        self, proposal_id: int, who: str, signed: bytes, *, is_dry_run: bool = False
    ) -> Proposal:
        """Approve a proposal whose fingerprint is ``signed``; the same call again changes nothing.

        A dry run checks the same, writes nothing, and returns the proposal as it stands.
        Raises NotFound, NotPermitted, WrongState, InvalidInstruction.
        """
        ...

    async def decline(self, proposal_id: int, who: str, *, is_dry_run: bool = False) -> Proposal:
        """Decline a proposal; its own proposer may. A dry run only checks. Raises NotFound, WrongState."""
        ...

    async def take_up(self, pause_seconds: float, count_max: int) -> list[Proposal]:
        """Return approved proposals whose settlements have not ended, to be acted on.

        None of them comes again before the pause is over.
        """
        ...


class Desk(Protocol):
    """What the edge may ask of the desk: the stores of the desk, and what only the engine knows."""

    @property
    def matters(self) -> MatterStore:
        """Matters for people."""
        ...

    @property
    def resolutions(self) -> ResolutionStore:
        """What people attest."""
        ...

    @property
    def proposal_valid_seconds(self) -> float:
        """For how long a proposal may be approved."""
        ...

    def rail_class(self, rail: str) -> str:
        """Return the class of a rail; empty for one that this engine does not have."""
        ...


class Archive(Protocol):
    """Copies everything about one settlement, in one snapshot. Raises Unavailable."""

    async def dossier(self, settlement_id: UUID) -> Dossier | None:
        """Return the copy; None when there is no such settlement."""
        ...
