"""Every row of the page with every fault, enumerated from the page itself, on a real PostgreSQL.

Whatever goes wrong at a row, the settlement comes to an end that the page allows, the bank has debited it
at most once, and books, lives and stream are right. The long form, with processes, is in tests/soak.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from settlement_engine.domain.lifecycle import LIFE, Event, State
from tests.failure.audit import audit
from tests.failure.course import run
from tests.failure.town import Town
from tests.failure.trials import ROWS, SOURCES, Fault, has_place, prepare

CELLS = [(*row, fault) for row in ROWS for fault in Fault if has_place(*row, fault)]
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
    (State.RETURNED, Event.CONTRADICTED),
}
"""Rows without a question before or after them: there no question and no answer can be lost."""

CANNOT_BE_REACHED: dict[tuple[State, Event], str] = {}
"""Rows that the engine cannot be brought to, with the reason. There is none."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def town(databases):
    url = await databases.migrated()
    made = await Town(url).open()
    yield made
    await made.close()
    await databases.drop(url)


def test_every_event_has_somebody_who_brings_it_about():
    assert set(SOURCES) == set(Event)


def test_the_cells_without_a_place_are_exactly_these():
    left_out = {(s, e) for s, e in ROWS if not has_place(s, e, Fault.QUESTION_LOST)}
    assert left_out == NOTHING_IS_ASKED
    assert len(CELLS) == len(ROWS) * len(Fault) - 3 * len(NOTHING_IS_ASKED)


def test_no_row_is_left_out():
    assert {(state, event) for state, event, _ in CELLS} == {
        (state, event) for state, rows in LIFE.items() for event in rows
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("state", "event", "fault"), CELLS, ids=NAMES)
async def test_whatever_goes_wrong_at_a_row_ends_well(town, state, event, fault):
    after = await town.witness.stream.head()
    trial = prepare(town.bank, state, event, fault)
    settlement = await run(town, trial)
    await audit(town, trial, settlement, after)
    assert trial.has_struck, "a fault that never came is no test"
    if fault is Fault.NOTHING:
        is_reached = (state, event) in trial.applied or event is Event.ADMITTED
        assert is_reached == ((state, event) not in CANNOT_BE_REACHED)
