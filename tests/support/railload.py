"""The load of the kills over all rails: payments over each rail and in both deliveries, some cancelled, some recalled.

A cancellation or a recall that is refused is right: what became of each payment is compared with the bank's ledger
afterwards.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Self

import grpc

from settlement_engine.proto import settlement_pb2 as pb
from settlement_lab.commands.demo.command import FAULTS
from settlement_lab.commands.demo.outside import set_faults
from settlement_lab.commands.demo.payments import RAILS
from tests.e2e.world import payment_request, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.world import World

PER_RAIL = 3
"""How many instructions over each rail are in a batch."""

ACH_EVERY = 30
"""Every how many batches have payments over ACH, as many as the other rails got between them: a pair of parties may
send 36 files a day, and such a batch makes two or more."""

URGENT_EVERY = 3
"""Every how many payments over ACH are to be settled the same day."""

PAUSE_SECONDS = 0.3
ACCEPTED_SECONDS_MAX = 300.0
"""A batch is repeated for so long: on a busy machine a restart takes many seconds, and the next kill comes at once."""

CALL_SECONDS = 10.0
CANCEL_SHARE = 0.15
CANCEL_SECONDS = (-0.4, 0.8)
"""So long after its batch a payment is cancelled, a third of them at once: some still wait, others are at the bank."""

RECALL_SHARE = 0.05
RECALL_SECONDS = (1.0, 4.0)
"""So long after its batch a payment is recalled: by then most have completed."""

ASKERS = 8
ASK_TRIES = 6
ASK_AGAIN_SECONDS = 0.5
ASK_AGAIN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
PERSON = (("settlement-actor", "ada"),)

TO_A_CUSTOMER = pb.PaymentDetails(
    creditor=pb.PaymentParty(name="Grace Hopper", account=pb.PaymentAccount(other_id="12345678"))
)
"""What an entry needs that is paid out; the other rails name the bank itself."""

COVERS, COVERED = "swift_cover", "HSBCGB2L"
"""The rail of cover payments, and the bank that the sample directory says is covered in USD."""

LOADED = {**RAILS, COVERS: "USD"}
"""The rails of the load, and the currency of each."""

COVER_RULES = (
    {"scenario": "reject", "leg": "payment", "one_in": 8},
    {"scenario": "lost_answer", "leg": "payment", "one_in": 8},
    {"scenario": "settle", "leg": "payment"},
    {"scenario": "lost_answer", "leg": "cover", "one_in": 8},
    {"scenario": "slow", "leg": "cover", "one_in": 4},
    {"scenario": "settle", "leg": "cover"},
)
"""What TO and FROM do with their messages of a pair. A cover that FROM refuses waits for a person, and is not here."""

SLOW_STEPS = [{"status": "ACSP"}, {"status": "ACSC", "after_ms": 1_500}]
SLOW = {
    "slow": {"steps": SLOW_STEPS},
    "slow_refusing": {"steps": SLOW_STEPS, "recall": "refuse"},
    "slow_pending": {"steps": SLOW_STEPS, "recall": "pending", "recall_after_ms": 800},
}
"""The bank settles these so late that a cancellation finds them on their way: it gives the money back, or does not, or
says so later."""

SLOW_RULES = (
    {"scenario": "slow", "one_in": 6},
    {"scenario": "slow_refusing", "one_in": 12},
    {"scenario": "slow_pending", "one_in": 12},
    {"scenario": "settle_recall_refused", "one_in": 12},
    {"scenario": "settle_recall_delayed", "one_in": 12},
)


def has_faults(world: World) -> None:
    """Have the simulator treat some payments badly, and others slowly."""
    url = f"{world.address['simulator']}/admin/script"
    with urllib.request.urlopen(url, timeout=CALL_SECONDS) as answer:
        script = json.load(answer)
    body = json.dumps({**script, "scenarios": SLOW}).encode()
    request = urllib.request.Request(url, data=body, method="PUT")
    with urllib.request.urlopen(request, timeout=CALL_SECONDS):
        pass
    # Each rule goes before those that are there.
    asyncio.run(
        set_faults(world.address["simulator"], (*SLOW_RULES, *FAULTS, *reversed(COVER_RULES)))
    )


def batch_of(number: int) -> list[pb.SettlementRequest]:
    """Make a batch: some payments over each rail, and over ACH seldom, but then many."""
    counts = dict.fromkeys(LOADED, PER_RAIL)
    counts["ach"] = PER_RAIL * ACH_EVERY if number % ACH_EVERY == 1 else 0
    return [_payment(rail, number, each) for rail, count in counts.items() for each in range(count)]


def _payment(rail: str, number: int, each: int) -> pb.SettlementRequest:
    is_ach, is_covered = rail == "ach", rail == COVERS
    is_paid_out = is_covered or each % 2 == 1
    return payment_request(
        obligation_id=f"KILLED-{rail}-{number}-{each}",
        idempotency_key=f"killed-{rail}-{number}-{each}",
        amount=f"{1 + number % 50}.{each:02}",
        rail=rail,
        to_bank=COVERED if is_covered else "CHASUS33",
        currency=LOADED[rail],
        priority=pb.URGENT if is_ach and each % URGENT_EVERY == 0 else pb.NORMAL,
        delivery=pb.DELIVERY_PAY_OUT if is_paid_out else pb.DELIVERY_BOOK,
        payment=TO_A_CUSTOMER if is_covered or (is_ach and is_paid_out) else None,
    )


class RailLoad(threading.Thread):
    """Submits batches over all rails until it is stopped; a batch without an answer is repeated."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._chance = Random(seed)
        self._askers = ThreadPoolExecutor(max_workers=ASKERS)
        self._is_over = threading.Event()
        self._guard = threading.Lock()
        self._failure: Exception | None = None
        self._last_answer = ""
        self.sent = 0
        self.asked: Counter[str] = Counter()
        """What the cancellations and recalls were answered, by the call and the code of its answer."""

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the batch that is under way, and what was asked about those before it."""
        self._is_over.set()
        self.join(timeout=ACCEPTED_SECONDS_MAX)
        self._askers.shutdown()
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
            batch = batch_of(number)
            accepted = until(
                partial(self._accepted, batch), ACCEPTED_SECONDS_MAX, "a batch to be accepted"
            )
            self.sent += len(batch)
            for settlement_id in accepted:
                self._ask_about(settlement_id)

    def _accepted(self, batch: list[pb.SettlementRequest]) -> list[str]:
        """Submit a batch; returns the settlements, or none if it was not accepted as a whole."""
        request = pb.SubmitSettlementsRequest(settlements=batch)
        try:
            answer = self._world.settlements.SubmitSettlements(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self._last_answer = repr(error)
            return []
        refused = [result.error for result in answer.results if result.HasField("error")]
        self._last_answer = str(refused)
        return [] if refused else [result.settlement.settlement_id for result in answer.results]

    # --- cancellations and recalls ------------------------------------------------------------------

    def _ask_about(self, settlement_id: str) -> None:
        """Have some of the payments cancelled, and others recalled."""
        lot = self._chance.random()
        if lot < CANCEL_SHARE:
            after_seconds = self._chance.uniform(*CANCEL_SECONDS)
            self._askers.submit(
                self._ask, "cancel", partial(self._cancel, settlement_id), after_seconds
            )
        elif lot < CANCEL_SHARE + RECALL_SHARE:
            after_seconds = self._chance.uniform(*RECALL_SECONDS)
            self._askers.submit(
                self._ask, "recall", partial(self._recall, settlement_id), after_seconds
            )

    def _cancel(self, settlement_id: str) -> None:
        wanted = pb.CancelSettlementRequest(settlement_id=settlement_id)
        self._world.settlements.CancelSettlement(wanted, timeout=CALL_SECONDS)

    def _recall(self, settlement_id: str) -> None:
        wanted = pb.RecallSettlementRequest(settlement_id=settlement_id, reason="paid twice")
        self._world.settlements.RecallSettlement(wanted, timeout=CALL_SECONDS, metadata=PERSON)

    def _ask(self, name: str, call: Callable[[], object], after_seconds: float) -> None:
        """Ask for it, and again while the engine is away."""
        self._is_over.wait(max(after_seconds, 0))
        for _ in range(ASK_TRIES):
            code = _code_of(call)
            with self._guard:
                self.asked[f"{name} {code.name}"] += 1
            if code not in ASK_AGAIN:
                return
            self._is_over.wait(ASK_AGAIN_SECONDS)


def _code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """Make the call, and return the code of its answer."""
    failure: object = None
    try:
        call()
    except grpc.RpcError as error:
        failure = error
    return failure.code() if isinstance(failure, grpc.Call) else grpc.StatusCode.OK
