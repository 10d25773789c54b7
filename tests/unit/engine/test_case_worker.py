"""Cases in the engine: doubts become cases, and an approved proposal is applied after one more enquiry."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest

from settlement_engine.domain.exceptions import CaseKind
from settlement_engine.domain.intent import intent_detail
from settlement_engine.domain.kept_messages import KeptMessage, MessageDirection
from settlement_engine.domain.ledger import AccountKind, Leg
from settlement_engine.domain.lifecycle import Ask, Event, State
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.proposals import Decision, Ending, Finding
from settlement_engine.domain.settlement import Attestation, Settlement
from settlement_engine.engine import case_worker
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.ports import (
    AccountFilter,
    Answer,
    CaseFilter,
    DoubtLimit,
    ProposalSpec,
    RailCapabilities,
    RailClass,
    TransferFilter,
)
from tests.support.decided import settlement
from tests.unit.engine.engine_world import EngineWorld, ScriptedRail, running

AT_ONCE = (DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0),)
NEVER = (DoubtLimit(rail="", in_doubt_seconds=9_999.0, overdue_seconds=9_999.0),)
SILENT = [None] * 10_000


async def doubted(world: EngineWorld, key: str = "k1", amount: int = 100) -> Settlement:
    """Make a settlement about which the rail does not answer."""
    world.rail.sends.append(None)
    world.rail.enquiries.extend(SILENT)
    found = await world.settle(key, wait_seconds=0.15, amount=amount)
    assert found.state is State.IN_DOUBT
    return found


def spec(settlement: Settlement, finding: Finding, who: str = "ada") -> ProposalSpec:
    return ProposalSpec(
        settlement_id=settlement.id,
        finding=finding,
        reason="the statement of today says so",
        evidence_name="camt.053.xml",
        evidence=b"<Document/>",
        who=who,
        valid_seconds=60.0,
    )


async def attest(world: EngineWorld, settlement: Settlement, finding: Finding) -> int:
    """Let two people agree, without waiting for the engine."""
    resolutions = world.case_management.resolutions
    proposal = await resolutions.propose(spec(settlement, finding))
    await resolutions.approve(proposal.id, "grace", proposal.content_sha256)
    return proposal.id


async def resolved(world: EngineWorld, settlement: Settlement, finding: Finding) -> Settlement:
    """Let two people agree, and wait until the engine has acted."""
    number = await attest(world, settlement, finding)
    ended = await world.engine.wait(settlement.id, 5)
    await world.until(lambda: world.records.resolutions[number].proposal.finished_at)
    return ended


def say(world: EngineWorld, settlement: Settlement, event: Event, **words: Any) -> None:
    world.rail.say([Answer(settlement_id=settlement.id, event=event, attempt=1, **words)])


def kinds(world: EngineWorld) -> list[CaseKind]:
    return [case.kind for case in world.records.cases.values()]


async def posted(world: EngineWorld, kind: AccountKind) -> int:
    found = await world.accounts.accounts(AccountFilter(kind=kind))
    return sum(account.posted for account in found)


# --- doubts ---------------------------------------------------------------------------------------


async def test_a_payment_in_doubt_for_too_long_becomes_one_case_which_its_end_closes():
    async with running(doubt_limits=AT_ONCE) as world:
        found = await doubted(world)
        await world.until(lambda: kinds(world))
        await asyncio.sleep(0.1)
        assert kinds(world) == [CaseKind.IN_DOUBT]
        assert "doubt_too_long" in world.meter.invariant_warnings
        say(world, found, Event.SETTLED)
        await world.engine.wait(found.id, 5)
        [case] = world.records.cases.values()
        await world.until(lambda: all(each.closed_at for each in world.records.cases.values()))
        [case] = world.records.cases.values()
        assert (case.closed_by, case.close_reason) == (
            "engine",
            "the settlement has ended: completed",
        )


async def test_a_recent_doubt_is_no_case():
    async with running(doubt_limits=NEVER) as world:
        await doubted(world)
        await asyncio.sleep(0.1)
        assert kinds(world) == []


# --- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "state", "available"),
    [(Finding.SETTLED, State.COMPLETED, 9_900), (Finding.NOT_SETTLED, State.ROLLED_BACK, 10_000)],
)
async def test_what_two_people_attest_is_applied_after_one_more_enquiry(finding, state, available):
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        asked = [word for word, _, _ in world.rail.asked].count("enquire")
        ended = await resolved(world, found, finding)
        assert (ended.state, (await world.nostro()).available) == (state, available)
        assert [word for word, _, _ in world.rail.asked].count("enquire") == asked + 1
        move = (await world.store.history(found.id))[-1]
        assert move.event.value == f"attested_{finding.value}"
        said = {name: move.detail[name] for name in ("proposed_by", "approved_by", "bank_said")}
        assert said == {"proposed_by": "ada", "approved_by": "grace", "bank_said": "no_answer"}
        proposal = world.records.resolutions[1].proposal
        assert move.detail["evidence_sha256"] == proposal.evidence_sha256.hex()
        assert proposal.ending is Ending.ATTESTED
        assert world.records.histories[found.id].attestation is Attestation.STANDS


def slow_enquiries():
    """Settings with such long waits that only the case worker enquires during the test."""
    from settlement_engine.domain.backoff import Backoff

    return Backoff(first_seconds=60, max_seconds=60)


@pytest.mark.parametrize(
    ("said", "state"),
    [(Event.SETTLED, State.COMPLETED), (Event.REJECTED, State.ROLLED_BACK)],
)
async def test_a_definite_status_of_the_bank_takes_precedence_over_an_attestation(said, state):
    finding = Finding.NOT_SETTLED if said is Event.SETTLED else Finding.SETTLED
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        world.rail.enquiries.clear()
        world.rail.enquiries.append(said)
        ended = await resolved(world, found, finding)
        assert ended.state is state
        assert (await world.store.history(found.id))[-1].event is said
        assert world.records.resolutions[1].proposal.ending is Ending.OVERTAKEN
        assert world.records.histories[found.id].attestation is Attestation.NONE
        assert kinds(world) == []


@pytest.mark.parametrize("said", [Event.NOT_FOUND, None])
async def test_an_indefinite_status_of_the_bank_takes_no_precedence(said):
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        world.rail.enquiries.clear()
        world.rail.enquiries.append(said)
        ended = await resolved(world, found, Finding.NOT_SETTLED)
        assert ended.state is State.ROLLED_BACK
        assert (await world.store.history(found.id))[-1].event is Event.ATTESTED_NOT_SETTLED
        assert world.records.histories[found.id].attestation is Attestation.STANDS


async def test_no_hold_is_released_when_the_last_enquiry_finds_the_payment():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        world.rail.enquiries.clear()
        world.rail.enquiries.append(Event.ACKNOWLEDGED)
        world.rail.enquiries.extend(SILENT)
        number = await attest(world, found, Finding.NOT_SETTLED)
        await world.until(lambda: world.records.resolutions[number].proposal.finished_at)
        assert world.records.resolutions[number].proposal.ending is Ending.OVERTAKEN
        assert world.records.histories[found.id].state is State.SENT
        assert (await world.nostro()).held == 100
        # People may still attest it; a repeated answer of the bank then changes nothing.
        world.rail.enquiries.insert(0, Event.ACKNOWLEDGED)
        assert (await resolved(world, found, Finding.NOT_SETTLED)).state is State.ROLLED_BACK


async def test_a_payment_sent_again_during_the_enquiry_is_not_released(
    monkeypatch: pytest.MonkeyPatch,
):
    """The rail answers *not found*, the bytes are resent and lost, and only then the enquiry times out."""
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        before = world.records.histories[found.id].seq
        real = case_worker.CaseWorker._enquire

        async def slow(*words: Any) -> Any:
            said = await real(*words)
            world.rail.sends.append(None)
            unknown = Answer(settlement_id=found.id, event=Event.NOT_FOUND, attempt=1)
            world.engine._mailbox.hear([unknown])
            await world.until(lambda: world.records.histories[found.id].seq == before + 2)
            return said

        monkeypatch.setattr(case_worker.CaseWorker, "_enquire", slow)
        number = await attest(world, found, Finding.NOT_SETTLED)
        await world.until(lambda: world.records.resolutions[number].proposal.finished_at)
        assert world.records.resolutions[number].proposal.ending is Ending.OVERTAKEN
        history = world.records.histories[found.id]
        assert history.attempt is not None
        assert (history.state, history.attempt.sends) == (State.IN_DOUBT, 2)
        assert (await world.nostro()).held == 100


async def test_a_proposal_without_approval_does_nothing():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        await world.case_management.resolutions.propose(spec(found, Finding.SETTLED))
        await asyncio.sleep(0.15)
        assert world.records.histories[found.id].state is State.IN_DOUBT


async def test_an_approved_proposal_is_carried_out_by_the_next_engine_after_a_crash():
    async with running(enquiry=slow_enquiries(), resolve_pause_seconds=9_999.0) as world:
        found = await doubted(world)
        proposal = await world.case_management.resolutions.propose(spec(found, Finding.SETTLED))
        await world.crash()
        await world.case_management.resolutions.approve(
            proposal.id, "grace", proposal.content_sha256
        )
        again = EngineWorld(world.records, enquiry=slow_enquiries())
        again.rail.enquiries.extend(SILENT)
        await again.start()
        assert (await again.engine.wait(found.id, 5)).state is State.COMPLETED
        await again.crash()


async def test_a_crash_between_enquiry_and_write_delays_a_proposal_and_nothing_else():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        await world.crash()
        number = await attest(world, found, Finding.SETTLED)
        # An engine took it up, enquired, and crashed before anything was written.
        assert [each.id for each in await world.case_management.resolutions.take_up(0.05, 10)] == [
            number
        ]
        assert await world.case_management.resolutions.take_up(9_999.0, 10) == []
        again = EngineWorld(world.records, enquiry=slow_enquiries())
        again.rail.enquiries.extend(SILENT)
        await again.start()
        assert (await again.engine.wait(found.id, 5)).state is State.COMPLETED
        await again.crash()


async def test_a_proposal_is_not_applied_without_its_rail():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        history = world.records.histories[found.id]
        assert history.attempt is not None
        route = history.attempt.route
        import msgspec

        elsewhere = msgspec.structs.replace(route, rail="gone")
        history.attempt = msgspec.structs.replace(history.attempt, route=elsewhere)
        [locked] = [each for each in world.records.moves if each.to_state is State.LOCKED]
        assert isinstance(locked.detail, dict)
        locked.detail.update(intent_detail(history.attempt))
        await attest(world, found, Finding.SETTLED)
        await world.until(lambda: "rail_missing" in world.meter.invariant_warnings)
        assert world.records.histories[found.id].state is State.IN_DOUBT
        history.attempt = msgspec.structs.replace(history.attempt, route=route)
        locked.detail.update(intent_detail(history.attempt))


# --- late reports ----------------------------------------------------------------------------------


async def test_a_late_settled_report_after_attested_not_settled_books_to_suspense_once():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        await resolved(world, found, Finding.NOT_SETTLED)
        before = await world.nostro()
        for number in range(3):
            say(world, found, Event.SETTLED, text=f"word {number}")
            await world.until(lambda: world.records.histories[found.id].is_frozen)
            await asyncio.sleep(0.02)
        assert kinds(world) == [CaseKind.DISPROVED]
        assert world.records.histories[found.id].state is State.ROLLED_BACK
        assert await world.nostro() == before
        assert await posted(world, AccountKind.SUSPENSE) == 100
        assert await posted(world, AccountKind.SETTLEMENT) == 100
        assert await posted(world, AccountKind.VOSTRO) == 0
        made = await world.accounts.transfers(TransferFilter(group_id=found.id))
        assert [each.leg for each in made] == [Leg.LATE_CASH]
        say(world, found, Event.REJECTED)  # now the bank contradicts itself
        await world.until(lambda: len(kinds(world)) == 2)
        assert kinds(world) == [CaseKind.DISPROVED, CaseKind.CONTRADICTION]
        assert await posted(world, AccountKind.SUSPENSE) == 100


async def test_a_late_rejection_after_attested_settled_is_taken_out_of_suspense_once():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        await resolved(world, found, Finding.SETTLED)
        before = await world.nostro()
        for word in (Event.REJECTED, Event.RECALLED, Event.REJECTED):
            say(world, found, word)
            await world.until(lambda: world.records.histories[found.id].is_frozen)
            await asyncio.sleep(0.02)
        assert kinds(world) == [CaseKind.DISPROVED]
        assert world.records.histories[found.id].state is State.COMPLETED
        assert await world.nostro() == before
        assert await posted(world, AccountKind.SUSPENSE) == -100
        assert await posted(world, AccountKind.SETTLEMENT) == 0
        assert await posted(world, AccountKind.VOSTRO) == 100
        say(world, found, Event.RETURNED)  # of a payment that was rejected
        await world.until(lambda: len(kinds(world)) == 2)
        assert world.records.histories[found.id].state is State.COMPLETED


async def test_not_found_disproves_no_attestation():
    async with running(enquiry=slow_enquiries()) as world:
        found = await doubted(world)
        await resolved(world, found, Finding.SETTLED)
        answer = Answer(settlement_id=found.id, event=Event.NOT_FOUND, attempt=1)
        world.engine._mailbox.hear([answer])
        await world.until(lambda: kinds(world))
        assert kinds(world) == [CaseKind.CONTRADICTION]
        assert await posted(world, AccountKind.SUSPENSE) == 0


async def test_a_second_confirmation_is_a_second_debit():
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend(SILENT)
        found = await world.settle(wait_seconds=0.1)
        say(world, found, Event.SETTLED, confirmation="C-1")
        await world.engine.wait(found.id, 5)
        say(world, found, Event.SETTLED, confirmation="C-1")
        say(world, found, Event.SETTLED)
        await asyncio.sleep(0.05)
        assert kinds(world) == []
        say(world, found, Event.SETTLED, confirmation="C-2")
        await world.until(lambda: kinds(world))
        assert kinds(world) == [CaseKind.SECOND_DEBIT]


# --- returns --------------------------------------------------------------------------------------


async def test_a_covered_return_is_debited_to_the_receivers_account():
    async with running() as world:
        found = await world.settle()
        say(world, found, Event.RETURNED)
        await world.until(lambda: world.records.histories[found.id].state is State.RETURNED)
        assert kinds(world) == []
        assert await posted(world, AccountKind.SUSPENSE) == 0


async def test_the_return_of_a_payout_is_covered_although_the_receiver_has_nothing():
    async with running() as world:
        found = await world.settle(requested_delivery=Delivery.PAY_OUT)
        assert await posted(world, AccountKind.VOSTRO) == 0
        say(world, found, Event.RETURNED)
        await world.until(lambda: world.records.histories[found.id].state is State.RETURNED)
        assert kinds(world) == []
        assert (await world.nostro()).posted == 10_000
        assert await posted(world, AccountKind.CLEARING) == 10_000
        for kind in (AccountKind.VOSTRO, AccountKind.SETTLEMENT, AccountKind.SUSPENSE):
            assert await posted(world, kind) == 0


async def test_an_uncovered_return_goes_to_suspense_and_opens_a_case():
    async with running() as world:
        found = await world.settle()
        spend(world, 60)
        say(world, found, Event.RETURNED)
        await world.until(lambda: world.records.histories[found.id].state is State.RETURNED)
        assert kinds(world) == [CaseKind.UNCOVERED_RETURN]
        assert "step_broken" not in world.meter.invariant_warnings
        assert (await world.nostro()).posted == 10_000  # the cash is back
        assert await posted(world, AccountKind.CLEARING) == 10_000 + 60  # and FROM's debt is open
        assert await posted(world, AccountKind.VOSTRO) == 40  # TO's account was not touched
        assert await posted(world, AccountKind.SUSPENSE) == -100  # what TO owes
        say(world, found, Event.RETURNED)
        await asyncio.sleep(0.05)
        assert kinds(world) == [CaseKind.UNCOVERED_RETURN]
        unspend(world, 60)


def unspend(world: EngineWorld, minor: int) -> None:
    """Undo the booking of ``spend``, because the proof of the books would find it."""
    [made_up] = [
        key
        for key, each in world.records.transfers.items()
        if each.leg is Leg.FUNDING and each.amount_minor == minor
    ]
    transfer = world.records.transfers.pop(made_up)
    accounts = world.records.accounts
    debited, credited = accounts[transfer.debit_id], accounts[transfer.credit_id]
    accounts[debited.id] = replace(debited, debits_posted=debited.debits_posted - minor)
    accounts[credited.id] = replace(credited, credits_posted=credited.credits_posted - minor)


def spend(world: EngineWorld, minor: int) -> None:
    """Let the receiver spend money, by a transfer outside of the test's subject."""
    from settlement_engine.domain.ledger import Transfer

    vostro = next(
        each
        for each in world.records.accounts.values()
        if each.kind is AccountKind.VOSTRO and each.bank == "BBB"
    )
    clearing = next(
        each for each in world.records.accounts.values() if each.kind is AccountKind.CLEARING
    )
    world.accounts.post_outside(
        Transfer(
            group_id=world.ids.new(),
            leg=Leg.FUNDING,
            debit_id=vostro.id,
            credit_id=clearing.id,
            amount_minor=minor,
            currency="EUR",
        )
    )


