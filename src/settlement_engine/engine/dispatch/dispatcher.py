"""The dispatcher: each question waits in the lane of its rail and bank until it can be sent.

Promises: no lane delays another one. A send that was never transmitted is *undelivered*, whether it waited too long,
found its queue full, or still waited when the engine stopped. A question that was discarded, or whose settlement has
changed meanwhile, is not sent. The time-out of an answer begins with the call, never while the question waits here.

Must never: send a question that can move money while the gate is closed for its rail, or while this engine's lease
may have ended.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from settlement_engine.domain.decisions.before_the_end import when_not_put
from settlement_engine.domain.lifecycle import Ask, Event
from settlement_engine.engine.dispatch.breaker import BreakerState
from settlement_engine.engine.dispatch.call import LaneCall
from settlement_engine.engine.dispatch.free_calls import FreeCalls
from settlement_engine.engine.dispatch.lane import IN_ORDER, Waiting
from settlement_engine.engine.dispatch.lanes import Lanes
from settlement_engine.ports import Answer, LaneReport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import Any
    from uuid import UUID

    from settlement_engine.domain.settlement import Attempt, Settlement
    from settlement_engine.engine.dispatch.lane import Lane
    from settlement_engine.engine.gate import Gate
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import LaneStatus, Meter, SendRail

CALL_MAX: Final = 500
"""The most questions in one call."""

LOOK_SECONDS: Final = 1.0
"""How often waiting questions are checked, in seconds: their validity may end."""

LOOK_SECONDS_MIN: Final = 0.002

NOT_PUT: Final = "not put: "
HELD_BACK: Final = {
    "full": f"{NOT_PUT}more wait for this bank than may",
    "late": f"{NOT_PUT}it waited until it was no longer valid",
    "stop": f"{NOT_PUT}the engine stops",
}
"""The text of the answer to a question that was never sent."""

log = structlog.get_logger(__name__)


class EngineHooks(NamedTuple):
    """What the dispatcher knows about the rest of the engine."""

    hear: Callable[[Iterable[Answer]], None]
    carried: Callable[[UUID], Settlement | None]
    put: Callable[[LaneCall], Coroutine[Any, Any, None]]


class Dispatcher:
    """The lanes of one engine."""

    def __init__(
        self,
        settings: EngineSettings,
        rails: Mapping[str, SendRail],
        *,
        lease: EngineLease,
        gate: Gate,
        meter: Meter,
        is_too_late: Callable[[Attempt], bool],
    ) -> None:
        self._settings = settings
        self._rails = rails
        self._lease = lease
        self._gate = gate
        self._meter = meter
        self._is_too_late = is_too_late
        self._outside: EngineHooks | None = None
        self.lanes = Lanes(rails, settings.breakers_by_rail)
        self.free = FreeCalls(rails, self.lanes, gate, lease)
        self._looked_at = float("-inf")
        self._shown: dict[str, LaneReport] = {}
        self._woken = asyncio.Event()
        self._is_closed = False
        gate.when_changed(self._woken.set)

    def attach(self, outside: EngineHooks) -> None:
        """Set the functions that receive answers, return a settlement in memory, and carry out a call."""
        self._outside = outside

    # --- state ----------------------------------------------------------------------------------

    def has_room(self, rail: str, bank: str) -> bool:
        """Say whether funds may be held for one more payment: the lane's queue has room for its send."""
        if not self.lanes.busy:
            return True
        lane = self.lanes.find(rail, bank)
        return lane is None or lane.has_queue_room()

    def is_sending(self, rail: str, bank: str) -> bool:
        """Say whether sends to this bank are allowed, or one may be tried and none waits."""
        lane = self.lanes.find(rail, bank)
        if lane is None:
            return self.lanes.is_sending_to_new(rail, bank)
        if lane.breaker.is_closed:
            return True
        is_tried = lane.breaker.room(self._now()) != 0
        return is_tried and not lane.queues[Ask.SEND]

    def breaker(self, rail: str, bank: str) -> BreakerState:
        """Return the state of this bank's breaker."""
        lane = self.lanes.find(rail, bank)
        return lane.breaker.state(self._now()) if lane else BreakerState.CLOSED

    @property
    def turn(self) -> int:
        """Count how often this engine has discarded all its settlements."""
        return self._gate.turn

    def is_paused(self, rail: str) -> bool:
        """Say whether nothing is sent over a rail during a recovery."""
        return not self._gate.is_open_for(rail)

    def statuses(self, rail: str, limit: int) -> tuple[LaneStatus, ...]:
        """Describe a rail's lanes."""
        return self.lanes.statuses(rail, self._now(), limit, self.free.under_way(rail))

    def wake(self) -> None:
        """Look at the waiting questions now: an order has changed what may leave."""
        self._woken.set()

    def waiting(self, rail: str) -> int:
        """Count the waiting questions of a rail."""
        return self.lanes.waiting(rail)

    def _now(self) -> float:
        return self._lease.monotonic()

    # --- arriving questions ---------------------------------------------------------------------

    def offer(self, question: Ask, rail: str, settlements: Sequence[Settlement]) -> None:
        """Ask the question of each settlement, or queue it; returns at once."""
        now = self._now()
        by_bank: dict[str, list[Settlement]] = {}
        for settlement in settlements:
            bank = settlement.instruction.from_bank
            if bank in by_bank:
                by_bank[bank].append(settlement)
            else:
                by_bank[bank] = [settlement]
        by_lane: dict[Lane, list[Settlement]] = {}
        for bank, group in by_bank.items():
            lane = self.lanes.of(rail, bank, now, by_lane)
            by_lane[lane] = by_lane[lane] + group if lane in by_lane else group
        leaving: list[tuple[Lane, list[Settlement]]] = []
        may_leave = self._may_leave(question, rail)
        for lane, group in by_lane.items():
            room = lane.room(question, now) if may_leave and not lane.queues[question] else 0
            if room:
                leaving.append((lane, group[:room]))
            if room < len(group):
                self._let_wait(lane, question, group[room:])
        self._leave(question, rail, leaving)

    def _let_wait(self, lane: Lane, question: Ask, settlements: list[Settlement]) -> None:
        """Queue questions without capacity; those without room in the queue are not sent."""
        queue = lane.queues[question]
        fits = 0 if self._is_closed else max(lane.limits.queue_max - len(queue), 0)
        turn = self._gate.turn
        for each in settlements[:fits]:
            queue.append(Waiting(each, each.state, each.seq, _number(each), turn))
        if queue:
            self.lanes.busy[lane.rail, lane.bank] = lane
            self._woken.set()
        self._hold_back(question, settlements[fits:], "stop" if self._is_closed else "full")

    def _hold_back(self, question: Ask, settlements: Sequence[Settlement], why: str) -> None:
        """Answer questions that were not sent: a send is undelivered; others will be asked again."""
        if not settlements:
            return
        self._hear(settlements, when_not_put(question), why)

    def _hear(self, settlements: Sequence[Settlement], event: Event, why: str) -> None:
        assert self._outside is not None, "the dispatcher was not attached"
        self._outside.hear(
            Answer(
                settlement_id=each.id,
                event=event,
                attempt=_number(each),
                text=HELD_BACK.get(why, ""),
                is_held_back=event is Event.UNDELIVERED,
            )
            for each in settlements
        )

    # --- calls ----------------------------------------------------------------------------------

    def _may_leave(self, question: Ask, rail: str) -> bool:
        """Say whether such questions may be sent to this rail now: those that can move money not always."""
        if question is Ask.ENQUIRE:
            return True
        is_open = self._gate.is_open or self._gate.is_open_for(rail)
        return is_open and self._lease.holds_lease

    def _leave(
        self, question: Ask, rail: str, leaving: Iterable[tuple[Lane, list[Settlement]]]
    ) -> None:
        """Begin the calls: separate ones for lanes with limits, one for all others together."""
        together: list[tuple[Lane, list[Settlement]]] = []
        for lane, group in leaving:
            unknown = self._without_known(group) if question is Ask.SEND else group
            if not unknown:
                continue
            if lane.is_apart:
                self._begin_calls(question, rail, [(lane, unknown)])
            else:
                together.append((lane, unknown))
        self._begin_calls(question, rail, together)

    def _without_known(self, settlements: list[Settlement]) -> list[Settlement]:
        """Leave out payments that the bank has and we may have lost: they are in doubt and enquired about."""
        if not self._gate.at_bank:
            return settlements
        known = [each for each in settlements if self._gate.is_at_bank(_reference(each))]
        if not known:
            return settlements
        self._hear(known, Event.NO_ANSWER, "")
        gone = {each.id for each in known}
        return [each for each in settlements if each.id not in gone]

    def _begin_calls(
        self, question: Ask, rail: str, groups: Sequence[tuple[Lane, list[Settlement]]]
    ) -> None:
        """Begin calls of at most ``CALL_MAX`` questions, from any lanes."""
        batch: list[tuple[Lane, list[Settlement]]] = []
        room = CALL_MAX
        for lane, group in groups:
            left = group
            while len(left) >= room:
                batch.append((lane, left[:room]))
                self._begin_call(question, rail, batch)
                left, batch, room = left[room:], [], CALL_MAX
            if left:
                batch.append((lane, left))
                room -= len(left)
        if batch:
            self._begin_call(question, rail, batch)

    def _begin_call(
        self, question: Ask, rail: str, groups: Sequence[tuple[Lane, list[Settlement]]]
    ) -> None:
        call = LaneCall(question, self._rails[rail], groups, self._freed, self._now)
        self._lease.spawn(self._carry_out(call))

    async def _carry_out(self, call: LaneCall) -> None:
        """Carry out a call; its capacity is released afterwards in any case."""
        assert self._outside is not None, "the dispatcher was not attached"
        is_put = False
        try:
            await self._outside.put(call)
            is_put = True
        finally:
            if call.end(self._now(), is_put=is_put):
                self._woken.set()
            self.lanes.forget_idle(call.lanes)

    def _freed(self, lanes: Iterable[Lane]) -> None:
        if self.lanes.busy and any((lane.rail, lane.bank) in self.lanes.busy for lane in lanes):
            self._woken.set()

    # --- waiting questions ----------------------------------------------------------------------

    async def run(self) -> None:
        """Send waiting questions when there is capacity, for ever."""
        self._show()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._woken.wait()
            self._woken.clear()
            self._let_leave()
            self._show()

    def _pause_seconds(self) -> float | None:
        if not self.lanes.busy:
            return (
                LOOK_SECONDS if any(each.breakers_open for each in self._shown.values()) else None
            )
        now = self._now()
        soonest = min(lane.wait_seconds(now) for lane in self.lanes.busy.values())
        if not self._lease.holds_lease:
            soonest = min(soonest, self._settings.heartbeat_seconds)
        return min(max(soonest, LOOK_SECONDS_MIN), LOOK_SECONDS)

    def _let_leave(self) -> None:
        now = self._now()
        is_look = now - self._looked_at >= LOOK_SECONDS
        if is_look:
            self._looked_at = now
        for question in IN_ORDER:
            by_rail: dict[str, list[tuple[Lane, list[Settlement]]]] = {}
            for lane in self.lanes.busy.values():
                if is_look and question is Ask.SEND:
                    self._drop_late(lane)
                group = self._take(lane, question, now)
                if group:
                    by_rail.setdefault(lane.rail, []).append((lane, group))
            for rail, leaving in by_rail.items():
                self._leave(question, rail, leaving)
        for key in [key for key, lane in self.lanes.busy.items() if not lane.waiting]:
            del self.lanes.busy[key]

    def _take(self, lane: Lane, question: Ask, now: float) -> list[Settlement]:
        """Take as many questions from the head of a queue as may be sent."""
        queue = lane.queues[question]
        has_room = queue and self._may_leave(question, lane.rail)
        room = lane.room(question, now) if has_room else 0
        taken: list[Settlement] = []
        late: list[Settlement] = []
        while queue and len(taken) < room:
            waiting = queue.popleft()
            if not self._is_open(waiting):
                continue
            is_late = question is Ask.SEND and self._is_late(waiting)
            (late if is_late else taken).append(waiting.settlement)
        self._hold_back(question, late, "late")
        return taken

    def _drop_late(self, lane: Lane) -> None:
        """Remove waiting sends that may no longer be sent, so that they do not wait for ever."""
        queue = lane.queues[Ask.SEND]
        late: list[Settlement] = []
        for waiting in [queue.popleft() for _ in range(len(queue))]:
            if not self._is_open(waiting):
                continue
            if self._is_late(waiting):
                late.append(waiting.settlement)
            else:
                queue.append(waiting)
        self._hold_back(Ask.SEND, late, "late")

    def _is_open(self, waiting: Waiting) -> bool:
        """Say whether the question is still open: not discarded, not answered, not overtaken."""
        assert self._outside is not None, "the dispatcher was not attached"
        settlement = waiting.settlement
        return (
            waiting.turn == self._gate.turn
            and self._outside.carried(settlement.id) is settlement
            and (settlement.state, settlement.seq) == (waiting.state, waiting.seq)
            and _number(settlement) == waiting.attempt
        )

    def _is_late(self, waiting: Waiting) -> bool:
        assert waiting.settlement.attempt is not None, "after the send intent there is an attempt"
        return self._is_too_late(waiting.settlement.attempt)

    def close(self) -> None:
        """Answer all waiting questions now, so that their settlements are parked in the store."""
        self._is_closed = True
        for lane in self.lanes.busy.values():
            for question, queue in lane.queues.items():
                left = [each.settlement for each in queue if self._is_open(each)]
                queue.clear()
                self._hold_back(question, left, "stop")
        self.lanes.busy.clear()
        self._woken.set()

    def _show(self) -> None:
        """Report the state of the lanes to the metrics, when it has changed."""
        reports = self.lanes.reports()
        if reports != self._shown:
            self._shown = reports
            self._meter.lanes(reports)


def _number(settlement: Settlement) -> int:
    assert settlement.attempt is not None, "after the send intent there is an attempt"
    return settlement.attempt.number


def _reference(settlement: Settlement) -> str:
    assert settlement.attempt is not None, "after the send intent there is an attempt"
    return settlement.attempt.references.end_to_end_id
