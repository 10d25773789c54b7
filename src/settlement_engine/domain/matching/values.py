"""The values of matching: our bookings on an account at a bank, that bank's entries, and the rules.

Promises: amounts are integers of minor units, on both sides with the sign of the bank's statement (positive is a
credit of the account). References are compared in one normal form. Must never: add what a bank did not state.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- whoever decodes these needs the type
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import EntryStatus

if TYPE_CHECKING:
    from settlement_engine.domain.statements import Statement

RULES_FORM: Final = "matching/3"
"""The version of the passes: it changes whenever they match differently."""

REFERENCE_CHARACTERS_MIN: Final = 4
"""A shorter text is not used as a reference."""


TOLERANCE_MINOR_MAX: Final = 1_000
"""The largest tolerance, in minor units of any currency: 10.00 where there are two decimals."""


class Pass(StrEnum):
    """The passes in their order. A later pass ignores what an earlier one has matched."""

    OUR_REFERENCE = "our-reference"
    END_TO_END = "end-to-end-and-amount"
    RAIL_REFERENCE = "rail-reference"
    REFERENCE_IN_TEXT = "reference-in-text"
    EQUAL_TWINS = "equal-twins"
    """Found in one of the passes before: items of both sides that nothing tells apart."""
    ONE_TO_MANY = "one-to-many"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY = "many-to-many"
    TARIFF = "charges-by-tariff"
    TOLERANCE = "tolerance"
    SUM = "sum"
    """Amounts that add up without a common reference: always only a suggestion."""
    REVERSED = "difference-reversed"
    """No pass: a match with a difference was taken back, and its transfer is matched with the reversing one."""
    PERSON = "person"
    """No pass: people have made the match."""


class Ours(msgspec.Struct, frozen=True):
    """One booking of ours on an account at a bank."""

    id: str
    account: str
    minor: int
    currency: str
    value_date: date
    references: tuple[str, ...] = ()
    """Our references: settlement id, attempt's reference, instruction id."""
    end_to_end: str = ""
    rail_references: tuple[str, ...] = ()
    """The rail's reference, and the UETR."""
    batch: str = ""
    """The file or message with which the bank may have booked several payments in one entry."""
    counterparty: str = ""


class Part(msgspec.Struct, frozen=True):
    """One payment inside an entry of theirs."""

    references: tuple[str, ...]
    minor: int | None


class Theirs(msgspec.Struct, frozen=True):
    """One booked entry of a statement."""

    id: str
    account: str
    minor: int
    currency: str
    value_date: date | None
    given: tuple[str, ...] = ()
    """References that may be one of ours."""
    end_to_end: str = ""
    rail_references: tuple[str, ...] = ()
    text: str = ""
    is_reversal: bool = False
    counterparty: str = ""
    parts: tuple[Part, ...] = ()


class Charge(msgspec.Struct, frozen=True):
    """What a bank charges for a payment, in minor units, and the account for the difference."""

    currency: str
    minor: int
    account: str
    counterparty: str = ""
    """Empty: any."""
    valid_from: date | None = None
    valid_until: date | None = None
    """The first and the last value date of the entries that it is charged for."""

    def holds_on(self, day: date | None) -> bool:
        """Say whether it is charged on a day."""
        if day is None:
            return self.valid_from is None and self.valid_until is None
        begins, ends = self.valid_from or day, self.valid_until or day
        return begins <= day <= ends


class Tolerance(msgspec.Struct, frozen=True):
    """The largest difference that is accepted, in minor units, and the account that it is booked to."""

    currency: str
    minor: int
    account: str
    counterparty: str = ""

    def __post_init__(self) -> None:
        """Refuse a tolerance that nobody may configure."""
        assert 0 <= self.minor <= TOLERANCE_MINOR_MAX, "a tolerance is capped"

    def holds_on(self, _day: date | None) -> bool:
        """Say whether it holds on a day: it always does."""
        return True


class Rules(msgspec.Struct, frozen=True):
    """The rules of matching. ``version`` identifies this set of values."""

    version: str
    window_days: int = 5
    charges: tuple[Charge, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    sum_items_max: int = 10
    """The most parts of a sum without a common reference."""

    @property
    def full_version(self) -> str:
        """Return the version that a match records: of the passes, and of these values."""
        return f"{RULES_FORM}/{self.version}"


class Match(msgspec.Struct, frozen=True):
    """Items that belong together, with the pass and the reason."""

    matched_by: Pass
    rules_version: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    explanation: str
    difference_minor: int = 0
    """Their amount minus ours in minor units; a difference is transferred to ``difference_account``."""
    difference_account: str = ""


class MatchingResult(msgspec.Struct, frozen=True):
    """The automatic matches, the suggestions for a person, and the open items."""

    matches: tuple[Match, ...]
    suggestions: tuple[Match, ...]
    open_ours: tuple[str, ...]
    open_theirs: tuple[str, ...]
    result_hash: str
    """The hash over the input, the rules and all fields above."""
    comparisons: int
    """How many candidates were compared."""


def spelled(reference: str) -> str:
    """Return the normal form of a reference; empty when it is too short to be one."""
    text = "".join(reference.split()).upper()
    return text if len(text) >= REFERENCE_CHARACTERS_MIN else ""


def spelled_all(references: tuple[str, ...]) -> tuple[str, ...]:
    """Return the normal forms of references, each once."""
    return tuple(dict.fromkeys(text for each in references if (text := spelled(each))))


def theirs_of(statement: Statement, account_key: str, counterparty: str = "") -> list[Theirs]:
    """Return the booked entries of a statement, without those that are only announced."""
    statement_hash = statement.content_hash()[:16]
    return [
        Theirs(
            id=f"{statement_hash}/{entry.number:06d}",
            account=account_key,
            minor=entry.minor,
            currency=entry.currency,
            value_date=entry.value_date or entry.booking_date,
            given=entry.references.ours(),
            end_to_end=entry.references.end_to_end,
            rail_references=(
                *entry.references.theirs(),
                *(each for each in (entry.references.uetr, entry.references.transaction) if each),
            ),
            text=entry.text,
            is_reversal=entry.is_reversal,
            counterparty=counterparty,
            parts=tuple(
                Part((*part.references.ours(), *part.references.theirs()), part.minor)
                for part in entry.details
                if len(entry.details) > 1 and not entry.details_differ
            ),
        )
        for entry in statement.entries
        if entry.status is EntryStatus.BOOKED
    ]
