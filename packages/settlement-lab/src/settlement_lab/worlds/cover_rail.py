"""The rail of cover payments of one engine, put together as a real one is, from messages and from what asks.

A message is a line of text, and the cover is a function of its payment's. Promises: a question about one message ends
by itself after the time of one exchange, as an exchange over HTTP does, so that a bank's silence costs only the answer
of that bank. Must never: hear what banks report unasked over another name than that of its family.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from typing_extensions import override

from settlement_engine.domain.covers import COVER_SUFFIX, Cover, LegSays, cover_message_id
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.payment import Delivery
from settlement_engine.rails.pairs import EXCHANGES, PairAsker
from settlement_lab.worlds.bank import RAIL_NAME
from settlement_lab.worlds.rail import SimulatedRail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import Answer, Clock, CoverStore, Question, RailCapabilities
    from settlement_engine.ports.rails import Receive, Report
    from settlement_lab.worlds.leg_bank import LegBank
    from settlement_lab.worlds.loop import Process
    from settlement_lab.worlds.rail import RailNetwork, Visit

    Permitted = Callable[[Question], str]

COVER_RAIL_NAME: Final = RAIL_NAME + COVER_SUFFIX


class PairBanks(NamedTuple):
    """The banks that take single messages; ``permitted`` says what is wrong with one that leaves."""

    bank: LegBank
    permitted: Permitted


class LegsRail(SimulatedRail):
    """Single messages over the world's network."""

    def __init__(self, network: RailNetwork, process: Process, banks: PairBanks) -> None:
        super().__init__(network, process, banks.bank)
        self._permitted = banks.permitted

    @override
    def is_permitted(self, question: Question) -> str:
        """Return what is wrong with a message that leaves; empty if nothing is wrong."""
        return self._permitted(question)

    @override
    def reply(self, question: Question, event: Event) -> Answer:
        """Return what the bank says: each confirms its own message."""
        answer = super().reply(question, event)
        confirmation = question.references.message_id if event is Event.SETTLED else ""
        return msgspec.structs.replace(answer, confirmation=confirmation)

    @override
    async def _put(
        self, ask: str, questions: Sequence[Question], report: Report, visit: Visit
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.capabilities.answer_timeout_seconds):
                await super()._put(ask, questions, report, visit)


class SimulatedCoverRail:
    """See the module."""

    name: Final = COVER_RAIL_NAME

    def __init__(self, legs: LegsRail, clock: Clock) -> None:
        self._legs = legs
        self._clock = clock
        self._pairs = PairAsker(legs, self._first, clock)

    @property
    def capabilities(self) -> RailCapabilities:
        """The rules of single messages; a question may take several exchanges."""
        rules = self._legs.capabilities
        return replace(
            rules,
            answer_timeout_seconds=rules.answer_timeout_seconds * EXCHANGES,
            listed_as=RAIL_NAME,
        )

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the banks report unasked."""
        self._legs.listen(receive)

    def keep_covers(self, covers: CoverStore) -> None:
        """Set where covers are kept."""
        self._pairs.covers = covers

    def know_covers(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Do nothing: every bank of a world is covered."""

    async def start(self) -> None:
        """Do nothing: there is no connection."""

    async def stop(self) -> None:
        """Do nothing: there is no connection."""

    def fault_of(self, instruction: Instruction) -> str:
        """Say why a payment is no cover payment; empty when it is one."""
        is_paid_out = instruction.delivery is Delivery.PAY_OUT
        return "" if is_paid_out else "payment: only a customer's payment is covered"

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Return the payment's bytes."""
        return self._legs.prepare(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Return the payment terms in these bytes."""
        return self._legs.read(payload)

    async def ask_cover(self, question: Question, cover: Cover) -> LegSays:
        """Ask FROM about a cover, and return what it says now."""
        return await self._pairs.ask_cover(question, cover)

    def repair(self, question: Question, failed: Cover, who: str, reason: str) -> Cover:
        """Write the next cover of a payment."""
        return self._cover(question, failed.number + 1, who, reason)

    def _first(self, question: Question) -> Cover:
        return self._cover(question, 1)

    def _cover(self, question: Question, number: int, who: str = "", reason: str = "") -> Cover:
        message_id = cover_message_id(question.references.message_id, number)
        now = self._clock.now()
        return Cover(
            number=number,
            message_id=message_id,
            content=f"{message_id} covers ".encode() + question.payload,
            recorded_at=now,
            valid_until=now + timedelta(seconds=self.capabilities.validity_seconds),
            ordered_by=who,
            reason=reason,
        )

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send payments to TO; one that TO has taken has its cover due."""
        await self._pairs.send(questions, report)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Send the covers that are due to FROM; about all others, ask both banks."""
        await self._pairs.enquire(questions, report)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Ask TO for payments back, and then FROM for the covers of those that TO has given back."""
        await self._pairs.recall(questions, report)