# --- limits and waits -----------------------------------------------------------------------------


async def test_overdue_counts_from_the_attempt_and_not_from_the_instruction():
    async with running(enquiry=slow_enquiries()) as world:
        world.rail.capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=0.05,
            is_not_found_definite=True,
            validity_seconds=3600,
            deduplicates_seconds=3600,
            overdue_after_seconds=60.0,
        )
        world.rail.sends.append(Event.ACKNOWLEDGED)
        found = await world.settle(wait_seconds=0.1)
        assert found.state is State.SENT
        assert found.attempt is not None
        decider = world.engine._executor._decider
        now = found.attempt.recorded_at + timedelta(seconds=59)
        waited = replace(found, created_at=found.created_at - timedelta(days=3))
        answer = Answer(settlement_id=found.id, event=Event.ACKNOWLEDGED, attempt=1)
        for at, event in ((now, Event.ACKNOWLEDGED), (now + timedelta(seconds=2), Event.OVERDUE)):
            step = decider.decide(waited, answer, at)
            assert step is not None
            assert step.event is event


async def test_a_payment_between_two_states_is_enquired_about_less_and_less_often():
    async with running() as world:
        world.rail.sends.append(None)
        world.rail.enquiries.extend(SILENT)
        found = await world.settle(wait_seconds=0.05)
        decider = world.engine._executor._decider
        schedule = decider._schedule
        settings = schedule._settings
        schedule._settings = replace(settings, enquiry=fast_enquiries())
        assert found.attempt is not None
        now = found.attempt.recorded_at
        waits: list[float] = []
        history = replace(found, state=State.LOCKED, asked=0)
        for event in (Event.NO_ANSWER, Event.NOT_FOUND) * 4:
            answer = Answer(settlement_id=found.id, event=event, attempt=1)
            step = decider.decide(history, answer, now)
            assert step is not None
            if step.transition.ask is Ask.ENQUIRE:
                assert step.due_seconds is not None
                waits.append(step.due_seconds)
            history = replace(history, state=step.transition.state, asked=history.asked + 1)
        schedule._settings = settings
        assert all(later > earlier * 2 for earlier, later in pairwise(waits))


