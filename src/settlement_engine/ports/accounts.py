"""What the API asks of the store about accounts and their transfers. Amounts are in minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, AccountKind, Transfer
    from settlement_engine.domain.money import Money
    from settlement_engine.domain.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """An account to open. If ``account_number`` is empty, the store chooses one.

    With ``needs_listed_bank`` a new account is opened only for a bank that stands in the bank directory.
    """

    kind: AccountKind
    bank: str
    currency: str
    account_number: str
    credit_limit: int
    caller: str
    idempotency_key: str
    needs_listed_bank: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """Incoming funding on our nostro account with a bank."""

    bank: str
    amount: Money
    reference: str
    account_number: str
    caller: str
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFilter:
    """Which accounts to list, by id. Empty fields do not filter."""

    kind: AccountKind | None = None
    bank: str = ""
    currency: str = ""
    account_number: str = ""
    limit: int = 100
    after_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFilter:
    """Which transfers to list, newest first."""

    account_id: int | None = None
    group_id: UUID | None = None
    limit: int = 100
    before: tuple[UUID, int, int] | None = None


class AccountStore(Protocol):
    """Keeps accounts and the transfers between them. Raises Unavailable."""

    async def open_account(self, spec: AccountSpec) -> Account:
        """Open an account, or return the one that the same key opened before.

        Raises IdempotencyConflict, and InvalidInstruction for a new account in a withdrawn currency, or of a
        bank that is not in the directory if it has to be.
        """
        ...

    async def ensure_controls(
        self, wanted: Sequence[tuple[AccountKind, str, str]]
    ) -> list[Account]:
        """Return control accounts by kind, owner and currency, opened on first need.

        The owner is a rail (settlement) or a bank (clearing).
        """
        ...

    async def accounts_of(self, wanted: Sequence[tuple[AccountKind, str]]) -> list[Account]:
        """Return all accounts of these kinds and banks, oldest first."""
        ...

    async def fund(self, funding: Funding) -> Account:
        """Post a funding once per key. Raises NotFound, IdempotencyConflict."""
        ...

    async def accounts(self, wanted: AccountFilter) -> list[Account]:
        """Return accounts, oldest first."""
        ...

    async def account(self, account_id: int) -> Account | None:
        """Return one account."""
        ...

    async def set_active(self, account_id: int, *, is_active: bool) -> Account:
        """Switch an account on or off. Raises NotFound."""
        ...

    async def transfers(self, wanted: TransferFilter) -> list[Transfer]:
        """Return transfers, newest first."""
        ...

    async def windows(self) -> list[Window]:
        """Return the settlement windows that are in force."""
        ...
