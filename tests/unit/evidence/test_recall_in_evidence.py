"""A recall after completion in explanations and evidence: told step by step, and every alteration is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.recalls import RECALL_TRANSITIONS, RecallState
from settlement_engine.evidence import bundle
from settlement_engine.evidence.explanation import as_text, explain
from settlement_engine.evidence.explanation_recall import STEPS, WAITS
from settlement_engine.evidence.verification import verify
from settlement_engine.ports import RecallCommand
from tests.support.made_histories import live

if TYPE_CHECKING:
    from settlement_engine.evidence.dossier import Dossier

R, E = RecallState, Event
ANSWERED = ((E.ACKNOWLEDGED, R.IN_PROCESS), (E.OVERDUE, R.OVERDUE), (E.RECALLED, R.PROMISED))


async def recalled(*steps: tuple[Event, RecallState]) -> Dossier:
    settlement, stores = await live("completed")
    recall = await stores.recalls.request_recall(settlement.id, "ada", "paid twice")
    for event, state in steps:
        command = RecallCommand(
            settlement_id=settlement.id,
            after_seq=recall.seq,
            event=event,
            state=state,
            detail={"code": "CUST", "text": "asked the customer"},
        )
        assert await stores.recalls.step_recall(command)
        found = await stores.recalls.recall(settlement.id)
        assert found is not None
        recall = found
    dossier = await stores.archive.dossier(settlement.id)
    assert dossier is not None
    return dossier


def faults(dossier: Dossier) -> list[str]:
    checks = verify(bundle.write(dossier, "1.0"), "1.0").checks
    return [fault for check in checks for fault in check.faults]


def test_every_state_of_a_recall_has_its_words():
    assert STEPS.keys() == set(RecallState)
    assert WAITS.keys() == set(RecallState) - {R.REFUSED, R.RETURNED}


async def test_each_step_is_told_with_who_asked_and_what_the_bank_said():
    dossier = await recalled(*ANSWERED)
    text = as_text(explain(dossier))
    for state in (R.REQUESTED, R.IN_PROCESS, R.OVERDUE, R.PROMISED):
        assert STEPS[state][1:] in text
    assert "by ada: paid twice" in text
    assert "code CUST, text asked the customer" in text
    assert WAITS[R.PROMISED] in text
    assert "Nothing: it has ended." not in text


async def test_after_a_refusal_nothing_is_waited_for():
    text = as_text(explain(await recalled((E.RECALL_REFUSED, R.REFUSED))))
    assert STEPS[R.REFUSED][1:] in text
    assert "Nothing: it has ended." in text


async def test_evidence_has_the_recall_and_is_read_back():
    dossier = await recalled(*ANSWERED)
    files = bundle.write(dossier, "1.0")
    assert bundle.RECALL in files
    assert bundle.read(files) == dossier
    assert faults(dossier) == []
    without = msgspec.structs.replace(dossier, recall=())
    assert bundle.RECALL not in bundle.write(without, "1.0")
    assert faults(without) == []


@pytest.mark.parametrize(
    ("number", "change", "fault"),
    [
        (0, {"state": R.PROMISED}, "does not begin with its request"),
        (0, {"event": E.RECALLED}, "does not begin with its request"),
        (0, {"detail": {"reason": "why"}}, "who requested it"),
        (1, {"seq": 3}, "without a gap"),
        (1, {"event": None}, "no transition"),
        (3, {"state": R.RETURNED}, "no transition"),
        (3, {"event": E.RETURNED, "state": R.RETURNED}, "the settlement does not"),
    ],
)
async def test_an_altered_step_is_found(number: int, change: dict[str, Any], fault: str):
    dossier = await recalled(*ANSWERED)
    steps = list(dossier.recall)
    steps[number] = msgspec.structs.replace(steps[number], **change)
    altered = msgspec.structs.replace(dossier, recall=tuple(steps))
    assert any(fault in each for each in faults(altered)), faults(altered)


async def test_steps_in_another_order_of_time_and_of_a_payment_that_has_not_ended_are_found():
    dossier = await recalled(*ANSWERED)
    first, second, *others = dossier.recall
    swapped = (
        msgspec.structs.replace(first, at=second.at),
        msgspec.structs.replace(second, at=first.at),
        *others,
    )
    altered = msgspec.structs.replace(dossier, recall=swapped)
    assert any("was made before" in each for each in faults(altered))
    sent, stores = await live("sent")
    other = await stores.archive.dossier(sent.id)
    assert other is not None
    beside = msgspec.structs.replace(other, recall=dossier.recall)
    assert any("there is a recall" in each for each in faults(beside))
    assert all(state in RECALL_TRANSITIONS for state in RecallState)
