"""One engine process of a world: the real engine and the real relay, which can be killed and frozen."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from settlement_engine.domain.backoff import Backoff
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.preconditions import Refusal, RefusalCode
from settlement_engine.domain.routing import RouteReason
from settlement_engine.engine.cover_repairs import CoverRepairs
from settlement_engine.engine.dispatch.dispatcher import NOT_PUT
from settlement_engine.engine.recaller import Recaller
from settlement_engine.engine.schedule import WAITS
from settlement_engine.engine.service import SettlementService
from settlement_engine.engine.settings import EngineSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.relay import Relay, RelaySettings
from settlement_engine.ports import Answer
from settlement_lab.worlds.call_boundary import CallBoundary, Gated
from settlement_lab.worlds.cover_rail import LegsRail, SimulatedCoverRail
from settlement_lab.worlds.loop import Process
from settlement_lab.worlds.rail import SimulatedRail

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime
    from random import Random

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import Clock, Ids, LaneReport, SendRail, TransitionCommand
    from settlement_lab.worlds.bus import Bus
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.cover_rail import PairBanks
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import VirtualLoop
    from settlement_lab.worlds.rail import RailNetwork

LEASE_SECONDS: Final = 12.0
LEADING_SECONDS: Final = 5.0
SCREENING_SECONDS: Final = (0.01, 0.1)
SCREENING_LATE_SECONDS: Final = (6.0, 20.0)
BATCHES: Final = (1, 2, 500)
ONLY_ONE_SEND: Final = (1, 3)
NEVER_SENT: Final = frozenset({Event.UNDELIVERED, Event.ABANDONED})

SETTINGS: Final[dict[str, Any]] = {
    "claim_interval_seconds": 4.0,
    "sweep_interval_seconds": 10.0,
    "look_interval_seconds": 20.0,
    "close_look_seconds": 4.0,
    "lease_seconds": LEASE_SECONDS,
    "heartbeat_seconds": 4.0,
    "retry_pause_seconds": 0.5,
    "watch_interval_seconds": 5.0,
    "screening_timeout_seconds": 5.0,
    "windows_refresh_seconds": 20.0,
    "admission_timeout_seconds": 8.0,
    "broken_due_seconds": 10.0,
    "inbound_poll_seconds": 5.0,
    "breaker_look_seconds": 5.0,
    "resend": Backoff(first_seconds=1, max_seconds=15),
    "enquiry": Backoff(first_seconds=1, max_seconds=15),
    "screening": Backoff(first_seconds=1, max_seconds=15),
    "full_lane": Backoff(first_seconds=2, max_seconds=10),
    "recall": Backoff(first_seconds=2, max_seconds=15),
    "recall_interval_seconds": 4.0,
    "has_real_windows": True,
}


class Books(Protocol):
    """What one process has of a store: made for each engine, closed when the engine crashes.

    ``is_instant`` says that its calls never wait.
    """

    is_instant: bool
    settlements: Any
    accounts: Any
    stream: Any
    registry: Any
    inbound: Any
    breaker_orders: Any
    recalls: Any
    resolutions: Any
    covers: Any

    def end_session(self, engine_id: int) -> None:
        """End the session that shows that this engine is running, as its crash would."""
        ...

    def close(self) -> None:
        """Drop all connections, as a crash would."""
        ...


class SkewedClock:
    """A machine's clock, which may be wrong by hours."""

    def __init__(self, world_clock: Clock) -> None:
        self._clock = world_clock
        self.skew_seconds = 0.0

    def now(self) -> datetime:
        """Return the time that this machine shows."""
        return self._clock.now() + timedelta(seconds=self.skew_seconds)


