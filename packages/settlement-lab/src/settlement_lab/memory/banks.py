"""The bank directory in memory (``ports.BankStore``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.bank_directory import (
    BankChange,
    BankVersion,
    cover_routes,
    our_accounts,
    serial_routes,
)
from settlement_engine.store.banks import require_putting

if TYPE_CHECKING:
    from settlement_engine.ports import BankFilter, BankPut
    from settlement_lab.memory.records import Records


class MemoryBanks:
    """See ``ports.BankStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def put_bank(self, put: BankPut) -> BankVersion:
        """Append a version; see the port."""
        present = self._present().get(put.bank.code)
        if not require_putting(put, present, len(self._present())):
            assert present is not None, "only a present version says the same"
            return present
        added = BankVersion(
            bank=put.bank,
            version=present.version + 1 if present else 1,
            changed_by=put.who,
            changed_at=self._records.clock.now(),
        )
        self._records.bank_versions.append(added)
        return replace(added, is_new=True)

    def _present(self) -> dict[str, BankVersion]:
        return {each.bank.code: each for each in self._records.bank_versions}

    async def bank(self, code: str, version: int = 0) -> BankVersion | None:
        """Return a version of a bank's entry; 0 means the present one."""
        if not version:
            return self._present().get(folded_bank(code))
        for each in self._records.bank_versions:
            if (each.bank.code, each.version) == (folded_bank(code), version):
                return each
        return None

    async def banks(self, wanted: BankFilter) -> list[BankVersion]:
        """Return the present versions, by code."""
        found = [
            each
            for code, each in sorted(self._present().items())
            if code > wanted.after_code
            and (wanted.has_withdrawn or not each.bank.is_withdrawn)
            and wanted.rail in ("", *each.bank.rails)
            and wanted.currency in ("", *(one.currency for one in each.bank.instructions))
        ]
        return found[: wanted.limit]

    async def bank_changes(self, after: int, limit: int) -> list[BankChange]:
        """Return the last change of each bank behind a position, in order."""
        present = self._present()
        changes = [
            BankChange(
                position=position,
                code=each.bank.code,
                rails=frozenset(each.bank.rails),
                is_withdrawn=each.bank.is_withdrawn,
                accounts=our_accounts(each.bank),
                routes=serial_routes(each.bank),
                covers=cover_routes(each.bank),
            )
            for position, each in enumerate(self._records.bank_versions, 1)
            if position > after and present[each.bank.code] is each
        ]
        return changes[:limit]
