"""The writer: a batch of transitions whose write has failed becomes one commit, whatever happens to the connection.

After a connection failure it is unknown whether the batch was written. The guards make a second write harmless, so
the same batch is written again; a transition that is stale then may be our own first write, and is looked up.
Promises: a transition that the database refuses as broken is found by halving the batch, and does not stop the
others; a second debit that the ledger refuses is *short*, and is decided again. Must never: report a transition as
written before the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from settlement_engine.domain.lifecycle import Event, is_recorded
from settlement_engine.errors import Broken, Contention, InvariantViolated, Unavailable
from settlement_engine.ports import Result, TransitionResult

if TYPE_CHECKING:
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.errors import SettlementEngineError
    from settlement_engine.ports import Meter, SettlementStore, TransitionCommand

log = structlog.get_logger(__name__)


class TransitionWriter:
    """Writes batches of transitions again."""

    def __init__(self, store: SettlementStore, lease: EngineLease, meter: Meter) -> None:
        self._store = store
        self._lease = lease
        self._meter = meter

    async def write_after(
        self,
        error: SettlementEngineError,
        steps: list[TransitionCommand],
        *,
        is_repeat: bool = False,
    ) -> list[TransitionResult | Broken]:
        """Write transitions whose write has failed; one result each, in order, or the error of a broken one.

        While the database is unreachable, wait and write the same batch again.
        """
        while not isinstance(error, Broken):
            is_repeat = is_repeat or isinstance(error, Unavailable)
            self._meter.invariant_warning("commit_unknown" if is_repeat else "contention")
            await self._lease.pause()
            try:
                return await self._write(steps, is_repeat=is_repeat)
            except (Unavailable, Contention, Broken) as another:
                error = another
        return await self._isolate(error, steps, is_repeat=is_repeat)

    async def _write(
        self, steps: list[TransitionCommand], *, is_repeat: bool
    ) -> list[TransitionResult | Broken]:
        outcomes = await self._store.apply(steps, self._lease.engine_id)
        self._lease.saw(outcomes[0].at)
        return list(await self._recognise(steps, outcomes) if is_repeat else outcomes)

    async def _isolate(
        self, error: Broken, steps: list[TransitionCommand], *, is_repeat: bool
    ) -> list[TransitionResult | Broken]:
        """Halve a batch that the database refuses as broken, until the broken transition is found."""
        if len(steps) == 1 and _is_uncovered(steps[0], error):
            return [TransitionResult(result=Result.SHORT, at=self._lease.now())]
        if len(steps) == 1 and _is_not_due(steps[0], error):
            return [TransitionResult(result=Result.NOT_DUE, at=self._lease.now())]
        if len(steps) == 1:
            self._tell(steps[0], error)
            return [error]
        middle = len(steps) // 2
        found: list[TransitionResult | Broken] = []
        for half in (steps[:middle], steps[middle:]):
            try:
                found += await self._write(half, is_repeat=is_repeat)
            except (Unavailable, Contention, Broken) as another:
                found += await self.write_after(another, half, is_repeat=is_repeat)
        return found

    def _tell(self, step: TransitionCommand, error: Broken) -> None:
        self._meter.invariant_warning("step_broken")
        log.error(
            "step_broken",
            settlement=str(step.settlement.id),
            state=step.settlement.state.value,
            happened=step.event.value,
            why=error.why or error.what,
        )

    async def _recognise(
        self, steps: list[TransitionCommand], outcomes: list[TransitionResult]
    ) -> list[TransitionResult]:
        """Distinguish our own earlier write from another engine's."""
        stale = [
            step.settlement.id
            for step, outcome in zip(steps, outcomes, strict=True)
            if outcome.result is Result.STALE
        ]
        found = await self._store.load(stale) if stale else {}
        owned = await self._store.owned(self._lease.engine_id) if stale else set()
        recognised = []
        for step, outcome in zip(steps, outcomes, strict=True):
            now = found.get(step.settlement.id)
            is_ours = (
                now is not None
                and is_recorded(step.settlement.state, step.transition)
                and now.state is step.transition.state
                and now.seq == step.settlement.seq + 1
                and now.fencing_token in (step.settlement.fencing_token, 0)
                # Another engine may have written the same; then that engine asks the question.
                and (now.is_ended or step.due_seconds is not None or now.id in owned)
            )
            recognised.append(
                msgspec.structs.replace(outcome, result=Result.APPLIED) if is_ours else outcome
            )
        return recognised


def _is_not_due(step: TransitionCommand, error: Broken) -> bool:
    """Say whether a guard keeps a cover from leaving: between question and commit it was refused, or repaired.

    An earlier answer says that its bank does not know it, and a later one, noted by now, that it refuses it.
    """
    return step.event is Event.COVER_DUE and isinstance(error, InvariantViolated)


def _is_uncovered(step: TransitionCommand, error: Broken) -> bool:
    """Say whether a guard of the books keeps a second debit from our account at the bank.

    No other step from outside takes from an account whose limit is guarded without a hold, or a result of its own.
    """
    return step.event is Event.DEBITED_TWICE and isinstance(error, InvariantViolated)