def fast_enquiries():
    from settlement_engine.domain.backoff import Backoff

    return Backoff(first_seconds=1, max_seconds=1_000)


def test_defaults_of_a_proposal_and_of_a_list():
    assert Decision.OPEN.value == ""
    assert CaseFilter().limit == 100


class TalkativeRail:
    """Answers one enquiry several times; the last time when nobody waits any more."""

    name = "talkative"
    capabilities = ScriptedRail().capabilities

    def __init__(self, *events: Event, late: Event) -> None:
        self.answers = [self._answer(event) for event in events]
        self.late = self._answer(late)
        self.report: Any = None

    def _answer(self, event: Event) -> Answer:
        message = KeptMessage(
            settlement_id=settlement(State.IN_DOUBT).id,
            attempt=1,
            direction=MessageDirection.IN,
            rail=self.name,
            content=event.encode(),
            at=datetime(2026, 11, 28, tzinfo=UTC),
        )
        return Answer(settlement_id=message.settlement_id, event=event, attempt=1, message=message)

    async def enquire(self, _questions: object, report: Any) -> None:
        self.report = report
        for answer in self.answers:
            report([answer])


async def test_what_a_bank_said_is_kept_although_two_people_decide() -> None:
    rail = TalkativeRail(Event.NOT_FOUND, Event.ACKNOWLEDGED, late=Event.NOT_FOUND)
    mailbox = Mock()
    parts = dict.fromkeys(("store", "lease", "gate", "integrity", "meter"), Mock())
    worker = case_worker.CaseWorker(EngineSettings(), Mock(), rails={}, mailbox=mailbox, **parts)
    proposal: Any = Mock(finding=Finding.SETTLED)
    await worker._resolve(rail, [(proposal, settlement(State.IN_DOUBT))])  # type: ignore[arg-type]
    rail.report([rail.late])
    [[[heard], _], _] = mailbox.hear.call_args_list
    assert [each.event for each in heard] == [Event.ATTESTED_SETTLED]
    kept = [each.args[0] for each in mailbox.keep_message.call_args_list]
    assert kept == [*rail.answers, rail.late]
