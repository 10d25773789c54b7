"""Accounts, fundings and windows in memory (``ports.AccountStore``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import NOT_IN_DIRECTORY
from settlement_engine.domain.identifiers import key_hash
from settlement_engine.domain.ledger import Account, AccountKind, full, fund
from settlement_engine.domain.money import fault_of_currency_today, format_amount
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import AccountFilter
from settlement_engine.store.accounts import (
    CONTROL_NUMBER,
    key_of_opening,
    key_taken,
    number_as_received,
    number_of_account,
    number_taken,
)
from settlement_lab.memory.guards import require_balance, require_opening
from settlement_lab.memory.records import AccountCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from settlement_engine.domain.ledger import Transfer
    from settlement_engine.domain.windows import Window
    from settlement_engine.ports import AccountSpec, Funding, Ids, TransferFilter
    from settlement_lab.memory.records import Records


class MemoryAccounts:
    """See ``ports.AccountStore``."""

    def __init__(self, records: Records, ids: Ids) -> None:
        self._records = records
        self._ids = ids

    async def open_account(self, spec: AccountSpec) -> Account:
        """Open an account, or return the one that the same key opened."""
        owner, number = folded_bank(spec.bank), number_of_account(spec)
        content: dict[str, object] = {
            "kind": spec.kind.value,
            "bank": spec.bank,
            "currency": spec.currency,
            "account_number": number_as_received(spec),
            "credit_limit": spec.credit_limit,
        }
        hashed = key_hash(spec.caller, key_of_opening(spec), "open_account")
        if hashed in self._records.calls:
            return self._replay(hashed, content, spec)
        if fault := fault_of_currency_today(spec.currency):
            raise InvalidInstruction([("currency", fault)])
        if spec.needs_listed_bank and not self._records.stands(owner):
            raise InvalidInstruction([("bank", NOT_IN_DIRECTORY)])
        taken = self._records.by_number.get((spec.kind, owner, spec.currency, number))
        if taken is not None:
            raise number_taken(taken)
        opened = self._open(spec.kind, owner, spec.currency, number, spec.credit_limit)
        self._records.calls[hashed] = AccountCall(
            caller=spec.caller,
            key=key_of_opening(spec),
            call="open_account",
            content=content,
            account_id=opened.id,
        )
        return opened

    def _open(
        self, kind: AccountKind, bank: str, currency: str, number: str, credit_limit: int = 0
    ) -> Account:
        account = Account(
            id=len(self._records.accounts) + 1,
            kind=kind,
            bank=bank,
            currency=currency,
            account_number=number,
            credit_limit=credit_limit,
        )
        require_opening(account)
        self._records.accounts[account.id] = account
        self._records.by_number[kind, folded_bank(bank), currency, number] = account.id
        return account

    async def ensure_controls(
        self, wanted: Sequence[tuple[AccountKind, str, str]]
    ) -> list[Account]:
        """Return control accounts of rails and banks, oldest first; missing ones are opened."""
        found = {self.control(*control).id for control in sorted(wanted)}
        return [self._records.accounts[key] for key in sorted(found)]

    def control(
        self, kind: AccountKind, owner: str, currency: str, number: str = CONTROL_NUMBER
    ) -> Account:
        """Return an account of our own; a missing one is opened."""
        known = self._records.by_number.get((kind, folded_bank(owner), currency, number))
        if known is not None:
            return self._records.accounts[known]
        return self._open(kind, owner, currency, number)

    async def fund(self, funding: Funding) -> Account:
        """Post a funding once per key."""
        currency = funding.amount.currency
        nostro = self._nostro(funding)
        group_id = self._ids.new()
        content: dict[str, object] = {
            "bank": funding.bank,
            "currency": currency,
            "amount": format_amount(funding.amount.minor, currency),
            "reference": funding.reference,
            "account_number": funding.account_number,
        }
        key = funding.idempotency_key or str(group_id)
        hashed = key_hash(funding.caller, key, "fund_account")
        clearing = self.control(AccountKind.CLEARING, folded_bank(funding.bank), currency)
        if hashed in self._records.calls:
            return self._replay(hashed, content)
        self.post_outside(
            fund(
                group_id, nostro.id, clearing.id, funding.amount.minor, currency, funding.reference
            )
        )
        self._records.calls[hashed] = AccountCall(
            caller=funding.caller,
            key=key,
            call="fund_account",
            content=content,
            account_id=nostro.id,
        )
        return self._records.accounts[nostro.id]

    def _nostro(self, funding: Funding) -> Account:
        wanted = AccountFilter(
            kind=AccountKind.NOSTRO,
            bank=funding.bank,
            currency=funding.amount.currency,
            account_number=funding.account_number,
            limit=1,
        )
        found = self._list(wanted)
        if not found:
            what = f"there is no nostro account of {funding.bank} in {funding.amount.currency}"
            raise NotFound(what, todo="Open it first: settlement-engine accounts open.")
        return found[0]

    def post_outside(self, transfer: Transfer) -> None:
        """Write one transfer and the two balances that it changes, or nothing."""
        known = self._records.accounts
        debited, credited = known[transfer.debit_id], known[transfer.credit_id]
        if debited.is_full or credited.is_full:
            raise full(transfer.currency)
        debited = replace(debited, debits_posted=debited.debits_posted + transfer.amount_minor)
        credited = replace(credited, credits_posted=credited.credits_posted + transfer.amount_minor)
        for account in (debited, credited):
            require_balance(account)
        known.update({debited.id: debited, credited.id: credited})
        made = msgspec.structs.replace(transfer, at=self._records.clock.now())
        self._records.transfers[transfer.group_id, transfer.posting, transfer.leg] = made

    def _replay(
        self, hashed: UUID, content: Mapping[str, object], spec: AccountSpec | None = None
    ) -> Account:
        """Return the account of an earlier call with this key, or raise which field differs."""
        known = self._records.calls[hashed]
        different = next((name for name in content if known.content[name] != content[name]), None)
        if different is not None:
            raise key_taken(different, known.account_id, spec)
        return replace(self._records.accounts[known.account_id], is_replay=True)

    # --- reading --------------------------------------------------------------------------------

    async def accounts(self, wanted: AccountFilter) -> list[Account]:
        """Return accounts, oldest first."""
        return self._list(wanted)

    def _list(self, wanted: AccountFilter) -> list[Account]:
        bank = folded_bank(wanted.bank)
        found = [
            account
            for account in self._records.accounts.values()
            if account.id > wanted.after_id
            and wanted.kind in (None, account.kind)
            and bank in ("", folded_bank(account.bank))
            and wanted.currency in ("", account.currency)
            and wanted.account_number in ("", account.account_number)
        ]
        return found[: wanted.limit]

    async def accounts_of(self, wanted: Sequence[tuple[AccountKind, str]]) -> list[Account]:
        """Return all accounts of these kinds and banks, oldest first."""
        sides = {(kind, folded_bank(bank)) for kind, bank in wanted}
        return [
            each
            for each in self._records.accounts.values()
            if (each.kind, folded_bank(each.bank)) in sides
        ]

    async def account(self, account_id: int) -> Account | None:
        """Return one account."""
        return self._records.accounts.get(account_id)

    async def set_active(self, account_id: int, *, is_active: bool) -> Account:
        """Activate or deactivate an account."""
        known = self._records.accounts.get(account_id)
        if known is None:
            what = f"there is no account {account_id}"
            raise NotFound(what, listed_by="accounts list")
        self._records.accounts[account_id] = replace(known, is_active=is_active)
        return self._records.accounts[account_id]

    async def transfers(self, wanted: TransferFilter) -> list[Transfer]:
        """Return transfers, newest first."""
        found = [
            transfer
            for place, transfer in self._records.transfers.items()
            if wanted.account_id in (None, transfer.debit_id, transfer.credit_id)
            and wanted.group_id in (None, transfer.group_id)
            and (wanted.before is None or place < wanted.before)
        ]
        found.sort(
            key=lambda transfer: (transfer.group_id, transfer.posting, transfer.leg), reverse=True
        )
        return found[: wanted.limit]

    async def windows(self) -> list[Window]:
        """Return the settlement windows that are in force."""
        return list(self._records.windows)
