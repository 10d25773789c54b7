"""The facts of settlements that announcements bring, kept for a while: they never change.

A life is announced several times within moments, always with the same obligation, banks and amount. They
are kept when this process has admitted the settlement, or has read them once. It promises a bound, and
what was kept is what the database holds: only what was committed, as it was committed, may be kept. What
happened and in which order is never kept, but always read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.money import Money
from settlement_engine.errors import CorruptRecord
from settlement_engine.ports import Announcement

if TYPE_CHECKING:
    from datetime import date, datetime
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Moved
    from settlement_engine.ports import Admission

GENERATION: Final = 10_000
"""So many settlements are a generation. Two are kept: a few seconds of a full load."""


class Facts(NamedTuple):
    """What is announced of a settlement with each of its moves."""

    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date
    priority: int


class KeptFacts:
    """The facts of the settlements of late, by their identifiers' numbers."""

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._young: dict[int, Facts] = {}
        self._old: dict[int, Facts] = {}

    def find(self, settlement_id: UUID) -> Facts | None:
        """Return what is kept of a settlement."""
        key = settlement_id.int
        return self._young.get(key) or self._old.get(key)

    def keep(self, settlement_id: UUID, facts: Facts) -> None:
        """Keep the facts of a settlement; the oldest generation makes room."""
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[settlement_id.int] = facts

    def keep_admission(self, admission: Admission, at: datetime) -> None:
        """Keep what was accepted at that moment of the database, which speaks UTC."""
        wish = admission.instruction
        facts = Facts(
            wish.obligation_id,
            wish.from_bank,
            wish.to_bank,
            wish.amount,
            wish.value_date or at.date(),
            int(wish.priority),
        )
        self.keep(admission.settlement_id, facts)


def to_facts(row: asyncpg.Record) -> Facts:
    """Rebuild the facts from their columns, which follow the identifier."""
    _, obligation_id, from_bank, to_bank, amount_minor, currency, value_date, priority = row
    amount = Money(amount_minor, currency)
    return Facts(obligation_id, from_bank, to_bank, amount, value_date, priority)


def to_announcement(moved: Moved, facts: Facts | None) -> Announcement:
    """Join a move with the facts of its settlement."""
    if facts is None:
        what = "a move belongs to a settlement that does not exist"
        raise CorruptRecord(what, why=str(moved.settlement_id))
    obligation_id, from_bank, to_bank, amount, value_date, priority = facts
    return Announcement(
        moved=moved,
        obligation_id=obligation_id,
        from_bank=from_bank,
        to_bank=to_bank,
        amount=amount,
        value_date=value_date,
        priority=priority,
    )
