"""What the issuing of statements asks of the store, and what the API asks of the issuing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from settlement_engine.domain.issued_statements import (
        IssuedFormat,
        IssuedStatement,
        StatementBuilder,
        StatementOrder,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedFilter:
    """Which issued statements to list, the latest first. ``before_id`` continues a list."""

    limit: int
    account_id: int | None = None
    before_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedPart:
    """A part of an issued file, and the length and the hash of the whole."""

    sha256: bytes
    file_bytes: int
    content: bytes


class IssuedStatementStore(Protocol):
    """Keeps the statements that we issue: append-only. Raises Unavailable, Contention."""

    async def issue(self, order: StatementOrder, build: StatementBuilder) -> IssuedStatement:
        """Issue the statement of a booking date with the account's next number, in one transaction.

        What was issued before is returned, and its bytes are never made again; a further format gets the same number
        and figures. Issues for one account wait for each other, across engines. Raises NotFound, WrongState,
        CorruptRecord, and what ``build`` raises; then nothing is stored.
        """
        ...

    async def issued(self, wanted: IssuedFilter) -> list[IssuedStatement]:
        """Return issued statements, the latest first."""
        ...

    async def issued_part(
        self, account_id: int, number: int, wanted: IssuedFormat, offset: int, bytes_max: int
    ) -> IssuedPart | None:
        """Return a part of the bytes of an issued statement."""
        ...


class HolderStatementIssuer(Protocol):
    """Issues statements."""

    async def issue(self, order: StatementOrder) -> IssuedStatement:
        """Issue the statement of a booking date, or return it if it was issued before.

        Raises NotFound, WrongState, CorruptRecord, Unavailable, Contention.
        """
        ...
