"""The call of AccountService that reads balances of the past, independent of the protocol that carries it.

Promises: the pages of a list are as of one instant; a balance is called final only if nothing can be booked before
its instant any more. It must never add up transfers itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from settlement_engine.api import grammar
from settlement_engine.api.accounts import KINDS, NUMBERS
from settlement_engine.api.call import Service, Unary
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp, unix_seconds
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.past_balances import booking_day
from settlement_engine.errors import NotFound
from settlement_engine.ports import AccountFilter
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from settlement_engine.api.call import Call
    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.past_balances import PastBalance
    from settlement_engine.ports import AccountStore, PastBalances

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class BalanceCalls:
    """Serves the call."""

    def __init__(self, accounts: AccountStore, past: PastBalances, zone: str) -> None:
        self._accounts = accounts
        self._past = past
        self._zone = ZoneInfo(zone)

    def unary(self) -> Service:
        """Map the name of the call, as in the proto, to its handler."""
        return {"ListBalances": Unary(pb.ListBalancesRequest, self.list_balances)}

    async def list_balances(
        self, request: pb.ListBalancesRequest, call: Call
    ) -> pb.ListBalancesResponse:
        """List the balances of accounts at an instant, oldest account first."""
        del call
        found: grammar.Found = []
        named = self._read_instant(request, found)
        filters = (request.account_id, request.kind, request.bank, request.currency, named)
        size = grammar.check_page_size(request.page_size, found)
        after_id, continued = _read_position(request.page_token, filters, found)
        wanted = _read_filter(request, size + 1, after_id, found)
        only = 0
        if request.account_id:
            only = grammar.check_account_id("account_id", request.account_id, found)
        grammar.refuse(found)
        complete = await self._past.complete_until()
        at = continued or named or complete
        accounts = [await self._account(only)] if only else await self._accounts.accounts(wanted)
        page = accounts[:size]
        balances = await self._past.balances_at([each.id for each in page], at)
        token = ""
        if len(accounts) > size:
            token = make_token(filters, f"{page[-1].id}/{(at - _EPOCH) // _MICROSECOND}")
        return pb.ListBalancesResponse(
            balances=await in_parts(list(zip(page, balances, strict=True)), _to_balance),
            as_of=unix_seconds(at),
            as_of_time=timestamp(at),
            is_final=at <= complete,
            next_page_token=token,
        )

    async def _account(self, account_id: int) -> Account:
        account = await self._accounts.account(account_id)
        if account is None:
            raise NotFound(f"there is no account {account_id}", listed_by="accounts list")
        return account

    def _read_instant(
        self, request: pb.ListBalancesRequest, found: grammar.Found
    ) -> datetime | None:
        """Read the instant that is asked for; None if none is."""
        at = grammar.check_instant("as_of", request.as_of, found)
        if request.HasField("as_of_time"):
            at = grammar.check_timestamp("as_of_time", request.as_of_time, found)
        if not request.as_of_date:
            return at
        if at is not None:
            found.append(("as_of_date", "is given beside an instant: give one of them"))
        day = grammar.check_date("as_of_date", request.as_of_date, found)
        return booking_day(day, self._zone).ends if day is not None else None


def _read_filter(
    request: pb.ListBalancesRequest, limit: int, after_id: int, found: grammar.Found
) -> AccountFilter:
    kind = KINDS.get(request.kind)
    if kind is None and request.kind != pb.ACCOUNT_KIND_UNSPECIFIED:
        found.append(("kind", "is a number that is no kind"))
    grammar.check_filter(request.bank, request.currency, found)
    return AccountFilter(
        kind=kind, bank=request.bank, currency=request.currency, limit=limit, after_id=after_id
    )


def _read_position(
    token: str, filters: tuple[object, ...], found: grammar.Found
) -> tuple[int, datetime | None]:
    """Return the account after which a list continues, and the instant with which it was begun."""
    position = read_token(token, filters, found)
    if not position:
        return 0, None
    after, _, at = position.partition("/")
    numbers = [grammar.check_account_id("page_token", each, found) for each in (after, at)]
    return numbers[0], _EPOCH + numbers[1] * _MICROSECOND


def _to_balance(pair: tuple[Account, PastBalance]) -> pb.PastBalance:
    account, balance = pair
    currency = account.currency
    return pb.PastBalance(
        account_id=str(account.id),
        kind=NUMBERS[account.kind],
        bank=account.bank,
        currency=currency,
        account_number=account.account_number,
        posted=format_amount(balance.posted(account.kind), currency),
        debits=format_amount(balance.debits_posted, currency),
        credits=format_amount(balance.credits_posted, currency),
    )
