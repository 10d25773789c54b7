"""The database without an engine: migrated, marked, checked, and proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.bank_directory import our_accounts
from settlement_engine.domain.reconciliation import ACCOUNTS_MAX
from settlement_engine.ports import BankFilter, OpenItemFilter
from settlement_engine.store import environment
from settlement_engine.store.audit import PostgresAuditor
from settlement_engine.store.banks import PostgresBanks
from settlement_engine.store.database import DatabaseSettings, Readers
from settlement_engine.store.migrate import migrate as migrate_database
from settlement_engine.store.reconciliation_reads import PostgresReconciliationReader
from settlement_engine.store.safety import check_safety, require_sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import date

    from settlement_engine.domain.open_items import OpenItem, ProofAsOf
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.ports import Proof

ITEMS_AT_ONCE: Final = 1_000
"""The most open items that one statement reads."""


async def migrate(
    database_url: str, *, dry_run: bool, warn: Callable[[str], None] | None = None
) -> list[str]:
    """Migrate a database to this version; return the migrations that were, or would be, applied.

    ``warn`` receives what a migration has found that a person should know.
    """
    settings = DatabaseSettings(url=database_url)
    await require_sessions(settings)
    return await migrate_database(settings, is_dry_run=dry_run, warn=warn)


async def mark_environment(database_url: str, name: str, *, is_replacing: bool) -> None:
    """Record to which environment a database belongs. Raises Misconfigured if it has another mark."""
    await environment.mark_environment(
        DatabaseSettings(url=database_url), name, is_replacing=is_replacing
    )


async def require_development(database_url: str) -> None:
    """Raise Misconfigured unless ``dev`` may use this database, which a person has named."""
    settings = DatabaseSettings(url=database_url)
    await environment.require_environment(settings, environment.DEV, must_be_marked=True)


async def prove(database_url: str) -> Proof:
    """Recompute all balances from the transfers, and compare them with the ledger."""
    return await PostgresAuditor(DatabaseSettings(url=database_url)).prove()


async def balance_proofs(
    database_url: str, day: date | None, account_id: int | None
) -> list[tuple[int, str, BalanceProof]]:
    """Return the proof of each account for a day, or of its last day, with its currency."""
    readers = Readers(DatabaseSettings(url=database_url, readers_max=1))
    try:
        reader = PostgresReconciliationReader(readers)
        return await reader.proofs(day, account_id, 0, ACCOUNTS_MAX)
    finally:
        await readers.close()


class ProofWithItems(NamedTuple):
    """The proof of an account for a day with the items that were open at its end, as many as were asked for."""

    account_id: int
    as_of: ProofAsOf
    items: tuple[OpenItem, ...]
    has_more: bool


async def proofs_with_items(
    database_url: str, day: date | None, account_id: int | None, limit: int
) -> list[ProofWithItems]:
    """Return the same proofs with their items, ``limit`` of all accounts."""
    readers = Readers(DatabaseSettings(url=database_url, readers_max=1))
    try:
        reader = PostgresReconciliationReader(readers)
        found: list[ProofWithItems] = []
        for owner, _, proof in await reader.proofs(day, account_id, 0, ACCOUNTS_MAX):
            left = limit - sum(len(each.items) for each in found)
            found.append(await _with_items(reader, owner, proof.booking_date, left))
        return found
    finally:
        await readers.close()


async def _with_items(
    reader: PostgresReconciliationReader, account_id: int, day: date, limit: int
) -> ProofWithItems:
    as_of = await reader.proof_as_of(account_id, day)
    assert as_of is not None, "a proof is never deleted"
    items: list[OpenItem] = []
    while len(items) <= limit:
        wanted = OpenItemFilter(
            account_id=account_id,
            day=day,
            begins=as_of.begins,
            limit=min(ITEMS_AT_ONCE, limit + 1 - len(items)),
            after=items[-1].place if items else None,
        )
        page = await reader.open_items(wanted)
        items += page
        if len(page) < wanted.limit:
            break
    return ProofWithItems(account_id, as_of, tuple(items[:limit]), len(items) > limit)


async def has_listed_banks(url: str) -> bool:
    """Say whether a bank stands in the bank directory. Raises Unavailable, and Broken without its tables."""
    settings = DatabaseSettings(url=url, readers_max=1)
    readers = Readers(settings)
    banks = PostgresBanks(settings, readers)
    try:
        return bool(await banks.banks(BankFilter(limit=1)))
    finally:
        await banks.close()
        await readers.close()


async def differing_accounts(
    url: str, configured: Mapping[str, tuple[str, Collection[str], str]]
) -> list[str]:
    """List where the bank directory has another account of ours with a bank than the configuration.

    ``configured`` has, by key, the account, its currencies (none: all), and the bank. The configured one is used.
    Raises Unavailable, and Broken without its tables.
    """
    readers = Readers(DatabaseSettings(url=url, readers_max=1))
    banks = PostgresBanks(DatabaseSettings(url=url, readers_max=1), readers)
    try:
        found = []
        for key, (number, currencies, bank) in configured.items():
            listed = await banks.bank(bank)
            accounts = our_accounts(listed.bank) if listed is not None else {}
            found += [
                f"{key}: our account with {bank} in {currency} is {account} in the bank directory"
                for currency, account in sorted(accounts.items())
                if account != number and (not currencies or currency in currencies)
            ]
        return found
    finally:
        await banks.close()
        await readers.close()


async def check_database(url: str) -> list[str]:
    """List what makes a database unusable; an empty list means that it is usable."""
    settings = DatabaseSettings(url=url)
    await require_sessions(settings)
    return await check_safety(settings)
