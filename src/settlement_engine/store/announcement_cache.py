"""A cache of the settlement data that announcements carry: it never changes.

A settlement is announced several times within moments, always with the same obligation, banks and amount. The
data is cached when this process has admitted the settlement, or has read it once. It promises a bounded size,
and to cache only what was committed, as it was committed. Transitions and their order must never be cached: they
are always read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.money import Money
from settlement_engine.domain.payment import Delivery
from settlement_engine.errors import CorruptRecord
from settlement_engine.ports import Announcement

if TYPE_CHECKING:
    from datetime import date
    from uuid import UUID

    import asyncpg

    from settlement_engine.domain.settlement import Moved, Settlement

GENERATION: Final = 10_000
"""The size of one generation. Two are kept: a few seconds at full load."""


class AnnouncedFields(NamedTuple):
    """The data of a settlement that is announced with each of its transitions."""

    obligation_id: str
    from_bank: str
    to_bank: str
    amount: Money
    value_date: date
    priority: int
    compensates: UUID | None = None
    delivery: Delivery = Delivery.BOOK


class AnnouncementCache:
    """A two-generation cache of recent settlements' data, keyed by settlement id."""

    def __init__(self, generation: int = GENERATION) -> None:
        self._generation = generation
        self._current: dict[int, AnnouncedFields] = {}
        self._previous: dict[int, AnnouncedFields] = {}

    def find(self, settlement_id: UUID) -> AnnouncedFields | None:
        """Return what is cached of a settlement, or None."""
        key = settlement_id.int
        return self._current.get(key) or self._previous.get(key)

    def keep(self, settlement_id: UUID, fields: AnnouncedFields) -> None:
        """Cache a settlement's data; a full generation replaces the previous one."""
        if len(self._current) >= self._generation:
            self._previous, self._current = self._current, {}
        self._current[settlement_id.int] = fields

    def keep_admitted(self, settlement: Settlement) -> None:
        """Cache what was admitted."""
        instruction = settlement.instruction
        fields = AnnouncedFields(
            instruction.obligation_id,
            instruction.from_bank,
            instruction.to_bank,
            instruction.amount,
            settlement.value_date,
            int(instruction.priority),
            instruction.compensates,
            instruction.delivery,
        )
        self.keep(settlement.id, fields)


def to_announced_fields(row: asyncpg.Record) -> AnnouncedFields:
    """Build the data from its columns, which follow the settlement id."""
    _, obligation_id, from_bank, to_bank, amount_minor, currency, *others, delivery = row
    value_date, priority, compensates = others
    return AnnouncedFields(
        obligation_id,
        from_bank,
        to_bank,
        Money(amount_minor, currency),
        value_date,
        priority,
        compensates,
        Delivery(delivery),
    )


def to_announcement(moved: Moved, fields: AnnouncedFields | None) -> Announcement:
    """Combine a transition with the data of its settlement. Raises CorruptRecord without it."""
    if fields is None:
        what = "a move belongs to a settlement that does not exist"
        raise CorruptRecord(what, why=str(moved.settlement_id))
    return Announcement(
        moved=moved,
        obligation_id=fields.obligation_id,
        from_bank=fields.from_bank,
        to_bank=fields.to_bank,
        amount=fields.amount,
        value_date=fields.value_date,
        priority=fields.priority,
        compensates=fields.compensates,
        delivery=fields.delivery,
    )
