"""The checks after a trial: state machine, ledger, bank and stream, without asking the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.decisions.before_the_end import ONLY_TO_A_QUESTION
from settlement_engine.domain.lifecycle import TRANSITIONS, Do, Event, State
from settlement_engine.ports import TransferFilter
from tests.failure.trials import SAID, Fault, Trial
from tests.support.histories import MADE_UP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.settlement import Moved, Settlement
    from tests.failure.cluster import Cluster

STREAM_PAGE: Final = 10_000
NOT_FOUND_ONCE: Final = dict.fromkeys(
    (Event.NOT_FOUND, Event.UNDELIVERED, Event.ABANDONED, Event.COVER_DUE), 1
)
"""How often a payment may be treated as missing when the bank reports that late."""


async def audit(cluster: Cluster, trial: Trial, settlement: Settlement, after: int) -> None:
    """Compare state machine, ledger, bank and stream."""
    history = await cluster.stores.settlements.history(settlement.id)
    check_legal(history, settlement)
    await _check_money(cluster, trial, settlement)
    await _check_stream(cluster, settlement, history, after)
    found = await cluster.stores.differences()
    assert [each for each in found if MADE_UP not in each.subject] == []
    assert await cluster.count("SELECT count(*) FROM open_settlements") == 0
    assert await cluster.count("SELECT count(*) FROM fund_locks WHERE resolved_at IS NULL") == 0
    engine = await cluster.engine(trial)
    assert not {"not_decided", "step_broken", "lost_from_memory"} & set(engine.meter.kinds)


def check_legal(history: Sequence[Moved], settlement: Settlement) -> None:
    """Check that each transition is legal and begins where the previous one ended."""
    state = State.PENDING
    for number, move in enumerate(history, start=1):
        assert move.seq == number
        assert move.from_state is state
        assert TRANSITIONS[state][move.event].state is move.to_state
        state = move.to_state
    assert state is settlement.state


async def _check_money(cluster: Cluster, trial: Trial, settlement: Settlement) -> None:
    obligation = trial.instruction.obligation_id
    sendings = cluster.bank.sendings[obligation]
    assert len({payload for payload, _ in sendings}) <= 1, "a resend is identical to the byte"
    assert all(is_marked for _, is_marked in sendings[1:]), "a resend says that it is one"
    debits = cluster.bank.debits[obligation]
    assert debits <= 1
    exceptions = await cluster.count(
        "SELECT count(*) FROM exceptions WHERE settlement_id = $1"
        " AND kind NOT IN ('in_doubt', 'overdue')",
        settlement.id,
    )
    if (
        trial.fault is Fault.ANSWER_LATE
        and SAID.get(trial.event, trial.event) in ONLY_TO_A_QUESTION
    ):
        assert exceptions == 0, "what means something only as an answer is too late"
        history = await cluster.stores.settlements.history(settlement.id)
        assert sum(move.event is Event.NOT_FOUND for move in history) <= NOT_FOUND_ONCE[trial.event]
    covers = cluster.bank.covers[obligation]
    assert covers <= await _cover_intents(cluster, settlement), "a cover has a send intent"
    if exceptions == 0:
        has_moved = settlement.state in (State.COMPLETED, State.RETURNED)
        assert debits == int(has_moved), "our end is the bank's"
    history = await cluster.stores.settlements.history(settlement.id)
    transfers = await cluster.stores.accounts.transfers(TransferFilter(group_id=settlement.id))
    wanted = sum(_legs(move) for move in history)
    assert len(transfers) == wanted
    assert len({(each.posting, each.leg) for each in transfers}) == wanted, "each leg once"


async def _cover_intents(cluster: Cluster, settlement: Settlement) -> int:
    """Return how often the history allows the cover to be sent."""
    history = await cluster.stores.settlements.history(settlement.id)
    return sum(move.event is Event.COVER_DUE for move in history)


def _legs(move: Moved) -> int:
    """Return how many transfers a transition makes."""
    match TRANSITIONS[move.from_state][move.event].do:
        case Do.POST | Do.REVERSE:
            return 2
        case Do.SUSPEND:
            return 1 if move.event in (Event.DISPROVED, Event.DEBITED_TWICE) else 2
        case _:
            return 0


async def _check_stream(
    cluster: Cluster, settlement: Settlement, history: Sequence[Moved], after: int
) -> None:
    found = await cluster.stores.stream.read(after, STREAM_PAGE)
    positions = [each.moved.position for each in found]
    assert positions == list(range(after + 1, after + 1 + len(found))), "gapless"
    announced = [each.moved.seq for each in found if each.moved.settlement_id == settlement.id]
    assert announced == [move.seq for move in history], "each move is announced once"