class WarningTally:
    """A meter that counts what must not happen."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.invariant_warnings: Counter[str] = Counter()
        self._faults = faults

    def invariant_warning(self, kind: str, count: int = 1) -> None:
        """Count it."""
        self.invariant_warnings[kind] += count

    def moved(
        self, steps: Sequence[TransitionCommand], commit_seconds: float | None = None
    ) -> None:
        """Note settlements that a lane had no capacity for."""
        del commit_seconds
        for step in steps:
            if step.event in NEVER_SENT and step.detail.get("text", "").startswith(NOT_PUT):
                self._note("held_back")
            elif step.event is Event.POSTPONED and "rail" in step.detail:
                is_stopped = step.detail.get("text") == WAITS[RouteReason.STOPPED_BY_OPERATOR]
                self._note("waited_for_operator" if is_stopped else "waited_for_lane")

    def rail_answered(
        self, rail: str, ask: str, seconds: float, answered: int, silent: int
    ) -> None:
        """Nothing."""

    def lanes(self, reports: Mapping[str, LaneReport]) -> None:
        """Note that a request had to wait."""
        if any(report.waiting for report in reports.values()):
            self._note("lane_waits")
        if any(report.breakers_open for report in reports.values()):
            self._note("breaker_opens")
        if any(report.stops for report in reports.values()):
            self._note("sending_stopped")

    def _note(self, name: str) -> None:
        if self._faults is not None:
            self._faults.note(name)

    def batch(self, stage: str, size: int, seconds: float) -> None:
        """Nothing."""


class UnstableScreening:
    """Clears; sometimes it refuses, parks for a person, answers late, or does not answer."""

    def __init__(self, loop: VirtualLoop, faults: Faults) -> None:
        self._loop = loop
        self._faults = faults

    async def screen(
        self, settlements: Sequence[Settlement], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Answer as the drawn faults say."""
        faults = self._faults
        await asyncio.sleep(faults.seconds(SCREENING_SECONDS))
        for settlement in settlements:
            refusal = None
            event = Event.CLEARED
            if faults.happens("screening_silent"):
                continue
            if faults.happens("screening_parks", 0.5):
                event = Event.PARKED
            elif faults.happens("screening_refuses", 0.5):
                event, refusal = Event.REFUSED, Refusal(code=RefusalCode.COMPLIANCE_BLOCKED)
            answer = Answer(settlement_id=settlement.id, event=event, refusal=refusal)
            if faults.happens("screening_late"):
                self._loop.call_later(faults.seconds(SCREENING_LATE_SECONDS), report, [answer])
            else:
                report([answer])


class _Leadership:
    """Returns who publishes from a cached value; the store is asked now and then."""

    def __init__(
        self, loop: VirtualLoop, boundary: CallBoundary, faults: Faults, stream: Any
    ) -> None:
        self._loop = loop
        self._boundary = boundary
        self._stream = stream
        self._ends_at = 0.0
        self._is_leader = False
        self._is_stubborn = faults.happens("two_leaders")

    async def is_leader(self) -> bool:
        """Return the last known answer."""
        if self._is_stubborn:
            return True
        if self._loop.time() >= self._ends_at:
            self._is_leader = await self._boundary.call("is_leader", self._stream.is_leader)
            self._ends_at = self._loop.time() + LEADING_SECONDS
        return self._is_leader


