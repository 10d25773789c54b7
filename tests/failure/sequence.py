"""Runs one trial: submits, acts where the state machine waits for somebody, follows the settlement to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.ports import Answer
from tests.failure.trials import (
    ENTRIES,
    EVIDENCE,
    SOURCES,
    STATED,
    UNASKED,
    WAITING_CURRENCY,
    Fault,
    Source,
    Trial,
)

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement
    from tests.failure.cluster import Cluster
    from tests.support.frailbank import Cue

TIMEOUT_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.004
REPEAT_SECONDS: Final = 0.05


async def run(cluster: Cluster, trial: Trial) -> Settlement:
    """Submit, act where somebody has to, and return the ended settlement."""
    is_waiting = trial.instruction.amount.currency == WAITING_CURRENCY
    if is_waiting:
        await cluster.set_window(trial, is_open=False)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        trial.settlement_id = await _submit(cluster, trial)
        while True:
            is_quiet = (await cluster.engine(trial)).is_idle
            found = await cluster.stores.settlements.load([trial.settlement_id])
            settlement = found[trial.settlement_id]
            stop = _next_stop(trial)
            if stop is not None:
                await _act(cluster, trial, settlement, stop)
            elif settlement.state in ENDS and trial.has_struck and is_quiet:
                return settlement
            elif settlement.state is State.HELD:
                await _request(cluster, trial, settlement, Event.APPROVED)
            elif settlement.state is State.QUEUED:
                await _release(cluster, trial)
            await asyncio.sleep(LOOK_SECONDS)


async def _submit(cluster: Cluster, trial: Trial) -> Any:
    """Submit until an engine has accepted; twice where the trial wants that."""
    while True:
        engine = await cluster.engine(trial)
        calls = [engine.service.submit([trial.instruction])]
        if trial.fault is Fault.ANSWER_TWICE and trial.event is Event.ADMITTED:
            trial.is_struck = True
            calls.append(engine.service.submit([trial.instruction]))
        both = asyncio.gather(*calls)
        while not both.done() and not engine.is_dead:  # noqa: ASYNC110 - an engine's end cannot be awaited
            await asyncio.sleep(LOOK_SECONDS)
        if both.done():
            accepted = [each for (each,) in both.result()]
            ids = {each.id for each in accepted if not isinstance(each, Exception)}
            assert len(ids) == 1, accepted
            return ids.pop()
        both.cancel()


def _next_stop(trial: Trial) -> tuple[Cue, State, Event] | None:
    """Return the point at which the trial waits now; cues that the bank has used are skipped."""
    cues = trial.bank.cues[trial.instruction.obligation_id]
    trial.stops = trial.stops[len(trial.stops) - len(cues) :]
    return trial.stops[0] if trial.stops and trial.stops[0][0].ask is None else None


async def _act(
    cluster: Cluster, trial: Trial, settlement: Settlement, stop: tuple[Cue, State, Event]
) -> None:
    """Cause the event for which the state machine waits, until it was applied."""
    _, state, event = stop
    history = await cluster.stores.settlements.history(settlement.id)
    if any((move.from_state, move.event) == (state, event) for move in history):
        trial.bank.cues[trial.instruction.obligation_id].popleft()
    elif settlement.state is state and SOURCES[event] is Source.REQUEST:
        if event in EVIDENCE:
            obligation = trial.instruction.obligation_id
            trial.bank.enter(obligation, _reference(trial), EVIDENCE[event])
        await _request(cluster, trial, settlement, event)
    elif settlement.state is state:
        if event in (Event.UNCOVERED, Event.PARTLY_UNCOVERED):
            await cluster.spend_everything()
        attempt = settlement.attempt.number if settlement.attempt else 0
        answer = Answer(
            settlement_id=settlement.id,
            event=UNASKED[state, event],
            attempt=attempt,
            code="X2",
            stated=STATED.get(event, NOT_STATED),
            entry=ENTRIES.get(event),
        )
        times = 2 if trial.fault is Fault.ANSWER_TWICE else 1
        trial.is_struck = trial.is_struck or trial.fault is Fault.ANSWER_TWICE
        if _may_repeat(trial):
            for _ in range(times):
                await _report(cluster, trial, answer)


async def _report(cluster: Cluster, trial: Trial, answer: Answer) -> None:
    """Report as the bank does; about a payment that was never sent, only a bank's list at a failover reports."""
    if answer.attempt:
        trial.bank.say(answer)
    else:
        (await cluster.engine(trial)).service._mailbox.hear([answer])


def _reference(trial: Trial) -> str:
    instruction = trial.instruction
    return references(instruction.caller, instruction.idempotency_key, 1).end_to_end_id


def _may_repeat(trial: Trial) -> bool:
    now = asyncio.get_running_loop().time()
    if now - trial.requested_at < REPEAT_SECONDS:
        return False
    trial.requested_at = now
    return True


async def _request(cluster: Cluster, trial: Trial, settlement: Settlement, event: Event) -> None:
    """Request the event repeatedly, like a person who gets no answer."""
    engine = await cluster.engine(trial)
    if not _may_repeat(trial):
        return
    is_twice = trial.fault is Fault.ANSWER_TWICE and (settlement.state, event) == (
        trial.state,
        trial.event,
    )
    trial.is_struck = trial.is_struck or is_twice
    for _ in range(2 if is_twice else 1):
        engine.service._mailbox.request(settlement, event)


async def _release(cluster: Cluster, trial: Trial) -> None:
    """Open the window and make the settlement due."""
    await cluster.set_window(trial, is_open=True)
    await cluster.execute(
        "UPDATE open_settlements SET due_at = clock_timestamp() WHERE settlement_id = $1"
        " AND owner = 0",
        trial.settlement_id,
    )
    if trial.fault is Fault.ANSWER_TWICE and trial.event is Event.RELEASED:
        trial.is_struck = True
