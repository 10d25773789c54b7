"""Cases in both stores: opened once, decided by two people, and late contradictions go to suspense once."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest

from settlement_engine.domain.exceptions import SEVERITY, CaseKind, Severity
from settlement_engine.domain.ledger import AccountKind, Leg, Transfer
from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.domain.proposals import EVIDENCE_BYTES_MAX, Decision, Ending, Finding
from settlement_engine.domain.settlement import Attestation
from settlement_engine.errors import (
    InvalidInstruction,
    InvariantViolated,
    NotFound,
    NotPermitted,
    WrongState,
)
from settlement_engine.ports import CaseFilter, DoubtLimit, ProposalSpec, Result, TransferFilter
from settlement_engine.store.accounts import post_outside as post_in_postgres
from tests.support.histories import MADE_UP, results

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPLIED, STALE = Result.APPLIED, Result.STALE
MANY = 100_000
AT_ONCE = [DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0)]
LATER = DoubtLimit(rail="", in_doubt_seconds=9_999.0, overdue_seconds=9_999.0)
ATTESTABLE = [State.IN_DOUBT, State.SENT, State.RECALLING]
HAS_ATTESTED = {Finding.SETTLED: State.COMPLETED, Finding.NOT_SETTLED: State.ROLLED_BACK}


def spec(settlement, finding=Finding.SETTLED, **changes) -> ProposalSpec:
    fields = {
        "settlement_id": settlement.id,
        "finding": finding,
        "reason": "entry 12 of the statement",
        "evidence_name": "camt.053.xml",
        "evidence": b"<Document>\x00</Document>",
        "who": "ada",
        "valid_seconds": 600.0,
    }
    return ProposalSpec(**{**fields, **changes})


async def cases_of(scene, settlement, *, has_closed=True):
    wanted = CaseFilter(settlement_id=settlement.id, has_closed=has_closed, limit=MANY)
    return list(reversed(await scene.stores.cases.cases(wanted)))


async def kinds_of(scene, settlement):
    return [case.kind for case in await cases_of(scene, settlement)]


async def attested(scene, finding, state=State.IN_DOUBT):
    """Return a settlement that people have ended."""
    settlement = await scene.bring(state)
    event = Event.ATTESTED_SETTLED if finding is Finding.SETTLED else Event.ATTESTED_NOT_SETTLED
    return await scene.move(settlement, event)


# --- doubts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.LOCKED, CaseKind.IN_DOUBT),
        (State.IN_DOUBT, CaseKind.IN_DOUBT),
        (State.SENT, CaseKind.OVERDUE),
        (State.RECALLING, CaseKind.OVERDUE),
    ],
)
async def test_a_payment_without_a_final_state_becomes_one_case(scene, state, kind):
    settlement = await scene.bring(state)
    case_management = scene.stores.cases
    await case_management.open_doubts([LATER], MANY)
    assert await kinds_of(scene, settlement) == []
    opened = await asyncio.gather(*(case_management.open_doubts(AT_ONCE, MANY) for _ in range(3)))
    assert sum(opened) >= 1
    [case] = await cases_of(scene, settlement)
    assert settlement.attempt is not None
    recorded_at = settlement.attempt.recorded_at.isoformat(timespec="microseconds")
    assert (case.kind, case.detail) == (kind, {"rail": "mock", "since": recorded_at})
    assert case.settlement == settlement
    assert case.seen_at >= case.opened_at >= settlement.attempt.recorded_at
    assert await case_management.open_doubts(AT_ONCE, MANY) == 0
    await scene.move(settlement, Event.SETTLED)
    assert await case_management.close_ended(MANY) >= 1
    [closed] = await cases_of(scene, settlement)
    assert (closed.closed_by, closed.close_reason) == (
        "engine",
        "the settlement has ended: completed",
    )
    assert await cases_of(scene, settlement, has_closed=False) == []
    assert await case_management.open_doubts(AT_ONCE, MANY) == 0


@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING])
async def test_only_unended_payments_past_the_point_of_no_return_become_cases(scene, state):
    settlement = await scene.bring(state)
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    is_doubt = state in (State.LOCKED, State.IN_DOUBT, State.SENT, State.RECALLING)
    assert bool(await kinds_of(scene, settlement)) == is_doubt


async def test_a_rail_has_a_limit_of_its_own(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    own = DoubtLimit(rail="mock", in_doubt_seconds=9_999.0, overdue_seconds=0.0)
    await scene.stores.cases.open_doubts([*AT_ONCE, own], MANY)
    assert await kinds_of(scene, settlement) == []
    own = DoubtLimit(rail="mock", in_doubt_seconds=0.0, overdue_seconds=9_999.0)
    await scene.stores.cases.open_doubts([LATER, own], MANY)
    assert await kinds_of(scene, settlement) == [CaseKind.IN_DOUBT]


async def test_a_check_for_cases_is_bounded_and_takes_the_oldest_first(scene):
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    histories = [await scene.bring(State.IN_DOUBT) for _ in range(3)]
    assert await scene.stores.cases.open_doubts(AT_ONCE, 2) == 2
    assert [bool(await kinds_of(scene, each)) for each in histories] == [True, True, False]
    assert await scene.stores.cases.open_doubts(AT_ONCE, 2) == 1


async def test_an_in_doubt_case_cannot_be_closed_by_a_person(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    [case] = await cases_of(scene, settlement)
    with pytest.raises(WrongState):
        await scene.stores.cases.close_case(case.id, "ada", "seen")
    seen = await scene.stores.cases.acknowledge(case.id, "ada")
    assert seen.acknowledged_by == "ada"
    assert (await scene.stores.cases.acknowledge(case.id, "grace")).acknowledged_by == "ada"


async def test_a_case_shows_the_last_transition_the_last_answer_and_the_next_enquiry(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    settlement = await scene.move(settlement, Event.NO_ANSWER, due_seconds=30.0)
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    [case] = await cases_of(scene, settlement)
    file = await scene.stores.cases.case(case.id)
    assert file is not None
    assert (file.last_answer.state, file.last_answer.event) == (State.IN_DOUBT, Event.NO_ANSWER)
    assert file.believed.event is Event.NO_ANSWER
    assert file.believed.to_state is State.IN_DOUBT
    assert not file.is_asked_now
    assert file.case.settlement.next_action_at == file.last_answer.at + timedelta(seconds=30)
    ended = await scene.move(settlement, Event.SETTLED)
    detail = {"said": "rejected", "code": "AC04", "exception": "contradiction"}
    await scene.move(ended, Event.CONTRADICTED, detail=detail)
    late = (await cases_of(scene, settlement))[-1]
    file = await scene.stores.cases.case(late.id)
    assert (file.case.kind, file.case.detail) == (CaseKind.CONTRADICTION, detail)
    assert file.believed.event is Event.SETTLED
    assert file.case.settlement.is_frozen
    assert file.last_answer.event is Event.SETTLED


async def test_unknown_cases_and_proposals_are_not_found(scene):
    assert await scene.stores.cases.case(MANY) is None
    assert await scene.stores.resolutions.proposal(MANY) is None
    assert await scene.stores.resolutions.evidence(MANY) is None
    for call in (
        scene.stores.cases.acknowledge(MANY, "ada"),
        scene.stores.cases.close_case(MANY, "ada", "x"),
        scene.stores.resolutions.approve(MANY, "ada", b""),
        scene.stores.resolutions.decline(MANY, "ada"),
        scene.stores.resolutions.propose(spec(SimpleNamespace(id=uuid.uuid4()))),
    ):
        with pytest.raises(NotFound):
            await call


async def test_cases_are_listed_in_pages_newest_first(scene):
    histories = [await scene.bring(State.IN_DOUBT) for _ in range(4)]
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    case_management = scene.stores.cases
    first = await case_management.cases(CaseFilter(limit=2))
    rest = await case_management.cases(CaseFilter(limit=2, before_id=first[-1].id))
    numbers = [each.id for each in (*first, *rest)]
    assert numbers == sorted(numbers, reverse=True)
    assert {each.settlement_id for each in (*first, *rest)} == {each.id for each in histories}
    none = await case_management.cases(CaseFilter(kinds=frozenset({CaseKind.SECOND_DEBIT})))
    assert all(each.kind is CaseKind.SECOND_DEBIT for each in none)


async def test_the_end_closes_only_the_in_doubt_case(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    await scene.stores.cases.open_doubts(AT_ONCE, MANY)
    ended = await scene.move(settlement, Event.SETTLED)
    await scene.move(ended, Event.CONTRADICTED, detail={"said": "rejected"})
    await scene.stores.cases.close_ended(MANY)
    found = {each.kind: each.closed_by for each in await cases_of(scene, settlement)}
    assert found == {CaseKind.IN_DOUBT: "engine", CaseKind.CONTRADICTION: ""}


async def test_a_late_attestation_is_not_recorded(scene):
    """Otherwise the rail's own report would count as an attestation, and be booked to suspense when repeated."""
    settlement = await scene.bring(State.IN_DOUBT)
    step = scene.step(settlement, Event.ATTESTED_NOT_SETTLED)
    ended = await scene.move(settlement, Event.SETTLED)
    assert results(await scene.apply(step)) == [STALE]
    assert (await scene.load(ended)).attestation is Attestation.NONE


