"""Work on breaks on both stores: one person's steps, two people's transfers, late items, escalation."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from settlement_engine.domain.breaks.aging import AgeBucket
from settlement_engine.domain.breaks.authority import ResolutionRole
from settlement_engine.domain.breaks.escalation import EscalationRule
from settlement_engine.domain.breaks.history import BreakEventKind, BreakStatus
from settlement_engine.domain.breaks.proposals import fingerprint_of
from settlement_engine.domain.breaks.resolutions import BreakResolution
from settlement_engine.domain.breaks.rules import BreakRules
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.proposals import Decision
from settlement_engine.domain.reconciliation import AccountOutcome
from settlement_engine.engine.breaks import BreakEscalator
from settlement_engine.errors import InvalidInstruction, NotFound, NotPermitted, WrongState
from settlement_engine.ports import (
    AccountFilter,
    BreakDecision,
    BreakDecisionSpec,
    BreakMatch,
    BreakMatchSpec,
    BreakProposalFilter,
    BreakProposalSpec,
    BreakProposed,
    BreakStepSpec,
    TransferFilter,
    UnmatchSpec,
)
from tests.contract.test_store_reconciliation import FUNDED, PAID_IN, Books
from tests.support.bank_statements import Booked, debit, take

if TYPE_CHECKING:
    from settlement_engine.domain.breaks.proposals import BreakProposal
    from tests.support.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROLES = (
    ResolutionRole(name="settlement", persons=("ada", "ben"), limits_minor={"EUR": 10_000}),
    ResolutionRole(name="lead", persons=("cleo",), limits_minor={"EUR": 10**12}),
)
BANKS_OWN = Booked(minor=-66, text="nobody ordered it")


class Work:
    """The work of people on the breaks of one account."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.store = books.stores.break_work

    @classmethod
    async def open(cls, stores: Stores) -> Work:
        return cls(await Books.open(stores))

    async def only(self, kind: str = "") -> int:
        [found] = [each for each in await self.books.breaks() if kind in ("", each.kind)]
        return found.id

    async def file(self, break_id: int):
        found = await self.store.file(break_id)
        assert found is not None
        return found

    async def propose(self, break_id: int, resolution: BreakResolution, **fields) -> BreakProposal:
        file = await self.file(break_id)
        wanted = {"ours": file.ours, "theirs": file.theirs, "who": "ada", "reason": "agreed"}
        spec = BreakProposed(break_id=break_id, resolution=resolution, **{**wanted, **fields})
        return await self.store.propose(
            BreakProposalSpec(wanted=spec, roles=ROLES, valid_seconds=3_600)
        )

    async def approve(self, proposal: BreakProposal, who: str = "ben", **fields) -> BreakProposal:
        wanted = {"signed": proposal.content_sha256, **fields}
        spec = BreakDecision(proposal_id=proposal.id, who=who, **wanted)
        return await self.store.approve(
            BreakDecisionSpec(wanted=spec, roles=ROLES, group_id=uuid.uuid4())
        )

    async def decline(self, proposal_id: int, who: str) -> BreakProposal:
        spec = BreakDecision(proposal_id=proposal_id, who=who)
        return await self.store.decline(
            BreakDecisionSpec(wanted=spec, roles=ROLES, group_id=uuid.uuid4())
        )

    async def match(self, break_id: int, ours, theirs, who="ada", **fields) -> int:
        wanted = BreakMatch(
            break_id=break_id,
            ours=tuple(ours),
            theirs=tuple(theirs),
            who=who,
            reason="they belong together",
            **fields,
        )
        return await self.store.match(BreakMatchSpec(wanted=wanted, roles=ROLES))

    async def unmatch(self, match_id: int, who="ben", **fields) -> list[int]:
        spec = UnmatchSpec(match_id=match_id, who=who, reason="a mistake", roles=ROLES, **fields)
        return await self.store.unmatch(spec)

    async def kinds(self, break_id: int) -> list[str]:
        return [each.kind.value for each in (await self.file(break_id)).events]

    async def balance(self, kind: AccountKind, number: str) -> int:
        bank = self.books.scene.source_bank
        wanted = AccountFilter(kind=kind, bank=bank, account_number=number, limit=1)
        [found] = await self.books.stores.accounts.accounts(wanted)
        return found.posted

    async def ours_at_bank(self) -> int:
        account = await self.books.stores.accounts.account(self.books.id)
        assert account is not None
        return account.posted


