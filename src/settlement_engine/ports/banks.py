"""What the API and the engine ask of the store about the bank directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from settlement_engine.domain.bank_directory import BankChange, BankVersion, ListedBank


@dataclass(frozen=True, slots=True, kw_only=True)
class BankPut:
    """A new version of a bank's entry. ``after_version`` is the version that it was made from; 0 asks for none."""

    bank: ListedBank
    who: str
    after_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BankFilter:
    """Which banks to list, by code. Empty fields do not filter; withdrawn ones are left out unless asked for."""

    currency: str = ""
    rail: str = ""
    has_withdrawn: bool = False
    limit: int = 100
    after_code: str = ""


class BankStore(Protocol):
    """Keeps the bank directory: versions are appended, and none is ever changed. Raises Unavailable."""

    async def put_bank(self, put: BankPut) -> BankVersion:
        """Append a version, or return the present one if it says the same.

        Raises WrongState if the present version is another one than ``after_version``, or at a bound.
        """
        ...

    async def bank(self, code: str, version: int = 0) -> BankVersion | None:
        """Return a version of a bank's entry; 0 means the present one."""
        ...

    async def banks(self, wanted: BankFilter) -> list[BankVersion]:
        """Return the present versions, by code."""
        ...

    async def bank_changes(self, after: int, limit: int) -> list[BankChange]:
        """Return the last change of each bank behind a position, in order; none is ever inserted before those."""
        ...
