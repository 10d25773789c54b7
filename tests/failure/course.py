"""The course of a trial: submit, do what the page waits for, and follow the settlement to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.returns import NOT_STATED
from settlement_engine.ports import Answer
from tests.failure.trials import (
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
    from tests.failure.town import Town
    from tests.support.frailbank import Cue

PATIENCE_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.004
WISH_AGAIN_SECONDS: Final = 0.05


async def run(town: Town, trial: Trial) -> Settlement:
    """Submit, act where the page waits for somebody, and follow the settlement to its end."""
    is_waiting = trial.instruction.amount.currency == WAITING_CURRENCY
    if is_waiting:
        await town.set_window(trial, is_open=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        trial.settlement_id = await _submit(town, trial)
        while True:
            is_quiet = (await town.engine(trial)).is_idle
            found = await town.witness.settlements.load([trial.settlement_id])
            settlement = found[trial.settlement_id]
            stop = _next_stop(trial)
            if stop is not None:
                await _act(town, trial, settlement, stop)
            elif settlement.state in ENDS and trial.has_struck and is_quiet:
                return settlement
            elif settlement.state is State.HELD:
                await _wish(town, trial, settlement, Event.APPROVED)
            elif settlement.state is State.QUEUED:
                await _release(town, trial)
            await asyncio.sleep(LOOK_SECONDS)


async def _submit(town: Town, trial: Trial) -> Any:
    """Submit until somebody has accepted; twice where the trial wants that."""
    while True:
        engine = await town.engine(trial)
        calls = [engine.service.submit([trial.instruction])]
        if trial.fault is Fault.ANSWER_TWICE and trial.event is Event.ADMITTED:
            trial.is_struck = True
            calls.append(engine.service.submit([trial.instruction]))
        both = asyncio.gather(*calls)
        while not both.done() and not engine.is_dead:  # noqa: ASYNC110 - a death rings no bell
            await asyncio.sleep(LOOK_SECONDS)
        if both.done():
            accepted = [each for (each,) in both.result()]
            ids = {each.settlement.id for each in accepted if not isinstance(each, Exception)}
            assert len(ids) == 1, accepted
            return ids.pop()
        both.cancel()


def _next_stop(trial: Trial) -> tuple[Cue, State, Event] | None:
    """Return where the world waits now; what was said already is passed."""
    cues = trial.bank.cues[trial.instruction.obligation_id]
    trial.stops = trial.stops[len(trial.stops) - len(cues) :]
    return trial.stops[0] if trial.stops and trial.stops[0][0].ask is None else None


async def _act(
    town: Town, trial: Trial, settlement: Settlement, stop: tuple[Cue, State, Event]
) -> None:
    """Do what the page waits for, until it was heard."""
    _, state, event = stop
    life = await town.witness.settlements.life(settlement.id)
    if any((move.from_state, move.event) == (state, event) for move in life):
        trial.bank.cues[trial.instruction.obligation_id].popleft()
    elif settlement.state is state and SOURCES[event] is Source.WISH:
        if event in EVIDENCE:
            obligation = trial.instruction.obligation_id
            trial.bank.enter(obligation, _reference(trial), EVIDENCE[event])
        await _wish(town, trial, settlement, event)
    elif settlement.state is state:
        if event in (Event.UNCOVERED, Event.PARTLY_UNCOVERED):
            await town.spend_everything()
        attempt = settlement.attempt.number if settlement.attempt else 0
        answer = Answer(
            settlement_id=settlement.id,
            event=UNASKED[state, event],
            attempt=attempt,
            code="X2",
            stated=STATED.get(event, NOT_STATED),
        )
        times = 2 if trial.fault is Fault.ANSWER_TWICE else 1
        trial.is_struck = trial.is_struck or trial.fault is Fault.ANSWER_TWICE
        if _may_repeat(trial):
            for _ in range(times):
                await _tell(town, trial, answer)


async def _tell(town: Town, trial: Trial, answer: Answer) -> None:
    """Say it as the bank does; of what was never sent, only a bank's list at a failover speaks."""
    if answer.attempt:
        trial.bank.say(answer)
    else:
        (await town.engine(trial)).service._mailbox.hear([answer])


def _reference(trial: Trial) -> str:
    wished = trial.instruction
    return references(wished.caller, wished.idempotency_key, 1).end_to_end_id


def _may_repeat(trial: Trial) -> bool:
    now = asyncio.get_running_loop().time()
    if now - trial.wished_at < WISH_AGAIN_SECONDS:
        return False
    trial.wished_at = now
    return True


async def _wish(town: Town, trial: Trial, settlement: Settlement, event: Event) -> None:
    """Wish for something, again and again: a person who hears nothing asks again."""
    engine = await town.engine(trial)
    if not _may_repeat(trial):
        return
    is_twice = trial.fault is Fault.ANSWER_TWICE and (settlement.state, event) == (
        trial.state,
        trial.event,
    )
    trial.is_struck = trial.is_struck or is_twice
    for _ in range(2 if is_twice else 1):
        engine.service._mailbox.request(settlement, event)


async def _release(town: Town, trial: Trial) -> None:
    """Let the wait be over."""
    await town.set_window(trial, is_open=True)
    await town.execute(
        "UPDATE open_settlements SET due_at = clock_timestamp() WHERE settlement_id = $1"
        " AND owner = 0",
        trial.settlement_id,
    )
    if trial.fault is Fault.ANSWER_TWICE and trial.event is Event.RELEASED:
        trial.is_struck = True
