"""Covers of settlements, as a rail would store them, for tests of the stores."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from settlement_engine.domain.covers import Cover, cover_intent, cover_message_id
from settlement_engine.ports import NewCover

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement

VALID_UNTIL = datetime(2100, 1, 1, tzinfo=UTC)


def new_cover(settlement: Settlement, number: int = 1, **changes: Any) -> NewCover:
    """Make a cover of a settlement's attempt; one behind the first was ordered."""
    attempt = settlement.attempt
    assert attempt is not None, "what is covered was sent"
    return cover_of(settlement.id, attempt.number, attempt.references, number, **changes)


def cover_of(
    settlement_id: UUID, attempt: int, names: References, number: int = 1, **changes: Any
) -> NewCover:
    """Make a cover of an attempt."""
    cover = Cover(
        number=number,
        message_id=cover_message_id(names.message_id, number),
        content=f"cover {number} of {settlement_id} \x00\\ ü".encode(),
        recorded_at=VALID_UNTIL,  # the store writes its own time
        valid_until=VALID_UNTIL,
        ordered_by="" if number == 1 else "ada",
        reason="" if number == 1 else 'their "account" was ü wrong',
    )
    return NewCover(
        settlement_id=settlement_id,
        attempt=attempt,
        cover=msgspec.structs.replace(cover, **changes),
    )


def intent_of(cover: Cover) -> dict[str, str]:
    """Return the details of the move that records a cover's send intent."""
    return cover_intent(cover, hashlib.sha256(cover.content).hexdigest())
