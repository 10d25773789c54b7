"""What the search of statements for our payments asks of the store, and the reports that it makes.

What is news to a settlement is stored as an inbound report: its owner decides on it like on any other answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from settlement_engine.domain.closed_differences import NO_RULES
from settlement_engine.domain.decisions.booked import event_said
from settlement_engine.domain.returns import StatedAmount
from settlement_engine.domain.statement_evidence import EntryEvidence, EntrySays
from settlement_engine.ports.inbound import MessageSource, PaymentReferences, StatusReport

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.domain.statement_evidence import (
        PaymentEvidence,
        StatementPart,
        UnreadRow,
    )

STATEMENTS_RAIL: Final = "statement"
"""The name under which the reports of statements stand where the others have their rail."""

TEXT_CHARACTERS_MAX: Final = 500
"""The most characters of an entry's text in a report; the file is kept completely."""

MESSAGE_TEXT_CHARACTERS_MAX: Final = 100
"""The same in the message that carries the reports: it has an entry for each."""


class Searched(NamedTuple):
    """What a step of the search did: the rows that it read, what it found, and how much of that is news.

    ``unread`` are those of the rows that cannot be read and were set aside.
    """

    rows: int
    found: int
    news: int
    unread: tuple[UnreadRow, ...] = ()
    statement: int = 0


class EvidenceStore(Protocol):
    """Searches kept statements for our payments. Raises Unavailable, Contention."""

    async def search_next(self, rows_max: int, rules: Rules = NO_RULES) -> Searched | None:
        """Search the next rows of the oldest statement that no other engine is searching; None: there is none.

        ``rules`` are those of matching for all accounts; those of the statement's bank and currency count.
        One transaction: what is found, its reports and the place that was reached are stored together, so that
        an interruption loses nothing, and no entry is told twice. A row that cannot be read is set aside, also
        one that the database refuses when it is searched alone; a statement of which nothing can be read lets the
        others go first. Raises Broken where the database refuses several rows: fewer are to be tried.
        """
        ...

    async def search_unread(self, rules: Rules = NO_RULES) -> Searched | None:
        """Try a row again that was set aside some minutes ago, as a step of one row; None: there is none."""
        ...

    async def unread_count(self) -> int:
        """Count what is set aside."""
        ...

    async def tell_absent(self, days: int, most: int) -> int:
        """Tell of completed payments that the account's closed statements lack, each once; return how many.

        The statements have no gap and reach ``days`` beyond the day on which we have booked the payment; no entry
        is matched with it, and none names it.
        """
        ...


class UndecidedEvidence(Protocol):
    """Says about which accounts the search is still going on. Raises Unavailable, Contention."""

    async def undecided_accounts(self, account_ids: Collection[int]) -> set[int]:
        """Return those accounts with a statement that is not searched to its end, or whose news is not decided yet."""
        ...


class AbsentPayment(NamedTuple):
    """A payment that the closed statements lack, with the last of these statements."""

    settlement_id: UUID
    attempt: int
    statement: int


def absence_of(absent: AbsentPayment) -> tuple[bytes, StatusReport]:
    """Make the message and the report of an absence. The message is always the same: so it is stored once."""
    says = EntrySays.ABSENT
    report = StatusReport(
        event=event_said(says),
        references=PaymentReferences(instruction_id=absent.settlement_id.hex),
        entry=EntryEvidence(says=says, statement=absent.statement),
    )
    told = {"source": MessageSource.STATEMENT.value, says.value: str(absent.settlement_id)}
    return msgspec.json.encode(told), report


def report_of(evidence: PaymentEvidence) -> StatusReport:
    """Make the report of what an entry says; its settlement is known already."""
    mention, found = evidence.mention, evidence.found
    is_return = found.says is EntrySays.RETURN
    stated = StatedAmount(
        minor=mention.amount_minor,
        currency=mention.currency,
        charges_minor=mention.charges_minor if is_return else 0,
        value_date=mention.value_date,
        reference=found.reference if is_return else "",
    )
    return StatusReport(
        event=event_said(found.says),
        references=PaymentReferences(instruction_id=evidence.payment.settlement_id.hex),
        code=mention.code,
        text=mention.text[:TEXT_CHARACTERS_MAX],
        stated=stated,
        entry=found,
    )


def message_of(part: StatementPart, news: Sequence[PaymentEvidence]) -> bytes:
    """Write the message that carries the reports of a part: the same part is the same message."""
    return msgspec.json.encode(
        {
            "source": MessageSource.STATEMENT.value,
            "statement": part.statement,
            "file_sha256": part.file_sha256,
            "entries": [
                {
                    "settlement_id": str(each.payment.settlement_id),
                    **each.found.words(),
                    "amount_minor": each.mention.minor,
                    "currency": each.mention.currency,
                    "code": each.mention.code,
                    "text": each.mention.text[:MESSAGE_TEXT_CHARACTERS_MAX],
                }
                for each in news
            ],
        }
    )
