"""What reconciliation keeps, in memory: shared by the modules that write and show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from settlement_engine.domain.breaks.history import BreakEvent, BreakEventKind
from settlement_engine.domain.matching.breaks import references_of
from settlement_engine.domain.matching_pages import (
    references_in,
)
from settlement_engine.domain.reconciliation import (
    ENTRIES_AT_ONCE,
    EntryPlace,
    FoundBreak,
    OurItem,
    TheirItem,
)

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.matching.values import Match
    from settlement_engine.domain.proof import BalanceProof, DaySums
    from settlement_engine.domain.reconciliation import (
        CurrencyReport,
        ReconciliationRun,
    )


@dataclass(slots=True, kw_only=True)
class KeptMatch:
    """A match with its members; ``reason`` is set when it was taken back."""

    account_id: int
    run_id: UUID
    match: Match
    ours: tuple[OurItem, ...]
    theirs: tuple[TheirItem, ...]
    settled_on: date
    at: datetime
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class KeptBreak:
    """A break with its history."""

    account_id: int
    found: FoundBreak
    opened_at: datetime
    is_open: bool = True
    events: list[BreakEvent] = field(default_factory=list)

    def add(self, kind: BreakEventKind, at: datetime, text: str = "") -> None:
        """Append an event of the engine's."""
        number = len(self.events) + 1
        self.events.append(BreakEvent(number=number, kind=kind, at=at, who="engine", text=text))


@dataclass(slots=True)
class Reconciled:
    """Everything that is kept of reconciliation."""

    runs: dict[UUID, tuple[ReconciliationRun, datetime]] = field(default_factory=dict)
    ends: dict[UUID, tuple[datetime, tuple[CurrencyReport, ...]]] = field(default_factory=dict)
    held_by: object | None = None
    taken: set[tuple[UUID, int, int, int]] = field(default_factory=set)
    moves_read: int = 0
    ours: dict[tuple[int, str], OurItem] = field(default_factory=dict)
    theirs: dict[tuple[int, str], TheirItem] = field(default_factory=dict)
    postings: int = 0
    progress: dict[int, int] = field(default_factory=dict)
    days: dict[tuple[int, date], DaySums] = field(default_factory=dict)
    matches: list[KeptMatch] = field(default_factory=list)
    suggestions: dict[tuple[int, bytes], Match] = field(default_factory=dict)
    breaks: dict[tuple[int, bytes], KeptBreak] = field(default_factory=dict)
    proofs: dict[int, list[BalanceProof]] = field(default_factory=dict)

    def open_entries(self, account_id: int, after: EntryPlace) -> tuple[TheirItem, ...]:
        """Return the open entries of an account behind a place, in their order."""
        found = [item for (owner, _), item in self.theirs.items() if owner == account_id]
        found.sort(key=place_of)
        return tuple(each for each in found if place_of(each) > after)[:ENTRIES_AT_ONCE]

    def candidates(self, account_id: int, theirs: tuple[TheirItem, ...]) -> tuple[OurItem, ...]:
        """Return the open postings of an account that one of the entries may name."""
        named = set(references_in(theirs))
        return tuple(
            each
            for (owner, _), each in self.ours.items()
            if owner == account_id
            and not named.isdisjoint((*references_of(each.item), each.item.batch.upper()))
        )


def place_of(item: TheirItem) -> EntryPlace:
    """Return the place of an open entry in the order of its account."""
    return EntryPlace(item.booked_on, item.statement_id, item.number)
