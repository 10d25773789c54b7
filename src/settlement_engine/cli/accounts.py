"""``accounts``: open, fund, list, show, activate and deactivate accounts, and list their transfers and balances.

Promises: every call that posts or opens has an idempotency key, so a repeated call never posts twice.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.amounts import AmountCommand
from settlement_engine.cli.balances import balance
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.histories import settlement_id_of
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import GOOD, WARN, as_json, example, mark, print_json, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.identifiers import content_hash
from settlement_engine.domain.money import MoneyError, format_amount, parse_amount
from settlement_engine.errors import Unavailable
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.cli.connection import EngineClient

KEY_DIGITS: Final = 32
KINDS: Final = [name.lower() for name in wire.AccountKind.keys() if name.isupper()][1:]  # noqa: SIM118 -- no dict
OPENED: Final = ["nostro", "vostro"]

_limit = limit_option()
_key = click.option("--idempotency-key", help="A call with the same key is done only once.")


@lasting
@click.group()
def accounts() -> None:
    """Open, fund, list, activate and deactivate accounts."""


accounts.add_command(balance)


@lasting
@accounts.command("open")
@click.argument("kind", type=click.Choice(OPENED, case_sensitive=False))
@click.argument("bank")
@click.argument("currency")
@click.option("--account-number", default="", help="The account number. Default: a generated name.")
@click.option("--credit-limit", default="", help="Credit line (overdraft limit).")
@_key
@engine_options
@as_json
@example("""
settlement-engine accounts open nostro DEUTDEFF EUR
settlement-engine accounts open vostro CHASUS33 USD --credit-limit 5000.00
""")
def open_(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    kind: str,
    bank: str,
    currency: str,
    account_number: str,
    credit_limit: str,
    idempotency_key: str | None,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Open an account. KIND is nostro (our account at BANK) or vostro (BANK's account with us)."""
    request = wire.OpenAccountRequest(
        kind=wire.AccountKind.Value(kind.upper()),
        bank=bank,
        currency=currency,
        account_number=account_number,
        credit_limit=credit_limit,
        idempotency_key=idempotency_key or "",
    )
    with reach(address) as engine:
        account = engine.accounts.OpenAccount(request, timeout=CALL_SECONDS)
    _print_account(account, is_json=is_json)
    for warning in () if is_json else account.warnings:
        mark(WARN, warning)
    if account.replayed and not is_json:
        mark(WARN, "the account was already open; nothing was done")


