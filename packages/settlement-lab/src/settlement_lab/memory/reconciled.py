"""What reconciliation keeps, in memory: shared by the modules that write and show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from settlement_engine.domain.breaks.history import BreakEvent, BreakEventKind
from settlement_engine.domain.closed_differences import is_difference
from settlement_engine.domain.matching.breaks import references_of
from settlement_engine.domain.matching_pages import (
    references_in,
)
from settlement_engine.domain.reconciliation import (
    ENTRIES_AT_ONCE,
    UNNAMED_ITEMS_MAX,
    EntryPlace,
    FoundBreak,
    OurItem,
    TheirItem,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime
    from uuid import UUID

    from settlement_engine.domain.breaks.proposals import BreakProposal
    from settlement_engine.domain.breaks.suggestions import BreakSuggestion
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
    taken_back_by: str = ""
    who: str = "engine"


@dataclass(slots=True, kw_only=True)
class KeptBreak:
    """A break with its history."""

    account_id: int
    found: FoundBreak
    opened_at: datetime
    is_open: bool = True
    events: list[BreakEvent] = field(default_factory=list)
    corrections: list[str] = field(default_factory=list)
    """The postings that had closed it before it was opened again."""

    def add(  # noqa: PLR0913 - the fields of an event
        self,
        kind: BreakEventKind,
        at: datetime,
        text: str = "",
        *,
        who: str = "engine",
        owner: str = "",
        level: int = 0,
        due_at: datetime | None = None,
        proposal_id: int | None = None,
        match_id: int | None = None,
    ) -> None:
        """Append an event."""
        made = BreakEvent(
            number=len(self.events) + 1,
            kind=kind,
            at=at,
            who=who,
            text=text,
            owner=owner,
            level=level,
            due_at=due_at,
            proposal_id=proposal_id,
            match_id=match_id,
        )
        self.events.append(made)


class BooksOfMatches(Protocol):
    """What closing and opening breaks needs of the store of reconciliation."""

    def now(self) -> datetime:
        """Return the time of the records."""
        ...

    def count(self, account_id: int, changes: Iterable[DaySums]) -> None:
        """Add to the sums of an account's days."""
        ...

    def take_back(self, kept: KeptMatch, reason: str, who: str = ..., zone: str = ...) -> None:
        """Take a live match back: its items are open again, and what its difference had posted is reversed."""
        ...

    async def take_in_outside(self, account_id: int, zone: str) -> None:
        """Read the postings of an account that no settlement has made."""
        ...


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
    suggestions: dict[tuple[int, bytes], BreakSuggestion] = field(default_factory=dict)
    breaks: dict[tuple[int, bytes], KeptBreak] = field(default_factory=dict)
    proofs: dict[int, list[BalanceProof]] = field(default_factory=dict)
    changed_since_proof: dict[int, date] = field(default_factory=dict)
    """By account, the first day whose proof may be another one since the last run."""
    proposals: list[tuple[BreakProposal, bytes]] = field(default_factory=list)

    def taken_back(self, account_id: int) -> list[tuple[frozenset[str], frozenset[str]]]:
        """Return the items of the matches that people have taken back, ours and theirs."""
        return [
            (
                frozenset(each.item.id for each in kept.ours if not is_difference(each.item.id)),
                frozenset(each.name for each in kept.theirs),
            )
            for kept in self.matches
            if kept.account_id == account_id and kept.taken_back_by not in ("", "engine")
        ]

    def begins_of(self, group_id: UUID) -> date:
        """Return the day of the opening difference that a transfer closes."""
        numbers = [each.break_id for each, _ in self.proposals if each.transfer_group == group_id]
        return list(self.breaks.values())[numbers[0] - 1].found.business_date

    def open_entries(self, account_id: int, after: EntryPlace) -> tuple[TheirItem, ...]:
        """Return the open entries of an account behind a place, in their order."""
        found = [item for (owner, _), item in self.theirs.items() if owner == account_id]
        found.sort(key=place_of)
        return tuple(each for each in found if place_of(each) > after)[:ENTRIES_AT_ONCE]

    def to_match(self, account_id: int, theirs: tuple[TheirItem, ...]) -> tuple[OurItem, ...]:
        """Return the candidates; of small pages and accounts every open posting, which sums may need."""
        every = tuple(each for (owner, _), each in self.ours.items() if owner == account_id)
        if len(theirs) <= UNNAMED_ITEMS_MAX and len(every) <= UNNAMED_ITEMS_MAX:
            return every
        return self.candidates(account_id, theirs)

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
