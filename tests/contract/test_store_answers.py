"""Enquiries without a change are counted: a weekend of enquiries about a payment takes a handful of rows."""

from __future__ import annotations

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.evidence import bundle
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import CaseFilter, DoubtLimit
from settlement_lab.memory.applying import ANSWER_DETAILS_MAX

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = "1.0.0"
AT_ONCE = [DoubtLimit(rail="", in_doubt_seconds=0.0, overdue_seconds=0.0)]


async def ask(scene, settlement, event, **changes):
    """Apply one enquiry that changes no state, as the runner does; the expected settlement is updated."""
    [outcome] = await scene.apply(scene.step(settlement, event, due_seconds=0.0, **changes))
    assert outcome.result.value == "applied"
    settlement.asked += 1
    return outcome.at


async def test_a_thousand_enquiries_without_an_answer_are_one_row(stores, scene):
    settlement = await scene.bring(State.SENT)
    first_at = await ask(scene, settlement, Event.NO_ANSWER, detail={})
    for _ in range(998):
        await ask(scene, settlement, Event.NO_ANSWER, detail={})
    last_at = await ask(scene, settlement, Event.NO_ANSWER, detail={})
    dossier = await stores.archive.dossier(settlement.id)
    [answer] = dossier.answers.latest
    assert (dossier.answers.total, answer.times) == (1000, 1000)
    assert (answer.at, answer.last_at) == (first_at, last_at)
    checks = verify(bundle.write(dossier, VERSION), VERSION).checks
    assert [fault for check in checks for fault in check.faults] == []
    reported = as_text(explain(dossier))
    assert "1000 times between" in reported
    assert "not copied here" not in reported


async def test_alternating_answers_are_counted_separately(stores, scene):
    settlement = await scene.bring(State.SENT)
    for number in range(59):
        await ask(scene, settlement, Event.ACKNOWLEDGED if number % 3 else Event.NO_ANSWER)
    last_at = await ask(scene, settlement, Event.ACKNOWLEDGED)
    dossier = await stores.archive.dossier(settlement.id)
    found = {each.event: each.times for each in dossier.answers.latest}
    assert found == {Event.NO_ANSWER: 20, Event.ACKNOWLEDGED: 40}
    assert dossier.answers.total == 60
    await stores.cases.open_doubts(AT_ONCE, 1000)
    [case] = await stores.cases.cases(CaseFilter(settlement_id=settlement.id))
    file = await stores.cases.case(case.id)
    assert (file.last_answer.event, file.last_answer.at) == (Event.ACKNOWLEDGED, last_at)


async def test_a_different_answer_in_between_starts_a_new_row(stores, scene):
    settlement = await scene.bring(State.SENT)
    await ask(scene, settlement, Event.NO_ANSWER)
    settlement = await scene.load(settlement)
    settlement = await scene.move(settlement, Event.CANCELLED)
    settlement = await scene.move(settlement, Event.RECALL_REFUSED)
    assert settlement.state is State.SENT
    await ask(scene, settlement, Event.NO_ANSWER)
    dossier = await stores.archive.dossier(settlement.id)
    first, second = dossier.answers.latest
    assert (first.times, second.times) == (1, 1)
    assert first.last_at < dossier.moves[-1].at <= second.at


async def test_varying_answers_of_a_bank_do_not_fill_the_table(stores, scene):
    settlement = await scene.bring(State.SENT)
    asked = ANSWER_DETAILS_MAX + 150
    for number in range(asked):
        text = f"still in process at minute {number}"
        await ask(scene, settlement, Event.ACKNOWLEDGED, detail={"text": text})
    dossier = await stores.archive.dossier(settlement.id)
    assert dossier.answers.total == asked
    assert len(dossier.answers.latest) == ANSWER_DETAILS_MAX + 1
    assert max(each.times for each in dossier.answers.latest) == 150
