"""The rail of cover payments: a customer's payment to TO, and its cover to FROM (``domain/covers.py``).

It writes both messages, and has ``PairAsker`` ask both banks over the connections of its family. Promises: a payment
is covered only where the bank directory says so. Must never: open connections of its own, or hear what banks report
unasked: the family's own rail does both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from settlement_engine.domain.covers import COVER_SUFFIX
from settlement_engine.rails.iso20022.cover_writer import CoverWriter
from settlement_engine.rails.iso20022.orders import read_terms
from settlement_engine.rails.iso20022.rail import IsoRail
from settlement_engine.rails.pairs import EXCHANGES, PairAsker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.covers import Cover, LegSays
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.intent import PaymentTerms
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.messages.schemas import MessageSchemas
    from settlement_engine.ports import Clock, CoverStore, Question, RailCapabilities
    from settlement_engine.ports.messages import Keep
    from settlement_engine.ports.rails import Receive, Report
    from settlement_engine.rails.iso20022.connections import Connections


class CoverPaymentRail:
    """Sends pairs over the connections of a family of rails, which opens and closes them."""

    def __init__(
        self,
        family: str,
        connections: Connections,
        clock: Clock,
        count_alarm: Callable[[str, str], None] | None = None,
        schemas: MessageSchemas | None = None,
    ) -> None:
        self.name = family + COVER_SUFFIX
        self._family = family
        self._legs = IsoRail(self.name, connections, clock, count_alarm, schemas)
        self._writer = CoverWriter(connections, clock, schemas)
        self._pairs = PairAsker(self._legs, self._writer.first, clock)

    @property
    def capabilities(self) -> RailCapabilities:
        """The family's rules; a question may take several exchanges."""
        rules = self._legs.capabilities
        return replace(
            rules,
            answer_timeout_seconds=rules.answer_timeout_seconds * EXCHANGES,
            listed_as=self._family,
        )

    def listen(self, receive: Receive) -> None:
        """Set the function that stores what the banks report unasked."""
        self._legs.listen(receive)

    def keep_messages(self, keep: Keep) -> None:
        """Set the function that stores messages."""
        self._pairs.keep = keep
        self._legs.keep_messages(keep)

    def keep_covers(self, covers: CoverStore) -> None:
        """Set where covers are kept."""
        self._pairs.covers = covers

    def know_covers(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of how a bank is covered."""
        self._writer.know_covers(route)

    async def start(self) -> None:
        """Do nothing: the family's own rail opens the connections."""

    async def stop(self) -> None:
        """Do nothing: the family's own rail closes the connections."""

    # --- what is sent -------------------------------------------------------------------------------

    def fault_of(self, instruction: Instruction) -> str:
        """Say why a payment is no cover payment, or what it cannot carry, with its field; empty when it can."""
        return self._writer.fault_of(instruction, self._legs.fault_of)

    def prepare(self, settlement: Settlement, references: References) -> bytes:
        """Build the customer's payment for TO."""
        return self._writer.payment(settlement, references)

    def read(self, payload: bytes) -> PaymentTerms | None:
        """Parse what a payment asks the banks to do; None when it cannot be read."""
        return read_terms(payload)

    def repair(self, question: Question, failed: Cover, who: str, reason: str) -> Cover:
        """Build the next cover of a payment, from what the bank directory says now. Raises MessageError."""
        return self._writer.repaired(question, failed, who, reason)

    async def ask_cover(self, question: Question, cover: Cover) -> LegSays:
        """Ask FROM about a cover, and return what it says now."""
        return await self._pairs.ask_cover(question, cover)

    # --- the questions ------------------------------------------------------------------------------

    async def send(self, questions: Sequence[Question], report: Report) -> None:
        """Send payments to TO; one that TO has taken has its cover due."""
        await self._pairs.send(questions, report)

    async def enquire(self, questions: Sequence[Question], report: Report) -> None:
        """Send the covers that are due to FROM; about all others, ask both banks."""
        await self._pairs.enquire(questions, report)

    async def recall(self, questions: Sequence[Question], report: Report) -> None:
        """Ask TO for payments back, and then FROM for the covers of those that TO has given back."""
        await self._pairs.recall(questions, report)
