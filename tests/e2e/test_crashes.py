"""Engine, PostgreSQL and NATS are killed under load (acceptance 5 and 6, short forms).

The long forms, twenty kills and a minute without NATS, are in tests/soak.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import grpc
import pytest

from settlement_engine.proto import settlement_pb2 as pb
from tests.e2e.world import World, events, payment_request, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    Submit: TypeAlias = grpc.UnaryUnaryMultiCallable[Message, pb.SubmitSettlementsResponse]

BANKS = ("DEUTDEFF", "CHASUS33", "BNPAFRPP")
SCRIPTS = ("settle", "settle", "settle", "lost_answer", "lost_request", "reject", "late_settle")
BATCH = 25
SETTINGS = (
    "--set",
    "banks.mock_latency_ms=20",
    "--set",
    "banks.mock_answer_timeout_ms=500",
    "--set",
    "banks.mock_late_seconds=0.5",
    "--set",
    "settlement.enquiry_first_delay_seconds=0.1",
    "--set",
    "settlement.enquiry_max_delay_seconds=1.0",
)


class Load:
    """Submits batches until it is stopped; a batch is repeated until it was accepted."""

    def __init__(self, world: World, seed: int) -> None:
        self._target = world.address["grpc"]
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self.accepted: dict[str, str] = {}
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.min_reconnect_backoff_ms", 50)]
        try:
            with grpc.insecure_channel(self._target, options=options) as channel:
                submit = channel.unary_unary(
                    "/settlement.SettlementService/SubmitSettlements",
                    request_serializer=pb.SubmitSettlementsRequest.SerializeToString,
                    response_deserializer=pb.SubmitSettlementsResponse.FromString,
                )
                while not self._stop.is_set():
                    self._submit(submit, [self._request() for _ in range(BATCH)])
        except BaseException as error:  # noqa: BLE001 - raised by stop()
            self.failure = error

    def _submit(self, submit: Submit, batch: list[pb.SettlementRequest]) -> None:
        deadline = time.monotonic() + 60
        while batch and time.monotonic() < deadline:
            request = pb.SubmitSettlementsRequest(settlements=batch)
            try:
                results = submit(request, timeout=20, wait_for_ready=True).results
            except grpc.RpcError:
                time.sleep(0.05)
                continue
            again = []
            for each, result in zip(batch, results, strict=True):
                if result.HasField("error"):
                    again.append(each)
                else:
                    self.accepted[each.obligation_id] = result.settlement.settlement_id
            batch = again
            if again:
                time.sleep(0.05)
        assert not batch, "a batch was not accepted within a minute"

    def _request(self) -> pb.SettlementRequest:
        source, target = self._chance.sample(BANKS, 2)
        return payment_request(
            obligation_id=str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
            from_bank=source,
            to_bank=target,
            amount=f"{self._chance.randrange(1, 900)}.{self._chance.randrange(100):02}",
            simulate=self._chance.choice(SCRIPTS),
        )

    def stop(self) -> dict[str, str]:
        """Stop submitting; return settlement ids by obligation."""
        self._stop.set()
        self._thread.join(timeout=90)
        assert self.failure is None, self.failure
        return self.accepted


@contextmanager
def running(folder: Path) -> Iterator[World]:
    """Start an engine with three funded banks."""
    with World(folder, *SETTINGS) as world:
        for bank in BANKS:
            world.open_bank(bank, "EUR", "9000000000.00")
        yield world


def check_everything(world: World, accepted: dict[str, str], seconds: float = 60) -> None:
    """Check that all ended, the bank agrees on each, the ledger is proved, and each transition is announced once."""
    open_ones = pb.ListSettlementsRequest(
        statuses=[pb.VALIDATING, pb.EXECUTING, pb.IN_DOUBT, pb.QUEUED, pb.RECALLING], page_size=10
    )

    def is_quiet() -> bool:
        try:
            return not world.settlements.ListSettlements(open_ones, timeout=10).settlements
        except grpc.RpcError:
            return False

    until(is_quiet, seconds, "everything to end")
    debits = {row["settlement_id"]: row["times_debited"] for row in world.bank_ledger()}
    histories: dict[str, list[pb.SettlementEvent]] = {}
    position = 0
    for event in events(world, timeout=60):
        assert event.sequence == position + 1
        position = event.sequence
        histories.setdefault(event.settlement_id, []).append(event)
    for settlement_id in accepted.values():
        last = histories[settlement_id][-1]
        is_completed = last.event_type == "settlement.completed"
        assert debits.get(settlement_id, 0) == int(is_completed), settlement_id
    assert len(set(accepted.values())) == len(accepted)
    world.prove()


def test_kill_9_of_the_engine_under_load(tmp_path: Path) -> None:
    """Three kills at random moments: everything accepted ends, with one debit each at the bank."""
    chance = random.Random(11)
    with running(tmp_path) as world:
        load = Load(world, seed=1)
        for _ in range(3):
            old = world.engine_pids()
            time.sleep(chance.uniform(0.3, 1.0))
            world.kill_engine()
            world.await_new_engine(old)
        accepted = load.stop()
        check_everything(world, accepted)
        assert len(accepted) > 3 * BATCH


def test_kill_9_of_postgresql_under_load(tmp_path: Path) -> None:
    """The engine reconnects by itself, and nothing accepted is lost or duplicated."""
    with running(tmp_path) as world:
        load = Load(world, seed=2)
        time.sleep(1.0)
        engines = world.engine_pids()
        old = world.address["postgres_pid"]
        os.kill(old, signal.SIGKILL)
        until(lambda: world.address["postgres_pid"] != old, 30, "PostgreSQL to be back")
        before = len(load.accepted)
        until(lambda: len(load.accepted) > before + 5 * BATCH, 30, "the engine to go on")
        accepted = load.stop()
        check_everything(world, accepted)
        assert world.engine_pids() == engines, "the engine process itself survived"


@pytest.mark.parametrize("seconds", [2.0])
def test_settlements_continue_without_nats(tmp_path: Path, seconds: float) -> None:
    """While NATS is stopped settlements end; afterwards every event is in the stream, once, in order."""
    from tests.e2e.jetstream import read_stream

    with running(tmp_path) as world:
        load = Load(world, seed=3)
        time.sleep(0.5)
        os.kill(world.address["nats_pid"], signal.SIGSTOP)
        try:
            before = len(load.accepted)
            time.sleep(seconds)
            assert len(load.accepted) > before, "settlements are accepted without NATS"
        finally:
            os.kill(world.address["nats_pid"], signal.SIGCONT)
        old = world.address["nats_pid"]
        os.kill(old, signal.SIGKILL)
        until(lambda: world.address["nats_pid"] not in (None, old), 20, "NATS to be back")
        accepted = load.stop()
        check_everything(world, accepted)
        wanted = [(event.event_id, event.sequence) for event in events(world, timeout=60)]
        found = until(
            lambda: (stored := read_stream(world)) and len(stored) >= len(wanted) and stored,
            30,
            "every event to be in JetStream",
        )
        assert found == wanted
