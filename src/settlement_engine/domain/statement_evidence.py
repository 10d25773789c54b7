"""What the booked entries of a statement say about our payments.

An entry names payments by their references, and one entry may be about several payments: each is a *mention*. The
store finds the payment, and what was mentioned of it before; ``MentionCounts`` says what each mention says.

Promises: pure. Only booked entries say anything. What may be the same booking told twice is never a second one:
only end-of-day statements that stand in the account's chain are counted. Must never: say anything about details
that do not add up to their entry.
"""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - msgspec resolves the field types of its structs at run time
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

import msgspec

from settlement_engine.domain.continuity import KEPT, MATCHED, StatementOutcome
from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.returns import RETURN_OF_ENTRY
from settlement_engine.domain.statements import (
    END_OF_DAY,
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.domain.statements import StatementReferences

REFERENCES_MAX: Final = 8
"""The most references of ours by which a mention is looked up."""

WORDS_MAX: Final = 500
"""The most words of an entry's text that are searched for our references."""

_HASHED: Final = re.compile(r"[EM][0-9A-F]{34}", re.ASCII)
_INSTRUCTION: Final = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_TRACE: Final = re.compile(r"[0-9]{15}", re.ASCII)
_WORD: Final = re.compile(r"[0-9A-Za-z-]{15,}", re.ASCII)
"""What may be a reference of ours in a text: field 86 of an MT940 writes it behind its code word, ``/EREF/``."""

_HASHED_CHARACTERS: Final = 35
_UUID_CHARACTERS: Final = 36
_INSTRUCTION_CHARACTERS: Final = 32
_TRACE_CHARACTERS: Final = 15


class EntrySays(StrEnum):
    """What an entry says about a payment of ours."""

    DEBIT = auto()  # its booked debit: of the amount that was sent, or one that the rules allow
    OTHER_AMOUNT = auto()  # its booked debit, of another amount
    SECOND_DEBIT = auto()  # a second booked debit of such an amount
    FURTHER_DEBIT = auto()  # a debit beyond the second, or a second one of another amount
    RETURN = auto()  # a booked credit: money that came back
    REVERSAL = auto()  # the bank has reversed a booking of it
    ABSENT = auto()  # the closed final statement does not have it


OF_THE_AMOUNT: Final = frozenset({EntrySays.DEBIT, EntrySays.SECOND_DEBIT})
"""What only a debit says that agrees with what was sent."""


class MentionKind(StrEnum):
    """The side of an entry, as far as our payment is concerned."""

    DEBIT = auto()
    CREDIT = auto()
    REVERSAL = auto()


class EntryEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an entry says, and where it stands. ``entry`` 0 is the whole statement: an absence has no entry.

    ``nth`` counts the bookings of this kind (of credits: of this amount) that were told of the payment. ``closed_by``
    is the kind of the rule because of which a debit of another amount is the payment's, of the rules of this version.
    """

    says: EntrySays
    statement: int
    entry: int = 0
    detail: int = 0
    nth: int = 1
    booking_date: date | None = None
    closed_by: str = ""
    rules_version: str = ""

    @property
    def reference(self) -> str:
        """Our name of the entry, under which a return that it brings is booked."""
        return f"{RETURN_OF_ENTRY}{self.statement}/{self.entry}/{self.detail}"

    def words(self) -> dict[str, str]:
        """Return it as details of a transition."""
        found = {
            "statement": str(self.statement),
            "statement_entry": str(self.entry or ""),
            "statement_detail": str(self.detail or ""),
            "statement_says": self.says.value,
            "booking_date": self.booking_date.isoformat() if self.booking_date else "",
            "statement_closed_by": self.closed_by,
            "statement_rules": self.rules_version,
        }
        return {name: text for name, text in found.items() if text}


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with one of its details, or without any; ``is_only``: it has no other detail."""

    entry: Entry
    number: int = 0
    detail: EntryDetail | None = None
    is_only: bool = True


class PaymentNames(msgspec.Struct, frozen=True, kw_only=True):
    """The references of ours in a mention. They are known by their form: what others call a payment is no name."""

    uetrs: tuple[UUID, ...] = ()
    end_to_end_ids: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    instruction_ids: tuple[UUID, ...] = ()
    traces: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return self.is_indexed or bool(self.message_ids)

    @property
    def is_indexed(self) -> bool:
        """Say whether a name other than the message's is given: those are found at once."""
        return any((self.uetrs, self.end_to_end_ids, self.instruction_ids, self.traces))


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A booked entry, or one of the payments inside it, with the references that may be ours.

    ``booked_minor`` is what the whole entry has moved, if it is about this payment alone: only such an entry is matched
    with a difference.
    """

    entry: int
    detail: int
    minor: int
    currency: str
    is_reversal: bool
    names: PaymentNames
    booked_minor: int | None = None
    charges_minor: int = 0
    booking_date: date | None = None
    value_date: date | None = None
    code: str = ""
    text: str = ""

    @property
    def kind(self) -> MentionKind:
        """The side: the reversal mark is stronger than the sign."""
        if self.is_reversal:
            return MentionKind.REVERSAL
        return MentionKind.DEBIT if self.minor < 0 else MentionKind.CREDIT

    @property
    def amount_minor(self) -> int:
        """The amount in minor units, without its sign."""
        return abs(self.minor)


class MentionedPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The payment of a mention: one that was sent from the statement's account."""

    settlement_id: UUID
    attempt: int
    amount_minor: int
    currency: str
    has_moved: bool  # COMPLETED or RETURNED: its debit is known


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Earlier mentions of a payment with one amount; ``counted`` of them stand in counted statements.

    ``set_aside`` are those that stand in counted statements which were set aside since: they are not among the
    ``counted`` ones. Without ``is_told`` all mentions stand in statements that are set aside.
    """

    settlement_id: UUID
    kind: MentionKind
    amount_minor: int
    counted: int
    set_aside: int = 0
    is_told: bool = True


class PaymentEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A mention of a payment of ours, with what it says. ``is_news``: the settlement's owner has to decide on it.

    ``turn`` is its number among all that were counted, also in statements that are set aside: it is used once.
    """

    mention: Mention
    payment: MentionedPayment
    found: EntryEvidence
    is_counted: bool
    is_news: bool
    turn: int = 1


def is_evidence(outcome: StatementOutcome) -> bool:
    """Say whether the entries of a statement are evidence: one that does not balance may have a wrong one."""
    return outcome in KEPT and outcome is not StatementOutcome.UNBALANCED


def is_counted(source: Source, outcome: StatementOutcome) -> bool:
    """Say whether two entries of such statements are two bookings: no booking stands in two of them."""
    return source in END_OF_DAY and outcome in MATCHED


# --- from entries to mentions ---------------------------------------------------------------------------


def mentions_of(rows: Iterable[EntryRow]) -> list[Mention]:
    """Return what booked entries may say of our payments; entries without a reference of ours say nothing."""
    found = (_of_row(row) for row in rows if row.entry.status is EntryStatus.BOOKED)
    return [mention for mention in found if mention is not None and mention.names]


def _of_row(row: EntryRow) -> Mention | None:
    entry, detail = row.entry, row.detail
    if detail is None:
        return _mention(entry, 0, entry.minor, 0, _names([entry.references], entry.text))
    if not row.is_only:
        if entry.details_differ or detail.minor is None:
            return None
        names = _names([detail.references], detail.text)
        found = _mention(entry, row.number, detail.minor, detail.charges_minor, names)
        return msgspec.structs.replace(found, booked_minor=None)
    names = _names([detail.references, entry.references], f"{entry.text} {detail.text}")
    minor = entry.minor
    if detail.minor == entry.minor + detail.charges_minor and entry.minor < 0:
        minor = detail.minor  # the bank has debited its charges with the payment
    return _mention(entry, row.number, minor, detail.charges_minor, names)


def _mention(
    entry: Entry, detail: int, minor: int, charges_minor: int, names: PaymentNames
) -> Mention:
    return Mention(
        entry=entry.number,
        detail=detail,
        minor=minor,
        booked_minor=entry.minor,
        currency=entry.currency,
        is_reversal=entry.is_reversal,
        names=names,
        charges_minor=charges_minor,
        booking_date=entry.booking_date,
        value_date=entry.value_date,
        code=entry.code,
        text=entry.text,
    )


def _names(referring: Iterable[StatementReferences], text: str) -> PaymentNames:
    """Sort the words by what they may name. Their length says most of it: others' names are looked at no further."""
    words = [*(name for each in referring for name in each.ours()), *_words(text)]
    uetrs: list[UUID] = []
    end_to_end_ids: list[str] = []
    message_ids: list[str] = []
    instruction_ids: list[UUID] = []
    traces: list[str] = []
    for word in dict.fromkeys(words):
        length = len(word)
        if length == _HASHED_CHARACTERS and _HASHED.fullmatch(word) is not None:
            (end_to_end_ids if word[0] == "E" else message_ids).append(word)
        elif length == _UUID_CHARACTERS and (uetr := as_uuid(word)) is not None:
            uetrs.append(uetr)
        elif length == _INSTRUCTION_CHARACTERS and _INSTRUCTION.fullmatch(word) is not None:
            instruction_ids.append(UUID(word))
        elif length == _TRACE_CHARACTERS and _TRACE.fullmatch(word) is not None:
            traces.append(word)
    return PaymentNames(
        uetrs=tuple(uetrs[:REFERENCES_MAX]),
        end_to_end_ids=tuple(end_to_end_ids[:REFERENCES_MAX]),
        message_ids=tuple(message_ids[:REFERENCES_MAX]),
        instruction_ids=tuple(instruction_ids[:REFERENCES_MAX]),
        traces=tuple(traces[:REFERENCES_MAX]),
    )


def _words(text: str) -> list[str]:
    """Return the words of a text that may be references, also those that a line break has cut in two."""
    words = _WORD.findall(text)[:WORDS_MAX]
    if "\n" in text:
        words += _WORD.findall(text.replace("\n", ""))[:WORDS_MAX]
    return words


# --- a part of a statement ------------------------------------------------------------------------------


class UnreadRow(NamedTuple):
    """A row that could not be read, and why; entry 0 stands for the rest of the statement."""

    entry: int
    detail: int
    why: str


class StatementPart(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a kept statement that were not searched yet. ``is_last``: the statement ends with them."""

    statement: int
    account_id: int
    source: Source
    outcome: StatementOutcome
    file_sha256: str
    rows: tuple[EntryRow, ...]
    is_last: bool
    unread: tuple[UnreadRow, ...] = ()

    @property
    def counts(self) -> bool:
        """Say whether its entries are counted."""
        return is_counted(self.source, self.outcome)

    def place(self) -> tuple[int, int]:
        """Return the entry and the detail with which it ends."""
        read = [(row.entry.number, row.number) for row in self.rows[-1:]]
        unread = [(row.entry, row.detail) for row in self.unread[-1:]]
        return max((*read, *unread), default=(0, 0))