# --- one person -------------------------------------------------------------------------------------


async def test_a_break_is_assigned_and_commented_and_repetitions_change_nothing(stores):
    work = await Work.open(stores)
    await take(stores, await work.books.day(FUNDED, BANKS_OWN))
    await work.books.reconcile()
    number = await work.only("UNKNOWN_DEBIT")
    due = datetime(2030, 1, 2, 17, tzinfo=UTC)
    step = BreakStepSpec(break_id=number, who="ada", text="", owner="ben", due_at=due)
    await work.store.assign(replace(step, is_dry_run=True))
    assert await work.kinds(number) == ["opened"]
    for _ in range(2):
        file = await work.store.assign(step)
        assert (file.work.owner, file.work.due_at, file.work.version) == ("ben", due, 2)
    said = BreakStepSpec(break_id=number, who="ben", text='I called the bank: it\'s "theirs"')
    await work.store.comment(said)
    file = await work.store.comment(said)
    assert file.events[-1].text == said.text
    assert file.work.comments == 1
    await work.store.comment(replace(said, who="ada"))
    assert await work.kinds(number) == ["opened", "assigned", "commented", "commented"]
    assert await work.file(number) == await work.store.file(number)
    for call in (work.store.assign, work.store.comment):
        with pytest.raises(NotFound):
            await call(replace(step, break_id=10**9))
    assert await work.store.file(10**9) is None


async def test_one_person_matches_exactly_and_another_takes_it_back(stores):
    work = await Work.open(stores)
    [paid] = await work.books.settled(100)
    entry = Booked(minor=-100, text="without any reference")
    await take(stores, await work.books.day(FUNDED, entry))
    await work.books.reconcile()
    missing, unknown = await work.only("MISSING_THEIRS"), await work.only("UNKNOWN_DEBIT")
    ours, theirs = [f"{paid.id}/1/1"], (await work.file(unknown)).theirs
    with pytest.raises(InvalidInstruction):
        await work.match(missing, ours, [])
    with pytest.raises(NotPermitted):
        await work.match(missing, ours, theirs, who="eve")
    with pytest.raises(NotFound):
        await work.match(missing, ours, ["1000000/1"])
    assert await work.match(missing, ours, theirs, is_dry_run=True) == 0
    made = await work.match(missing, ours, theirs)
    assert await work.match(missing, ours, theirs) == made
    assert (await work.file(missing)).work.match_id == made
    with pytest.raises(WrongState):
        await work.match(missing, ours, theirs, who="ben")
    result = await work.books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED
    assert await work.books.breaks() == []
    recorded = await stores.reconciled.match(made)
    assert recorded is not None
    assert (recorded.matched_by, recorded.is_automatic) == ("person", False)
    assert (recorded.ours, recorded.theirs) == (tuple(ours), theirs)
    assert await work.unmatch(made, is_dry_run=True) == sorted([missing, unknown])
    assert await work.unmatch(made) == sorted([missing, unknown])
    assert await work.unmatch(made) == []
    with pytest.raises(WrongState):
        await work.unmatch(made, who="ada")
    assert await work.kinds(missing) == ["opened", "matched", "reopened"]
    again = await work.books.reconcile()
    assert again.proof is not None
    assert again.proof.is_zero
    assert await work.books.kinds() == ["MISSING_THEIRS", "UNKNOWN_DEBIT"]


async def test_no_run_makes_a_match_again_that_a_person_has_taken_back(stores):
    work = await Work.open(stores)
    [paid] = await work.books.settled(100)
    await take(stores, await work.books.day(FUNDED, debit(paid)))
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED
    number = 1
    while (found := await stores.reconciled.match(number)) is not None:
        if found.account_id == work.books.id and found.ours == (f"{paid.id}/1/1",):
            break
        number += 1
    assert await work.unmatch(number) == []
    result = await work.books.reconcile()
    assert result.outcome is AccountOutcome.IDENTIFIED
    assert await work.books.kinds() == ["AMBIGUOUS"]
    with pytest.raises(NotFound):
        await work.unmatch(10**9)


