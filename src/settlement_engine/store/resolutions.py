"""Resolutions that people propose and approve, in PostgreSQL (``ports.ResolutionStore``).

``domain/proposals.py`` decides who may do what, under a row lock; the table's constraints and triggers enforce
the same again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.proposals import (
    Decision,
    Ending,
    Finding,
    Proposal,
    basis_of,
    check_approval,
    check_attestable,
    check_person,
    check_undecided,
    content_sha256,
    is_approved_by,
    is_declined_by,
    require_room,
)
from settlement_engine.errors import NotFound
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.loading import load_one
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import ProposalFilter, ProposalSpec
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers


class PostgresResolutions:
    """See ``ports.ResolutionStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    # --- people ---------------------------------------------------------------------------------

    async def propose(self, spec: ProposalSpec) -> Proposal:
        """Store a proposal; see the port."""
        evidence = (spec.evidence_name, spec.evidence)
        content = content_sha256(spec.settlement_id, spec.finding, spec.reason, evidence, spec.who)
        async with self._writing.session() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                proposal = await _propose(connection, spec, content)
            except BaseException:
                await transaction.rollback()
                raise
            if not spec.is_dry_run:
                await transaction.commit()
                return proposal
            await transaction.rollback()
        is_there = await self.proposal(proposal.id) is not None
        return proposal if is_there else msgspec.structs.replace(proposal, id=0)

    async def proposal(self, proposal_id: int) -> Proposal | None:
        """Return a proposal."""
        row = await self._readers.fetchrow("proposal_by_id", proposal_id)
        return to_proposal(row) if row is not None else None

    async def proposals(self, wanted: ProposalFilter) -> list[Proposal]:
        """Return proposals, newest first; see the port."""
        rows = await self._readers.fetch(
            "list_proposals", wanted.settlement_id, wanted.has_ended, wanted.before_id, wanted.limit
        )
        return [to_proposal(row) for row in rows]

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of the evidence."""
        row = await self._readers.fetchrow("evidence_of_proposal", proposal_id)
        return bytes(row["evidence"]) if row is not None else None

    async def approve(
        self, proposal_id: int, who: str, signed: bytes, *, is_dry_run: bool = False
    ) -> Proposal:
        """Approve a proposal; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            before = await _proposal(connection, proposal_id)
            settlement = await _locked_settlement(connection, before.settlement_id)
            before = await _proposal(connection, proposal_id)
            if is_approved_by(before, who, signed):
                return before
            check_approval(before, settlement, who, signed)
            if is_dry_run:
                return before
            await _decide(connection, before, Decision.APPROVED, who)
            return await _proposal(connection, proposal_id)

    async def decline(self, proposal_id: int, who: str, *, is_dry_run: bool = False) -> Proposal:
        """Decline a proposal; see the port."""
        async with self._writing.session() as connection, connection.transaction():
            before = await _proposal(connection, proposal_id)
            await _locked_settlement(connection, before.settlement_id)
            before = await _proposal(connection, proposal_id)
            if is_declined_by(before, who):
                return before
            check_undecided(before)
            if is_dry_run:
                return before
            await _decide(connection, before, Decision.DECLINED, who)
            return await _proposal(connection, proposal_id)

    # --- the engine -----------------------------------------------------------------------------

    async def take_up(self, pause_seconds: float, count_max: int) -> list[Proposal]:
        """Return approved proposals that are due to be carried out; see the port."""
        rows = await self._writing.fetch("take_up_resolutions", pause_seconds, count_max)
        return sorted((to_proposal(row) for row in rows), key=lambda each: each.id)


async def _propose(connection: Connection, spec: ProposalSpec, content: bytes) -> Proposal:
    """Check a proposal and store it, in the caller's transaction."""
    settlement = await _locked_settlement(connection, spec.settlement_id)
    row = await connection.fetchrow(query("live_proposal"), spec.settlement_id)
    if row is not None:
        current = to_proposal(row)
        if require_room(current, settlement, content):
            return current
        check_attestable(settlement, spec.finding)
        check_person(settlement, spec.finding, spec.who)
        await _decide(connection, current, Decision.SUPERSEDED, spec.who)
    check_attestable(settlement, spec.finding)
    check_person(settlement, spec.finding, spec.who)
    written = await connection.fetchrow(
        query("write_proposal"),
        spec.settlement_id,
        spec.finding.value,
        spec.reason,
        spec.evidence_name,
        spec.evidence,
        content,
        spec.who,
        spec.valid_seconds,
        settlement.state.value,
        basis_of(settlement, spec.finding),
    )
    assert written is not None, "an insert returns its row"
    return await _proposal(connection, written["id"])


async def _locked_settlement(connection: Connection, settlement_id: UUID) -> Settlement:
    """Lock the settlement's row, so that concurrent decisions are serialised."""
    held = await connection.fetchrow(query("lock_settlement"), settlement_id)
    settlement = await load_one(connection, settlement_id) if held is not None else None
    if settlement is None:
        what = "there is no settlement with this id"
        raise NotFound(what, listed_by="list")
    return settlement


async def _proposal(connection: Connection, proposal_id: int) -> Proposal:
    row = await connection.fetchrow(query("proposal_by_id"), proposal_id)
    if row is None:
        what = f"there is no proposal {proposal_id}"
        raise NotFound(what, listed_by="proposals --all")
    return to_proposal(row)


async def _decide(connection: Connection, proposal: Proposal, decision: Decision, who: str) -> None:
    decided = await connection.fetchrow(
        query("decide_proposal"), proposal.id, decision.value, who, proposal.seen_at
    )
    assert decided is not None, "the settlement's row is locked, so no other decision was made"


def to_proposal(row: asyncpg.Record) -> Proposal:
    """Build a proposal from its row."""
    return Proposal(
        id=row["id"],
        settlement_id=row["settlement_id"],
        finding=Finding(row["finding"]),
        reason=row["reason"],
        evidence_name=row["evidence_name"],
        evidence_bytes=row["evidence_bytes"],
        evidence_sha256=bytes(row["evidence_sha256"]),
        content_sha256=bytes(row["content_sha256"]),
        state=State(row["state"]),
        sends=row["sends"],
        proposed_by=row["proposed_by"],
        proposed_at=row["proposed_at"],
        expires_at=row["expires_at"],
        seen_at=row["seen_at"],
        decision=Decision(row["decision"] or ""),
        decided_by=row["decided_by"] or "",
        decided_at=row["decided_at"],
        finished_at=row["finished_at"],
        ending=Ending(row["ending"] or ""),
    )