class Node:
    """See the module."""

    _tasks: list[asyncio.Task[Any]]
    repairs: CoverRepairs

    def __init__(  # noqa: PLR0913 - the parts of a process
        self,
        name: str,
        loop: VirtualLoop,
        books: Books,
        *,
        network: RailNetwork,
        bus: Bus,
        clock: Clock,
        ids: Ids,
        faults: Faults,
        chance: Random,
        chronicle: Chronicle,
        pairs: PairBanks | None = None,
    ) -> None:
        self.process = Process(name)
        self.books = books
        self.clock = SkewedClock(clock)
        self.meter = WarningTally(faults)
        self.ended: BaseException | None = None
        self._loop, self._chronicle, self._tasks = loop, chronicle, []
        self.boundary = CallBoundary(loop, self.process, faults)
        self.boundary.is_instant, self.boundary.reached = books.is_instant, self._note_commit
        self.store = cast("Any", Gated(books.settlements, self.boundary))
        rails = self._make_rails(books, network, pairs)
        self.recaller = self._make_recaller(books, network, rails)
        stream: Any = Gated(books.stream, self.boundary)
        accounts: Any = Gated(books.accounts, self.boundary)
        self.engine = SettlementService(
            EngineSettings(
                **SETTINGS,
                is_queueing=chance.random() < 0.5,  # noqa: PLR2004 - with probability one half
                move_batch_max=int(faults.pick(BATCHES)),
                intake_batch_max=int(faults.pick(BATCHES)),
                sends_max=int(faults.pick(ONLY_ONE_SEND)),
            ),
            store=self.store,
            accounts=accounts,
            stream=stream,
            registry=cast("Any", Gated(books.registry, self.boundary)),
            rails=rails,
            screening=UnstableScreening(loop, faults),
            inbound=cast("Any", Gated(books.inbound, self.boundary)),
            breaker_orders=cast("Any", Gated(books.breaker_orders, self.boundary)),
            clock=self.clock,
            ids=ids,
            chance=chance,
            meter=self.meter,
            recaller=self.recaller,
        )
        self.relay = self._make_relay(bus, faults, books, (stream, self._notices(books, network)))

    def _make_rails(
        self, books: Books, network: RailNetwork, pairs: PairBanks | None
    ) -> dict[str, SendRail]:
        """Make the rail, and in a world with pairs also theirs, and the part that repairs covers."""
        family = SimulatedRail(network, self.process)
        if pairs is None:
            return {family.name: family}
        legs = LegsRail(network, self.process, pairs)
        rail: Any = SimulatedCoverRail(legs, self.clock)
        covers: Any = Gated(books.covers, self.boundary)
        rail.keep_covers(covers)
        self.repairs = CoverRepairs(self.store, covers, {rail.name: rail}, _no_directory)
        return {rail.name: rail, family.name: family}

    def _make_recaller(
        self, books: Books, network: RailNetwork, rails: Mapping[str, SendRail]
    ) -> Recaller | None:
        """Make the part that recalls, in a world with recalls."""
        if network.bank.recalls is None:
            return None
        recalls: Any = Gated(books.recalls, self.boundary)
        return Recaller(EngineSettings(**SETTINGS), recalls, rails)

    def _notices(self, books: Books, network: RailNetwork) -> Any:
        """Only recalls have notices in a world."""
        if network.bank.recalls is None:
            return None
        return Gated(books.stream.notices, self.boundary)

    def _make_relay(
        self, bus: Bus, faults: Faults, books: Books, outboxes: tuple[Any, Any]
    ) -> Relay:
        stream, notices = outboxes
        return Relay(
            outbox=stream,
            notices=notices,
            nats=NatsAccess(servers=()),
            meter=self.meter,
            settings=RelaySettings(
                batch_min=2,  # A world is small; with this both ways of publishing occur in it.
                batch_max=int(faults.pick(BATCHES)) + 1,
                poll_seconds=5.0,
                standby_poll_seconds=8.0,
                ack_timeout_seconds=2.0,
                mark_seconds=4.0,
                linger_seconds=0.5,
            ),
            leadership=_Leadership(self._loop, self.boundary, faults, books.stream),
            notifier=self.engine.notifier,
            open_connection=bus.connector(self.process),
        )

    def _note_commit(self, name: str, found: object) -> None:
        if name == "apply":
            assert isinstance(found, list)
            results = " ".join(outcome.result.value for outcome in found)
            self._chronicle.note(f"{self.process.name} writes: {results}")
        elif name in ("claim", "reclaim") and found:
            assert isinstance(found, list)
            self._chronicle.note(f"{self.process.name} {name}s {len(found)}")
        elif name == "join":
            self._chronicle.note(f"{self.process.name} joins as {found}")

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in this process, which keeps a reference to it."""
        task = self._loop.create_task(work, context=self.process.context)
        self._tasks.append(task)
        return task

    def start(self) -> None:
        """Start, as a process does."""
        _ = self.run(self._live())

    async def _live(self) -> None:
        try:
            await self.engine.join()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.engine.run())
                group.create_task(self.relay.run())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - an engine that ends by itself is a finding
            self.ended = error

    @property
    def engine_id(self) -> int:
        """The engine id of this process."""
        return self.engine._lease.engine_id  # noqa: SLF001 - the fault injector may look anywhere

    @property
    def is_up(self) -> bool:
        """Return whether the engine accepts calls."""
        return not self.process.is_stopped and self.engine_id > 0


async def _no_directory() -> None:
    """Read nothing: a world has no bank directory."""
