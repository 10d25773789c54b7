"""Seeded schedules on real PostgreSQL: two real engines, with a scheduling point at every statement.

Promises: the statements, functions, constraints and row locks are PostgreSQL's own. Which engine runs,
which one crashes and what gets lost is drawn from the seed, so that a seed gives one history. At the end
the content of the database is compared with the bank's ledger.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from typing_extensions import override

from settlement_engine.domain.lifecycle import ENDS, HOLDING, Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_lab.schedules.bank_account import AccountBank
from settlement_lab.schedules.callers import Callers
from settlement_lab.schedules.engine import LEASE_SECONDS, ScheduledEngine
from settlement_lab.schedules.statements import ScheduledStatements
from settlement_lab.worlds import auditor
from settlement_lab.worlds import loop as virtual
from settlement_lab.worlds.chronicle import Chronicle, History
from settlement_lab.worlds.faults import STATEMENTS, Faults
from settlement_lab.worlds.rail import RailNetwork, SimulatedRail
from settlement_lab.worlds.rail_rules import draw_rules
from settlement_lab.worlds.silence import silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.ports import Question
    from settlement_lab.schedules.postgres_ground import PostgresGround
    from settlement_lab.schedules.statement_stores import RunLockConnection
    from settlement_lab.worlds.loop import Process, VirtualLoop

START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ENGINES: Final = 2
SETTLEMENTS_MIN: Final = 2
SETTLEMENTS_MAX: Final = 3
AMOUNT: Final = 100
DELIVERIES: Final = (None, Delivery.PAY_OUT)
FUNDS: Final = (150, 250, 1_000)
CURRENCY: Final = "EUR"
STRIKES_MAX: Final = 4
STRIKE_SECONDS: Final = 3.0
FREEZE_SECONDS: Final = (2.0, 25.0)
CUT_SECONDS: Final = (5.0, 30.0)
RESTART_SECONDS: Final = (0.5, 5.0)
SESSION_SECONDS: Final = 20.0
"""How long the database server holds the sessions of a machine that was lost."""

CALM_SECONDS: Final = 8.0
EXTERNAL_TIMEOUT_SECONDS: Final = 90.0
"""After this long without faults people decide what is left, because the rail had enough time."""

END_SECONDS: Final = 900.0


class ScheduleLoop(virtual.VirtualLoop):
    """What the engine calculates beside the event loop is calculated at once: it takes no virtual time."""

    @override
    def run_in_executor(self, *given: object, **_: object) -> Any:
        """Run it in this turn."""
        work: Any = given[1]
        arguments = given[2:]
        done = self.create_future()
        try:
            done.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001 - as a thread hands it over
            done.set_exception(error)
        return done


class ScheduleClock:
    """The database's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the present time."""
        return START + timedelta(seconds=self._loop.time())


class ScheduleIds:
    """Identifiers that no other schedule uses."""

    def __init__(self, seed: int) -> None:
        self._last = seed << 32

    def new(self) -> UUID:
        """Return the next one."""
        self._last += 1
        return UUID(int=self._last)


