"""Decisions of two people about statements, with the configured roles, and what follows from them.

Promises: after an approval the account is reconciled anew, as after an import: the entries of what is set aside are
taken out of their matches, and the days are proved again. Must never: decide which of two statements is the right one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.proposals import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from settlement_engine.domain.statement_decisions import StatementProposal
    from settlement_engine.ports import (
        StatementChanging,
        StatementDecision,
        StatementDecisionStore,
        StatementProposalFilter,
        StatementRules,
    )

log = structlog.get_logger(__name__)


class StatementDecisions:
    """See ``ports.StatementDecider``."""

    def __init__(
        self,
        store: StatementDecisionStore,
        rules: StatementRules,
        decided: Callable[[Collection[int]], None],
    ) -> None:
        """``decided`` is called with the account about whose statements was decided."""
        self._store = store
        self._rules = rules
        self._decided = decided

    async def propose(self, wanted: StatementChanging) -> StatementProposal:
        """Propose to set statements aside, or to let them count again."""
        return await self._store.propose(wanted, self._rules)

    async def approve(self, wanted: StatementDecision) -> StatementProposal:
        """Approve a proposal; the account is reconciled anew."""
        found = await self._store.approve(wanted, self._rules)
        if found.decision is Decision.APPROVED:  # else it was a dry run
            log.warning(
                "statements_changed_by_two",
                change=found.change.value,
                statements=list(found.statement_ids),
                account_id=found.account_id,
                proposal=found.id,
                proposed_by=found.proposed_by,
                approved_by=found.decided_by,
            )
            self._decided({found.account_id})
        return found

    async def decline(self, wanted: StatementDecision) -> StatementProposal:
        """Decline a proposal."""
        return await self._store.decline(wanted, self._rules)

    async def proposal(self, proposal_id: int) -> StatementProposal | None:
        """Return a proposal."""
        return await self._store.proposal(proposal_id)

    async def proposals(self, wanted: StatementProposalFilter) -> list[StatementProposal]:
        """Return proposals, the latest first."""
        return await self._store.proposals(wanted)
