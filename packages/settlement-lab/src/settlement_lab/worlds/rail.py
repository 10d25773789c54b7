"""The rail of one engine: the network between its process and the bank.

What has left the process travels by itself: it may be lost, delayed or duplicated, whether or not the
engine lives. Answers arrive at the process, and wait there while it is frozen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.lifecycle import Event
from settlement_engine.errors import Contention, Unavailable
from settlement_engine.ports import Answer
from settlement_lab.worlds.bank import RAIL_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import InboundMessage, Question
    from settlement_engine.ports.rails import Receive
    from settlement_lab.worlds.bank import Bank
    from settlement_lab.worlds.loop import Process

    Report = Callable[[Sequence[Answer]], None]
    Visit = Callable[[Question], Event | None]

NETWORK_SECONDS: Final = (0.01, 0.05, 0.2)
LINGER_SECONDS: Final = (2.0, 8.0, 20.0)
LATE_ANSWER_SECONDS: Final = (4.0, 20.0, 60.0)
CUT_SECONDS: Final = (10.0, 60.0, 200.0)
RAISE_SECONDS: Final = (0.01, 0.3, 1.0)


class RailNetwork:
    """The network to the bank, which all engines of a world share."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.is_cut = False
        self._cuts = 0
        self.permitted: Callable[[Question], str] = lambda _: ""
        self.violations: list[str] = []

    def cut(self, seconds: float) -> None:
        """Let nothing through for a while, in either direction."""
        self._cuts += 1
        self.is_cut = True
        self.bank.chronicle.note(f"the network to the bank is cut for {seconds:.1f} s")
        self.bank.loop.later(seconds, self._mend_one)

    def _mend_one(self) -> None:
        self._cuts = max(0, self._cuts - 1)
        self.is_cut = self._cuts > 0

    def mend(self) -> None:
        """Let everything through again."""
        self._cuts = 0
        self.is_cut = False


class _Call:
    """One call of the engine: which of its requests are still open."""

    def __init__(self, rail: SimulatedRail, report: Report, count: int) -> None:
        self._rail = rail
        self._report = report
        self._open = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, answer: Answer) -> None:
        """Report an answer to the engine."""
        self._open -= 1
        self._report([answer])
        if self._open <= 0 and not self.done.done():
            self.done.set_result(None)

    def give_up(self) -> None:
        """Fail, as a client of a rail may, whatever happens to the requests."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("simulated: the rail's client failed"))


class SimulatedRail:
    """See the module."""

    name: Final = RAIL_NAME

    def __init__(self, network: RailNetwork, process: Process, bank: Bank | None = None) -> None:
        self._network = network
        self._bank = bank or network.bank
        self._faults = self._bank.faults
        self._receive: Receive | None = None
        self._deliveries: list[asyncio.Task[None]] = []
        self.process = process
        self.capabilities = self._bank.rules
        self._bank.listeners.append(self)

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the bank sends without being asked."""
        self._receive = receive

    def deliver(self, message: InboundMessage, when_stored: Callable[[], None]) -> None:
        """Deliver a message to the engine, and the acknowledgement back, unless the network is cut."""
        if self._network.is_cut:
            self._faults.note("message_not_delivered")
            return
        work = self._hand_over(message, when_stored)
        # The task is referenced: if the garbage collector ended it, code of a killed process would run.
        self._deliveries.append(self._bank.loop.create_task(work, context=self.process.context))

    async def _hand_over(self, message: InboundMessage, when_stored: Callable[[], None]) -> None:
        assert self._receive is not None, "the engine receives what rails deliver"
        try:
            await self._receive([message])
        except (Unavailable, Contention):
            return
        if self._network.is_cut or self._faults.happens("acknowledgement_lost"):
            return
        when_stored()

    async def start(self) -> None:
        """Do nothing: there is no connection."""

    async def stop(self) -> None:
        """Do nothing: there is no connection."""

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Return the payment's bytes."""
        request = settlement.instruction
        amount = request.amount
        words = (
            references.end_to_end_id,
            request.from_bank,
            request.to_bank,
            str(amount),
            amount.currency,
        )
        return " ".join(words).encode()

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return the payment terms in these bytes."""
        _, from_bank, to_bank, amount, currency = payload.decode().split(" ")
        return PaymentTerms(from_bank=from_bank, to_bank=to_bank, amount=amount, currency=currency)

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send the instructions, as far as the network allows."""
        for question in questions:
            why = self.is_permitted(question)
            if why:
                self._network.violations.append(f"settlement {question.settlement_id.int}: {why}")
        await self._put("send", questions, report, self._bank.receive)

    def is_permitted(self, question: Question) -> str:
        """Return what is wrong with a message that leaves; empty if nothing is wrong."""
        return self._network.permitted(question)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Enquire by our reference."""
        await self._put("enquire", questions, report, self._bank.look_up)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Request a recall."""
        await self._put("recall", questions, report, self._bank.take_back)

    async def _put(
        self, ask: str, questions: Sequence[Question], report: Report, visit: Visit
    ) -> None:
        loop, faults = self._bank.loop, self._faults
        call = _Call(self, report, len(questions))
        for question in questions:
            name = self._bank.name_of(question)
            self._bank.chronicle.note(f"{self.process.name} {ask}s {name[:9]}")
            self._leave(ask, question, visit, call)
        if faults.happens("rail_raises", 0.5):
            loop.call_later(faults.seconds(RAISE_SECONDS), call.give_up)
        await call.done

    def _leave(self, ask: str, question: Question, visit: Visit, call: _Call) -> None:
        """Bring one request to the bank: now, much later, twice, never, or provably not at all."""
        faults, bank = self._faults, self._bank
        is_refused = self._network.is_cut and faults.chance.random() < 0.3  # noqa: PLR2004
        if ask == "send" and (is_refused or faults.happens("undelivered")):
            answer = self.reply(question, Event.UNDELIVERED)
            bank.loop.call_later(faults.seconds(NETWORK_SECONDS), call.answer, answer)
            return
        if self._network.is_cut or faults.happens("request_lost"):
            return
        seconds = faults.seconds(NETWORK_SECONDS)
        if faults.happens("request_lingers"):
            seconds += faults.seconds(LINGER_SECONDS)
        bank.later(seconds, self._visit, question, visit, call)
        if bank.rules.is_not_found_definite and faults.happens("request_twice"):
            again = seconds + faults.seconds(LINGER_SECONDS)
            bank.later(again, self._visit, question, visit, call)

    def _visit(self, question: Question, visit: Visit, call: _Call) -> None:
        """Ask the bank, and go back with its answer."""
        faults = self._faults
        event = visit(question)
        if event is None or self._network.is_cut or faults.happens("answer_lost"):
            return
        answer = self.reply(question, event)
        seconds = faults.seconds(NETWORK_SECONDS)
        if faults.happens("answer_late"):
            seconds += faults.seconds(LATE_ANSWER_SECONDS)
        self._bank.later(seconds, self._come_back, call, answer)
        if faults.happens("answer_twice"):
            self._bank.later(faults.seconds(LATE_ANSWER_SECONDS), self._come_back, call, answer)

    def _come_back(self, call: _Call, answer: Answer) -> None:
        self._bank.loop.call_soon(call.answer, answer, context=self.process.context)

    def reply(self, question: Question, event: Event) -> Answer:
        """Return what the bank says as an answer."""
        return Answer(
            settlement_id=question.settlement_id, event=event, attempt=question.attempt, code="SIM"
        )
