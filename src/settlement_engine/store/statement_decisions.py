"""Decisions of two people about statements in PostgreSQL (``ports.StatementDecisionStore``).

``domain/statement_decisions.py`` decides who may do what, under the lock of the account's statements, so that an
import never judges by a state that is being changed. The constraints and triggers of the tables enforce that two people
decide, and carry an approval out.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

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
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import asyncpg

    from settlement_engine.ports import (
        StatementChanging,
        StatementDecision,
        StatementProposalFilter,
        StatementRules,
    )
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

_ALL: Final = True


class PostgresStatementDecisions:
    """See ``ports.StatementDecisionStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def propose(self, wanted: StatementChanging, rules: StatementRules) -> StatementProposal:
        """Write a proposal; see the port."""
        check_has_role(rules.roles, wanted.who)
        ids = sorted(wanted.statement_ids)
        rows = await self._readers.fetch("chosen_statements", ids)
        account_id = account_of(ids, _chosen(rows))
        content = proposal_sha256(wanted.change, ids, wanted.reason, wanted.who)
        async with self._of_account(account_id) as connection:
            rows = await connection.fetch(query("waiting_about_statements"), ids)
            waiting = [to_statement_proposal(row) for row in rows]
            known = waiting_instead(content, ids, waiting)
            if known is not None:
                return known
            found = _chosen(await connection.fetch(query("chosen_statements"), ids))
            check_changing(wanted.change, found)
            if wanted.is_dry_run:
                return await _planned(connection, wanted, rules, (account_id, content))
            written = await connection.fetchval(
                query("write_statement_proposal"),
                account_id,
                wanted.change.value,
                wanted.reason,
                wanted.who,
                content,
                rules.valid_seconds,
            )
            await connection.execute(query("write_proposal_statements"), written, ids)
            return await _proposal(connection, written)

    async def approve(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Approve a proposal; see the port."""
        async with self._of_proposal(wanted.proposal_id) as (connection, proposal):
            if is_repeated(proposal, Decision.APPROVED, wanted.who, wanted.signed):
                return proposal
            ids = list(proposal.statement_ids)
            found = _chosen(await connection.fetch(query("chosen_statements"), ids))
            role = check_approval(
                proposal, found, rules.roles, who=wanted.who, signed=wanted.signed
            )
            if wanted.is_dry_run:
                return proposal
            said = (Decision.APPROVED.value, wanted.who, role, wanted.signed)
            await connection.execute(query("decide_statement_proposal"), proposal.id, *said)
            return await _proposal(connection, proposal.id)

    async def decline(self, wanted: StatementDecision, rules: StatementRules) -> StatementProposal:
        """Decline a proposal; see the port."""
        async with self._of_proposal(wanted.proposal_id) as (connection, proposal):
            if is_repeated(proposal, Decision.DECLINED, wanted.who):
                return proposal
            check_declining(proposal, rules.roles, wanted.who)
            if wanted.is_dry_run:
                return proposal
            said = (Decision.DECLINED.value, wanted.who, "", None)
            await connection.execute(query("decide_statement_proposal"), proposal.id, *said)
            return await _proposal(connection, proposal.id)

    async def proposal(self, proposal_id: int) -> StatementProposal | None:
        """Return a proposal."""
        rows = await self._readers.fetch_as_planned(
            "list_statement_proposals", proposal_id, None, None, _ALL, 1
        )
        return to_statement_proposal(rows[0]) if rows else None

    async def proposals(self, wanted: StatementProposalFilter) -> list[StatementProposal]:
        """Return proposals, the latest first."""
        rows = await self._readers.fetch_as_planned(
            "list_statement_proposals",
            None,
            wanted.statement_id,
            wanted.before_id,
            wanted.has_ended,
            wanted.limit,
        )
        return [to_statement_proposal(row) for row in rows]

    @asynccontextmanager
    async def _of_account(self, account_id: int) -> AsyncIterator[Connection]:
        """Begin a transaction that holds the lock of an account's statements."""
        async with self._writing.session() as connection, connection.transaction():
            await connection.execute(query("lock_statements"), account_id)
            yield connection

    @asynccontextmanager
    async def _of_proposal(
        self, proposal_id: int
    ) -> AsyncIterator[tuple[Connection, StatementProposal]]:
        """Begin one for a proposal's account, and read the proposal in it. Raises NotFound."""
        known = await self.proposal(proposal_id)
        if known is None:
            raise no_proposal(proposal_id)
        async with self._of_account(known.account_id) as connection:
            yield connection, await _proposal(connection, proposal_id)


def _chosen(rows: Sequence[asyncpg.Record]) -> Mapping[int, ChosenStatement]:
    return {
        row["id"]: ChosenStatement(
            id=row["id"],
            account_id=row["account_id"],
            is_kept=row["is_kept"],
            is_set_aside=row["is_set_aside"],
        )
        for row in rows
    }


async def _proposal(connection: Connection, proposal_id: int) -> StatementProposal:
    one = (proposal_id, None, None, _ALL, 1)
    row = await connection.fetchrow(query("list_statement_proposals"), *one)
    assert row is not None, "a proposal is never deleted"
    return to_statement_proposal(row)


async def _planned(
    connection: Connection,
    wanted: StatementChanging,
    rules: StatementRules,
    known: tuple[int, bytes],
) -> StatementProposal:
    """Make the proposal that would be written; ``known`` is its account, and its fingerprint."""
    row = await connection.fetchrow(query("planned_statement_proposal"), rules.valid_seconds)
    assert row is not None, "the time is a row"
    return StatementProposal(
        id=0,
        account_id=known[0],
        change=wanted.change,
        statement_ids=tuple(sorted(wanted.statement_ids)),
        reason=wanted.reason,
        proposed_by=wanted.who,
        content_sha256=known[1],
        proposed_at=row["now"],
        expires_at=row["expires_at"],
        seen_at=row["now"],
    )


def to_statement_proposal(row: asyncpg.Record) -> StatementProposal:
    """Build a proposal from its row."""
    return StatementProposal(
        id=row["id"],
        account_id=row["account_id"],
        change=StatementChange(row["change"]),
        statement_ids=tuple(row["statement_ids"] or ()),
        reason=row["reason"],
        proposed_by=row["proposed_by"],
        content_sha256=bytes(row["content_sha256"]),
        proposed_at=row["proposed_at"],
        expires_at=row["expires_at"],
        seen_at=row["seen_at"],
        decision=Decision(row["decision"] or ""),
        decided_by=row["decided_by"] or "",
        decided_at=row["decided_at"],
        role=row["role"] or "",
    )
