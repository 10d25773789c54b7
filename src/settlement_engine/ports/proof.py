"""What proves the books, keeps what could not be read, and measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from settlement_engine.domain.deadletters import EVERY_LETTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.deadletters import (
        DeadLetter,
        LetterAct,
        LetterFilter,
        MessageOrigin,
    )
    from settlement_engine.domain.ledger import AccountKind
    from settlement_engine.domain.stuck import StuckLimits, StuckReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that must not be: which check, where, what was expected and what was found."""

    check: str
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The result of recomputing the books. No differences: they are proved."""

    accounts: int
    transfers: int
    settlements: int
    open_settlements: int
    open_holds: int
    totals: Mapping[str, int]  # posted debits per currency, in minor units
    differences: Sequence[Difference]


class Auditor(Protocol):
    """Recomputes instead of trusting."""

    async def prove(self) -> Proof:
        """Recompute balances, holds, conservation and lives, in one snapshot."""
        ...


class DeadLetterStore(Protocol):
    """Keeps what could not be taken in, for a person. Raises Unavailable."""

    async def bury(
        self,
        subject: str,
        payload: bytes,
        why: str,
        origin: MessageOrigin | None = None,
        *,
        kept_bytes_max: int | None = None,
    ) -> bool:
        """Keep a message with the reason why it was refused; False when this message was kept before.

        Of a longer payload than ``kept_bytes_max`` the beginning is kept, with the size and hash of the whole.
        """
        ...

    async def open_letters(
        self,
        limit: int,
        *,
        after_id: int = 0,
        wanted: LetterFilter = EVERY_LETTER,
        is_whole_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return those that wait for a person, oldest first."""
        ...

    async def waiting_letters(self, limit: int) -> int:
        """Count those that wait for a person, up to the limit."""
        ...

    async def remove_letters(self, days: int, limit: int) -> int:
        """Remove letters that ended so many days ago, at least ``KEPT_DAYS_MIN``; returns how many."""
        ...

    async def dead_letters(
        self,
        limit: int,
        *,
        before_id: int | None = None,
        is_open_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return them with what was done about them, latest first."""
        ...

    async def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Return one."""
        ...

    async def note_letter(self, letter_id: int, act: LetterAct) -> DeadLetter:
        """Write down what was done, at the store's own time. Raises NotFound, WrongState at its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What all accounts of one kind that a bank has in a currency come to, on their own side."""

    kind: AccountKind
    bank: str  # folded
    currency: str
    posted_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What the monitoring room asks of the store now and then."""

    open_by_state: Mapping[str, int]
    oldest_open_seconds: float
    oldest_in_doubt_seconds: float
    outbox_backlog: int
    without_next_action: int  # open settlements that nobody and no time will move; must be 0
    balances: Sequence[Balance]  # of nostro and vostro accounts, those of the oldest accounts first
    accounts_left_out: int = 0  # whose balances are not among them
    open_matters: Mapping[str, int] = field(default_factory=dict)  # for people, by kind
    oldest_matters_seconds: Mapping[str, float] = field(default_factory=dict)  # by kind
    open_dead_letters: int = 0
    oldest_dead_letter_seconds: float = 0.0
    open_inbound_reports: int = 0
    oldest_inbound_report_seconds: float = 0.0


class StuckFinder(Protocol):
    """Finds open settlements that nothing moves, or that have lasted too long. Raises Unavailable."""

    async def stuck(self, limits: StuckLimits, limit: int) -> StuckReport:
        """Judge by the store's clock; at most ``limit`` are named, all are counted."""
        ...


class GaugeSource(Protocol):
    """Answers what cannot be counted in passing."""

    async def gauges(self, accounts_max: int) -> Gauges:
        """Measure; the balances of at most so many accounts are read, and as many others are counted."""
        ...