# --- proposals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING])
async def test_only_findings_allowed_in_the_state_can_be_proposed(scene, state):
    settlement = await scene.bring(state)
    proposing = scene.stores.resolutions.propose(spec(settlement))
    if state in ATTESTABLE:
        proposal = await proposing
        assert proposal.decision is Decision.OPEN
        assert proposal.expires_at - proposal.proposed_at == timedelta(seconds=600)
        assert proposal.evidence_sha256 == hashlib.sha256(spec(settlement).evidence).digest()
        evidence = await scene.stores.resolutions.evidence(proposal.id)
        assert evidence == spec(settlement).evidence
    else:
        with pytest.raises(WrongState):
            await proposing


async def test_a_proposer_cannot_approve_their_own_proposal(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(spec(settlement, who="Ada"))
    for who in ("Ada", "ada", "ADA"):
        with pytest.raises(NotPermitted):
            await resolutions.approve(proposal.id, who, proposal.content_sha256)
    with pytest.raises(InvalidInstruction):
        await resolutions.approve(proposal.id, "grace", b"\x00" * 32)
    approved = await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    assert (approved.decision, approved.decided_by) == (Decision.APPROVED, "grace")
    again = await resolutions.approve(proposal.id, "Grace", proposal.content_sha256)
    assert again.decided_at == approved.decided_at
    with pytest.raises(WrongState):
        await resolutions.approve(proposal.id, "edsger", proposal.content_sha256)
    with pytest.raises(WrongState):
        await resolutions.decline(proposal.id, "edsger")


OTHER_SPELLINGS = ["spiffe://bank/alice/", "SPIFFE://BANK/Alice", "spiffe://bank/%61lice"]


@pytest.mark.parametrize("spelling", OTHER_SPELLINGS)
async def test_one_person_under_another_spelling_is_not_another_person(scene, spelling):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(spec(settlement, who="spiffe://bank/alice"))
    with pytest.raises(NotPermitted):
        await resolutions.approve(proposal.id, spelling, proposal.content_sha256)
    approved = await resolutions.approve(proposal.id, "spiffe://bank/bob", proposal.content_sha256)
    assert approved.decision is Decision.APPROVED


async def test_an_expired_proposal_is_refused_and_may_be_made_again(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    old = await resolutions.propose(spec(settlement, valid_seconds=0.000_001))
    with pytest.raises(WrongState):
        await resolutions.approve(old.id, "grace", old.content_sha256)
    new = await resolutions.propose(spec(settlement))
    assert new.id != old.id
    found = await resolutions.proposal(old.id)
    assert (found.decision, found.has_expired) == (Decision.SUPERSEDED, True)


async def test_a_new_proposal_supersedes_the_older_and_a_repeated_one_is_the_same(scene):
    settlement = await scene.bring(State.SENT)
    resolutions = scene.stores.resolutions
    first = await resolutions.propose(spec(settlement))
    assert (await resolutions.propose(spec(settlement))).id == first.id
    second = await resolutions.propose(spec(settlement, Finding.NOT_SETTLED, who="grace"))
    with pytest.raises(WrongState):
        await resolutions.approve(first.id, "edsger", first.content_sha256)
    await resolutions.approve(second.id, "edsger", second.content_sha256)
    with pytest.raises(WrongState):  # it is being carried out
        await resolutions.propose(spec(settlement, reason="another one"))
    again = await resolutions.propose(spec(settlement, Finding.NOT_SETTLED, who="grace"))
    assert again.id == second.id


async def sent_again(scene, settlement):
    """The rail did not know the payment, the same bytes were sent again, and there was no answer."""
    settlement = await scene.move(settlement, Event.NOT_FOUND)
    return await scene.move(settlement, Event.NO_ANSWER)


async def acknowledged(scene, settlement):
    """The rail acknowledges the payment."""
    return await scene.move(settlement, Event.ACKNOWLEDGED)


async def asked_again(scene, settlement):
    """An enquiry was sent, and not answered."""
    return await scene.move(settlement, Event.NO_ANSWER)


@pytest.mark.parametrize("change", [sent_again, acknowledged])
async def test_a_not_settled_attestation_is_invalid_after_a_later_send(scene, change):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    old = await resolutions.propose(spec(settlement, Finding.NOT_SETTLED))
    settlement = await change(scene, settlement)
    with pytest.raises(WrongState, match="sent again, or the bank has acknowledged"):
        await resolutions.approve(old.id, "grace", old.content_sha256)
    new = await resolutions.propose(spec(settlement, Finding.NOT_SETTLED))  # the same content again
    assert new.id != old.id
    assert (await resolutions.proposal(old.id)).decision is Decision.SUPERSEDED
    await resolutions.approve(new.id, "grace", new.content_sha256)
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(new.id)).ending is Ending.PENDING


@pytest.mark.parametrize("change", [sent_again, acknowledged])
async def test_an_approval_is_overtaken_by_a_later_send_or_receipt(scene, change):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    old = await resolutions.propose(spec(settlement, Finding.NOT_SETTLED))
    await resolutions.approve(old.id, "grace", old.content_sha256)
    settlement = await change(scene, settlement)
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(old.id)).ending is Ending.OVERTAKEN
    assert old.id not in [each.id for each in await resolutions.take_up(0.0, MANY)]
    assert (await resolutions.propose(spec(settlement))).decision is Decision.OPEN


