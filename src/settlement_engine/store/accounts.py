"""Accounts, fundings and settlement windows in PostgreSQL (``ports.AccountStore``)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import NOT_IN_DIRECTORY
from settlement_engine.domain.identifiers import key_hash
from settlement_engine.domain.ledger import AccountKind, full, fund
from settlement_engine.domain.money import fault_of_currency_today, format_amount
from settlement_engine.errors import IdempotencyConflict, InvalidInstruction, NotFound
from settlement_engine.ports import AccountFilter
from settlement_engine.store import arrays
from settlement_engine.store.currencies import keep_exponents, learn_currencies
from settlement_engine.store.database import DatabaseConnection
from settlement_engine.store.queries import query
from settlement_engine.store.rows import to_account, to_transfer, to_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.domain.windows import Window
    from settlement_engine.ports import AccountSpec, Funding, Ids, TransferFilter
    from settlement_engine.store.database import Connection, DatabaseSettings, Readers

CONTROL_NUMBER: Final = "control"
"""The account number of control accounts: there is one per owner and currency."""


def number_of_account(spec: AccountSpec) -> str:
    """Return the number of a new account: one per kind, bank and currency when none is given."""
    return spec.account_number or f"{spec.kind}-{folded_bank(spec.bank)}-{spec.currency}"


def number_as_received(spec: AccountSpec) -> str:
    """Return the number that is compared with that of an earlier call under the same key.

    It contains the bank's code as it was received, so that a call from before codes were normalised is
    recognised as a replay.
    """
    return spec.account_number or f"{spec.kind}-{spec.bank}-{spec.currency}"


def key_of_opening(spec: AccountSpec) -> str:
    """Return the idempotency key under which an account is opened; derived when none is given."""
    number = number_as_received(spec)
    return spec.idempotency_key or f"account:{spec.kind}:{spec.bank}:{spec.currency}:{number}"


class PostgresAccounts:
    """See ``ports.AccountStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers, ids: Ids) -> None:
        self._readers = readers
        self._writing = DatabaseConnection(settings, is_writing=True)
        self._ids = ids

    async def close(self) -> None:
        """Close the connection."""
        await self._writing.close()

    async def open_account(self, spec: AccountSpec) -> Account:
        """Open an account, or return the one that the same key opened."""
        content: dict[str, object] = {
            "kind": spec.kind.value,
            "bank": spec.bank,
            "currency": spec.currency,
            "account_number": number_as_received(spec),
            "credit_limit": spec.credit_limit,
        }
        named = key_of_opening(spec)
        hashed = key_hash(spec.caller, named, "open_account")
        async with self._writing.session() as connection, connection.transaction():
            if fault := await _fault_today(connection, spec):
                if await connection.fetchrow(query("recall_call"), hashed) is None:
                    raise InvalidInstruction([fault])
                return await _replay(connection, hashed, content, spec)
            opened = await connection.fetchrow(
                query("open_account"),
                spec.kind.value,
                folded_bank(spec.bank),
                spec.currency,
                number_of_account(spec),
                spec.credit_limit,
            )
            if opened is None:
                return await _replay(connection, hashed, content, spec)
            new = await connection.fetchrow(
                query("remember_call"),
                hashed,
                spec.caller,
                named,
                "open_account",
                json.dumps(content),
                opened["id"],
            )
            if new is None:  # raises if the content differs, which rolls back the new account
                return await _replay(connection, hashed, content, spec)
            row = await connection.fetchrow(query("account_by_id"), opened["id"])
        assert row is not None
        return to_account(row)

    async def ensure_controls(
        self, wanted: Sequence[tuple[AccountKind, str, str]]
    ) -> list[Account]:
        """Return control accounts of rails and banks; missing ones are opened."""
        kinds = [kind.value for kind, _, _ in wanted]
        owners = [owner for _, owner, _ in wanted]
        currencies = [currency for _, _, currency in wanted]
        columns = (kinds, owners, currencies, CONTROL_NUMBER)
        async with self._writing.session() as connection:
            await connection.execute(query("open_controls"), *columns)
            rows = await connection.fetch(query("find_controls"), *columns)
        distinct = {(kind, folded_bank(owner), currency) for kind, owner, currency in wanted}
        assert len(rows) == len(distinct), "every requested control account exists"
        return sorted(map(to_account, rows), key=lambda account: account.id)

    async def accounts_of(self, wanted: Sequence[tuple[AccountKind, str]]) -> list[Account]:
        """Return all accounts of these kinds and banks, oldest first."""
        kinds = [kind.value for kind, _ in wanted]
        rows = await self._readers.fetch("accounts_of", kinds, [bank for _, bank in wanted])
        return [to_account(row) for row in rows]

    async def fund(self, funding: Funding) -> Account:
        """Post a funding; the same idempotency key posts only once."""
        currency = funding.amount.currency
        nostro = await self._nostro(funding)
        owner = folded_bank(funding.bank)
        [clearing] = await self.ensure_controls([(AccountKind.CLEARING, owner, currency)])
        group_id = self._ids.new()
        key = funding.idempotency_key or str(group_id)
        content: dict[str, object] = {
            "bank": funding.bank,
            "currency": currency,
            "amount": format_amount(funding.amount.minor, currency),
            "reference": funding.reference,
            "account_number": funding.account_number,
        }
        hashed = key_hash(funding.caller, key, "fund_account")
        transfer = fund(
            group_id, nostro.id, clearing.id, funding.amount.minor, currency, funding.reference
        )
        async with self._writing.session() as connection, connection.transaction():
            new = await connection.fetchrow(
                query("remember_call"),
                hashed,
                funding.caller,
                key,
                "fund_account",
                json.dumps(content),
                nostro.id,
            )
            if new is None:
                return await _replay(connection, hashed, content)
            await post_outside(connection, transfer)
            row = await connection.fetchrow(query("account_by_id"), nostro.id)
        assert row is not None
        return to_account(row)

    async def _nostro(self, funding: Funding) -> Account:
        wanted = AccountFilter(
            kind=AccountKind.NOSTRO,
            bank=funding.bank,
            currency=funding.amount.currency,
            account_number=funding.account_number,
            limit=1,
        )
        found = await self.accounts(wanted)
        if not found:
            what = f"there is no nostro account of {funding.bank} in {funding.amount.currency}"
            raise NotFound(what, todo="Open it first: settlement-engine accounts open.")
        return found[0]

    async def accounts(self, wanted: AccountFilter) -> list[Account]:
        """Return accounts, oldest first."""
        rows = await self._readers.fetch(
            "list_accounts",
            wanted.kind.value if wanted.kind else None,
            wanted.bank or None,
            wanted.currency or None,
            wanted.account_number or None,
            wanted.after_id,
            wanted.limit,
        )
        return [to_account(row) for row in rows]

    async def account(self, account_id: int) -> Account | None:
        """Return one account."""
        row = await self._readers.fetchrow("account_by_id", account_id)
        return to_account(row) if row else None

    async def set_active(self, account_id: int, *, is_active: bool) -> Account:
        """Switch an account on or off."""
        async with self._writing.session() as connection:
            if await connection.fetchrow(query("set_active"), account_id, is_active) is None:
                what = f"there is no account {account_id}"
                raise NotFound(what, listed_by="accounts list")
            row = await connection.fetchrow(query("account_by_id"), account_id)
            await learn_currencies(connection, (row,))
        assert row is not None
        return to_account(row)

    async def transfers(self, wanted: TransferFilter) -> list[Transfer]:
        """Return transfers, newest first."""
        group_id, posting, leg = wanted.before or (None, None, None)
        rows = await self._readers.fetch(
            "list_transfers",
            wanted.account_id,
            wanted.group_id,
            group_id,
            posting,
            leg,
            wanted.limit,
        )
        return [to_transfer(row) for row in rows]

    async def windows(self) -> list[Window]:
        """Return the settlement windows in force; loads the exponents of all known currencies with them."""
        keep_exponents(await self._readers.fetch("currencies"))
        return [to_window(row) for row in await self._readers.fetch("windows")]