# --- two people -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resolution", "kind", "number", "entry"),
    [
        (BreakResolution.WRITE_OFF, AccountKind.FEES, "write-off", -66),
        (BreakResolution.SUSPENSE, AccountKind.SUSPENSE, "control", -66),
        (BreakResolution.RETURN, AccountKind.SUSPENSE, "to-return", 55),
        (BreakResolution.FUNDING, AccountKind.CLEARING, "control", 55),
    ],
)
async def test_two_people_close_a_break_with_a_transfer_in_one_commit(
    stores, resolution, kind, number, entry
):
    work = await Work.open(stores)
    before = PAID_IN if resolution is BreakResolution.FUNDING else 0
    await take(stores, await work.books.day(FUNDED, Booked(minor=entry, text="unknown")))
    await work.books.reconcile()
    opened = await work.only()
    proposal = await work.propose(opened, resolution, evidence_name="a.txt", evidence=b"advice")
    assert (proposal.amount_minor, proposal.currency) == (entry, "EUR")
    assert fingerprint_of(proposal) == proposal.content_sha256
    assert await work.store.evidence(proposal.id) == b"advice"
    assert await work.ours_at_bank() == PAID_IN
    with pytest.raises(NotPermitted):
        await work.approve(proposal, "ADA")
    with pytest.raises(InvalidInstruction):
        await work.approve(proposal, signed=b"x" * 32)
    assert (await work.approve(proposal, is_dry_run=True)).decision is Decision.OPEN
    done = await work.approve(proposal)
    assert (done.decision, done.decided_by, done.role) == (Decision.APPROVED, "ben", "settlement")
    again = await work.approve(proposal)
    assert again == structs.replace(done, seen_at=again.seen_at)
    assert await work.ours_at_bank() == PAID_IN + entry
    assert await work.balance(kind, number) == before + entry
    [made] = await stores.accounts.transfers(TransferFilter(group_id=done.transfer_group))
    assert (made.leg, made.amount_minor) == (Leg.CORRECTION, abs(entry))
    assert made.reference == f"break {opened}"
    assert await work.kinds(opened) == ["opened", "proposed", "approved"]
    result = await work.books.reconcile()
    assert result.outcome is AccountOutcome.BALANCED, await work.books.breaks()
    assert await work.books.breaks() == []
    with pytest.raises(WrongState):
        await work.propose(opened, resolution)


async def test_the_difference_of_two_amounts_is_a_charge(stores):
    work = await Work.open(stores)
    [paid] = await work.books.settled(1_000)
    await take(stores, await work.books.day(FUNDED, debit(paid, minor=-1_015)))
    await work.books.reconcile()
    opened = await work.only("AMOUNT")
    proposal = await work.propose(opened, BreakResolution.CHARGES)
    assert (proposal.amount_minor, len(proposal.items)) == (-15, 2)
    await work.approve(proposal)
    assert await work.balance(AccountKind.FEES, "control") == -15
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED


async def test_limits_of_roles_hold_for_who_approves(stores):
    work = await Work.open(stores)
    await take(stores, await work.books.day(FUNDED, Booked(minor=-10_001, text="unknown")))
    await work.books.reconcile()
    opened = await work.only()
    proposal = await work.propose(opened, BreakResolution.SUSPENSE)
    with pytest.raises(NotPermitted) as raised:
        await work.approve(proposal)
    assert "ben may approve up to 100.00 EUR" in raised.value.what
    assert (await work.approve(proposal, "cleo")).role == "lead"
    with pytest.raises(NotPermitted):
        await work.propose(opened, BreakResolution.SUSPENSE, who="eve")


