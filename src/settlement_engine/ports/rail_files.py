"""Files of payments: closed by one commit, and only then may they leave.

Promises: an attempt is in at most one file; a file's bytes never change; no file is closed with a payment that has
another owner meanwhile, or is no longer LOCKED. Must never: delete a file, or give a trace number twice.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - msgspec resolves the field types of its structs at run time
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from settlement_engine.domain.settlement import Settlement

FILE_ITEMS_MAX: Final = 5_000
"""The most payments of one file: so that the operator's acknowledgement is one message."""

TRACE_SEQUENCE_MAX: Final = 9_999_999
"""The highest number that a trace can have after the institution's eight digits (NACHA)."""

AttemptKey: TypeAlias = tuple[UUID, int]
"""A settlement, and the number of its attempt."""


class FileItem(msgspec.Struct, frozen=True, kw_only=True):
    """A payment of a file. ``fencing_token`` is its owner's when it was put into the open file."""

    settlement_id: UUID
    attempt: int
    trace: str
    fencing_token: int = 0

    @property
    def key(self) -> AttemptKey:
        """The attempt."""
        return self.settlement_id, self.attempt


class RailFile(msgspec.Struct, frozen=True, kw_only=True):
    """A closed file. ``sender`` names the two parties; ``modifier`` distinguishes their files of one day."""

    rail: str
    sender: str
    created_on: date
    modifier: str
    name: str
    content: bytes
    id: int = 0


class FileClosing(msgspec.Struct, frozen=True, kw_only=True):
    """The result of closing a file: it is stored, or it is not and its content has to be chosen again.

    ``filed`` are attempts that are in an earlier file, ``gone`` those that are no longer LOCKED with this owner.
    """

    is_stored: bool
    is_modifier_used: bool = False
    filed: frozenset[AttemptKey] = frozenset()
    gone: frozenset[AttemptKey] = frozenset()


class RailFileStore(Protocol):
    """Keeps files. Every call is one transaction, durable when it returns. Raises Unavailable, Contention."""

    async def allocate_traces(self, count: int, above: int = 0) -> list[int]:
        """Return so many numbers that nobody has, all above a number. Raises Broken when none are left."""
        ...

    async def close_file(self, file: RailFile, items: Sequence[FileItem]) -> FileClosing:
        """Store a file with all its items, or nothing."""
        ...

    async def modifiers_of(self, rail: str, sender: str, day: date) -> frozenset[str]:
        """Return the modifiers that are used on a day."""
        ...

    async def filed(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts that are in a file."""
        ...

    async def unplaced(self, rail: str, sender: str, limit: int) -> list[RailFile]:
        """Return the oldest files that are not recorded as placed."""
        ...

    async def note_placed(self, file_id: int) -> None:
        """Record that a file was placed; repeated, it changes nothing."""
        ...

    async def items_of(self, rail: str, sha256: bytes) -> list[FileItem]:
        """Return the items of the file with these bytes, without their tokens; none for an unknown file."""
        ...


@runtime_checkable
class FileRail(Protocol):
    """The part of a rail whose payments wait in an open file until it is closed.

    Until then nothing has left. The proof is in the store, so it holds for any engine.
    """

    async def allocate_traces(self, settlements: Sequence[Settlement]) -> Sequence[str]:
        """Return a trace for each settlement, in order: numbers that nobody has."""
        ...

    async def filed(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts that are in a closed file: the others have never left."""
        ...

    async def never_left(self, keys: Collection[AttemptKey]) -> frozenset[AttemptKey]:
        """Return those of the attempts without an answer that this process knows to be in no closed file."""
        ...

    def withdraw(self, settlement_id: UUID) -> bool:
        """Take a payment out of the open file; False if it is not in one, so that it may have left."""
        ...