async def _fault_today(connection: Connection, spec: AccountSpec) -> tuple[str, str] | None:
    """Return the field that a new account may not have today, and why: an earlier call may have had it."""
    if fault := fault_of_currency_today(spec.currency):
        return "currency", fault
    if spec.needs_listed_bank and not await connection.fetch(query("bank_stands"), spec.bank):
        return "bank", NOT_IN_DIRECTORY
    return None


async def post_outside(connection: Connection, transfer: Transfer) -> None:
    """Insert one transfer that belongs to no settlement, and update the two balances that it changes."""
    sides = sorted((transfer.debit_id, transfer.credit_id))
    locked = await connection.fetch(query("lock_accounts"), sides)
    if any(row["is_full"] for row in locked):
        raise full(transfer.currency)
    await connection.execute(
        query("post_transfer"),
        transfer.group_id,
        transfer.leg.value,
        transfer.debit_id,
        transfer.credit_id,
        transfer.amount_minor,
        transfer.currency,
        transfer.reference,
    )
    await connection.execute(
        query("post_balances"), transfer.debit_id, transfer.credit_id, transfer.amount_minor
    )


async def post_differences(connection: Connection, transfers: Sequence[Transfer]) -> None:
    """Insert transfers between one account and others, and update the balances. The account's row is locked already."""
    columns = (
        arrays.uuids([each.group_id for each in transfers]),
        arrays.integers([each.leg.value for each in transfers]),
        arrays.integers([each.debit_id for each in transfers]),
        arrays.integers([each.credit_id for each in transfers]),
        arrays.integers([each.amount_minor for each in transfers]),
        arrays.texts([each.currency for each in transfers]),
    )
    await connection.execute(query("post_differences"), *columns)
    await connection.execute(query("post_balances_of_many"), *columns[2:5])


