"""Transitions that cannot be booked: a case is opened at once, and the write is retried."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.exceptions import ENGINE, CaseKind, Severity
from settlement_engine.domain.ledger import BALANCE_FULL
from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import InvariantViolated, Unavailable
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.ports import Answer, CaseFilter
from settlement_lab.memory import MemoryArchive, MemoryCases
from tests.unit.engine.engine_world import payment_request, running

if TYPE_CHECKING:
    from uuid import UUID

    import pytest


async def test_a_transition_that_cannot_be_booked_opens_a_case_at_once() -> None:
    later = Backoff(first_seconds=60, max_seconds=60)
    async with running(broken_due_seconds=1_000.0, enquiry=later) as world:
        world.rail.sends.append(Event.ACKNOWLEDGED)
        [accepted] = await world.engine.submit([payment_request("k1")])
        assert not isinstance(accepted, Exception)
        key = accepted.id
        await world.until(lambda: world.records.open[key].engine_id == 0)
        world.store.poison.add("o-k1")
        world.rail.say([Answer(settlement_id=key, event=Event.SETTLED, attempt=1)])
        await world.until(lambda: world.records.cases)
        [case] = await world.case_management.cases.cases(CaseFilter())
        assert (case.kind, case.settlement_id) == (CaseKind.CANNOT_BE_BOOKED, key)
        assert case.severity is Severity.CRITICAL
        assert case.detail == {"state": "sent", "happened": "settled", "why": "poison"}
        dossier = await MemoryArchive(world.records).dossier(key)
        assert dossier is not None
        told = as_text(explain(dossier))
        assert "Somebody has to act: the event settled cannot be booked" in told
        assert "poison" in told
        assert "Nobody has to act" not in told
        assert dossier.standing.state is State.SENT
        assert (await world.nostro()).held == 100


async def test_a_transition_that_cannot_be_booked_is_retried_and_success_closes_its_case() -> None:
    async with running() as world:
        world.store.poison.add("o-k1")
        [accepted] = await world.engine.submit([payment_request("k1")])
        assert not isinstance(accepted, Exception)
        tries = world.meter.invariant_warnings
        await world.until(lambda: tries.count("step_broken") > 3)
        assert tries.count("cannot_be_booked") == 1
        world.store.poison.clear()
        assert (await world.engine.wait(accepted.id, 5)).state is State.COMPLETED
        cases = world.records.cases.values()
        await world.until(lambda: all(each.closed_by == ENGINE for each in cases))
        assert [each.kind for each in cases] == [CaseKind.CANNOT_BE_BOOKED]


async def test_an_error_while_deciding_opens_a_case_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as world:

        def prepare(*_: object) -> bytes:
            message = "no such field"
            raise ValueError(message)

        monkeypatch.setattr(world.rail, "prepare", prepare)
        await world.engine.submit([payment_request("k1")])
        await world.until(lambda: world.records.cases)
        [case] = world.records.cases.values()
        assert case.kind is CaseKind.CANNOT_BE_BOOKED
        assert case.detail["why"] == "ValueError('no such field')"


async def test_a_case_that_could_not_be_opened_is_opened_at_the_next_try() -> None:
    async with running() as world:
        cases = world.case_management.cases
        lost = [Unavailable("lost"), InvariantViolated("broken")]

        class Shaky(MemoryCases):
            async def open_unbookable(self, settlement_id: UUID, detail: Any) -> bool:
                if lost:
                    raise lost.pop()
                return await super().open_unbookable(settlement_id, detail)

        world.engine._unbookable._cases = Shaky(world.records)
        world.store.poison.add("o-k1")
        await world.engine.submit([payment_request("k1")])
        await world.until(lambda: world.records.cases)
        assert lost == []
        assert len(await cases.cases(CaseFilter())) == 1


async def test_a_payment_to_an_account_at_its_maximum_is_refused_before_funds_are_held() -> None:
    async with running() as world:
        nostro = await world.nostro()
        full = replace(
            nostro,
            debits_posted=nostro.debits_posted + BALANCE_FULL,
            credits_posted=nostro.credits_posted + BALANCE_FULL,
        )
        world.records.accounts[nostro.id] = full
        ended = await world.settle("k1")
        assert (ended.state, ended.refusal_code) == (State.FAILED, "ACCOUNT_FULL")
        assert (await world.nostro()) == full
        assert not world.rail.asked
        world.records.accounts[nostro.id] = nostro  # so that the books prove
