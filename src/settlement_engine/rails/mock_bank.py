"""The mock bank: reads the messages that arrive, looks in its ledger, and answers.

Everything here runs in the bank's own thread, a batch at a time. The scripts and the random choice are in
``scripts``, the ledger is in ``mock_book``. Promises: answers are events of the state machine; a payment that the
script leaves unanswered has no answer. Must never: execute a payment twice.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.money import parse_amount
from settlement_engine.ports import Answer, BankPage, BankPayment
from settlement_engine.rails.mock_book import (
    BookEntry,
    LedgerEntry,
    ListedPayment,
    MockBook,
    Parcel,
)
from settlement_engine.rails.mock_message import (
    UNREADABLE_ERRORS,
    MockPayment,
    read_payment,
    status_message,
    write_payment,
)
from settlement_engine.rails.scripts import (
    BARRED,
    DEBITED,
    EXPIRED,
    LATE_REJECTION,
    NO_CONNECTION,
    NO_REASON,
    UNREADABLE,
    BookState,
    Fate,
    Fates,
    RejectionReason,
    rejected,
    script_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.ports import InboundMessage, Question

_SAID: Final = {
    BookState.RECEIVED: Event.ACKNOWLEDGED,
    BookState.ACKNOWLEDGED: Event.ACKNOWLEDGED,
    BookState.SETTLED: Event.SETTLED,
    BookState.CONTRADICTED: Event.SETTLED,
    BookState.REJECTED: Event.REJECTED,
    BookState.RECALLED: Event.RECALLED,
}
"""The event of the state machine for each state in the bank's ledger."""

_TOMBSTONE: Final = Fate(BookState.RECALLED, BookState.RECALLED, None, BARRED)


class Visit(NamedTuple):
    """The result of a call to the bank: answers, and contradicting reports to deliver later, unasked."""

    answers: list[Answer]
    contradictions: list[InboundMessage]


class MockBank:
    """The bank behind the mock rail."""

    def __init__(self, book: MockBook, fates: Fates) -> None:
        self._book = book
        self._fates = fates

    def open(self) -> None:
        """Open the ledger. Raises Misconfigured for a file of another kind."""
        self._book.open()

    def close(self) -> None:
        """Close the ledger."""
        self._book.close()

    def page(self, after_id: int, now: datetime) -> tuple[list[LedgerEntry], int]:
        """Return a page of the ledger after an id, with the id of its last payment."""
        return self._book.page(after_id, _milliseconds(now))

    def paid_from(self, bank: str, currency: str, now: datetime) -> int:
        """Return what was debited from the accounts of a bank (folded) in a currency, in minor units."""
        found = self._book.ledger(_milliseconds(now))
        return sum(
            each["times_debited"] * parse_amount(each["amount"], currency).minor
            for each in found
            if each["currency"] == currency and folded_bank(each["from_bank"]) == bank
        )

    def list(self, since: datetime, after: str, now: datetime) -> BankPage:
        """List the payments received since then, in any state."""
        after_id = int(after or "0")
        found, last_id = self._book.received_since(
            _milliseconds(since), after_id, _milliseconds(now)
        )
        return BankPage(
            payments=[_listed(each) for each in found], after=str(last_id) if last_id else ""
        )

    def deliver(self, questions: Sequence[Question], now: datetime) -> Visit:
        """Receive payments; those that the script loses in transit have no answer."""
        parcels = [self._parcel(question, now) for question in questions]
        lost, undelivered = self._not_arrived(parcels)
        missing = lost | undelivered
        arrived = [parcel for parcel in parcels if parcel.reference not in missing]
        entries = self._book.receive(arrived, _milliseconds(now)) if arrived else {}
        visit = Visit([], [])
        for question, parcel in zip(questions, parcels, strict=True):
            entry = entries.get(parcel.reference)
            if entry is not None:
                if script_of(entry.script).is_answered:
                    _answer(visit, question, parcel.reference, entry)
            elif parcel.reference in undelivered:
                visit.answers.append(_reply(question, Event.UNDELIVERED, NO_CONNECTION))
        return visit

    def look_up(self, questions: Sequence[Question], now: datetime) -> Visit:
        """Answer enquiries from the ledger."""
        references = {question.references.end_to_end_id for question in questions}
        entries = self._book.look_up(references, _milliseconds(now))
        visit = Visit([], [])
        for question in questions:
            reference = question.references.end_to_end_id
            entry = entries.get(reference)
            if entry is None:
                visit.answers.append(_reply(question, Event.NOT_FOUND))
            else:
                _answer(visit, question, reference, entry)
        return visit

    def take_back(self, questions: Sequence[Question], now: datetime) -> Visit:
        """Recall payments that are not final, and block those that have not arrived."""
        parcels = [
            self._parcel(question, now)._replace(
                reference=question.references.end_to_end_id, script="", fate=_TOMBSTONE
            )
            for question in questions
        ]
        entries = self._book.recall(parcels, _milliseconds(now))
        visit = Visit([], [])
        for question, parcel in zip(questions, parcels, strict=True):
            entry = entries[parcel.reference]
            if entry.state is BookState.RECALLED:
                visit.answers.append(_reply(question, Event.RECALLED, BARRED))
            else:
                _answer(visit, question, parcel.reference, entry)
        return visit

    def _parcel(self, question: Question, now: datetime) -> Parcel:
        """Parse a message as the bank does; one that it cannot read is rejected under its reference."""
        try:
            payment = read_payment(question.payload)
        except UNREADABLE_ERRORS:
            names = question.references
            blank = _blank(question)
            return Parcel(names.end_to_end_id, write_payment(blank), "", rejected(UNREADABLE))
        reference, script = payment.end_to_end_id, payment.simulate
        is_late = now > question.valid_until
        fate = rejected(EXPIRED) if is_late else self._fates.of(reference, script)
        return Parcel(reference, question.payload, script, fate)

    def _not_arrived(self, parcels: Sequence[Parcel]) -> tuple[set[str], set[str]]:
        """Return which transmissions are lost and which were never transmitted, by script and count."""
        scripts = {
            parcel.reference: script
            for parcel in parcels
            if parcel.script
            if (script := script_of(parcel.script)).lost_sendings or script.undelivered_sendings
        }
        if not scripts:
            return set(), set()
        times = self._book.count_sendings(scripts)
        lost = {ref for ref, script in scripts.items() if times[ref] <= script.lost_sendings}
        undelivered = {
            ref for ref, script in scripts.items() if times[ref] <= script.undelivered_sendings
        }
        return lost, undelivered


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _listed(found: ListedPayment) -> BankPayment:
    payment = read_payment(found.message)
    return BankPayment(
        reference=found.reference,
        event=_SAID[found.state],
        received_at=datetime.fromtimestamp(found.received_at_ms / 1000, UTC),
        facts={
            "obligation_id": payment.obligation_id,
            "from_bank": payment.from_bank,
            "to_bank": payment.to_bank,
            "amount": payment.amount,
            "currency": payment.currency,
            "uetr": str(payment.uetr),
        },
    )


