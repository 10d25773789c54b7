"""What is matched: our bookings on an account at a bank, that bank's entries, and the rules.

Promises: both sides have the sign that the bank's statement has (positive raises the account), integers of
minor units, and no more than was said. References are compared in one spelling.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- whoever decodes these needs the type
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import EntryStatus

if TYPE_CHECKING:
    from settlement_engine.domain.statements import Statement

RULES_FORM: Final = "matching/1"
"""Which passes there are and what each does. A change of what they match has another number."""

REFERENCE_CHARACTERS_MIN: Final = 4
"""What is shorter names nothing."""


class Pass(StrEnum):
    """The passes, in their order. What one has matched, none after it looks at."""

    OUR_REFERENCE = "our-reference"
    END_TO_END = "end-to-end-and-amount"
    RAIL_REFERENCE = "rail-reference"
    REFERENCE_IN_TEXT = "reference-in-text"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_ONE = "many-to-one"
    MANY_TO_MANY = "many-to-many"
    TARIFF = "charges-by-tariff"
    TOLERANCE = "tolerance"
    SUM = "sum"
    """Amounts that add up, and no reference that says so: only ever a suggestion."""


class Ours(msgspec.Struct, frozen=True):
    """One booking of ours on an account at a bank."""

    id: str
    account: str
    minor: int
    currency: str
    value_date: date
    references: tuple[str, ...] = ()
    """References that we gave: settlement id, attempt's reference, instruction id."""
    end_to_end: str = ""
    rail_references: tuple[str, ...] = ()
    """What the rail calls it, and the UETR."""
    batch: str = ""
    """The file or message under which the bank may book it together with others."""
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
    """References that may be ours."""
    end_to_end: str = ""
    rail_references: tuple[str, ...] = ()
    text: str = ""
    is_reversal: bool = False
    counterparty: str = ""
    parts: tuple[Part, ...] = ()


class Charge(msgspec.Struct, frozen=True):
    """What a bank takes for a payment, by its tariff, and the account that bears it."""

    currency: str
    minor: int
    account: str
    counterparty: str = ""
    """Empty: any."""


class Tolerance(msgspec.Struct, frozen=True):
    """Up to how much a difference is closed, and into which account: it never disappears."""

    currency: str
    minor: int
    account: str
    counterparty: str = ""


class Rules(msgspec.Struct, frozen=True):
    """By what is matched. ``version`` names this set of values."""

    version: str
    window_days: int = 5
    charges: tuple[Charge, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    sum_items_max: int = 10
    """No sum of more parts is looked for where no reference holds them together."""

    @property
    def full_version(self) -> str:
        """Return the version that a match keeps: the passes' own, and the values'."""
        return f"{RULES_FORM}/{self.version}"


class Match(msgspec.Struct, frozen=True):
    """What belongs together, by which pass, and why."""

    matched_by: Pass
    rules_version: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    explanation: str
    difference_minor: int = 0
    """Theirs less ours. What is not zero is a transfer into ``difference_account``."""
    difference_account: str = ""


class MatchingResult(msgspec.Struct, frozen=True):
    """What was matched by itself, what a person may match, and what is open."""

    matches: tuple[Match, ...]
    suggestions: tuple[Match, ...]
    open_ours: tuple[str, ...]
    open_theirs: tuple[str, ...]
    result_hash: str
    """Of the input, the rules and all of the above: the same again gives the same hash."""
    comparisons: int
    """How many candidates were looked at."""


def spelled(reference: str) -> str:
    """Return a reference as it is compared; empty when it names nothing."""
    text = "".join(reference.split()).upper()
    return text if len(text) >= REFERENCE_CHARACTERS_MIN else ""


def spelled_all(references: tuple[str, ...]) -> tuple[str, ...]:
    """Return references as they are compared, each once."""
    return tuple(dict.fromkeys(text for each in references if (text := spelled(each))))


def theirs_of(statement: Statement, account_key: str, counterparty: str = "") -> list[Theirs]:
    """Return the booked entries of a statement. What is only announced is none."""
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
