"""Decisions of two people about statements: what the engine passes on, and whom it tells."""

from __future__ import annotations

import pytest

from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.proposals import Decision
from settlement_engine.domain.statement_decisions import StatementChange
from settlement_engine.engine.statement_decisions import StatementDecisions
from settlement_engine.errors import NotPermitted
from settlement_engine.ports import (
    StatementChanging,
    StatementDecision,
    StatementProposalFilter,
    StatementRules,
)
from tests.contract.test_store_statements import take
from tests.support.histories import spec
from tests.support.statement_files import chain, file_of
from tests.support.stores import MemoryStores

ROLE = ResolutionRole(name="settlement", persons=("ada", "ben"))


@pytest.fixture
async def kept() -> tuple[StatementDecisions, StatementChanging, list[int]]:
    """An engine that notes whose statements were decided on, and what is proposed about one of them."""
    stores = MemoryStores()
    number = "0001234567"
    wanted = spec(AccountKind.NOSTRO, "HOUSDEFF", account_number=number)
    await stores.accounts.open_account(wanted)
    [found] = await take(stores, file_of(*chain(number, 1)))
    decided: list[int] = []
    rules = StatementRules(roles=(ROLE,), valid_seconds=60.0)
    engine = StatementDecisions(stores.statement_decisions, rules, decided.extend)
    change = StatementChanging(
        change=StatementChange.SET_ASIDE,
        statement_ids=(found.id,),
        reason="the bank's mistake",
        who="ada",
    )
    return engine, change, decided


async def test_only_an_approval_has_the_account_reconciled(kept):
    engine, change, decided = kept
    proposal = await engine.propose(change)
    waiting = await engine.proposals(StatementProposalFilter(limit=9))
    assert [each.id for each in waiting] == [proposal.id]
    signed = proposal.content_sha256
    dry = StatementDecision(proposal_id=proposal.id, who="ben", signed=signed, is_dry_run=True)
    assert (await engine.approve(dry)).decision is Decision.OPEN
    assert decided == []
    wanted = StatementDecision(proposal_id=proposal.id, who="ben", signed=signed)
    found = await engine.approve(wanted)
    assert decided == [found.account_id]
    read = await engine.proposal(proposal.id)
    assert read is not None
    assert read.decision is Decision.APPROVED


async def test_the_configured_roles_hold(kept):
    engine, change, decided = kept
    proposal = await engine.propose(change)
    for who in ("ada", "mallory"):
        wanted = StatementDecision(proposal_id=proposal.id, who=who, signed=proposal.content_sha256)
        with pytest.raises(NotPermitted):
            await engine.approve(wanted)
    declined = await engine.decline(StatementDecision(proposal_id=proposal.id, who="ada"))
    assert declined.decision is Decision.DECLINED
    assert decided == []
