from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from settlement_engine.domain.money import Money
from settlement_engine.errors import CorruptRecord
from settlement_engine.store.announcement_cache import (
    AnnouncedFields,
    AnnouncementCache,
    to_announcement,
)
from tests.unit.events.fakes import announcement

FACTS = AnnouncedFields("OBL", "ALPHA", "BETA", Money(1, "EUR"), date(2026, 1, 31), 0)


def test_the_cache_keeps_two_generations():
    kept = AnnouncementCache(generation=3)
    for number in range(1, 9):
        kept.keep(UUID(int=number), FACTS._replace(obligation_id=f"OBL-{number}"))
    found = [kept.find(UUID(int=number)) for number in range(1, 9)]
    names = [each.obligation_id for each in found if each is not None]
    assert names == ["OBL-4", "OBL-5", "OBL-6", "OBL-7", "OBL-8"]


def test_a_transition_without_a_settlement_is_never_announced():
    moved = announcement(1).moved
    assert to_announcement(moved, FACTS).obligation_id == "OBL"
    with pytest.raises(CorruptRecord):
        to_announcement(moved, None)
