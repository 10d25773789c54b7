"""The callers of a schedule: each submits until it is answered, and perhaps cancels or submits again.

Promises: an unanswered call is repeated. The answers that a caller got are compared with the database at
the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.lifecycle import State
from settlement_engine.errors import IdempotencyConflict, SettlementEngineError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_lab.schedules.engine import ScheduledEngine
    from settlement_lab.worlds.faults import Faults

BEGINNING_SECONDS: Final = 4.0
TRIES_MAX: Final = 60
ANSWER_SECONDS: Final = 8.0


@dataclass(slots=True)
class Wanted:
    """What a caller wants settled, and the answers that it got."""

    request: Instruction
    settlement_id: UUID | None = None
    conflict: str = ""


class Callers:
    """See the module. ``engines`` are those that run; the schedule changes them."""

    def __init__(
        self, chance: random.Random, faults: Faults, engines: list[ScheduledEngine]
    ) -> None:
        self._chance, self._faults, self._engines = chance, faults, engines
        self._wanted: list[Wanted] = []

    def want(self, request: Instruction) -> Wanted:
        """Record what a caller wants."""
        wanted = Wanted(request)
        self._wanted.append(wanted)
        return wanted

    async def call(self, wanted: Wanted) -> None:
        """Submit until there is an answer; then perhaps cancel or submit again."""
        await asyncio.sleep(self._chance.random() * BEGINNING_SECONDS)
        is_first = True
        for _ in range(TRIES_MAX):
            found = await self.ask(lambda engine: engine.service.submit([wanted.request]))
            if _is_answer(found):
                break
            is_first = False
            self._faults.note("caller_gives_up")
        else:
            raise AssertionError(f"{wanted.request.idempotency_key} was never answered")
        assert isinstance(found, list)
        [result] = found
        if isinstance(result, IdempotencyConflict):
            # An unanswered call may still be admitted later, when the obligation is free again.
            is_passing = result.field == "obligation_id" and not is_first
            wanted.conflict = "" if is_passing else result.field
            return
        key = wanted.settlement_id = result.id
        if self._faults.happens("caller_cancels", 3):
            await asyncio.sleep(self._chance.random() * BEGINNING_SECONDS)
            await self.ask(lambda engine: engine.service.cancel(key))
        if self._faults.happens("caller_repeats", 3):
            again = await self.ask(lambda engine: engine.service.submit([wanted.request]))
            if isinstance(again, list) and not isinstance(again[0], Exception):
                assert again[0].id == key, "a replay is the same settlement"
                assert again[0].is_replay

    async def ask(
        self,
        call: Callable[[ScheduledEngine], Coroutine[Any, Any, Any]],
        seconds: float = ANSWER_SECONDS,
    ) -> object:
        """Call an engine; None if it does not answer in time, or cannot."""
        up = [each for each in self._engines if not each.process.is_stopped and each.engine_id]
        if not up:
            await asyncio.sleep(1.0)
            return None
        engine = up[int(self._chance.random() * len(up))]
        task = engine.run(_caught(call(engine)))
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            return None
        found = task.result()
        return None if isinstance(found, SettlementEngineError) else found

    def told_wrong(self, histories: dict[UUID, Settlement]) -> list[str]:
        """Check that callers were told the truth, and that each obligation was settled at most once."""
        wrong = []
        by_key = {history.instruction.idempotency_key: history for history in histories.values()}
        for wanted in self._wanted:
            history = by_key.get(wanted.request.idempotency_key)
            if wanted.settlement_id is not None and (
                history is None or history.id != wanted.settlement_id
            ):
                wrong.append(
                    f"{wanted.request.idempotency_key}: differs from what its caller was told"
                )
            if wanted.conflict and history is not None:
                wrong.append(
                    f"{wanted.request.idempotency_key}: conflicts, and was admitted nevertheless"
                )
        if len(by_key) != len(histories):
            wrong.append("a key belongs to two settlements")
        completed = [
            history.instruction.obligation_id
            for history in histories.values()
            if history.state is State.COMPLETED
        ]
        if len(completed) != len(set(completed)):
            wrong.append("an obligation was settled twice")
        return wrong


def _is_answer(found: object) -> bool:
    """Return whether the answer to a submission is final; otherwise it is repeated."""
    if not isinstance(found, list):
        return False
    return isinstance(found[0], IdempotencyConflict) or not isinstance(found[0], Exception)


async def _caught(call: Coroutine[Any, Any, Any]) -> object:
    """Return the result, or the error of the call."""
    try:
        return await call
    except SettlementEngineError as error:
        return error