class Schedule:
    """See the module."""

    def __init__(
        self, seed: int, loop: VirtualLoop, ground: PostgresGround, emphasis: Mapping[str, float]
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = loop
        self.ground = ground
        self.chronicle = Chronicle(loop)
        self.clock = ScheduleClock(loop)
        self.ids = ScheduleIds(seed)
        self.faults = Faults.drawn(self.chance, emphasis)
        rules = draw_rules(self.chance)
        self.bank = AccountBank(loop, self.clock, self.faults, self.chronicle, rules)
        self.bank.state_of = self._state_of
        self.bank.amount_of = self._amount_of
        self.network = RailNetwork(self.bank)
        self.network.permitted = self._permitted
        self.engines: list[ScheduledEngine] = []
        self.all_engines: list[ScheduledEngine] = []
        self.processes: list[Process] = []
        self.callers = Callers(self.chance, self.faults, self.engines)
        self.statements = self._draw_statements()
        self.head = 0

    def _draw_statements(self) -> ScheduledStatements | None:
        """Draw apart whether there are statements, so that the other schedules stay what they are."""
        chance = random.Random(f"{self.seed} statements")
        if chance.random() >= self.faults.rates[STATEMENTS]:
            return None
        name, _ = self._banks()
        found = ScheduledStatements(name, self.bank, self.faults, chance=chance, ground=self.ground)
        found.pause = self._pause_run
        return found

    # --- the course of a schedule -----------------------------------------------------------------

    async def live(self) -> None:
        """Run the schedule, from the first account to the last decision of the bank."""
        funds = int(self.faults.pick(FUNDS))
        self.ground.begin(
            self.clock, (*self._banks(), SimulatedRail.name, CURRENCY, funds, self.ids.new())
        )
        if self.statements is not None:
            self.statements.open(CURRENCY, funds)
        self.head = self.ground.head()
        self.chronicle.note(f"a rail of class {self.bank.rules.rail_class}")
        for _ in range(ENGINES):
            self._start_engine()
        count = SETTLEMENTS_MIN + int(
            self.chance.random() * (SETTLEMENTS_MAX - SETTLEMENTS_MIN + 1)
        )
        wanted = [self.callers.want(self._request(number)) for number in range(count)]
        work = [self.loop.create_task(self.callers.call(each)) for each in wanted]
        work.append(self.loop.create_task(self._nemesis()))
        if self.statements is not None:
            work.append(self.loop.create_task(self.statements.run(self.callers)))
        await asyncio.gather(*work)
        self.chronicle.note("the faults cease")
        self.faults.cease()
        for engine in self.engines:
            self._thaw(engine)
        self.network.mend()
        await self._come_to_rest()

    def _banks(self) -> tuple[str, str]:
        return f"A{self.seed}", f"B{self.seed}"

    def _request(self, number: int) -> Instruction:
        source, target = self._banks()
        is_same = number > 0 and self.faults.happens("caller_takes_obligation")
        return Instruction(
            caller="schedule",
            idempotency_key=f"k-{self.seed}-{number}",
            obligation_id=f"o-{self.seed}-{0 if is_same else number}",
            from_bank=source,
            to_bank=target,
            amount=Money(AMOUNT, CURRENCY),
            value_date=None,
            priority=Priority.NORMAL,
            metadata={},
            # By number, so that the other draws of a seed stay what they were.
            requested_delivery=DELIVERIES[number % len(DELIVERIES)],
        )

    def _start_engine(self) -> None:
        engine = ScheduledEngine(f"engine {len(self.all_engines) + 1}", self)
        self.engines.append(engine)
        self.all_engines.append(engine)
        self.processes.append(engine.process)
        engine.begin(engine.live())

    # --- fault injection --------------------------------------------------------------------------

    async def _nemesis(self) -> None:
        for _ in range(int(self.chance.random() * (STRIKES_MAX + 1))):
            await asyncio.sleep(self.chance.expovariate(1 / STRIKE_SECONDS))
            if not self.engines:
                continue
            engine = self.engines[int(self.chance.random() * len(self.engines))]
            if self.faults.happens("crash", 3):
                self.kill(engine)
            elif self.faults.happens("freeze", 4):
                self._freeze(engine)
            elif self.faults.happens("session_lost", 3):
                self.chronicle.note(f"{engine.process.name} loses its session")
                engine.books.end_session()
            elif self.faults.happens("network_cut", 2):
                self.network.cut(self.faults.seconds(CUT_SECONDS))

    def kill(self, engine: ScheduledEngine) -> None:
        """End a process as ``kill -9`` does; its sessions may stay open if its machine was lost too."""
        if engine not in self.engines:
            return
        self.chronicle.note(f"{engine.process.name} is killed")
        self.engines.remove(engine)
        engine.process.kill()
        if self.faults.happens("session_outlives", 2):
            self.loop.later(SESSION_SECONDS, engine.close)
        else:
            engine.close()
        self.loop.later(self.faults.seconds(RESTART_SECONDS), self._restart)

    def _restart(self) -> None:
        self.faults.note("restart")
        self._start_engine()

    def _freeze(self, engine: ScheduledEngine) -> None:
        """Stop a process; a server that waits for it in a transaction ends its session before long."""
        seconds = self.faults.seconds(FREEZE_SECONDS)
        self.chronicle.note(f"{engine.process.name} is frozen for {seconds:.1f} s")
        engine.process.freeze()
        engine.books.points.drop()
        if seconds > LEASE_SECONDS:
            self.faults.note("zombie")
        self.loop.later(seconds, self._thaw, engine)

    def _pause_run(self, line: RunLockConnection) -> None:
        """Stop the engine whose run has lost this session, as a machine is paused that loses its connections."""
        for engine in self.engines:
            if engine.statements is not None and engine.statements.stores.run_lock is line:
                self._freeze(engine)

    def _thaw(self, engine: ScheduledEngine) -> None:
        if engine.process.is_frozen:
            self.chronicle.note(f"{engine.process.name} is resumed")
            self.loop.thaw(engine.process)

    # --- the end ----------------------------------------------------------------------------------

    async def _come_to_rest(self) -> None:
        began = self.loop.time()
        while self.loop.time() - began < END_SECONDS and not self._has_failed():
            await asyncio.sleep(CALM_SECONDS)
            histories = self.histories()
            is_worked_off = not self.ground.look("inbound_open_counts")
            is_ended = is_worked_off and all(
                history.state in ENDS for history in histories.values()
            )
            if self.bank.is_at_rest and is_ended:
                if self.statements is None or await self.statements.finish(self.callers):
                    return
                continue
            is_quiet = self.loop.time() - began > EXTERNAL_TIMEOUT_SECONDS and self.bank.is_at_rest
            for history in histories.values():
                self._look_after(history, is_quiet=is_quiet)

    def _has_failed(self) -> bool:
        is_over = any(each.ended is not None for each in self.all_engines)
        return is_over or bool(self.loop.failures or self.network.violations)

    def _look_after(self, history: Settlement, *, is_quiet: bool) -> None:
        """Decide what is parked, and attest what the rail will no longer report."""
        event = None
        if history.state is State.HELD:
            is_fine = self.chance.random() < 0.5  # noqa: PLR2004 - with probability one half
            event = Event.APPROVED if is_fine else Event.DECLINED
        elif is_quiet and history.state in (State.IN_DOUBT, State.SENT, State.RECALLING):
            is_paid = bool(self.bank.debits.get(history.id))
            event = Event.ATTESTED_SETTLED if is_paid else Event.ATTESTED_NOT_SETTLED
            self.faults.note("attested")
        up = [each for each in self.engines if not each.process.is_stopped and each.engine_id]
        if event is not None and up:
            engine = up[int(self.chance.random() * len(up))]
            engine.begin(_request(engine, history, event))

    def histories(self) -> dict[UUID, Settlement]:
        """Return the settlements of this schedule, also those whose caller got no answer."""
        ids = {moved.settlement_id for moved in self.ground.moves(self.head)}
        return self.ground.histories(sorted(ids))

    def _state_of(self, settlement_id: UUID) -> State | None:
        history = self.ground.histories([settlement_id]).get(settlement_id)
        return history.state if history else None

    def _amount_of(self, settlement_id: UUID) -> int:
        history = self.ground.histories([settlement_id]).get(settlement_id)
        return history.instruction.amount.minor if history else 0

    def _permitted(self, question: Question) -> str:
        """Return what is wrong with a send: only recorded bytes may leave; empty if nothing is wrong."""
        history = self.ground.histories([question.settlement_id]).get(question.settlement_id)
        if history is None or history.attempt is None or history.state not in HOLDING | ENDS:
            return "sent before the intent was recorded"
        recorded = (history.attempt.references, history.attempt.payload)
        if (question.references, question.payload) != recorded:
            return "sent other bytes than were recorded"
        return ""

    def close(self) -> None:
        """Release the engines' connections to the database."""
        for engine in self.all_engines:
            engine.close()

    def audit(self, history: History, *, is_proved: bool) -> None:
        """Compare the content of the database with the bank's ledger."""
        histories = self.histories()
        moves = self.ground.moves(self.head)
        for engine in self.all_engines:
            history.invariant_warnings.update(engine.meter.invariant_warnings)
            history.turns += engine.books.points.points
            if engine.ended is not None:
                history.violations.append(
                    f"{engine.process.name} ended by itself: {engine.ended!r}"
                )
        placed = [
            msgspec.structs.replace(moved, position=moved.position - self.head) for moved in moves
        ]
        history.violations += [
            *(f"in the background: {error!r}" for error in self.loop.failures),
            *self.network.violations,
            *auditor.money(self.bank, histories),
            *auditor.paths(histories, placed),
            *auditor.engines(history.invariant_warnings),
            *self.callers.told_wrong(histories),
            *(self.statements.violations(histories) if self.statements is not None else ()),
            *(self.ground.differences() if is_proved else ()),
        ]
        if self.statements is not None:
            self.statements.note_ended_doubts(moves)
        history.ends.update(history.state.value for history in histories.values())
        history.debits = sum(self.bank.debits.values())


async def _request(engine: ScheduledEngine, history: Settlement, event: Event) -> None:
    engine.service._mailbox.request(history, event)  # noqa: SLF001 - as the case worker does


def play(
    seed: int,
    ground: PostgresGround,
    emphasis: Mapping[str, float] | None = None,
    *,
    is_proved: bool = False,
) -> History:
    """Run one schedule and return its history; prove the whole database if requested."""
    loop = ScheduleLoop(random.Random(f"{seed} turns"))
    schedule = Schedule(seed, loop, ground, emphasis or {})
    history = History(seed)

    async def whole() -> None:
        try:
            await schedule.live()
        except Exception as error:  # noqa: BLE001 - any error is a finding
            history.violations.append(f"{type(error).__name__}: {error}")
        try:
            schedule.audit(history, is_proved=is_proved)
        except Exception as error:  # noqa: BLE001 - an error of the audit is a finding too
            history.violations.append(f"not audited: {type(error).__name__}: {error}")
        history.seconds = loop.time()

    with silent():
        try:
            virtual.run(loop, whole(), schedule.processes)
        finally:
            schedule.close()
    history.fired = schedule.faults.fired
    history.lines = list(schedule.chronicle.lines)
    history.digest = schedule.chronicle.digest
    return history
