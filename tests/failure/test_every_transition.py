"""Every transition of the state machine with every fault, generated from the table, on a real PostgreSQL.

Whatever goes wrong at a transition, the settlement reaches a legal final state, the bank has debited it at most
once, and ledger, state history and stream are right. The long form, with processes, is in tests/soak.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from settlement_engine.domain.lifecycle import TRANSITIONS, Event, State
from tests.failure.audit import audit
from tests.failure.cluster import Cluster
from tests.failure.sequence import run
from tests.failure.trials import ROWS, SOURCES, Fault, can_occur, prepare

CELLS = [(*row, fault) for row in ROWS for fault in Fault if can_occur(*row, fault)]
NAMES = [f"{state}-{event}-{fault}" for state, event, fault in CELLS]

NOTHING_IS_ASKED = {
    (State.VALIDATING, Event.CANCELLED),
    (State.HELD, Event.DECLINED),
    (State.HELD, Event.CANCELLED),
    (State.QUEUED, Event.LAPSED),
    (State.QUEUED, Event.CANCELLED),
    (State.IN_DOUBT, Event.ATTESTED_SETTLED),
    (State.IN_DOUBT, Event.ATTESTED_NOT_SETTLED),
    (State.SENT, Event.ATTESTED_SETTLED),
    (State.SENT, Event.ATTESTED_NOT_SETTLED),
    (State.RECALLING, Event.ATTESTED_SETTLED),
    (State.RECALLING, Event.ATTESTED_NOT_SETTLED),
    (State.COMPLETED, Event.RETURNED),
    (State.COMPLETED, Event.PARTLY_RETURNED),
    (State.COMPLETED, Event.UNCOVERED),
    (State.COMPLETED, Event.PARTLY_UNCOVERED),
    (State.COMPLETED, Event.CONTRADICTED),
    (State.COMPLETED, Event.DISPROVED),
    (State.FAILED, Event.CONTRADICTED),
    (State.ROLLED_BACK, Event.CONTRADICTED),
    (State.ROLLED_BACK, Event.DISPROVED),
    (State.COMPLETED, Event.DEBITED_TWICE),
    (State.RETURNED, Event.DEBITED_TWICE),
    (State.RETURNED, Event.CONTRADICTED),
}
"""Transitions without a request before or after them: no request or answer can be lost there."""

CANNOT_BE_REACHED: dict[tuple[State, Event], str] = {}
"""Transitions that the engine cannot be brought to, with the reason. There are none."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(databases):
    url = await databases.migrated()
    made = await Cluster(url).open()
    yield made
    await made.close()
    await databases.drop(url)


def test_every_event_has_a_source():
    assert set(SOURCES) == set(Event)


def test_only_the_listed_transitions_have_no_request_to_lose():
    left_out = {(s, e) for s, e in ROWS if not can_occur(s, e, Fault.QUESTION_LOST)}
    assert left_out == NOTHING_IS_ASKED
    assert len(CELLS) == len(ROWS) * len(Fault) - 3 * len(NOTHING_IS_ASKED)


def test_every_transition_is_tested():
    assert {(state, event) for state, event, _ in CELLS} == {
        (state, event) for state, rows in TRANSITIONS.items() for event in rows
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("state", "event", "fault"), CELLS, ids=NAMES)
async def test_every_fault_at_every_transition_ends_correctly(cluster, state, event, fault):
    after = await cluster.stores.stream.head()
    trial = prepare(cluster.bank, state, event, fault)
    settlement = await run(cluster, trial)
    await audit(cluster, trial, settlement, after)
    assert trial.has_struck, "a fault that never came is no test"
    if fault is Fault.NOTHING:
        is_reached = (state, event) in trial.applied or event is Event.ADMITTED
        assert is_reached == ((state, event) not in CANNOT_BE_REACHED)