async def test_proposals_are_superseded_declined_and_listed(stores):
    work = await Work.open(stores)
    await take(stores, await work.books.day(FUNDED, BANKS_OWN))
    await work.books.reconcile()
    opened = await work.only()
    planned = await work.propose(opened, BreakResolution.SUSPENSE, is_dry_run=True)
    assert planned.id == 0
    first = await work.propose(opened, BreakResolution.SUSPENSE)
    assert planned.content_sha256 == first.content_sha256
    assert (await work.propose(opened, BreakResolution.SUSPENSE)).id == first.id
    second = await work.propose(opened, BreakResolution.WRITE_OFF)
    wanted = BreakProposalFilter(limit=10, break_id=opened)
    assert [each.id for each in await work.store.proposals(wanted)] == [second.id]
    with pytest.raises(WrongState):
        await work.approve(first)
    with pytest.raises(NotPermitted):
        await work.decline(second.id, "eve")
    for _ in range(2):
        assert (await work.decline(second.id, "ada")).decision is Decision.DECLINED
    with pytest.raises(WrongState):
        await work.approve(second)
    every = await work.store.proposals(replace(wanted, has_ended=True))
    assert [(each.id, each.decision) for each in every] == [
        (second.id, Decision.DECLINED),
        (first.id, Decision.SUPERSEDED),
    ]
    older = replace(wanted, has_ended=True, before_id=second.id)
    assert [each.id for each in await work.store.proposals(older)] == [first.id]
    assert await work.store.proposals(wanted) == []
    assert (await work.file(opened)).work.status is BreakStatus.OPEN
    assert await work.store.proposal(10**9) is None
    assert await work.store.evidence(10**9) is None
    with pytest.raises(NotFound):
        await work.decline(10**9, "ada")


async def test_what_was_matched_meanwhile_is_not_approved(stores):
    work = await Work.open(stores)
    early, late = await work.books.settled(100, 200)
    first = await work.books.day(FUNDED, debit(early))
    await take(stores, first)
    await work.books.reconcile()
    opened = await work.only("MISSING_THEIRS")
    proposal = await work.propose(opened, BreakResolution.WRITE_OFF)
    await take(stores, first.next(debit(late)))
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED
    before = await work.ours_at_bank()
    with pytest.raises(WrongState):
        await work.approve(proposal)
    assert await work.ours_at_bank() == before


async def test_an_account_that_does_not_cover_a_correction_refuses_it(stores):
    work = await Work.open(stores)
    await work.books.settled(PAID_IN)
    await take(stores, await work.books.day(FUNDED, Booked(minor=-66, text="unknown")))
    await work.books.reconcile()
    proposal = await work.propose(await work.only("UNKNOWN_DEBIT"), BreakResolution.SUSPENSE)
    with pytest.raises(WrongState) as raised:
        await work.approve(proposal)
    assert "does not cover" in raised.value.what


# --- late items, the opening difference, escalation -------------------------------------------------


async def test_a_late_entry_opens_what_was_written_off_again(stores):
    work = await Work.open(stores)
    early, late = await work.books.settled(100, 200)
    first = await work.books.day(FUNDED, debit(early))
    await take(stores, first)
    await work.books.reconcile()
    opened = await work.only("MISSING_THEIRS")
    await work.store.assign(BreakStepSpec(break_id=opened, who="ada", text="", owner="ben"))
    done = await work.approve(await work.propose(opened, BreakResolution.WRITE_OFF))
    assert await work.balance(AccountKind.FEES, "write-off") == 200
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED
    await take(stores, first.next(debit(late)))
    result = await work.books.reconcile()
    assert result.proof is not None
    assert result.proof.is_zero
    file = await work.file(opened)
    assert [each.kind for each in file.events][-1] is BreakEventKind.REOPENED
    assert (file.work.status, file.work.reopened, file.work.owner) == (BreakStatus.OPEN, 1, "ben")
    correction = f"{done.transfer_group}/1/12"
    assert (file.ours, file.theirs) == ((correction,), ())
    assert [each.id for each in await work.books.breaks()] == [opened]
    assert (await work.books.reconcile()).outcome is AccountOutcome.IDENTIFIED
    back = await work.propose(opened, BreakResolution.WRITE_OFF)
    assert back.amount_minor == -200
    await work.approve(back)
    assert await work.balance(AccountKind.FEES, "write-off") == 0
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED
    assert await work.books.breaks() == []