@lasting
@accounts.command(cls=AmountCommand)
@click.argument("bank")
@click.argument("currency")
@click.argument("amount")
@click.option(
    "--reference",
    default="",
    help="The bank's reference of the payment. Reference, account and amount make the default key.",
)
@click.option("--account-number", default="", help="The nostro account. Default: the oldest one.")
@_key
@engine_options
@as_json
@example("""
settlement-engine accounts fund DEUTDEFF EUR 1000000.00 --reference PAY-IN-7
""")
def fund(  # noqa: PLR0913
    *,
    bank: str,
    currency: str,
    amount: str,
    reference: str,
    account_number: str,
    idempotency_key: str | None,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Record incoming funding on a nostro account: AMOUNT that was paid in on our account at BANK.

    The same reference and amount on the same account is the same payment, and is posted only once.
    """
    reference, key = _named(reference, idempotency_key)
    request = wire.FundAccountRequest(
        bank=bank,
        currency=currency,
        amount=amount,
        reference=reference,
        account_number=account_number,
    )
    try:
        with reach(address) as engine:
            request.idempotency_key = key or _key_of(engine, request)
            account = engine.accounts.FundAccount(request, timeout=CALL_SECONDS)
    except Unavailable as error:
        error.todo = f"{error.todo} Then repeat the command: it is posted only once.".strip()
        raise
    _print_account(account, is_json=is_json)
    if account.replayed and not is_json:
        mark(WARN, "this payment was already posted; nothing was posted again")


def _named(reference: str, key: str | None) -> tuple[str, str]:
    """Return the reference and the key of the payment; ask a person for a reference if both are missing."""
    if not reference.strip() and not key:
        if not sys.stdin.isatty():
            message = "identify the payment: give --reference (the bank's) or --idempotency-key"
            raise click.UsageError(message)
        reference = click.prompt("The bank's reference of this payment", err=True)
    return reference, key or ""


def _key_of(engine: EngineClient, request: wire.FundAccountRequest) -> str:
    """Derive a key from account, reference and amount, so that a repeated command has the same key."""
    number = request.account_number
    if not number:
        wanted = wire.ListAccountsRequest(
            kind=wire.NOSTRO, bank=request.bank, currency=request.currency, page_size=1
        )
        oldest = engine.accounts.ListAccounts(wanted, timeout=CALL_SECONDS).accounts
        number = oldest[0].account_number if oldest else ""
    amount = request.amount
    with suppress(MoneyError):
        money = parse_amount(request.amount, request.currency)
        amount = format_amount(money.minor, money.currency)
    content: dict[str, object] = {
        "bank": folded_bank(request.bank),
        "currency": request.currency,
        "account_number": number,
        "reference": request.reference,
        "amount": amount,
    }
    return f"fund-{content_hash(content).hex()[:KEY_DIGITS]}"


@lasting
@accounts.command("list")
@click.option("--kind", type=click.Choice(KINDS, case_sensitive=False), help="Only this kind.")
@click.option("--bank", default="", help="Only of this bank.")
@click.option("--currency", default="", help="Only in this currency.")
@_limit
@engine_options
@as_json
@example("""
settlement-engine accounts list --kind nostro --currency EUR
settlement-engine accounts list --json
""")
def list_(
    *,
    kind: str | None,
    bank: str,
    currency: str,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """List accounts with their balances, oldest first."""
    wanted = wire.ListAccountsRequest(
        kind=wire.AccountKind.Value(kind.upper()) if kind else wire.ACCOUNT_KIND_UNSPECIFIED,
        bank=bank,
        currency=currency,
    )
    with reach(address) as engine:
        listed = read_pages(engine.accounts.ListAccounts, wanted, limit, "accounts")
    if is_json:
        many = [as_dict(account) for account in listed.items]
        print_json({"accounts": many, "hasMore": listed.has_more})
        return
    _print_accounts(listed.items)
    say_how_much(listed)


@lasting
@accounts.command()
@click.argument("account_id", metavar="ID")
@engine_options
@as_json
@example("settlement-engine accounts show 7")
def show(*, account_id: str, address: EngineAddress, is_json: bool) -> None:
    """Show one account."""
    with reach(address) as engine:
        account = engine.accounts.GetAccount(
            wire.GetAccountRequest(id=account_id), timeout=CALL_SECONDS
        )
    _print_account(account, is_json=is_json)


@lasting
@accounts.command()
@click.argument("account_id", metavar="ID")
@engine_options
@example("settlement-engine accounts activate 7")
def activate(*, account_id: str, address: EngineAddress) -> None:
    """Activate an account: new settlements may use it."""
    _switch(address, account_id, is_active=True)


@lasting
@accounts.command()
@click.argument("account_id", metavar="ID")
@engine_options
@example("settlement-engine accounts deactivate 7")
def deactivate(*, account_id: str, address: EngineAddress) -> None:
    """Deactivate an account: no new settlement may use it; open settlements continue."""
    _switch(address, account_id, is_active=False)


@lasting
@accounts.command()
@click.option("--account", "account_id", default="", metavar="ID", help="Only of this account.")
@click.option(
    "--settlement", default="", metavar="ID", help="Only of this settlement; any of its references."
)
@_limit
@engine_options
@as_json
@example("""
settlement-engine accounts transfers --account 7
settlement-engine accounts transfers --settlement 0199c2d4-6f0e-7c1a-9d51-1f2a33445566 --json
""")
def transfers(
    *, account_id: str, settlement: str, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List transfers, newest first."""
    wanted = wire.ListTransfersRequest(account_id=account_id)
    with reach(address) as engine:
        if settlement:
            wanted.settlement_id = settlement_id_of(engine, settlement)
        listed = read_pages(engine.accounts.ListTransfers, wanted, limit, "transfers")
    if is_json:
        many = [as_dict(transfer) for transfer in listed.items]
        print_json({"transfers": many, "hasMore": listed.has_more})
        return
    columns = ("CREATED", "LEG", "DEBIT", "CREDIT", "AMOUNT", "", "GROUP", "REFERENCE")
    table(columns, [_transfer_row(transfer) for transfer in listed.items], right=("AMOUNT",))
    say_how_much(listed)


def _switch(address: EngineAddress, account_id: str, *, is_active: bool) -> None:
    request = wire.SetAccountActiveRequest(id=account_id, is_active=is_active)
    with reach(address) as engine:
        account = engine.accounts.SetAccountActive(request, timeout=CALL_SECONDS)
    state = "active" if account.is_active else "not active"
    kind = wire.AccountKind.Name(account.kind).lower()
    mark(GOOD, f"{kind} of {account.bank} in {account.currency} is {state}")


def _print_account(account: wire.Account, *, is_json: bool) -> None:
    if is_json:
        print_json(as_dict(account))
    else:
        _print_accounts([account])


def _print_accounts(found: Sequence[wire.Account]) -> None:
    numbers = ("POSTED", "HELD", "AVAILABLE", "LIMIT")
    columns = ("ID", "KIND", "BANK", "", *numbers, "", "NUMBER", "RECONCILED")
    table(columns, [_account_row(account) for account in found], right=numbers)


def _account_row(account: wire.Account) -> tuple[str, ...]:
    return (
        account.id,
        wire.AccountKind.Name(account.kind).lower(),
        account.bank,
        account.currency,
        account.posted,
        account.held,
        account.available,
        account.credit_limit,
        "" if account.is_active else "not active",
        account.account_number,
        account.last_reconciled,
    )


def _transfer_row(transfer: wire.Transfer) -> tuple[str, ...]:
    leg = wire.TransferLeg.Name(transfer.leg).removeprefix("TRANSFER_LEG_").lower()
    return (
        day_and_time(transfer.created_time),
        leg.replace("_", " "),
        transfer.debit_account_id,
        transfer.credit_account_id,
        transfer.amount,
        transfer.currency,
        transfer.group_id,
        transfer.reference,
    )
