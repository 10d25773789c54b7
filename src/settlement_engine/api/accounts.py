"""The calls of AccountService, independent of the protocol that carries them.

Promises: an invalid request is rejected before the store is called, and names every faulty field; a change
to an account runs to its end even if the caller has disconnected. It must never compute a balance itself.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.api import grammar
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp, unix_seconds
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.card_numbers import has_card_number
from settlement_engine.domain.ledger import GUARDED, AccountKind
from settlement_engine.domain.money import format_amount
from settlement_engine.errors import InvalidInstruction, NotFound
from settlement_engine.ports import AccountFilter, AccountSpec, Funding, TransferFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.ledger import Account, Transfer
    from settlement_engine.ports import AccountStore

REFERENCE_CHARACTERS_MAX: Final = 140

KINDS: Final[Mapping[int, AccountKind]] = MappingProxyType(
    {
        pb.NOSTRO: AccountKind.NOSTRO,
        pb.VOSTRO: AccountKind.VOSTRO,
        pb.SETTLEMENT: AccountKind.SETTLEMENT,
        pb.CLEARING: AccountKind.CLEARING,
        pb.SUSPENSE: AccountKind.SUSPENSE,
        pb.FEES: AccountKind.FEES,
        pb.FX: AccountKind.FX,
    }
)
OF_RAILS: Final = frozenset({AccountKind.SETTLEMENT, AccountKind.SUSPENSE})
"""The accounts whose owner is a rail: all others belong to a bank."""

NUMBERS: Final = {kind: pb.AccountKind.ValueType(number) for number, kind in KINDS.items()}


log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class AccountCalls:
    """Serves the calls."""

    def __init__(
        self,
        accounts: AccountStore,
        undisturbed: Undisturbed,
        *,
        needs_listed_banks: bool = False,
    ) -> None:
        self._accounts = accounts
        self._undisturbed = undisturbed
        self._needs_listed_banks = needs_listed_banks

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "OpenAccount": Unary(pb.OpenAccountRequest, self.open),
            "FundAccount": Unary(pb.FundAccountRequest, self.fund),
            "ListAccounts": Unary(pb.ListAccountsRequest, self.list_accounts),
            "GetAccount": Unary(pb.GetAccountRequest, self.get),
            "SetAccountActive": Unary(pb.SetAccountActiveRequest, self.set_active),
            "ListTransfers": Unary(pb.ListTransfersRequest, self.list_transfers),
        }

    async def open(self, request: pb.OpenAccountRequest, call: Call) -> pb.Account:
        """Open an account. The same idempotency key opens only one."""
        found: grammar.Found = []
        kind = KINDS.get(request.kind)
        if kind is None:
            found.append(("kind", f"must be one of {', '.join(kind.name for kind in AccountKind)}"))
        grammar.check_bank("bank", request.bank, found)
        credit_limit = 0
        if grammar.check_currency(request.currency, found):
            credit_limit = grammar.check_limit(request.credit_limit, request.currency, found)
        if credit_limit and kind not in GUARDED:
            found.append(("credit_limit", "only nostro and vostro accounts have one"))
        grammar.check_account_number(request.account_number, found)
        key = grammar.check_key(request.idempotency_key, call.idempotency_key, found)
        if found or kind is None:
            raise InvalidInstruction(found)
        spec = AccountSpec(
            kind=kind,
            bank=request.bank,
            currency=request.currency,
            account_number=request.account_number,
            credit_limit=credit_limit,
            caller=call.caller,
            idempotency_key=key,
            needs_listed_bank=self._needs_listed_banks and kind not in OF_RAILS,
        )
        account = await self._undisturbed.run(self._accounts.open_account(spec))
        answer = to_account(account)
        if has_card_number(request.account_number):
            log.warning("account.number_looks_like_a_card_number", account_id=account.id)
            answer.warnings.append(
                "account_number looks like a card number; if it is one, close it"
            )
        return answer

    async def fund(self, request: pb.FundAccountRequest, call: Call) -> pb.Account:
        """Post an incoming payment of a bank to its account. The same idempotency key posts only once."""
        found: grammar.Found = []
        grammar.check_bank("bank", request.bank, found)
        amount = grammar.check_money(request.amount, request.currency, found)
        grammar.check_words("reference", request.reference, REFERENCE_CHARACTERS_MAX, found)
        grammar.check_account_number(request.account_number, found)
        key = grammar.check_key(request.idempotency_key, call.idempotency_key, found)
        if found or amount is None:
            raise InvalidInstruction(found)
        funding = Funding(
            bank=request.bank,
            amount=amount,
            reference=request.reference,
            account_number=request.account_number,
            caller=call.caller,
            idempotency_key=key,
        )
        return to_account(await self._undisturbed.run(self._accounts.fund(funding)))

    async def list_accounts(
        self, request: pb.ListAccountsRequest, call: Call
    ) -> pb.ListAccountsResponse:
        """List accounts, oldest first."""
        del call
        found: grammar.Found = []
        kind = KINDS.get(request.kind)
        if kind is None and request.kind != pb.ACCOUNT_KIND_UNSPECIFIED:
            found.append(("kind", "is a number that is no kind"))
        grammar.check_filter(request.bank, request.currency, found)
        filters = (request.kind, request.bank, request.currency)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        after_id = grammar.check_account_id("page_token", position, found) if position else 0
        grammar.refuse(found)
        wanted = AccountFilter(
            kind=kind,
            bank=request.bank,
            currency=request.currency,
            limit=size + 1,
            after_id=after_id,
        )
        accounts = await self._accounts.accounts(wanted)
        page = accounts[:size]
        has_more = len(accounts) > size
        return pb.ListAccountsResponse(
            accounts=await in_parts(page, to_account),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get(self, request: pb.GetAccountRequest, call: Call) -> pb.Account:
        """Return one account."""
        del call
        found: grammar.Found = []
        account_id = grammar.check_account_id("id", request.id, found)
        grammar.refuse(found)
        account = await self._accounts.account(account_id)
        if account is None:
            raise NotFound(f"there is no account {account_id}", listed_by="accounts list")
        return to_account(account)

    async def set_active(self, request: pb.SetAccountActiveRequest, call: Call) -> pb.Account:
        """Switch an account on or off."""
        del call
        found: grammar.Found = []
        account_id = grammar.check_account_id("id", request.id, found)
        grammar.refuse(found)
        switching = self._accounts.set_active(account_id, is_active=request.is_active)
        return to_account(await self._undisturbed.run(switching))

    async def list_transfers(
        self, request: pb.ListTransfersRequest, call: Call
    ) -> pb.ListTransfersResponse:
        """List transfers, newest first."""
        del call
        found: grammar.Found = []
        account_id = group_id = None
        if request.account_id:
            account_id = grammar.check_account_id("account_id", request.account_id, found)
        if request.settlement_id:
            group_id = grammar.check_uuid("settlement_id", request.settlement_id, found)
        filters = (request.account_id, request.settlement_id)
        size = grammar.check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before = _read_position(position, found) if position else None
        grammar.refuse(found)
        wanted = TransferFilter(
            account_id=account_id, group_id=group_id, limit=size + 1, before=before
        )
        transfers = await self._accounts.transfers(wanted)
        page = transfers[:size]
        last = _position(page[-1]) if len(transfers) > size else ""
        return pb.ListTransfersResponse(
            transfers=await in_parts(page, to_transfer),
            next_page_token=make_token(filters, last) if last else "",
        )


def _position(transfer: Transfer) -> str:
    """Encode a transfer as the position after which a list continues: ``group/posting/leg``."""
    return f"{transfer.group_id}/{transfer.posting}/{int(transfer.leg)}"


def _read_position(text: str, found: grammar.Found) -> tuple[UUID, int, int] | None:
    """Decode a position: group id, posting number, leg. Returns None, with the fault noted, if invalid."""
    group, _, rest = text.partition("/")
    posting, _, leg = rest.partition("/")
    group_id = grammar.check_uuid("page_token", group, found)
    numbers = [grammar.check_account_id("page_token", each, found) for each in (posting, leg)]
    return (group_id, numbers[0], numbers[1]) if group_id else None


def to_account(account: Account) -> pb.Account:
    """Convert an account to its message."""
    currency = account.currency
    return pb.Account(
        id=str(account.id),
        kind=NUMBERS[account.kind],
        bank=account.bank,
        currency=currency,
        account_number=account.account_number,
        posted=format_amount(account.posted, currency),
        held=format_amount(account.held, currency),
        available=format_amount(account.available, currency),
        credit_limit=format_amount(account.credit_limit, currency),
        is_active=account.is_active,
        replayed=account.is_replay,
        last_reconciled=account.last_reconciled.isoformat() if account.last_reconciled else "",
    )


def to_transfer(transfer: Transfer) -> pb.Transfer:
    """Convert a transfer to its message."""
    answer = pb.Transfer(
        group_id=str(transfer.group_id),
        leg=pb.TransferLeg.ValueType(int(transfer.leg)),
        debit_account_id=str(transfer.debit_id),
        credit_account_id=str(transfer.credit_id),
        amount=format_amount(transfer.amount_minor, transfer.currency),
        currency=transfer.currency,
        reference=transfer.reference,
        posting=transfer.posting,
    )
    if transfer.at is not None:
        answer.created_at = unix_seconds(transfer.at)
        answer.created_time.CopyFrom(timestamp(transfer.at))
    return answer