def _blank(question: Question) -> MockPayment:
    """Make the ledger entry for an unreadable message, from its references only."""
    return MockPayment(
        uetr=question.references.uetr,
        end_to_end_id=question.references.end_to_end_id,
        message_id=question.references.message_id,
        settlement_id=question.settlement_id,
        obligation_id="",
        from_bank="",
        to_bank="",
        amount="",
        currency="",
        value_date=date.min,
    )


def _rail_reference(reference: str) -> str:
    """Derive the bank's reference from ours, at most 35 characters: the same one for every enquiry."""
    return f"MOCK-{reference[-30:]}"


def _reply(
    question: Question, event: Event, reason: RejectionReason = NO_REASON, *, rail: str = ""
) -> Answer:
    return Answer(
        settlement_id=question.settlement_id,
        event=event,
        attempt=question.attempt,
        code=reason.code,
        text=reason.text,
        rail_reference=rail,
    )


def _settled(question: Question, reference: str) -> Answer:
    return Answer(
        settlement_id=question.settlement_id,
        event=Event.SETTLED,
        attempt=question.attempt,
        rail_reference=_rail_reference(reference),
        confirmation=f"CONF-{reference[-30:]}",
    )


def _answer(visit: Visit, question: Question, reference: str, entry: BookEntry) -> None:
    """Add the answer by the ledger; none for a payment that the script leaves unanswered."""
    state = entry.state
    if state in DEBITED:
        visit.answers.append(_settled(question, reference))
        if state is BookState.CONTRADICTED:
            visit.contradictions.append(
                status_message(question.references, Event.REJECTED, *LATE_REJECTION)
            )
        return
    if state is BookState.RECEIVED:
        return
    rail = _rail_reference(reference)
    if state is BookState.ACKNOWLEDGED:
        visit.answers.append(_reply(question, Event.ACKNOWLEDGED, rail=rail))
    else:
        reason = BARRED if state is BookState.RECALLED else RejectionReason(entry.code, entry.text)
        visit.answers.append(_reply(question, Event.REJECTED, reason, rail=rail))
