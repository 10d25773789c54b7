"""Work on breaks in PostgreSQL (``ports.BreakWorkStore``).

``domain/breaks`` decides who may do what, under the lock of the break's account; the constraints and triggers of the
tables enforce that two people approve. An approval is one commit: the transfer, the match of the items with it, the
decision, and the end of the break.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

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
    EvidenceDigest,
    check_resolution,
    resolution_sha256,
)
from settlement_engine.domain.identity import is_same_person
from settlement_engine.domain.proposals import Decision, is_repeated
from settlement_engine.errors import NotFound, WrongState
from settlement_engine.store import arrays, break_corrections, break_reopening
from settlement_engine.store.break_work_rows import (
    BreakEventDetail,
    append_event,
    need_file,
    no_break,
    no_proposal,
    read_file,
    read_suggestions,
    to_break_proposal,
    to_break_to_escalate,
)
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from settlement_engine.ports import (
        BreakDecisionSpec,
        BreakEscalationStep,
        BreakFile,
        BreakMatchSpec,
        BreakProposalFilter,
        BreakProposalSpec,
        BreakStepSpec,
        BreakToEscalate,
        UnmatchSpec,
    )
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

_ALL: Final = True


class PostgresBreakWork:
    """See ``ports.BreakWorkStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def file(self, break_id: int) -> BreakFile | None:
        """Return a break with its history, and what is suggested about its open items."""
        async with self._readers.line() as line, line.session() as connection:
            found = await read_file(connection, break_id)
            if found is None:
                return None
            said = await read_suggestions(connection, found)
            return msgspec.structs.replace(found, suggestions=said)

    # --- one person -----------------------------------------------------------------------------

    async def assign(self, spec: BreakStepSpec) -> BreakFile:
        """Make an open break somebody's work; see the port."""
        async with self._of_break(spec.break_id) as connection:
            before = await need_file(connection, spec.break_id)
            check_event(before.work.status, BreakEventKind.ASSIGNED)
            is_due_then = spec.due_at in (None, before.work.due_at)
            if (before.work.owner == spec.owner and is_due_then) or spec.is_dry_run:
                return before
            detail = BreakEventDetail(owner=spec.owner, due_at=spec.due_at)
            await append_event(
                connection, before, BreakEventKind.ASSIGNED, (spec.who, spec.text), detail
            )
            await connection.execute(query("assign_break"), spec.break_id, spec.owner, spec.due_at)
            return await need_file(connection, spec.break_id)

    async def comment(self, spec: BreakStepSpec) -> BreakFile:
        """Add a comment; see the port."""
        async with self._of_break(spec.break_id) as connection:
            before = await need_file(connection, spec.break_id)
            is_known = any(
                each.kind is BreakEventKind.COMMENTED
                and each.text == spec.text
                and is_same_person(each.who, spec.who)
                for each in before.events
            )
            if is_known or spec.is_dry_run:
                return before
            said = (spec.who, spec.text)
            await append_event(connection, before, BreakEventKind.COMMENTED, said)
            return await need_file(connection, spec.break_id)

    async def match(self, spec: BreakMatchSpec) -> int:
        """Match open items exactly, and close the break; see the port."""
        wanted = spec.wanted
        async with self._of_break(wanted.break_id) as connection:
            before = await need_file(connection, wanted.break_id)
            head = before.head
            known = await break_corrections.match_of_person(connection, head.account_id, wanted)
            if known is not None:
                return known
            check_matching(before.work, spec.roles, wanted.who)
            found = await break_corrections.open_items(
                connection, head.account_id, wanted.ours, wanted.theirs
            )
            check_resolution(head, BreakResolution.MATCH, [each.item for each in found])
            if wanted.is_dry_run:
                return 0
            match_id = await break_corrections.add_match(
                connection, head.account_id, found, who=wanted.who, reason=wanted.reason
            )
            detail = BreakEventDetail(match_id=match_id)
            said = (wanted.who, wanted.reason)
            await _end(connection, before, BreakEventKind.MATCHED, said, detail)
            await _end_settled(connection, match_id, said)
            return match_id

    async def unmatch(self, spec: UnmatchSpec) -> list[int]:
        """Take a live match back; see the port."""
        row = await self._readers.fetchrow("live_match", spec.match_id)
        if row is None:
            raise NotFound(f"there is no match {spec.match_id}")
        async with self._of_account(row["account_id"]) as connection:
            taken = await connection.fetchrow(query("match_taken_back"), spec.match_id)
            if taken is not None:
                if is_same_person(taken["who"], spec.who) and taken["reason"] == spec.reason:
                    return []
                what = f"match {spec.match_id} is taken back already, by {taken['who']}"
                raise WrongState(what, why="a match is taken back once")
            check_has_role(spec.roles, spec.who)
            if spec.is_dry_run:
                rows = await connection.fetch(query("closed_breaks_of_match"), spec.match_id)
                return [row["id"] for row in rows]
            said = (spec.who, spec.reason)
            return await break_reopening.take_back(
                connection, row["account_id"], spec.match_id, said, zone=spec.zone
            )

    # --- two people -----------------------------------------------------------------------------

    async def propose(self, spec: BreakProposalSpec) -> BreakProposal:
        """Write a proposal; see the port."""
        wanted = spec.wanted
        async with self._of_break(wanted.break_id) as connection:
            before = await need_file(connection, wanted.break_id)
            check_proposing(before.work, spec.roles, wanted.who)
            open_items = await break_corrections.open_items(
                connection, before.head.account_id, wanted.ours, wanted.theirs
            )
            items = [each.item for each in open_items]
            correction = check_resolution(before.head, wanted.resolution, items)
            assert correction is not None, "an exact match is not proposed"
            content = resolution_sha256(
                wanted.break_id,
                wanted.resolution,
                items,
                wanted.reason,
                EvidenceDigest.of(wanted.evidence_name, wanted.evidence),
                wanted.who,
            )
            current = before.work.proposal_id
            if current is not None:
                alive = await _proposal(connection, current)
                if alive.content_sha256 == content and not alive.has_expired:
                    return alive
            if wanted.is_dry_run:
                return await break_corrections.planned(
                    connection, before.head, spec, items, (content, correction.minor)
                )
            written = await break_corrections.write_proposal(
                connection, before.head, spec, items, (content, correction.minor)
            )
            if current is not None:
                await _decide(connection, current, Decision.SUPERSEDED, wanted.who)
            detail = BreakEventDetail(proposal_id=written)
            said = (wanted.who, wanted.reason)
            await append_event(connection, before, BreakEventKind.PROPOSED, said, detail)
            return await _proposal(connection, written)

    async def approve(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Approve a proposal; see the port."""
        wanted = spec.wanted
        async with self._of_proposal(wanted.proposal_id) as connection:
            proposal = await _proposal(connection, wanted.proposal_id)
            if is_repeated(proposal, Decision.APPROVED, wanted.who, wanted.signed):
                return proposal
            before = await need_file(connection, proposal.break_id)
            open_items = await break_corrections.open_items_of(connection, proposal)
            role = check_break_approval(
                proposal,
                before.work,
                {(each.item.side.value, each.item.id) for each in open_items},
                spec.roles,
                who=wanted.who,
                signed=wanted.signed,
            )
            await break_corrections.check_room(connection, proposal)
            if wanted.is_dry_run:
                return proposal
            match_id, group_id = await break_corrections.post(
                connection, before.head, proposal, open_items, spec
            )
            await connection.execute(
                query("decide_break_proposal"),
                proposal.id,
                Decision.APPROVED.value,
                wanted.who,
                role,
                wanted.signed,
                match_id,
                group_id,
            )
            detail = BreakEventDetail(proposal_id=proposal.id, match_id=match_id)
            said = (wanted.who, proposal.reason)
            await _end(connection, before, BreakEventKind.APPROVED, said, detail)
            await _end_settled(connection, match_id, said)
            return await _proposal(connection, proposal.id)

    async def decline(self, spec: BreakDecisionSpec) -> BreakProposal:
        """Decline a proposal; see the port."""
        wanted = spec.wanted
        async with self._of_proposal(wanted.proposal_id) as connection:
            proposal = await _proposal(connection, wanted.proposal_id)
            if is_repeated(proposal, Decision.DECLINED, wanted.who):
                return proposal
            before = await need_file(connection, proposal.break_id)
            check_break_declining(proposal, before.work, spec.roles, wanted.who)
            if wanted.is_dry_run:
                return proposal
            await _decide(connection, proposal.id, Decision.DECLINED, wanted.who)
            detail = BreakEventDetail(proposal_id=proposal.id)
            await append_event(
                connection, before, BreakEventKind.DECLINED, (wanted.who, ""), detail
            )
            return await _proposal(connection, proposal.id)

    async def proposal(self, proposal_id: int) -> BreakProposal | None:
        """Return a proposal."""
        rows = await self._readers.fetch_as_planned(
            "list_break_proposals", proposal_id, None, None, _ALL, 1
        )
        return to_break_proposal(rows[0]) if rows else None

    async def proposals(self, wanted: BreakProposalFilter) -> list[BreakProposal]:
        """Return proposals, newest first."""
        rows = await self._readers.fetch_as_planned(
            "list_break_proposals",
            None,
            wanted.break_id,
            wanted.before_id,
            wanted.has_ended,
            wanted.limit,
        )
        return [to_break_proposal(row) for row in rows]

    async def evidence(self, proposal_id: int) -> bytes | None:
        """Return the bytes of a proposal's evidence."""
        row = await self._readers.fetchrow("evidence_of_break_proposal", proposal_id)
        return bytes(row["evidence"]) if row is not None else None

    # --- escalation -----------------------------------------------------------------------------

    async def to_escalate(self, after_id: int, limit: int) -> list[BreakToEscalate]:
        """Return the open breaks behind an id, by id."""
        rows = await self._readers.fetch("breaks_to_escalate", after_id, limit)
        return [to_break_to_escalate(row) for row in rows]

    async def escalate(self, steps: Sequence[BreakEscalationStep]) -> list[int]:
        """Escalate breaks that are still at the level from which they go."""
        ordered = sorted(steps, key=lambda each: each.break_id)
        rows = await self._writing.fetch(
            "escalate_breaks",
            arrays.integers([each.break_id for each in ordered]),
            arrays.integers([each.was for each in ordered]),
            arrays.integers([each.level for each in ordered]),
            arrays.texts([each.owner for each in ordered]),
            arrays.instants([each.due_at for each in ordered]),
        )
        return [row["break_id"] for row in rows]

    # --- transactions ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _of_account(self, account_id: int) -> AsyncIterator[Connection]:
        """Begin a transaction that holds the lock of an account."""
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_reconciliation_account"), account_id)
            yield connection

    @asynccontextmanager
    async def _of_break(self, break_id: int) -> AsyncIterator[Connection]:
        """Begin one that holds the lock of a break's account. Raises NotFound."""
        row = await self._readers.fetchrow("break_head", break_id)
        if row is None:
            raise no_break(break_id)
        async with self._of_account(row["account_id"]) as connection:
            await connection.execute(query("lock_open_break"), break_id)
            yield connection

    @asynccontextmanager
    async def _of_proposal(self, proposal_id: int) -> AsyncIterator[Connection]:
        """Begin one that holds the lock of a proposal's account. Raises NotFound."""
        found = await self.proposal(proposal_id)
        if found is None:
            raise no_proposal(proposal_id)
        async with self._of_account(found.account_id) as connection:
            await connection.execute(query("lock_open_break"), found.break_id)
            yield connection


async def _proposal(connection: Connection, proposal_id: int) -> BreakProposal:
    row = await connection.fetchrow(query("list_break_proposals"), proposal_id, None, None, _ALL, 1)
    assert row is not None, "a proposal is never deleted"
    return to_break_proposal(row)


async def _decide(connection: Connection, proposal_id: int, decision: Decision, who: str) -> None:
    await connection.execute(
        query("decide_break_proposal"), proposal_id, decision.value, who, "", None, None, None
    )


async def _end(
    connection: Connection,
    before: BreakFile,
    kind: BreakEventKind,
    said: tuple[str, str],
    detail: BreakEventDetail,
) -> None:
    """Close a break."""
    await append_event(connection, before, kind, said, detail)
    await connection.execute(query("take_off_open_breaks"), before.head.id)


async def _end_settled(connection: Connection, match_id: int | None, said: tuple[str, str]) -> None:
    """Close the other breaks that a match leaves without an open item: no run has to find them."""
    if match_id is None:
        return
    for row in await connection.fetch(query("settled_breaks_of_match"), match_id):
        other = await need_file(connection, row["break_id"])
        detail = BreakEventDetail(match_id=match_id)
        await _end(connection, other, BreakEventKind.MATCHED, said, detail)
