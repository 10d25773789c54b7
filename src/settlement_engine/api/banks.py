"""The calls of BankService, independent of the protocol that carries them.

Promises: every change has a named person, and runs to its end even if the caller has disconnected; an invalid
entry is rejected before the store is called, with every faulty field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.api import grammar
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.exceptions import who_acts
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.read_bank import read_bank, to_message
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.bank_checks import warnings_of_bank
from settlement_engine.domain.bank_directory import VERSIONS_MAX
from settlement_engine.errors import NotFound
from settlement_engine.ports import BankFilter, BankPut
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.ports import BankStore

RAIL_CHARACTERS_MAX: Final = 64


class BankCalls:
    """Serves the calls."""

    def __init__(
        self, banks: BankStore, undisturbed: Undisturbed, *, trusts_names: bool = True
    ) -> None:
        self._banks = banks
        self._undisturbed = undisturbed
        self._trusts_names = trusts_names

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "PutBank": Unary(pb.PutBankRequest, self.put),
            "GetBank": Unary(pb.GetBankRequest, self.get),
            "ListBanks": Unary(pb.ListBanksRequest, self.list_banks),
        }

    async def put(self, request: pb.PutBankRequest, call: Call) -> pb.Bank:
        """Write a bank's entry as its next version."""
        who = who_acts(call, trusts_names=self._trusts_names)
        found: grammar.Found = []
        bank = read_bank(request.bank, found)
        _check_version("after_version", request.after_version, found)
        grammar.refuse(found)
        put = BankPut(bank=bank, who=who, after_version=request.after_version)
        written = await self._undisturbed.run(self._banks.put_bank(put))
        answer = to_message(written)
        answer.unchanged = not written.is_new
        answer.warnings.extend(warnings_of_bank(bank))
        return answer

    async def get(self, request: pb.GetBankRequest, call: Call) -> pb.Bank:
        """Return a bank's entry, as it is now or in an earlier version."""
        del call
        found: grammar.Found = []
        grammar.check_bank("code", request.code, found)
        _check_version("version", request.version, found)
        grammar.refuse(found)
        entry = await self._banks.bank(request.code, request.version)
        if entry is None:
            version = f" in version {request.version}" if request.version else ""
            what = f"the bank directory has no {request.code}{version}"
            raise NotFound(what, listed_by="banks list")
        return to_message(entry)

    async def list_banks(self, request: pb.ListBanksRequest, call: Call) -> pb.ListBanksResponse:
        """List the entries as they are now, by code."""
        del call
        found: grammar.Found = []
        grammar.check_filter("", request.currency, found)
        grammar.check_text("rail", request.rail, RAIL_CHARACTERS_MAX, found)
        filters = (request.currency, request.rail, request.include_withdrawn)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        grammar.refuse(found)
        wanted = BankFilter(
            currency=request.currency,
            rail=request.rail,
            has_withdrawn=request.include_withdrawn,
            limit=size + 1,
            after_code=position,
        )
        entries = await self._banks.banks(wanted)
        page = entries[:size]
        has_more = len(entries) > size
        return pb.ListBanksResponse(
            banks=await in_parts(page, to_message),
            next_page_token=make_token(filters, page[-1].bank.code) if has_more else "",
        )


def _check_version(field: str, number: int, found: grammar.Found) -> None:
    if not 0 <= number <= VERSIONS_MAX:
        found.append((field, f"must be 0 to {VERSIONS_MAX}"))