async def test_a_correction_is_taken_back_by_a_match_of_its_own(stores):
    work = await Work.open(stores)
    early, _ = await work.books.settled(100, 200)
    await take(stores, await work.books.day(FUNDED, debit(early)))
    await work.books.reconcile()
    opened = await work.only("MISSING_THEIRS")
    done = await work.approve(await work.propose(opened, BreakResolution.WRITE_OFF))
    assert done.match_id is not None
    assert await work.unmatch(done.match_id) == [opened]
    await work.books.reconcile()
    file = await work.file(opened)
    assert len(file.ours) == 2
    await work.match(opened, file.ours, [])
    assert (await work.books.reconcile()).outcome is AccountOutcome.BALANCED


@pytest.mark.parametrize("opening", [777, -777])
async def test_an_opening_difference_is_posted_before_the_first_statement(stores, opening):
    work = await Work.open(stores)
    [paid] = await work.books.settled(100)
    await take(stores, await work.books.day(FUNDED, debit(paid), opening=opening))
    await work.books.reconcile()
    opened = await work.only("OPENING_DIFFERENCE")
    proposal = await work.propose(opened, BreakResolution.SUSPENSE)
    assert proposal.amount_minor == opening
    await work.approve(proposal)
    result = await work.books.reconcile()
    assert result.proof is not None
    assert (result.proof.opening_difference_minor, result.proof.is_zero) == (0, True)
    assert result.outcome is AccountOutcome.BALANCED
    assert await work.balance(AccountKind.SUSPENSE, "control") == opening
    assert await work.ours_at_bank() == PAID_IN - 100 + opening
    assert await work.books.breaks() == []


async def test_an_opening_difference_that_is_explained_stays_in_the_proof(stores):
    work = await Work.open(stores)
    await take(stores, await work.books.day(FUNDED, opening=777))
    await work.books.reconcile()
    opened = await work.only("OPENING_DIFFERENCE")
    done = await work.approve(await work.propose(opened, BreakResolution.EXPLANATION))
    assert (done.transfer_group, done.match_id) == (None, None)
    result = await work.books.reconcile()
    assert await work.books.breaks() == []
    assert result.proof is not None
    assert (result.proof.opening_difference_minor, result.proof.is_zero) == (777, True)
    assert await work.ours_at_bank() == PAID_IN


class Silent:
    def breaks_escalated(self, level, count):
        pass

    def open_breaks(self, counts):
        pass


async def test_a_break_is_escalated_to_each_level_once(stores):
    work = await Work.open(stores)
    await take(stores, await work.books.day(FUNDED, BANKS_OWN))
    await work.books.reconcile()
    opened = await work.only()
    rules = BreakRules(
        escalation=(
            EscalationRule(
                bucket=AgeBucket.DAYS_0_TO_1,
                level=2,
                owner_group="lead",
                due_business_days=0,
                amounts_minor={"EUR": 66},
            ),
        )
    )
    for _ in range(2):
        await BreakEscalator(rules, work.store, Silent()).look()
    file = await work.file(opened)
    assert [each.kind.value for each in file.events] == ["opened", "escalated"]
    assert (file.work.level, file.work.owner) == (2, "lead")
    assert file.work.due_at is not None
    assert file.work.due_at > file.events[-1].at - timedelta(days=1)
    [shown] = await work.books.breaks(owner="lead")
    assert shown.id == opened


async def test_a_match_closes_every_break_that_it_leaves_without_an_open_item(stores):
    work = await Work.open(stores)
    paid = await work.books.settled(300, 450, 500)
    await take(stores, await work.books.day(Booked(minor=-750, text="your orders of today")))
    await work.books.reconcile()
    break_id = await work.only("UNKNOWN_DEBIT")
    ours = [f"{each.id}/1/1" for each in paid[:2]]
    missing = [each.id for each in await work.books.breaks() if each.ours and each.ours[0] in ours]
    match_id = await work.match(break_id, ours, (await work.file(break_id)).theirs)
    left = [each.ours for each in await work.books.breaks() if each.ours[0].endswith("/1/1")]
    assert left == [(f"{paid[2].id}/1/1",)]  # without waiting for a run
    for each in missing:
        assert await work.kinds(each) == ["opened", "matched"]
        assert (await work.file(each)).work.match_id == match_id
    assert sorted(await work.unmatch(match_id)) == sorted([break_id, *missing])
    assert {each.id for each in await work.books.breaks()} >= {break_id, *missing}
