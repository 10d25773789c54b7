"""Kills engine and bank simulator under load over all rails, and compares the two ledgers afterwards.

The bank's ledger is the judge: each completed settlement was debited exactly once, no other one was debited, and
the bank has no payment that our books do not have.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING, Self

import grpc

from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.commands.demo.command import FAULTS
from settlement_lab.commands.demo.outside import set_faults
from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import ENDED, payment_request, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.e2e.world import World

PER_RAIL = 3
"""How many instructions over each rail are in a batch."""

ACH_EVERY = 60
"""Every how many batches have payments over ACH: a pair of parties may send 36 files a day."""

PAUSE_SECONDS = 0.3
BACK_SECONDS_MAX = 60.0
ACCEPTED_SECONDS_MAX = 300.0
"""A batch is repeated for so long: on a busy machine a restart takes many seconds, and the next kill comes at once."""

ENDS_SECONDS_MAX = 180.0
CALL_SECONDS = 10.0
PAGE_ITEMS = 1_000
VICTIMS = ("engine", "simulator", "both")


class RailLoad(threading.Thread):
    """Submits batches over all rails until it is stopped; a batch without an answer is repeated."""

    def __init__(self, world: World) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._is_over = threading.Event()
        self.sent = 0
        self._failure: Exception | None = None
        self._last_answer = ""

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the batch that is under way."""
        self._is_over.set()
        self.join(timeout=ACCEPTED_SECONDS_MAX)
        assert not self.is_alive(), "the last batch was not accepted"
        assert self._failure is None, f"{self._failure!r}, after: {self._last_answer}"

    def run(self) -> None:
        """Submit batch after batch; what ends the load early fails the test."""
        try:
            self._submit_all()
        except Exception as error:  # noqa: BLE001 - it is reported by the test's own thread
            self._failure = error

    def _submit_all(self) -> None:
        number = 0
        while not self._is_over.wait(PAUSE_SECONDS):
            number += 1
            batch = [
                payment_request(
                    obligation_id=f"KILLED-{rail}-{number}-{each}",
                    idempotency_key=f"killed-{rail}-{number}-{each}",
                    rail=rail,
                    currency=currency,
                    delivery=pb.DELIVERY_PAY_OUT
                    if each % 2 and rail != "ach"
                    else pb.DELIVERY_BOOK,
                )
                for rail, currency in RAILS.items()
                if rail != "ach" or number % ACH_EVERY == 1
                for each in range(PER_RAIL)
            ]
            until(partial(self._accepts, batch), ACCEPTED_SECONDS_MAX, "a batch to be accepted")
            self.sent += len(batch)

    def _accepts(self, batch: list[pb.SettlementRequest]) -> bool:
        request = pb.SubmitSettlementsRequest(settlements=batch)
        try:
            answer = self._world.settlements.SubmitSettlements(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self._last_answer = repr(error)
            return False
        refused = [result.error for result in answer.results if result.HasField("error")]
        self._last_answer = str(refused)
        return not refused


def has_faults(world: World) -> None:
    """Have the simulator treat some payments badly."""
    asyncio.run(set_faults(world.address["simulator"], FAULTS))


def kill_at_random(world: World, kills: int, seed: int) -> Counter[str]:
    """Kill engine, simulator or both so many times; each is running again before the next kill."""
    chance = Random(seed)
    done: Counter[str] = Counter()
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 1.5))
        victim = chance.choice(VICTIMS)
        before = _pids(world)
        killed = {name for name in before if victim in (name, "both")}
        for name in killed:
            with suppress(ProcessLookupError):
                os.kill(before[name], signal.SIGKILL)
        back = partial(_is_another, world, before, killed)
        until(back, BACK_SECONDS_MAX, f"{victim} to be started again")
        done[victim] += 1
    return done


def _is_another(world: World, before: Mapping[str, int], killed: Iterable[str]) -> bool:
    """Say whether other processes run in place of the killed ones, and the engine takes payments again."""
    now = _pids(world)
    try:
        is_ready = world.get("/readyz")[0] == HTTPStatus.OK
    except OSError:
        return False
    return is_ready and all(now[name] != before[name] for name in killed)


def _pids(world: World) -> dict[str, int]:
    address = world.address
    (engine,) = address["engine_pids"] or (0,)
    return {"engine": engine, "simulator": address["simulator_pid"] or 0}


def all_settlements(world: World) -> list[pb.SettlementStatusResponse]:
    """Read all settlements."""
    found: list[pb.SettlementStatusResponse] = []
    wanted = pb.ListSettlementsRequest(page_size=PAGE_ITEMS)
    while True:
        page = world.settlements.ListSettlements(wanted, timeout=CALL_SECONDS)
        found += page.settlements
        wanted.page_token = page.next_page_token
        if not page.next_page_token:
            return found


def check_both_ledgers(world: World, sent: int) -> Counter[str]:
    """Wait until everything has ended, and compare; return how many of each rail have completed."""
    world.close_channel()

    def ended() -> list[pb.SettlementStatusResponse] | None:
        try:
            found = all_settlements(world)
        except grpc.RpcError:
            return None
        return found if all(each.status in ENDED for each in found) else None

    ours = until(ended, ENDS_SECONDS_MAX, "every settlement to end")
    assert len(ours) == sent
    debits: Counter[str] = Counter()
    for line in world.simulator_ledger():
        debits[line["end_to_end_id"]] += line["times_debited"]
    names = {each.end_to_end_id for each in ours}
    assert set(debits) <= names, "the bank has payments that we do not have"
    wrong = {
        each.settlement_id: (pb.SettlementStatus.Name(each.status), debits[each.end_to_end_id])
        for each in ours
        if debits[each.end_to_end_id] != (1 if each.status == pb.COMPLETED else 0)
    }
    assert wrong == {}
    assert world.prove()["differences"] == []
    return Counter(each.rail for each in ours if each.status == pb.COMPLETED)
