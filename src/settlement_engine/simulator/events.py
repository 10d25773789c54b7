"""What happens to a payment at the bank, now and later: statuses, debits, returns, late answers to recalls.

Promises: a payment is debited once, when it settles, and the payment leg of a cover payment never; a final state does
not change; a call-back is recorded with its bytes in the same transaction as the change that it reports.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.simulator import answers
from settlement_engine.simulator.account_books import AccountBooks
from settlement_engine.simulator.ach_files import AchAnswers
from settlement_engine.simulator.legs import COVER, PAYMENT
from settlement_engine.simulator.scenarios import (
    PAID_OUT,
    Coming,
    MoneyBack,
    Reply,
    Scenario,
    ScenarioStep,
    parts_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from settlement_engine.simulator.ledger import Ledger, Payment

ROUNDS_MAX: Final = 100
"""A call carries out at most so many rounds of due steps; the others wait for the next call."""


class SimulatorState(StrEnum):
    """The state of a payment in the ledger."""

    RECEIVED = auto()
    ACKNOWLEDGED = auto()
    SETTLED = auto()
    REJECTED = auto()
    RECALLED = auto()
    RETURNED = auto()


FINAL: Final = frozenset(
    {
        SimulatorState.SETTLED,
        SimulatorState.REJECTED,
        SimulatorState.RECALLED,
        SimulatorState.RETURNED,
    }
)
SETTLING: Final = frozenset({"ACSC", "ACCC"})
RECALL_CODE: Final = "FOCR"
"""The reason code of a return that follows a recall."""

CREDITOR_REFUSES: Final = ("RJCR", "CUST")
"""The answer to a recall of what the creditor has been paid."""


class SimulatorEventKind(StrEnum):
    """The kinds of planned steps."""

    STATUS = auto()
    RETURN = auto()
    RECALL = auto()


class Events:
    """Changes payments in the ledger. All methods but ``work`` run in the caller's transaction."""

    def __init__(self, ledger: Ledger, *, calls_back: bool) -> None:
        self._ledger = ledger
        self._calls_back = calls_back
        self.books = AccountBooks(ledger)
        self._iso = answers.IsoAnswers()
        self._ach = AchAnswers()

    def begin(self, payment: Payment, scenario: Scenario, now_ms: int) -> tuple[Payment, str, str]:
        """Carry out the steps of the receipt and plan the later ones; returns the status for the response."""
        for step in scenario.steps:
            if step.after_ms > 0:
                self._ledger.plan_step(
                    payment.id, SimulatorEventKind.STATUS, step, now_ms + step.after_ms
                )
        reported = payment.status, payment.code
        for number, step in enumerate(scenario.steps):
            if step.after_ms > 0:
                continue
            payment = self._come_to(payment, step, now_ms, name=f"CB{payment.id}-{number}")
            reported = step.status, step.code
        if self._settles_now(payment):  # its cover came first
            payment = self._come_to(payment, PAID_OUT, now_ms, name=f"CB{payment.id}-COV")
            reported = PAID_OUT.status, PAID_OUT.code
        return payment, *reported

    def work(self, now_ms: int) -> None:
        """Carry out all due steps in order; steps that are planned by them and due at once run in another round."""
        for _ in range(ROUNDS_MAX):
            due = self._ledger.due_steps(now_ms)
            if not due:
                return
            with self._ledger.writing():
                for row in due:
                    self._ledger.finish_step(row["id"])
                    self._happen(row)

    def recall_now(self, payment: Payment, now_ms: int) -> tuple[str, str]:
        """Cancel a payment that is not settled; plan the return of one that is. Returns the answer and its reason.

        A payment leg that has settled is not given back: the creditor has its amount, and the ledger no debit of it.
        """
        if payment.state == SimulatorState.SETTLED and payment.leg == PAYMENT:
            return CREDITOR_REFUSES
        if payment.state == SimulatorState.SETTLED:
            coming = Coming(
                amount_minor=(payment.debited_minor or 0) - payment.returned_minor,
                charges_minor=0,
                code=RECALL_CODE,
                is_last=True,
            )
            self._ledger.cancel_steps(payment.id)
            self._ledger.plan_step(payment.id, SimulatorEventKind.RETURN, coming, now_ms)
        elif payment.state not in FINAL:
            self._ledger.cancel_steps(payment.id)
            self._ledger.move(payment, SimulatorState.RECALLED, "CANC")
        return "CNCL", ""

    def recall_later(self, payment: Payment, due_at_ms: int) -> None:
        """Plan the answer to a recall; a repeated recall does not change the first plan."""
        if not self._ledger.has_step(payment.id, SimulatorEventKind.RECALL):
            self._ledger.plan_step(payment.id, SimulatorEventKind.RECALL, None, due_at_ms)

    def advise_rejections(self, entries: Iterable[Payment], due_at_ms: int) -> None:
        """Plan a report about each rejected entry of a file."""
        for entry in entries:
            if entry.state == SimulatorState.REJECTED:
                step = ScenarioStep(status=entry.status, code=entry.code)
                body = self._ach.status(entry, step, f"CB{entry.id}-0", due_at_ms)
                self._tell(entry, body, due_at_ms)

    def _happen(self, row: sqlite3.Row) -> None:
        payment = self._ledger.payment(row["payment_id"])
        now_ms, name = row["due_at_ms"], f"CB{payment.id}-S{row['id']}"
        match row["kind"]:
            case SimulatorEventKind.STATUS:
                step = msgspec.json.decode(row["content"], type=ScenarioStep)
                self._come_to(payment, step, now_ms, name=name)
            case SimulatorEventKind.RETURN:
                coming = msgspec.json.decode(row["content"], type=Coming)
                self._give_back(payment, coming, now_ms, name)
            case _:
                said = self.recall_now(payment, now_ms)
                body = answers.resolution(name, *said, payment, now_ms)
                self._tell(payment, body, now_ms)

    def _answers(self, payment: Payment) -> answers.IsoAnswers | AchAnswers:
        return self._iso if payment.trace is None else self._ach

    # --- statuses -----------------------------------------------------------------------------------

    def _come_to(self, payment: Payment, step: ScenarioStep, now_ms: int, *, name: str) -> Payment:
        """Set a payment's status, and plan a call-back unless the response reports it."""
        if step.is_true:
            if payment.state in FINAL:
                return payment
            payment = self._move(payment, step, now_ms)
        treatment = payment.treatment
        is_in_response = step.after_ms == 0 and treatment.reply is not Reply.CALLBACK
        if is_in_response and treatment.reply is not Reply.BOTH:
            return payment
        told_after_ms = step.after_ms if step.told_after_ms is None else step.told_after_ms
        self._report(payment, step, name, payment.received_at_ms + told_after_ms, now_ms)
        return payment

    def _report(
        self, payment: Payment, step: ScenarioStep, name: str, told_at_ms: int, now_ms: int
    ) -> None:
        told_at_ms = max(told_at_ms, payment.received_at_ms + payment.treatment.silent_for_ms)
        body = self._answers(payment).status(payment, step, name, told_at_ms)
        self._tell(payment, body, max(told_at_ms, now_ms))

    def _move(self, payment: Payment, step: ScenarioStep, now_ms: int) -> Payment:
        if step.status in SETTLING and payment.leg == PAYMENT:
            return self._ledger.move(payment, SimulatorState.SETTLED, step.status, step.code)
        if step.status in SETTLING:
            change = payment.treatment.amount_change_minor
            amount_minor = max(1, payment.amount_minor + change)
            self._ledger.debit(payment, amount_minor, now_ms)
            self.books.paid(payment, amount_minor, now_ms)
            moved = self._ledger.move(payment, SimulatorState.SETTLED, step.status, step.code)
            self._plan_returns(moved, moved.treatment.returns, now_ms)
            if moved.leg == COVER:
                self._pay_out(moved, now_ms)
            return moved
        if step.status == "RJCT":
            self._ledger.cancel_steps(payment.id)
            return self._ledger.move(payment, SimulatorState.REJECTED, step.status, step.code)
        return self._ledger.move(payment, SimulatorState.ACKNOWLEDGED, step.status, step.code)

    # --- cover payments -----------------------------------------------------------------------------

    def _pay_out(self, cover: Payment, now_ms: int) -> None:
        """Settle the payment leg that waits for this cover. Its sender has its response: it is told by call-back."""
        for payment in self._ledger.payment_legs(cover.uetr):
            if self._settles_now(payment):
                moved = self._move(payment, PAID_OUT, now_ms)
                self._report(moved, PAID_OUT, f"CB{moved.id}-COV", now_ms, now_ms)

    def _settles_now(self, payment: Payment) -> bool:
        """Say whether a payment leg settles now: its cover was debited, and no other one has used it."""
        waits = payment.leg == PAYMENT and payment.state not in FINAL
        return (
            waits and payment.treatment.settles_with_cover and self._ledger.is_covered(payment.uetr)
        )

    # --- returns ------------------------------------------------------------------------------------

    def _plan_returns(self, payment: Payment, returns: tuple[MoneyBack, ...], now_ms: int) -> None:
        parts = parts_of(payment.debited_minor or 0, returns)
        for number, (back, part) in enumerate(zip(returns, parts, strict=True), start=1):
            coming = Coming(
                amount_minor=part - back.charges_minor,
                charges_minor=back.charges_minor,
                code=back.code,
                is_last=number == len(returns) and sum(parts) == payment.debited_minor,
                is_told=back.is_told,
            )
            due_at_ms = max(now_ms, payment.received_at_ms + back.after_ms)
            self._ledger.plan_step(payment.id, SimulatorEventKind.RETURN, coming, due_at_ms)

    def _give_back(self, payment: Payment, coming: Coming, now_ms: int, name: str) -> None:
        state = SimulatorState.RETURNED if coming.is_last else SimulatorState.SETTLED
        self._ledger.give_back(payment, coming.amount_minor, state)
        self.books.came_back(
            payment, coming.amount_minor, coming.charges_minor, coming.code, now_ms
        )
        if coming.is_told:
            body = self._answers(payment).money_back(payment, coming, name, now_ms)
            self._tell(payment, body, now_ms)

    def _tell(self, payment: Payment, body: bytes, due_at_ms: int) -> None:
        if self._calls_back or payment.trace is not None:
            copies = payment.treatment.copies
            self._ledger.plan_callback(payment.id, body, due_at_ms, copies)
