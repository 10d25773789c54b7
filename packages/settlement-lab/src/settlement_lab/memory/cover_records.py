"""What the tables of cover payments hold, in dicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from settlement_engine.domain.covers import Cover

    AttemptKey = tuple[UUID, int]
    CoverKey = tuple[UUID, int, int]


@dataclass(slots=True, kw_only=True)
class CoverRecords:
    """The covers of each attempt, oldest first, and what is proved of them.

    ``undelivered`` are the numbers of the transmissions that did not leave.
    """

    stored: dict[AttemptKey, list[Cover]] = field(default_factory=dict)
    undelivered: dict[CoverKey, set[int]] = field(default_factory=dict)
    refused_at: dict[CoverKey, datetime] = field(default_factory=dict)
