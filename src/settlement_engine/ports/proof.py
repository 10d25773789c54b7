"""Proof of the books, dead letters and gauges: what operations asks of the store.

Promises: a proof recomputes everything from the transfers and moves. Must never: correct a difference by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from settlement_engine.domain.deadletters import EVERY_DEAD_LETTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.deadletters import (
        DeadLetter,
        DeadLetterAct,
        DeadLetterFilter,
        MessageOrigin,
    )
    from settlement_engine.domain.ledger import AccountKind
    from settlement_engine.domain.stuck import StuckLimits, StuckReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A failed check: which one, where, what was expected and what was found."""

    check: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of recomputing the books. Without differences they are proved."""

    accounts: int
    transfers: int
    settlements: int
    open_settlements: int
    open_holds: int
    totals: Mapping[str, int]  # posted debits per currency, in minor units
    differences: Sequence[Difference]


class Auditor(Protocol):
    """Recomputes the books from their records."""

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation of money and histories, in one snapshot."""
        ...


class DeadLetterStore(Protocol):
    """Keeps messages that could not be accepted, for a person. Raises Unavailable."""

    async def keep_dead_letter(
        self,
        subject: str,
        payload: bytes,
        why: str,
        origin: MessageOrigin | None = None,
        *,
        kept_bytes_max: int | None = None,
    ) -> bool:
        """Keep a message with the reason why it was refused; False when it was kept before.

        Of a payload longer than ``kept_bytes_max`` the beginning is kept, with size and hash of the whole.
        """
        ...

    async def open_dead_letters(
        self,
        limit: int,
        *,
        after_id: int = 0,
        wanted: DeadLetterFilter = EVERY_DEAD_LETTER,
        is_whole_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return the open dead letters, oldest first."""
        ...

    async def waiting_dead_letters(self, limit: int) -> int:
        """Count the open dead letters, up to the limit."""
        ...

    async def remove_dead_letters(self, days: int, limit: int) -> int:
        """Remove dead letters closed for so many days, at least ``KEPT_DAYS_MIN``; returns how many."""
        ...

    async def dead_letters(
        self,
        limit: int,
        *,
        before_id: int | None = None,
        is_open_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return dead letters with the actions on them, latest first."""
        ...

    async def dead_letter(self, dead_letter_id: int) -> DeadLetter | None:
        """Return one dead letter."""
        ...

    async def note_dead_letter(self, dead_letter_id: int, act: DeadLetterAct) -> DeadLetter:
        """Record an action at the database's time. Raises NotFound, and WrongState if it is closed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The sum of the balances of a bank's accounts of one kind in a currency, in minor units."""

    kind: AccountKind
    bank: str  # folded
    currency: str
    posted_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What monitoring asks of the store from time to time."""

    open_by_state: Mapping[str, int]
    oldest_open_seconds: float
    oldest_in_doubt_seconds: float
    outbox_backlog: int
    without_next_action: int  # open settlements that nothing will continue; must be 0
    balances: Sequence[Balance]  # of nostro and vostro accounts, oldest accounts first
    accounts_left_out: int = 0  # accounts whose balances are not included
    open_cases: Mapping[str, int] = field(default_factory=dict)  # open cases, by kind
    oldest_cases_seconds: Mapping[str, float] = field(default_factory=dict)  # by kind
    open_dead_letters: int = 0
    oldest_dead_letter_seconds: float = 0.0
    open_inbound_reports: int = 0
    oldest_inbound_report_seconds: float = 0.0
    open_recalls: Mapping[str, int] = field(default_factory=dict)  # by the recall's state
    discrepancies_minor: Mapping[str, int] = field(default_factory=dict)
    """By currency: what the accounts' last proofs have between the bank's balance and ours, without signs."""


class StuckFinder(Protocol):
    """Finds open settlements that are stuck. Raises Unavailable."""

    async def stuck(self, limits: StuckLimits, limit: int) -> StuckReport:
        """Find them by the database's clock; at most ``limit`` are listed, all are counted."""
        ...


class GaugeSource(Protocol):
    """Measures what the engine cannot count while it works."""

    async def gauges(self, accounts_max: int) -> Gauges:
        """Measure; at most so many accounts' balances are read, and as many further accounts are counted."""
        ...
