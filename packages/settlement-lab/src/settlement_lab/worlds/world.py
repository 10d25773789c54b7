"""A world: engines, a bank, a bus, callers and a fault injector; one seed gives one history.

Promises: everything that happens is drawn from the seed. After the faults have ceased, every accepted
settlement must reach its end by itself, or by the people who decide about it. Then the auditor compares.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.lifecycle import ENDS, Event, State
from settlement_engine.domain.money import Money
from settlement_engine.domain.recalls import RecallRequest, RecallState
from settlement_engine.ports import AccountSpec, Funding
from settlement_lab.worlds import auditor
from settlement_lab.worlds import loop as virtual
from settlement_lab.worlds.bank import BANK_SKEW_SECONDS, Bank
from settlement_lab.worlds.bus import Bus, SimulatedConsumer
from settlement_lab.worlds.chronicle import Chronicle, History
from settlement_lab.worlds.clock import CountedIds, WorldClock
from settlement_lab.worlds.compensations import draw_compensations, faults_of_compensations
from settlement_lab.worlds.faults import COMPENSATIONS, RECALLS, RUSH, STATEMENTS, Faults
from settlement_lab.worlds.memory_books import CURRENCY, MemoryGround
from settlement_lab.worlds.nemesis import LONG_NIGHT_SECONDS, SKEW_SECONDS, Nemesis
from settlement_lab.worlds.node import Node
from settlement_lab.worlds.operators import Operators
from settlement_lab.worlds.pairs import draw_pairs
from settlement_lab.worlds.people import BANKS, Caller, People, draw_request
from settlement_lab.worlds.rail import RailNetwork
from settlement_lab.worlds.rail_rules import draw_rules
from settlement_lab.worlds.recalls import ANSWER_SECONDS, BankRecalls, RecallRequests, is_settled
from settlement_lab.worlds.silence import silent
from settlement_lab.worlds.statements import BankStatements

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from uuid import UUID

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import RailCapabilities
    from settlement_lab.worlds.loop import Process, VirtualLoop

SETTLEMENTS_MIN: Final = 4
SETTLEMENTS_MAX: Final = 8
ENGINES_MIN: Final = 2
ENGINES_MAX: Final = 3
BEGINNING_SECONDS: Final = 25.0
RESTART_SECONDS: Final = (0.5, 4.0, 15.0)
SESSION_SECONDS: Final = 25.0
"""How long the database server holds the sessions of a machine that was lost."""

FUNDS: Final = (300, 1_000, 5_000, 5_000)
CALM_SECONDS: Final = 6.0
LONG_NIGHT_SHARE: Final = 0.1
RUSH_SECONDS: Final = 0.3
"""In a rush all callers begin within this time, and the rail takes one payment at a time and queues one."""

EXTERNAL_TIMEOUT_SECONDS: Final = 60.0
"""After this long without faults people decide what is left, because the rails had enough time."""

END_SECONDS: Final = 1_500.0


class World:
    """See the module."""

    statements: BankStatements

    def __init__(
        self,
        seed: int,
        loop: VirtualLoop,
        ground: Callable[[WorldClock, CountedIds], Any],
        emphasis: Mapping[str, float],
    ) -> None:
        self.chance = random.Random(seed)
        self.chronicle = Chronicle(loop)
        self.loop = loop
        self._tasks: list[asyncio.Task[None]] = []
        self.clock = WorldClock(loop)
        self.ids = CountedIds()
        self.faults = Faults.drawn(self.chance, emphasis)
        self.ground = ground(self.clock, self.ids)
        rules = draw_rules(self.chance)
        # Drawn apart, so that a world without a rush is the same as if there were none anywhere.
        self.is_rush = random.Random(f"{seed} {RUSH}").random() < self.faults.rates[RUSH]
        rules = self._narrowed(rules) if self.is_rush else rules
        self.bank = Bank(loop, self.clock, self.faults, self.chronicle, rules)
        self.recall_requests = self._draw_recalls(random.Random(f"{seed} {RECALLS}"))
        self.compensations = draw_compensations(self, random.Random(f"{COMPENSATIONS} {seed}"))
        self.bank.skew = timedelta(seconds=(self.chance.random() * 2 - 1) * BANK_SKEW_SECONDS)
        self.bank.state_of = self.ground.state_of
        self.bank.amount_of = self.ground.amount_of
        self.network = RailNetwork(self.bank)
        self.network.permitted = self.ground.permitted
        self.pairs = draw_pairs(self, seed)
        is_atomic = self.chance.random() < 0.7  # noqa: PLR2004 - older servers have no batches
        self.bus = Bus(loop, self.faults, self.chronicle, is_atomic)
        self.consumer = SimulatedConsumer(self.bus)
        self.nodes: list[Node] = []
        self.all_nodes: list[Node] = []
        self.processes: list[Process] = []
        self.people = People(self.faults, self.nodes, self.chronicle)
        self.is_long_night = self.chance.random() < LONG_NIGHT_SHARE
        self.nemesis = Nemesis(self)
        self.operators = Operators(self)

    def _narrowed(self, rules: RailCapabilities) -> RailCapabilities:
        """Return the rules of a rail that takes one payment at a time, and queues one."""
        self.faults.note(RUSH)
        return replace(rules, lane=replace(rules.lane, concurrency_max=1, queue_max=1))

    def _draw_recalls(self, chance: random.Random) -> RecallRequests | None:
        """Draw whether people recall what has completed, and how the bank answers."""
        if chance.random() >= self.faults.rates[RECALLS]:
            return None
        self.bank.rules = replace(self.bank.rules, recall_answer_seconds=ANSWER_SECONDS)
        self.bank.recalls = BankRecalls(self.bank, chance, lambda key: key in self.ground.recalls())
        return RecallRequests(self, chance)

    # --- the sequence of the world ----------------------------------------------------------------

    async def live(self) -> None:
        """Run the world, from the first account to the last decision of the bank."""
        await self._open_accounts()
        self.chronicle.note(f"a rail of class {self.bank.rules.rail_class}")
        engines = ENGINES_MIN + int(self.chance.random() * (ENGINES_MAX - ENGINES_MIN + 1))
        for _ in range(engines):
            self._start_engine()
        people = [*self._callers(), self.operators.run(), *self.statements.work()]
        if self.recall_requests is not None:
            people.append(self.recall_requests.run())
        if self.compensations is not None:
            people.append(self.compensations.run())
        if self.pairs is not None:
            people.append(self.pairs.run())
        work = [self.spawn(each) for each in (*people, self.nemesis.run())]
        while not all(each.done() for each in work) and not self._has_failed():
            self._look_after(_nothing_known)
            await asyncio.sleep(CALM_SECONDS)
        if self.is_long_night:
            await asyncio.sleep(LONG_NIGHT_SECONDS)
        self._end_faults()
        await self.operators.end()
        await self._come_to_rest()
        for task in work:
            if task.done():
                task.result()
            else:
                task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that nobody waits for."""
        task = self.loop.create_task(work)
        self._tasks.append(task)  # an event loop has only weak references to its tasks
        return task

    def _has_failed(self) -> bool:
        """Return whether a failure was found that needs no auditor."""
        is_over = any(node.ended is not None for node in self.all_nodes)
        return is_over or bool(self.loop.failures or self.network.violations)

    async def _open_accounts(self) -> None:
        accounts = self.ground.books().accounts
        for bank in BANKS:
            for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
                spec = AccountSpec(
                    kind=kind,
                    bank=bank,
                    currency=CURRENCY,
                    account_number="",
                    credit_limit=0,
                    caller="world",
                    idempotency_key="",
                )
                await accounts.open_account(spec)
            funding = Funding(
                bank=bank,
                amount=Money(int(self.faults.pick(FUNDS)), CURRENCY),
                reference="",
                account_number="",
                caller="world",
                idempotency_key=f"funds-{bank}",
            )
            await accounts.fund(funding)

    def _start_engine(self) -> None:
        node = Node(
            f"engine {len(self.all_nodes) + 1}",
            self.loop,
            self.ground.books(),
            network=self.network,
            bus=self.bus,
            clock=self.clock,
            ids=self.ids,
            faults=self.faults,
            chance=random.Random(self.chance.random()),
            chronicle=self.chronicle,
            pairs=self.pairs.banks if self.pairs is not None else None,
        )
        node.boundary.dies = lambda: self.kill(node)
        if self.faults.happens("clock_wrong", 3):
            node.clock.skew_seconds = (self.chance.random() * 2 - 1) * SKEW_SECONDS
        self.nodes.append(node)
        self.all_nodes.append(node)
        self.processes.append(node.process)
        node.start()

    def kill(self, node: Node) -> None:
        """End a process as ``kill -9`` does; its machine may be lost too, with its connections open."""
        if node not in self.nodes:
            return
        self.chronicle.note(f"{node.process.name} is killed")
        self.nodes.remove(node)
        node.process.kill()
        if self.faults.happens("session_outlives", 2):
            self.loop.later(SESSION_SECONDS, self._remove_node, node)
        else:
            self._remove_node(node)
        self.loop.later(self.faults.seconds(RESTART_SECONDS), self._restart)

    def _remove_node(self, node: Node) -> None:
        self.end_session(node)
        node.books.close()

    def _restart(self) -> None:
        self.faults.note("restart")
        self._start_engine()

    def end_session(self, node: Node) -> None:
        """Let the database server notice that a process is gone."""
        if node.engine_id:
            node.books.end_session(node.engine_id)

    def _callers(self) -> list[Coroutine[Any, Any, None]]:
        count = SETTLEMENTS_MIN + int(
            self.chance.random() * (SETTLEMENTS_MAX - SETTLEMENTS_MIN + 1)
        )
        histories = []
        count *= 2 if self.is_rush else 1
        beginning_seconds = RUSH_SECONDS if self.is_rush else BEGINNING_SECONDS
        for number in range(count):
            request = draw_request(number, self.faults, self.people.callers, count)
            request = self.pairs.paired(request) if self.pairs is not None else request
            caller = Caller(number, request)
            self.people.callers.append(caller)
            histories.append(
                self._call_later(caller, self.chance.random() ** 2 * beginning_seconds)
            )
        return histories

    async def _call_later(self, caller: Caller, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.people.call(caller)

    # --- the end ----------------------------------------------------------------------------------

    def _end_faults(self) -> None:
        self.chronicle.note("the faults cease")
        self.faults.cease()
        for node in self.nodes:
            self.nemesis.thaw(node)
        self.bus.come_back()
        self.network.mend()

    async def _come_to_rest(self) -> None:
        """Wait until nothing is left to happen anywhere; the bank's decisions are the last."""
        began = self.loop.time()
        while not self._has_failed():
            await asyncio.sleep(CALM_SECONDS)
            is_quiet = self.bank.is_at_rest and (self.pairs is None or self.pairs.bank.is_quiet)
            if is_quiet and await self._is_at_rest():
                return
            waited = self.loop.time() - began
            is_quiet = is_quiet and waited > EXTERNAL_TIMEOUT_SECONDS
            self._look_after(self._truth if is_quiet else _nothing_known)
            if waited > END_SECONDS:
                return  # the auditor reports what is missing

    def _look_after(self, truth: Callable[[Settlement], Event | None]) -> None:
        _ = self.spawn(self._look_after_all(truth))

    async def _look_after_all(self, truth: Callable[[Settlement], Event | None]) -> None:
        self.people.look_after(await self.ground.histories(), truth)

    async def _is_at_rest(self) -> bool:
        histories = await self.ground.histories()
        moves = len(await self.ground.moves())
        is_ended = all(found_history.state in ENDS for found_history in histories.values())
        if await self.ground.open_reports():
            return False
        if self.pairs is not None and not self.pairs.bank.is_at_rest:
            return False
        recalls = self._recalls()
        if not all(is_settled(recall, histories[key]) for key, recall in recalls.items()):
            return False
        told = moves + sum(len(recall.steps) for recall in recalls.values())
        return is_ended and len(self.bus.log) == told == len(self.consumer.effects)

    def _recalls(self) -> dict[UUID, RecallRequest]:
        return self.ground.recalls() if self.bank.recalls is not None else {}

    def _truth(self, settlement: Settlement) -> Event:
        """Return what two people find out at the bank, with evidence."""
        is_paid = bool(self.bank.debits.get(settlement.id))
        return Event.ATTESTED_SETTLED if is_paid else Event.ATTESTED_NOT_SETTLED

    async def audit(self, history: History) -> None:
        """Compare everything with the bank's ledger."""
        histories = await self.ground.histories()
        moves = await self.ground.moves()
        torn = self.pairs.torn(histories, moves) if self.pairs is not None else ()
        for node in self.all_nodes:
            history.invariant_warnings.update(node.meter.invariant_warnings)
            if node.ended is not None:
                history.violations.append(f"{node.process.name} ended by itself: {node.ended!r}")
        history.violations += [
            *(f"in the background: {error!r}" for error in self.loop.failures),
            *self.network.violations,
            *auditor.money(self.bank, histories, moves, torn),
            *auditor.paths(histories, moves),
            *auditor.announcements(self.bus, self.consumer, moves),
            *auditor.notices(self.bus, self._recalls()),
            *auditor.answers(self.people.callers, histories),
            *auditor.obligations(histories),
            *auditor.engines(history.invariant_warnings),
            *self._recall_faults(histories),
            *self.statements.faults(histories),
            *faults_of_compensations(histories, moves, self.faults),
            *(self.pairs.violations(histories, moves) if self.pairs is not None else ()),
            *await self.ground.differences(),
        ]
        for found_history in histories.values():
            history.ends[found_history.state.value] += 1
            if found_history.refusal_code == "INSUFFICIENT_FUNDS":
                self.faults.note("short_of_funds")
        for moved in moves:
            self.chronicle.note(
                f"{moved.at:%H:%M:%S} settlement {moved.settlement_id.int}: {moved.from_state}"
                f" + {moved.event} -> {moved.to_state}"
            )
            if moved.to_state is State.QUEUED:
                self.faults.note("waited_for_window")

    def _recall_faults(self, histories: dict[UUID, Settlement]) -> list[str]:
        """Compare the recalls with what the bank has said and sent back."""
        if self.bank.recalls is None:
            return []
        recalls, overdue = self.ground.recalls(), self.ground.overdue_recalls()
        if any(each.state is RecallState.OVERDUE for each in recalls.values()):
            self.faults.note("recall_overdue")
        return list(auditor.recalls(self.bank, recalls, histories, overdue))


def _nothing_known(_settlement: Settlement) -> None:
    return None


def play(
    seed: int,
    ground: Callable[[WorldClock, CountedIds], Any] = MemoryGround,
    emphasis: Mapping[str, float] | None = None,
) -> History:
    """Run one world and return its history."""
    loop = virtual.VirtualLoop(random.Random(f"{seed} turns"))
    world = World(seed, loop, ground, emphasis or {})
    world.statements = BankStatements(world, random.Random(f"{seed} {STATEMENTS}"))
    history = History(seed)

    async def whole() -> None:
        try:
            await world.live()
        except Exception as error:  # noqa: BLE001 - any error is a finding
            history.violations.append(f"{type(error).__name__}: {error}")
        await world.audit(history)
        history.seconds, history.turns = loop.time(), loop.turns
        world.chronicle.note(f"{loop.turns} turns, {sorted(world.faults.fired.items())}")
        history.digest = world.chronicle.digest
        for node in world.all_nodes:
            node.boundary.is_over = True

    with silent():
        virtual.run(loop, whole(), world.processes)
    history.fired = world.faults.fired
    history.lines = list(world.chronicle.lines)
    history.debits = sum(world.bank.debits.values())
    return history