async def _replay(
    connection: Connection,
    hashed: UUID,
    content: Mapping[str, object],
    spec: AccountSpec | None = None,
) -> Account:
    """Return the account of the earlier call, or raise naming the field that differs; ``spec`` opens one."""
    known = await connection.fetchrow(query("recall_call"), hashed)
    if known is None:
        assert spec is not None, "only the number of an account is taken without its key"
        raise number_taken(await _conflicting(connection, spec))
    before: dict[str, object] = json.loads(known["content"])
    different = next((name for name in content if before.get(name) != content[name]), None)
    if different is not None:
        raise key_taken(different, known["account_id"], spec)
    row = await connection.fetchrow(query("account_by_id"), known["account_id"])
    await learn_currencies(connection, (row,))
    assert row is not None
    return replace(to_account(row), is_replay=True)


async def _conflicting(connection: Connection, spec: AccountSpec) -> int:
    """Return the account that has the number, under any spelling of its bank's code."""
    number = number_of_account(spec)
    wanted = (spec.kind.value, spec.bank, spec.currency)
    row = await connection.fetchrow(query("list_accounts"), *wanted, number, 0, 1)
    if row is None:
        row = await connection.fetchrow(query("list_accounts"), *wanted, None, 0, 1)
        assert row is not None, "an account of this bank has the number"
    found: int = row["id"]
    return found


def number_taken(account_id: int) -> IdempotencyConflict:
    """Return the error that names the account which has the number already."""
    return IdempotencyConflict(
        f"account {account_id} has this kind, bank, currency and account_number already",
        field="account_number",
        todo=f"See it with: settlement-engine accounts show {account_id}. "
        "A further account needs another account number.",
    )


def key_taken(field: str, account_id: int, spec: AccountSpec | None) -> IdempotencyConflict:
    """Return the error that names what differs from the first call; without a key the account differs."""
    if spec is not None and not spec.idempotency_key:
        return IdempotencyConflict(
            f"account {account_id} is open already, with another {field}",
            field=field,
            todo=f"See it with: settlement-engine accounts show {account_id}. It was not changed.",
        )
    return IdempotencyConflict(f"the idempotency key was used with another {field}", field=field)
