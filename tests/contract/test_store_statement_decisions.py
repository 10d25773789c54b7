"""Statements that two people set aside, on both stores: who may, what counts then, and what is proved anew."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.proposals import Decision
from settlement_engine.domain.reconciliation import SET_ASIDE, AccountOutcome
from settlement_engine.domain.statement_chain import chain_of
from settlement_engine.domain.statement_decisions import StatementChange, fingerprint_of
from settlement_engine.domain.statement_evidence import EntrySays
from settlement_engine.engine.statement_decisions import StatementDecisions
from settlement_engine.errors import InvalidInstruction, NotFound, NotPermitted, WrongState
from settlement_engine.ports import (
    StatementChanging,
    StatementDecision,
    StatementFilter,
    StatementProposalFilter,
    StatementRules,
)
from tests.contract.test_store_absent_payments import DAYS, told
from tests.contract.test_store_reconciliation import FUNDED, Books
from tests.contract.test_store_statement_evidence import opened, searched
from tests.contract.test_store_statement_evidence import told as told_of
from tests.support.bank_statements import Booked, debit, take
from tests.support.booked import booking
from tests.support.booked import take as take_in
from tests.support.waiting import until

if TYPE_CHECKING:
    from settlement_engine.domain.statement_decisions import StatementProposal
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = (ResolutionRole(name="settlement", persons=("ada", "ben", "cleo")),)
RULES = StatementRules(roles=ROLES, valid_seconds=3_600)
ASIDE, RESTORE = StatementChange.SET_ASIDE, StatementChange.RESTORE
MISTAKE = Booked(minor=-5, text="a mistake")


async def propose(
    stores: Stores,
    *numbers: int,
    change: StatementChange = ASIDE,
    who: str = "ada",
    rules: StatementRules = RULES,
    **fields: bool,
) -> StatementProposal:
    wanted = StatementChanging(
        change=change, statement_ids=numbers, reason="the bank's mistake", who=who, **fields
    )
    return await stores.statement_decisions.propose(wanted, rules)


async def approve(
    stores: Stores, proposal: StatementProposal, who: str = "ben", **fields: object
) -> StatementProposal:
    given = {"signed": proposal.content_sha256, **fields}
    wanted = StatementDecision(proposal_id=proposal.id, who=who, **given)  # type: ignore[arg-type]
    return await stores.statement_decisions.approve(wanted, RULES)


async def change(stores: Stores, *numbers: int, to: StatementChange = ASIDE) -> StatementProposal:
    return await approve(stores, await propose(stores, *numbers, change=to))


async def contested(stores: Stores) -> tuple[Books, int, int]:
    """Two versions of one day that do not say which one is later: the wrong one and the right one."""
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    right = await books.day(FUNDED, debit(paid))
    wrong = replace(right, entries=(FUNDED, debit(paid), MISTAKE))
    [one], [other] = await take(stores, wrong), await take(stores, right)
    assert (one.outcome, other.outcome) == ("IMPORTED", "REISSUED")
    return books, one.id, other.id


async def test_of_two_contested_versions_the_other_one_counts_after_two_people_decided(stores):
    books, wrong, right = await contested(stores)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.PENDING
    proposal = await propose(stores, wrong)
    assert (await books.reconcile()).outcome is AccountOutcome.PENDING  # one person changes nothing
    found = await approve(stores, proposal)
    assert (found.decision, found.decided_by, found.role) == (
        Decision.APPROVED,
        "ben",
        "settlement",
    )
    assert found.statement_ids == (wrong,)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert result.proof is not None
    assert result.proof.is_zero
    assert await books.breaks() == []
    listed = await stores.statements.statements(StatementFilter(limit=9, account_id=books.id))
    assert {each.id: each.is_set_aside for each in listed} == {wrong: True, right: False}
    read = await stores.statements.statement(wrong, entries_max=9)
    assert read is not None
    assert read.statement.is_set_aside
    assert len(read.entries) == 3  # it is kept with all its entries
    assert await stores.differences() == []


async def test_the_same_person_does_not_decide_twice(stores):
    _, wrong, _ = await contested(stores)
    proposal = await propose(stores, wrong)
    for who in ("ada", "ADA", "Ada/"):
        with pytest.raises(NotPermitted):
            await approve(stores, proposal, who)
    with pytest.raises(NotPermitted, match="no role"):
        await approve(stores, proposal, "mallory")
    with pytest.raises(NotPermitted, match="no role"):
        await propose(stores, wrong, who="mallory")
    with pytest.raises(InvalidInstruction):
        await approve(stores, proposal, signed=b"x" * 32)
    late = replace(RULES, valid_seconds=0.001)
    assert (await approve(stores, proposal)).decision is Decision.APPROVED
    other = await propose(stores, wrong, change=RESTORE, rules=late)

    async def has_expired() -> bool:
        seen = await stores.statement_decisions.proposal(other.id)
        return seen is not None and seen.has_expired

    await until(has_expired)
    with pytest.raises(WrongState, match="expired"):
        await approve(stores, other)
    assert await stores.differences() == []


async def test_what_is_matched_is_taken_back_and_counts_again_when_it_is_restored(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    [kept] = await take(stores, await books.day(FUNDED, debit(paid)))
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    before = await books.proof()
    await change(stores, kept.id)
    assert (await books.reconcile()).outcome is AccountOutcome.PENDING
    sums = await stores.reconciliation.books(books.id, None)
    assert sum(each.theirs for each in sums.days) == 0
    assert sum(each.matched_ours for each in sums.days) == 0
    assert not (await books.proof()).is_zero
    taken = [each async for each in _matches(books)]
    assert {each.taken_back for each in taken} == {SET_ASIDE}
    assert await stores.differences() == []
    await change(stores, kept.id, to=RESTORE)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await books.proof() == before
    assert await stores.differences() == []


async def _matches(books: Books):
    for number in itertools.count(1):
        found = await books.stores.reconciled.match(number)
        if found is None:
            return
        if found.account_id == books.id:
            yield found


async def test_a_wrong_statement_of_another_number_is_replaced(stores):
    books = await Books.open(stores)
    paid = await books.settled(100, 200)
    first = await books.day(FUNDED, debit(paid[0]))
    right = first.next(debit(paid[1]))
    wrong = replace(right, number=77, opening=right.opening + 9)
    await take(stores, first)
    [told_wrong] = await take(stores, wrong)
    assert told_wrong.outcome == "GAP"
    await take(stores, right)
    assert (await books.reconcile()).outcome is AccountOutcome.UNRESOLVED
    await change(stores, told_wrong.id)
    assert (await books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await books.kinds() == []
    assert await stores.differences() == []


async def test_a_statement_that_comes_after_the_decision_is_judged_without_it(stores):
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    right = await books.day(FUNDED, debit(paid))
    wrong = replace(right, entries=(FUNDED, MISTAKE))
    [kept] = await take(stores, wrong)
    await change(stores, kept.id)
    assert await stores.statements.last_days([books.id]) == {}
    [again] = await take(stores, wrong)
    assert again.outcome == "ALREADY_IMPORTED"
    assert again.reason.endswith("it is set aside")
    [other] = await take(stores, right)
    assert other.outcome == "IMPORTED"
    heads = await stores.statements.kept_heads(books.id)
    assert [each.head.is_set_aside for each in heads] == [True, False]
    chain = chain_of(each.head for each in heads)
    assert chain.is_whole()
    assert chain.set_aside == (heads[0].head.content_hash,)


async def test_the_latest_decision_counts(stores):
    _, wrong, right = await contested(stores)
    await change(stores, wrong)
    await change(stores, wrong, to=RESTORE)
    await change(stores, wrong, right)
    await change(stores, right, to=RESTORE)
    listed = await stores.statements.statements(StatementFilter(limit=9, has_problem=True))
    assert wrong not in {each.id for each in listed}
    for number, is_set_aside in ((wrong, True), (right, False)):
        read = await stores.statements.statement(number)
        assert read is not None
        assert read.statement.is_set_aside is is_set_aside
    with pytest.raises(WrongState, match="set aside already"):
        await propose(stores, wrong)
    with pytest.raises(WrongState, match="not set aside"):
        await propose(stores, right, change=RESTORE)
    wanted = StatementProposalFilter(limit=9, statement_id=right, has_ended=True)
    history = await stores.statement_decisions.proposals(wanted)
    assert [each.change for each in history] == [RESTORE, ASIDE]
    assert all(fingerprint_of(each) == each.content_sha256 for each in history)
    assert await stores.differences() == []


async def test_the_same_call_again_changes_nothing(stores):
    _, wrong, right = await contested(stores)
    dry = await propose(stores, wrong, is_dry_run=True)
    assert dry.id == 0
    first = await propose(stores, wrong)
    assert (await propose(stores, wrong)).id == first.id
    with pytest.raises(WrongState, match=f"proposal {first.id}"):
        await propose(stores, wrong, right)
    with pytest.raises(WrongState, match=f"proposal {first.id}"):
        await propose(stores, wrong, who="cleo")
    assert (await approve(stores, first, is_dry_run=True)).decision is Decision.OPEN
    approved = await approve(stores, first)
    again = await approve(stores, first)
    assert (again.decision, again.decided_at) == (approved.decision, approved.decided_at)
    with pytest.raises(WrongState, match="was approved by ben"):
        await approve(stores, first, "cleo")
    other = await propose(stores, wrong, change=RESTORE)
    no = StatementDecision(proposal_id=other.id, who="ada")
    assert (await stores.statement_decisions.decline(no, RULES)).decision is Decision.DECLINED
    assert (await stores.statement_decisions.decline(no, RULES)).decision is Decision.DECLINED
    with pytest.raises(WrongState, match="was declined by ada"):
        await approve(stores, other)


async def test_what_is_not_kept_or_of_two_accounts_is_not_decided_on(stores):
    books, wrong, _ = await contested(stores)
    _, other, _ = await contested(stores)
    with pytest.raises(NotFound):
        await propose(stores, 10**9)
    with pytest.raises(InvalidInstruction, match="one account"):
        await propose(stores, wrong, other)
    foreign = replace(
        await books.day(), account=replace(await books.scene.source(), account_number="NOBODYS")
    )
    [unknown] = await take(stores, foreign)
    with pytest.raises(WrongState, match="not kept"):
        await propose(stores, unknown.id)
    proposal = await propose(stores, wrong)
    with pytest.raises(NotFound):
        await approve(stores, msgspec.structs.replace(proposal, id=10**9))


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_files_decisions_and_runs_ends_in_the_same_books(stores, seed):
    """Of each day the bank has sent a wrong version, too; some decisions are undone and taken again."""
    chance = random.Random(seed)
    books = await Books.open(stores)
    paid = await books.settled(100, 200, 300)
    right = [await books.day(FUNDED, debit(paid[0]))]
    right += [right[0].next(debit(paid[1]))]
    right += [right[1].next(debit(paid[2]))]
    wrong = [replace(each, entries=(*each.entries, MISTAKE)) for each in right]
    files = [(each, each in wrong) for each in (*right, *wrong)]
    chance.shuffle(files)
    for each, is_wrong in files:
        [kept] = await take(stores, each)
        if chance.random() < 0.5:
            await books.reconcile()
        if not is_wrong:
            continue
        await change(stores, kept.id)
        if chance.random() < 0.5:
            await change(stores, kept.id, to=RESTORE)
            if chance.random() < 0.5:
                await books.reconcile()
            await change(stores, kept.id)
    result = await books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert result.proof is not None
    assert (result.proof.is_zero, result.proof.unmatched_ours) == (True, 0)
    assert await books.breaks() == []
    sums = await stores.reconciliation.books(books.id, None)
    assert sum(each.theirs for each in sums.days) == sum(each.matched_theirs for each in sums.days)
    assert sum(each.theirs for each in sums.days) == 4
    assert await stores.differences() == []


async def test_an_approval_is_one_that_no_run_has_looked_at(stores):
    books = await Books.open(stores)
    [kept] = await take(stores, await books.day(FUNDED))
    await books.reconcile()
    assert books.id not in await stores.reconciliation.accounts_with_unseen_statements(1_000)
    proposal = await propose(stores, kept.id)
    assert books.id not in await stores.reconciliation.accounts_with_unseen_statements(1_000)
    await approve(stores, proposal)
    assert books.id in await stores.reconciliation.accounts_with_unseen_statements(1_000)
    await books.reconcile()
    assert books.id not in await stores.reconciliation.accounts_with_unseen_statements(1_000)


async def test_the_engine_tells_whose_statements_were_decided_on(stores):
    books, wrong, _ = await contested(stores)
    decided: list[int] = []
    engine = StatementDecisions(stores.statement_decisions, RULES, decided.extend)
    wanted = StatementChanging(change=ASIDE, statement_ids=(wrong,), reason="no", who="ada")
    proposal = await engine.propose(wanted)
    yes = StatementDecision(proposal_id=proposal.id, who="ben", signed=proposal.content_sha256)
    await engine.approve(replace(yes, is_dry_run=True))
    assert decided == []
    await engine.approve(yes)
    assert decided == [books.id]
    assert (await engine.proposal(proposal.id)) is not None
    waiting = await engine.proposals(StatementProposalFilter(limit=100))
    assert proposal.id not in {each.id for each in waiting}


# --- what the settlement did ----------------------------------------------------------------------


async def test_a_payment_that_only_a_set_aside_statement_has_is_told_absent(stores):
    """The settlement stays completed; people look at what the statements lack."""
    books = await Books.open(stores)
    [paid] = await books.settled(100)
    wrong = await books.day(FUNDED, debit(paid))
    [kept] = await take(stores, wrong)
    while await stores.evidence.search_next(500, NO_RULES) is not None:
        pass
    await books.reconcile()
    await change(stores, kept.id)
    day = replace(wrong, entries=(FUNDED,), made=23)
    for _ in range(DAYS + 1):
        await take(stores, day)
        day = day.next()
    while await stores.evidence.search_next(500, NO_RULES) is not None:
        pass
    await books.reconcile()
    assert await told(books) == [(Event.NOT_FOUND, EntrySays.ABSENT, str(paid.id))]
    assert (await books.scene.load(paid)).state is State.COMPLETED
    assert await books.kinds() == ["MISSING_THEIRS"]


async def test_a_statement_that_is_set_aside_is_not_searched_until_it_is_restored(stores):
    scene, bank = await opened(stores)
    doubted = await scene.bring(State.IN_DOUBT)
    said = bank.statement(booking(doubted))
    kept = await _taken(stores, said)
    await change(stores, kept)
    assert await stores.undecided.undecided_accounts([bank.account.id]) == set()
    assert await searched(stores) == (0, 0)
    await change(stores, kept, to=RESTORE)
    assert await stores.undecided.undecided_accounts([bank.account.id]) == {bank.account.id}
    assert await searched(stores) == (1, 1)
    assert await told_of(scene, doubted) == [(Event.SETTLED, EntrySays.DEBIT, 100)]


async def test_the_debit_in_the_statement_that_replaces_it_is_no_second_one(stores):
    scene, bank = await opened(stores)
    completed = await scene.bring(State.COMPLETED)
    wrong = await _taken(stores, bank.statement(booking(completed)))
    assert await searched(stores) == (1, 0)
    await change(stores, wrong)
    for number in range(2):  # the one that replaces it, and a second debit
        await _taken(stores, bank.statement(booking(completed)))
        assert await searched(stores) == (1, number)
    assert await told_of(scene, completed) == [(Event.SETTLED, EntrySays.FURTHER_DEBIT, 100)]
    assert await stores.differences() == []


async def _taken(stores: Stores, said: bytes) -> int:
    await take_in(stores.statements, said)
    [found] = await stores.statements.statements(StatementFilter(limit=1))
    return found.id
