"""The mock rail: a simulated bank inside this process, with a ledger of its own.

It is a rail of class A. It recognises a resend by the end-to-end id as long as its ledger file exists, it answers
enquiries by our reference, and it rejects a payment that arrives for the first time after its validity. *Not
found* is definite, because a message in transit exists only in the sending process and is lost with it. There is
one exception: a process that is suspended during a send delivers the message when it continues. That late
message has the same reference, so the bank counts it and does not execute it again.

Promises: an answer is reported at once; a question that the script leaves unanswered is not reported, and the
call returns only after the answer time-out, as with a real bank. Must never: run in production; the code that
builds the rails refuses it there.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.lifecycle import Ask
from settlement_engine.errors import Broken, Contention, Misconfigured, Unavailable
from settlement_engine.ports import BalanceAnswer, MessageType, RailCapabilities, RailClass
from settlement_engine.rails.mock_bank import MockBank
from settlement_engine.rails.mock_book import LedgerEntry, MockBook
from settlement_engine.rails.mock_message import (
    RAIL_NAME,
    MockPayment,
    read_terms,
    write_payment,
)
from settlement_engine.rails.scripts import MILLION, Fates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import (
        Answer,
        BalanceQuestion,
        BankPage,
        Clock,
        InboundMessage,
        Question,
    )
    from settlement_engine.ports.rails import Receive
    from settlement_engine.rails.mock_bank import Visit

VALIDITY_SECONDS: Final = 86_400.0
DEDUPLICATES_SECONDS: Final = 10 * 365 * 86_400.0
CONTRADICTS_AFTER_SECONDS: Final = 0.25
"""How long after *settled* the script ``contradict`` reports, unasked, that the payment was rejected."""

REDELIVERY_SECONDS: Final = 0.5
DELIVERIES_MAX: Final = 1_000
"""How often the bank delivers a message that is not acknowledged, ``REDELIVERY_SECONDS`` apart."""

MESSAGES: Final = (
    MessageType(name="mock.payment", versions=("1",), ask=Ask.SEND),
    MessageType(name="mock.enquiry", versions=("1",), ask=Ask.ENQUIRE),
    MessageType(name="mock.recall", versions=("1",), ask=Ask.RECALL),
    MessageType(name="mock.status", versions=("1",)),
)

VISIT_MAX: Final = 1_000
"""The most questions that the bank handles in one transaction."""

SCRIPT_KEY: Final = "simulate"
MOST_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MockSettings:
    """How the mock bank behaves.

    ``success_rate`` is the share of payments without a script that settle. ``settlement_delay_seconds`` is the
    time from acknowledged to settled; at 0 the first answer is already *settled*. ``late_seconds`` is how long
    the final status takes with the scripts ``late_settle`` and ``late_reject``. ``openings_minor`` are the accounts
    whose balances it states, by folded bank and currency: what they began with.
    """

    book_file: Path
    latency_seconds: float = 0.5
    success_rate: Decimal = Decimal("0.95")
    seed: int = 1
    answer_timeout_seconds: float = 5.0
    late_seconds: float = 5.0
    settlement_delay_seconds: float = 0.0
    openings_minor: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the settings. Raises Misconfigured."""
        if not 0 <= self.success_rate <= 1:
            what = f"the mock's success rate must be between 0 and 1, not {self.success_rate}"
            raise Misconfigured(what)
        for name in ("latency_seconds", "late_seconds", "settlement_delay_seconds"):
            if not 0 <= getattr(self, name) * 1000 <= MOST_MS:
                what = f"the mock's {name} must be between 0 and a day, not {getattr(self, name)}"
                raise Misconfigured(what)
        if self.answer_timeout_seconds <= self.latency_seconds:
            raise Misconfigured(
                "the mock's answer time-out must be longer than its latency",
                why="every response would come too late, and every payment would be in doubt",
            )


P = ParamSpec("P")
R = TypeVar("R")