@pytest.mark.parametrize(
    ("finding", "change"),
    [
        (Finding.SETTLED, sent_again),
        (Finding.SETTLED, acknowledged),
        (Finding.NOT_SETTLED, asked_again),
    ],
)
async def test_an_attestation_survives_changes_that_do_not_contradict_it(scene, finding, change):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(spec(settlement, finding))
    await change(scene, settlement)
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(proposal.id)).ending is Ending.PENDING
    assert proposal.id in [each.id for each in await resolutions.take_up(0.0, MANY)]


async def test_concurrent_proposals_leave_one_open(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    people = ("ada", "grace", "edsger", "barbara")
    beside = [scene.stores.beside() for _ in people]
    made = await asyncio.gather(
        *(
            each.resolutions.propose(spec(settlement, who=who))
            for each, who in zip(beside, people, strict=True)
        )
    )
    found = [await scene.stores.resolutions.proposal(each.id) for each in made]
    assert sorted(each.decision for each in found) == [Decision.OPEN, *[Decision.SUPERSEDED] * 3]


async def test_a_declined_proposal_stays_declined(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(spec(settlement))
    declined = await resolutions.decline(proposal.id, "ada")  # the proposer may withdraw it
    assert declined.decision is Decision.DECLINED
    assert (await resolutions.decline(proposal.id, "ada")).decided_at == declined.decided_at
    with pytest.raises(WrongState):
        await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    assert (await resolutions.propose(spec(settlement))).id != proposal.id


async def test_evidence_has_a_size(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    for evidence in (b"", b"x" * (EVIDENCE_BYTES_MAX + 1)):
        with pytest.raises(InvariantViolated):
            await scene.stores.resolutions.propose(spec(settlement, evidence=evidence))
    largest = await scene.stores.resolutions.propose(
        spec(settlement, evidence=b"x" * EVIDENCE_BYTES_MAX)
    )
    assert largest.evidence_bytes == EVIDENCE_BYTES_MAX


async def test_an_approval_is_carried_out_by_one_engine_at_a_time(scene):
    settlement = await scene.bring(State.IN_DOUBT)
    resolutions = scene.stores.resolutions
    proposal = await resolutions.propose(spec(settlement))
    assert proposal.id not in [each.id for each in await resolutions.take_up(9_999.0, MANY)]
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    beside = [scene.stores.beside() for _ in range(3)]
    taken = await asyncio.gather(*(each.resolutions.take_up(9_999.0, MANY) for each in beside))
    assert [each.id for some in taken for each in some if each.id == proposal.id] == [proposal.id]
    assert proposal.id in [each.id for each in await resolutions.take_up(0.0, MANY)]
    await scene.move(settlement, Event.ATTESTED_SETTLED)
    assert proposal.id not in [each.id for each in await resolutions.take_up(0.0, MANY)]
    await scene.stores.cases.close_ended(MANY)
    ended = await resolutions.proposal(proposal.id)
    assert (ended.ending, ended.finished_at is not None) == (Ending.ATTESTED, True)


async def test_proposals_of_a_settlement_ended_by_the_bank_are_overtaken_or_superseded(scene):
    histories = [await scene.bring(State.IN_DOUBT) for _ in range(2)]
    resolutions = scene.stores.resolutions
    approved, undecided = [await resolutions.propose(spec(each)) for each in histories]
    await resolutions.approve(approved.id, "grace", approved.content_sha256)
    for each in histories:
        await scene.move(each, Event.REJECTED)
    with pytest.raises(WrongState):
        await resolutions.approve(undecided.id, "grace", undecided.content_sha256)
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(approved.id)).ending is Ending.OVERTAKEN
    after = await resolutions.proposal(undecided.id)
    assert (after.decision, after.decided_by) == (Decision.SUPERSEDED, "engine")


# --- late reports and returns ---------------------------------------------------------------------


@pytest.mark.parametrize("finding", HAS_ATTESTED)
@pytest.mark.parametrize("state", ATTESTABLE)
async def test_an_attested_end_is_recorded_as_such(scene, finding, state):
    settlement = await attested(scene, finding, state)
    assert settlement.state is HAS_ATTESTED[finding]
    assert settlement.attestation is Attestation.STANDS
    other = await scene.move(await scene.bring(state), Event.SETTLED)
    assert other.attestation is Attestation.NONE


@pytest.mark.parametrize("finding", HAS_ATTESTED)
async def test_a_late_contradiction_moves_cash_to_suspense_once(scene, finding):
    settlement = await attested(scene, finding)
    customers = [AccountKind.NOSTRO, AccountKind.VOSTRO, AccountKind.CLEARING]
    before = [await scene.account(kind) for kind in customers]
    suspense = (await scene.account(AccountKind.SUSPENSE)).posted
    step = scene.step(settlement, Event.DISPROVED)
    assert results(await scene.apply(step)) == [APPLIED]
    after = await scene.load(settlement)
    assert (after.state, after.is_frozen) == (settlement.state, True)
    assert after.attestation is Attestation.DISPROVED
    assert [await scene.account(kind) for kind in customers] == before
    sign = 1 if finding is Finding.NOT_SETTLED else -1
    assert (await scene.account(AccountKind.SUSPENSE)).posted == suspense + sign * 100
    # The same report in other words, with a current state, changes nothing.
    again = scene.step(after, Event.DISPROVED, detail={"text": "again", "exception": "disproved"})
    assert results(await scene.apply(again)) == [STALE]
    assert results(await scene.apply(step)) == [STALE]
    made = await scene.stores.accounts.transfers(TransferFilter(group_id=settlement.id))
    assert [each.leg for each in made].count(Leg.LATE_CASH) == 1
    [case] = await cases_of(scene, settlement)
    assert (case.kind, case.severity) == (CaseKind.DISPROVED, Severity.CRITICAL)


@pytest.mark.parametrize("state", [State.COMPLETED, State.RETURNED])
async def test_a_second_debit_moves_what_the_bank_took_to_suspense_once(scene, state):
    settlement = await scene.bring(state)
    nostro = (await scene.account(AccountKind.NOSTRO)).posted
    suspense = (await scene.account(AccountKind.SUSPENSE)).posted
    step = scene.step(settlement, Event.DEBITED_TWICE)
    assert results(await scene.apply(step)) == [APPLIED]
    after = await scene.load(settlement)
    assert (after.state, after.is_frozen) == (state, True)
    assert (await scene.account(AccountKind.NOSTRO)).posted == nostro - 100
    assert (await scene.account(AccountKind.SUSPENSE)).posted == suspense - 100
    again = scene.step(
        after, Event.DEBITED_TWICE, detail={"text": "again", "exception": "debited_twice"}
    )
    assert results(await scene.apply(again)) == [STALE]
    [case] = await cases_of(scene, settlement)
    assert (case.kind, case.severity) == (CaseKind.DEBITED_TWICE, Severity.CRITICAL)


async def test_money_in_suspense_is_closed_by_two_people(scene):
    settlement = await attested(scene, Finding.SETTLED)
    await scene.move(settlement, Event.DISPROVED)
    [case] = await cases_of(scene, settlement)
    case_management = scene.stores.cases
    with pytest.raises(WrongState):
        await case_management.close_case(case.id, "ada", "the bank has paid")
    await case_management.acknowledge(case.id, "ada")
    with pytest.raises(NotPermitted):
        await case_management.close_case(case.id, "ADA", "the bank has paid")
    closed = await case_management.close_case(case.id, "grace", "the bank has paid")
    assert (closed.closed_by, closed.close_reason) == ("grace", "the bank has paid")
    again = await case_management.close_case(case.id, "grace", "the bank has paid")
    assert again.closed_at == closed.closed_at
    with pytest.raises(WrongState):
        await case_management.close_case(case.id, "edsger", "no, it has not")
    with pytest.raises(WrongState):
        await case_management.acknowledge(case.id, "edsger")


async def spend(scene, minor):
    """Let the receiver spend money."""
    transfer = Transfer(
        group_id=uuid.uuid4(),
        leg=Leg.FUNDING,
        debit_id=(await scene.account(AccountKind.VOSTRO)).id,
        credit_id=(await scene.account(AccountKind.CLEARING)).id,
        amount_minor=minor,
        currency="EUR",
        reference=MADE_UP,
    )
    accounts = scene.stores.accounts
    if scene.stores.name == "memory":
        accounts.post_outside(transfer)
        return
    async with accounts._writing.session() as connection, connection.transaction():
        await post_in_postgres(connection, transfer)


async def test_a_return_that_is_not_covered_is_short_and_changes_nothing(scene):
    histories = [await scene.bring(State.COMPLETED) for _ in range(3)]
    await spend(scene, 120)
    steps = [scene.step(each, Event.RETURNED) for each in histories]
    outcomes = await scene.apply(*steps)  # of 180 one return of 100 is covered
    assert results(outcomes) == [APPLIED, Result.SHORT, Result.SHORT]
    assert [each.available_minor for each in outcomes] == [0, 80, 80]
    states = [(await scene.load(each)).state for each in histories]
    assert states == [State.RETURNED, State.COMPLETED, State.COMPLETED]
    assert await kinds_of(scene, histories[1]) == []


async def test_a_return_that_is_not_covered_is_booked_through_suspense(scene):
    settlement = await scene.bring(State.COMPLETED)
    await spend(scene, 60)
    suspense = (await scene.account(AccountKind.SUSPENSE)).posted
    vostro, source = await scene.account(AccountKind.VOSTRO), await scene.source()
    after = await scene.move(settlement, Event.UNCOVERED)
    assert (after.state, after.is_frozen, after.ended_at) == (
        State.RETURNED,
        True,
        settlement.ended_at,
    )
    assert (await scene.source()).posted == source.posted + 100
    assert await scene.account(AccountKind.VOSTRO) == vostro
    assert (await scene.account(AccountKind.SUSPENSE)).posted == suspense - 100
    [case] = await cases_of(scene, settlement)
    assert (case.kind, case.severity) == (CaseKind.UNCOVERED_RETURN, Severity.CRITICAL)
    with pytest.raises(WrongState):
        await scene.stores.cases.close_case(case.id, "ada", "seen")


async def test_every_kind_has_a_severity():
    assert SEVERITY.keys() == set(CaseKind)
    suspending = {
        (state, event)
        for state, events in TRANSITIONS.items()
        for event, row in events.items()
        if row.do is Do.SUSPEND
    }
    assert suspending == {
        (State.COMPLETED, Event.UNCOVERED),
        (State.COMPLETED, Event.PARTLY_UNCOVERED),
        (State.COMPLETED, Event.DISPROVED),
        (State.ROLLED_BACK, Event.DISPROVED),
        (State.COMPLETED, Event.DEBITED_TWICE),
        (State.RETURNED, Event.DEBITED_TWICE),
    }


async def test_gauges_count_open_cases_by_kind(scene):
    before = (await scene.stores.gauges.gauges(0)).open_cases.get("disproved", 0)
    settlement = await attested(scene, Finding.SETTLED)
    await scene.move(settlement, Event.DISPROVED)
    gauges = await scene.stores.gauges.gauges(0)
    assert gauges.open_cases["disproved"] == before + 1
    assert gauges.oldest_cases_seconds["disproved"] >= 0


# --- what screening has parked ----------------------------------------------------------------------


async def test_a_parked_settlement_has_a_case_until_it_is_released(scene):
    case_management = scene.stores.cases
    settlement = await scene.bring(State.HELD)
    await asyncio.gather(*(case_management.open_held(MANY) for _ in range(3)))
    [case] = await cases_of(scene, settlement)
    assert (case.kind, case.severity) == (CaseKind.HELD, Severity.NORMAL)
    with pytest.raises(WrongState, match="closed by the decision"):
        await case_management.close_case(case.id, "ada", "seen")
    settlement = await scene.move(settlement, Event.APPROVED)
    settlement = await scene.move(settlement, Event.PARKED)
    await case_management.open_held(MANY)
    first, second = await cases_of(scene, settlement)
    assert (first.closed_by, second.closed_by) == ("engine", "")
    await scene.move(settlement, Event.CANCELLED)
    await case_management.open_held(MANY)
    assert await cases_of(scene, settlement, has_closed=False) == []


@pytest.mark.parametrize(
    ("finding", "event"), [(Finding.RELEASE, Event.APPROVED), (Finding.DECLINE, Event.DECLINED)]
)
async def test_two_people_decide_about_a_parked_settlement(scene, finding, event):
    resolutions = scene.stores.resolutions
    settlement = await scene.bring(State.HELD)
    proposal = await resolutions.propose(spec(settlement, finding))
    with pytest.raises(NotPermitted, match="cannot approve it"):
        await resolutions.approve(proposal.id, "Ada", proposal.content_sha256)
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    assert proposal.id in [each.id for each in await resolutions.take_up(0.0, MANY)]
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(proposal.id)).finished_at is None, "nothing was done yet"
    await scene.move(settlement, event)
    await scene.stores.cases.close_ended(MANY)
    found = await resolutions.proposal(proposal.id)
    assert (found.decision, found.ending) == (Decision.APPROVED, Ending.ATTESTED)
    assert proposal.id not in [each.id for each in await resolutions.take_up(0.0, MANY)]


async def test_a_release_counts_for_one_parking_only(scene):
    resolutions = scene.stores.resolutions
    settlement = await scene.bring(State.HELD)
    proposal = await resolutions.propose(spec(settlement, Finding.RELEASE))
    settlement = await scene.move(settlement, Event.APPROVED)
    await scene.move(settlement, Event.PARKED)
    with pytest.raises(WrongState, match="parked for another reason"):
        await resolutions.approve(proposal.id, "grace", proposal.content_sha256)


async def test_a_cancellation_overtakes_a_release(scene):
    resolutions = scene.stores.resolutions
    settlement = await scene.bring(State.HELD)
    proposal = await resolutions.propose(spec(settlement, Finding.RELEASE))
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    await scene.move(settlement, Event.CANCELLED)
    await scene.stores.cases.close_ended(MANY)
    assert (await resolutions.proposal(proposal.id)).ending is Ending.OVERTAKEN


@pytest.mark.parametrize("finding", Finding)
@pytest.mark.parametrize("state", [s for s in State if s is not State.PENDING])
async def test_a_finding_that_does_not_fit_the_state_is_refused(scene, state, finding):
    settlement = await scene.bring(state)
    of_parked = finding in (Finding.RELEASE, Finding.DECLINE)
    fits = state is State.HELD if of_parked else state in ATTESTABLE
    for is_dry_run in (True, False):
        wanted = spec(settlement, finding, is_dry_run=is_dry_run)
        if fits:
            assert (await scene.stores.resolutions.propose(wanted)).finding is finding
            continue
        with pytest.raises(WrongState):
            await scene.stores.resolutions.propose(wanted)


async def test_a_dry_run_writes_nothing_and_finds_an_existing_proposal(scene):
    resolutions = scene.stores.resolutions
    settlement = await scene.bring(State.IN_DOUBT)
    dry = spec(settlement, is_dry_run=True)
    tried = await resolutions.propose(dry)
    assert (tried.id, tried.proposed_by, tried.finding) == (0, "ada", Finding.SETTLED)
    assert tried.content_sha256 == (await resolutions.propose(dry)).content_sha256
    written = await resolutions.propose(spec(settlement))
    assert written.content_sha256 == tried.content_sha256
    assert (await resolutions.propose(dry)).id == written.id
    other = spec(settlement, Finding.NOT_SETTLED, is_dry_run=True)
    assert (await resolutions.propose(other)).id == 0
    assert (await resolutions.proposal(written.id)).decision is Decision.OPEN, "not superseded"
    with pytest.raises(NotPermitted):
        await resolutions.approve(written.id, "Ada", written.content_sha256, is_dry_run=True)
    for tried in (
        await resolutions.approve(written.id, "grace", written.content_sha256, is_dry_run=True),
        await resolutions.decline(written.id, "grace", is_dry_run=True),
        await resolutions.proposal(written.id),
    ):
        assert (tried.decision, tried.decided_by) == (Decision.OPEN, written.decided_by)
    await resolutions.approve(written.id, "grace", written.content_sha256)
    with pytest.raises(WrongState, match="is being carried out"):
        await resolutions.propose(other)
    with pytest.raises(WrongState):
        await resolutions.decline(written.id, "ada", is_dry_run=True)
    missing = SimpleNamespace(id=uuid.uuid4())
    with pytest.raises(NotFound):
        await resolutions.propose(spec(missing, is_dry_run=True))
