"""Callers of several engines: they send, send again under the same key, wait, cancel and read.

A caller uses one engine until a call fails, then tries the next one with the same request, as any careful
client does; sometimes it changes by itself, so that every engine has work. Violated guarantees are
recorded: another settlement for the same key (I14), and a final state that changes afterwards (I20).
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import grpc

from settlement_engine.proto import settlement_pb2 as pb
from settlement_engine.proto import settlement_pb2_grpc as rpc
from tests.support.soak_installation import BANKS, RECONNECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPTS = (
    *("settle",) * 6,
    *("lost_answer", "lost_request", "late_settle", "late_reject", "reject", "undelivered"),
    "contradict",
)
ENDED = frozenset({pb.COMPLETED, pb.FAILED, pb.ROLLED_BACK, pb.RETURNED})
CALL_SECONDS = 3.0
EXECUTE_SECONDS = 2.0
ACCEPT_SECONDS_MAX = 90.0
PAUSE_SECONDS = 0.05
REPLAY_SHARE = 0.15
CHANGE_SHARE = 0.2
CANCEL_SHARE = 0.03
END_SECONDS = 120.0


class Caller:
    """One client with a list of engines."""

    def __init__(self, targets: Sequence[str], first: int) -> None:
        self._channels = [grpc.insecure_channel(each, options=RECONNECT) for each in targets]
        self._stubs = [rpc.SettlementServiceStub(channel) for channel in self._channels]
        self._at = first % len(self._stubs)
        self.failures: Counter[str] = Counter()

    @property
    def stub(self) -> rpc.SettlementServiceStub:
        """The stub of the engine that this caller uses."""
        return self._stubs[self._at]

    def move_on(self, error: grpc.RpcError) -> None:
        """Change to the next engine."""
        assert isinstance(error, grpc.Call)
        self.failures[error.code().name] += 1
        self._at = (self._at + 1) % len(self._stubs)

    def change(self, chance: random.Random) -> None:
        """Change to another engine sometimes."""
        if chance.random() < CHANGE_SHARE:
            self._at = chance.randrange(len(self._stubs))

    def close(self) -> None:
        """Close every connection."""
        for channel in self._channels:
            channel.close()


class Load:
    """Callers in their own threads, until ``stop``."""

    def __init__(
        self,
        targets: Sequence[str],
        *,
        seed: int,
        submitters: int = 2,
        batch: int = 10,
        pause_seconds: float = PAUSE_SECONDS,
        scripts: Sequence[str] = SCRIPTS,
    ) -> None:
        self._targets = targets
        self._batch = batch
        self._pause_seconds = pause_seconds
        self._scripts = scripts
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self.accepted: dict[str, str] = {}  # settlements by obligation
        self.script_of: dict[str, str] = {}  # by settlement
        self.ends: dict[str, int] = {}  # the final states that callers received
        self.broken: list[str] = []  # violated guarantees
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.crash: BaseException | None = None
        works: list[Callable[[Caller, random.Random], None]] = [self._submit] * submitters
        works += [self._execute, self._look]
        self._threads = [
            threading.Thread(target=self._run, args=(work, number, seed * 1000 + number))
            for number, work in enumerate(works)
        ]
        for thread in self._threads:
            thread.start()

    def begin_stop(self) -> None:
        """Ask the callers to finish."""
        self._stop.set()

    @property
    def is_busy(self) -> bool:
        """Return whether a caller still waits for a response."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Send nothing more, finish what was started, and raise errors of the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=END_SECONDS)
            assert not thread.is_alive(), "a caller did not end"
        if self.crash is not None:
            raise self.crash

    def _run(self, work: Callable[[Caller, random.Random], None], number: int, seed: int) -> None:
        caller = Caller(self._targets, number)
        chance = random.Random(seed)
        try:
            while not self._stop.is_set():
                caller.change(chance)
                work(caller, chance)
                self._stop.wait(self._pause_seconds)
        except BaseException as error:  # noqa: BLE001 - told by stop()
            self.crash = error
        finally:
            with self._guard:
                self.failures.update(caller.failures)
            caller.close()

    # --- what callers do ------------------------------------------------------------------------

    def _submit(self, caller: Caller, chance: random.Random) -> None:
        payment_requests = [self._request(chance) for _ in range(self._batch)]
        self._send(caller, payment_requests)
        if chance.random() < REPLAY_SHARE:
            self._send(caller, payment_requests)
            self.counts["sent again"] += len(payment_requests)
        if chance.random() < CANCEL_SHARE * self._batch:
            self._cancel(caller, chance.choice(payment_requests).obligation_id)

    def _send(self, caller: Caller, payment_requests: list[pb.SettlementRequest]) -> None:
        deadline = time.monotonic() + ACCEPT_SECONDS_MAX
        waiting = list(payment_requests)
        while waiting:
            assert time.monotonic() < deadline, "a batch was not accepted in time"
            request = pb.SubmitSettlementsRequest(settlements=waiting)
            try:
                results = caller.stub.SubmitSettlements(request, timeout=CALL_SECONDS).results
            except grpc.RpcError as error:
                caller.move_on(error)
                time.sleep(PAUSE_SECONDS)
                continue
            again = []
            for payment_request, result in zip(waiting, results, strict=True):
                if result.HasField("error"):
                    again.append(payment_request)
                else:
                    self._note(payment_request, result.settlement)
            if again:
                time.sleep(PAUSE_SECONDS)
            waiting = again

    def _execute(self, caller: Caller, chance: random.Random) -> None:
        """Execute one settlement, repeatedly under one key until it has ended."""
        payment_request = self._request(chance)
        deadline = time.monotonic() + ACCEPT_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                found = caller.stub.ExecuteSettlement(payment_request, timeout=EXECUTE_SECONDS)
            except grpc.RpcError as error:
                caller.move_on(error)
                time.sleep(PAUSE_SECONDS)
                continue
            self._note(payment_request, found)
            if found.status in ENDED:
                self.counts["waited for"] += 1
                return
            time.sleep(PAUSE_SECONDS)
        message = "a settlement did not end while its caller waited"
        raise AssertionError(message)

    def _look(self, caller: Caller, chance: random.Random) -> None:
        """Read settlements from any engine; after a final state no other state may follow."""
        with self._guard:
            known = list(self.script_of)[-2000:]
        for settlement_id in chance.sample(known, min(5, len(known))):
            try:
                found = caller.stub.GetSettlementStatus(
                    pb.SettlementStatusRequest(settlement_id=settlement_id), timeout=CALL_SECONDS
                )
            except grpc.RpcError as error:
                caller.move_on(error)
                continue
            self.counts["looks"] += 1
            self._see(settlement_id, found.status)

    def _cancel(self, caller: Caller, obligation_id: str) -> None:
        """Request a cancellation; the engine decides what follows."""
        wanted = pb.CancelSettlementRequest(settlement_id=self.accepted[obligation_id])
        try:
            caller.stub.CancelSettlement(wanted, timeout=CALL_SECONDS)
            self.counts["cancels taken"] += 1
        except grpc.RpcError:
            self.counts["cancels too late"] += 1

    def _request(self, chance: random.Random) -> pb.SettlementRequest:
        source, target = chance.sample(BANKS, 2)
        return pb.SettlementRequest(
            obligation_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            from_bank=source,
            to_bank=target,
            amount=f"{chance.randrange(1, 900)}.{chance.randrange(100):02}",
            currency="EUR",
            metadata={"simulate": chance.choice(self._scripts)},
        )

    # --- what callers are told ------------------------------------------------------------------

    def _note(self, payment_request: pb.SettlementRequest, found: pb.SettlementResponse) -> None:
        with self._guard:
            before = self.accepted.setdefault(payment_request.obligation_id, found.settlement_id)
            self.script_of[found.settlement_id] = payment_request.metadata["simulate"]
            if before != found.settlement_id:
                self.broken.append(
                    f"I14 {payment_request.obligation_id}: {before}, then {found.settlement_id}"
                )
        self._see(found.settlement_id, found.status)

    def _see(self, settlement_id: str, status: int) -> None:
        with self._guard:
            before = self.ends.get(settlement_id)
            if before is not None and before != status:
                self.broken.append(f"I20 {settlement_id}: {before}, then {status}")
            elif status in ENDED:
                self.ends[settlement_id] = status