class MockRail:
    """A rail with every part but statements, whose bank is ``MockBook``.

    One thread of its own makes all calls to the bank, one after the other.
    """

    name: Final = RAIL_NAME

    def __init__(self, settings: MockSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._receive: Receive | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        fates = Fates(
            successes_per_million=int(settings.success_rate * MILLION),
            seed=settings.seed,
            settlement_delay_ms=round(settings.settlement_delay_seconds * 1000),
            late_ms=round(settings.late_seconds * 1000),
        )
        self._bank = MockBank(MockBook(settings.book_file), fates)
        self._capabilities = RailCapabilities(
            rail_class=RailClass.A,
            answer_timeout_seconds=settings.answer_timeout_seconds,
            is_not_found_definite=True,
            validity_seconds=VALIDITY_SECONDS,
            deduplicates_seconds=DEDUPLICATES_SECONDS,
            messages=MESSAGES,
        )

    @property
    def capabilities(self) -> RailCapabilities:
        """The rail's rules."""
        return self._capabilities

    async def start(self) -> None:
        """Open the bank's ledger. Raises Misconfigured for a file of another kind."""
        assert self._thread is None, "the rail has been started already"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mock-bank")
        await self._at_the_bank(self._bank.open)

    async def stop(self) -> None:
        """Close the ledger; reports that the bank has not delivered yet are not delivered any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for delivery in self._deliveries:
            delivery.cancel()
        self._deliveries.clear()
        if self._thread is not None:
            await self._at_the_bank(self._bank.close)
            self._thread.shutdown()
            self._thread = None

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the bank reports unasked."""
        self._receive = receive

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Write the message: canonical JSON, with the script in it if there is one."""
        instruction = settlement.instruction
        return write_payment(
            MockPayment(
                uetr=references.uetr,
                end_to_end_id=references.end_to_end_id,
                message_id=references.message_id,
                settlement_id=settlement.id,
                obligation_id=instruction.obligation_id,
                from_bank=instruction.from_bank,
                to_bank=instruction.to_bank,
                amount=str(instruction.amount),
                currency=instruction.amount.currency,
                value_date=settlement.value_date,
                simulate=instruction.metadata.get(SCRIPT_KEY, ""),
            )
        )

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse the bytes of an attempt; None when they cannot be read."""
        return read_terms(payload)

    async def send(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Send the bytes; answers acknowledged, settled, rejected or undelivered."""
        await self._ask(questions, report, self._bank.deliver, self._settings.latency_seconds)

    async def enquire(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Enquire by our references; answers acknowledged, settled, rejected or not found."""
        await self._ask(questions, report, self._bank.look_up, self._settings.latency_seconds / 2)

    async def recall(
        self, questions: Sequence[Question], report: Callable[[Sequence[Answer]], None]
    ) -> None:
        """Recall payments; answers recalled, settled or rejected. One that arrives later is not executed."""
        await self._ask(questions, report, self._bank.take_back, self._settings.latency_seconds / 3)

    async def payments_since(self, since: datetime, after: str = "") -> BankPage:
        """List the payments that the bank has received from us since then (``ports.PaymentLister``)."""
        return await self._at_the_bank(self._bank.list, since, after, self._clock.now())

    def gives_balances(self, bank: str, currency: str) -> bool:
        """Say whether the balance of this account is stated (``ports.BalanceSource``)."""
        return (folded_bank(bank), currency) in self._settings.openings_minor

    async def balance(self, question: BalanceQuestion) -> BalanceAnswer:
        """State what an account began with, less what was paid from it."""
        key = (folded_bank(question.bank), question.currency)
        now = self._clock.now()
        paid = await self._at_the_bank(self._bank.paid_from, *key, now)
        return BalanceAnswer(minor=self._settings.openings_minor[key] - paid, as_of=now)

    async def ledger_pages(self) -> AsyncIterator[list[LedgerEntry]]:
        """Yield the pages of the bank's own ledger, in the order of receipt."""
        page, last_id = await self._at_the_bank(self._bank.page, 0, self._clock.now())
        while page:
            yield page
            page, last_id = await self._at_the_bank(self._bank.page, last_id, self._clock.now())

    # --- requests and responses ---------------------------------------------------------------

    async def _ask(
        self,
        questions: Sequence[Question],
        report: Callable[[Sequence[Answer]], None],
        visit: Callable[[Sequence[Question], datetime], Visit],
        travel_seconds: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + self._settings.answer_timeout_seconds
        await asyncio.sleep(travel_seconds)
        answered = 0
        for start in range(0, len(questions), VISIT_MAX):
            batch = questions[start : start + VISIT_MAX]
            answers, contradictions = await self._at_the_bank(visit, batch, self._clock.now())
            if answers:
                answered += len(answers)
                report(answers)
            if contradictions:
                self._report_later(contradictions)
        if answered < len(questions):
            await asyncio.sleep(max(0.0, gives_up_at - loop.time()))

    async def _at_the_bank(
        self, work: Callable[P, R], /, *arguments: P.args, **named: P.kwargs
    ) -> R:
        """Run a function in the bank's thread, so that the event loop is not blocked."""
        assert self._thread is not None, "the rail is not started"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(work, *arguments, **named))

    def _report_later(self, messages: Sequence[InboundMessage]) -> None:
        """Deliver contradicting reports, but never before *settled* was reported."""

        def start_delivery() -> None:
            self._timers.discard(timer)
            delivery = loop.create_task(self._deliver(messages))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(CONTRADICTS_AFTER_SECONDS, start_delivery)
        self._timers.add(timer)

    async def _deliver(self, messages: Sequence[InboundMessage]) -> None:
        """Deliver messages, and again until they are acknowledged, at most ``DELIVERIES_MAX`` times."""
        if self._receive is None:
            return
        for _ in range(DELIVERIES_MAX):
            try:
                await self._receive(messages)
            except (Unavailable, Contention, Broken):
                await asyncio.sleep(REDELIVERY_SECONDS)
            else:
                return
