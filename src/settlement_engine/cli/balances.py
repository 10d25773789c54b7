"""``accounts balance``: what the balances of accounts were at an instant or at the end of a booking date."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.instants import InstantOrDay
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import WARN, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import limit_option
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.instants import InstantOrDate

PAGE_MAX: Final = 1_000
COLUMNS: Final = ("ID", "KIND", "BANK", "", "POSTED", "DEBITS", "CREDITS", "NUMBER")


@lasting
@click.command()
@click.argument("account_id", metavar="[ACCOUNT]", required=False, default="")
@click.option(
    "--as-of",
    type=InstantOrDay(),
    help="An instant, an age such as 2h, or a booking date: its end. Default: the latest final balance.",
)
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine accounts balance 7 --as-of 2026-01-31
settlement-engine accounts balance --as-of 2026-01-31T12:00+01:00 --json
""")
def balance(
    *,
    account_id: str,
    as_of: InstantOrDate | None,
    limit: int,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Show what the balance of ACCOUNT was at an instant or a booking date; without ACCOUNT those of all accounts.

    The balance is the sum of all transfers before the instant. Holds are not part of it.
    """
    wanted = wire.ListBalancesRequest(account_id=account_id)
    if isinstance(as_of, datetime):
        wanted.as_of_time.FromDatetime(as_of.astimezone(UTC))
    elif as_of:
        wanted.as_of_date = as_of
    found: list[wire.PastBalance] = []
    with reach(address) as engine:
        while True:
            wanted.page_size = min(limit - len(found), PAGE_MAX)
            page = engine.accounts.ListBalances(wanted, timeout=CALL_SECONDS)
            found += page.balances
            wanted.page_token = page.next_page_token
            if not page.next_page_token or len(found) >= limit:
                break
    if is_json:
        head: dict[str, Any] = as_dict(page)
        head["balances"] = [as_dict(each) for each in found]
        head["hasMore"] = bool(head.pop("nextPageToken"))
        print_json(head)
        return
    table(COLUMNS, [_row(each) for each in found], right=("POSTED", "DEBITS", "CREDITS"))
    say(f"before {day_and_time(page.as_of_time)}")
    if page.next_page_token:
        say(f"{len(found):,} shown, and there are more; see more with --limit")
    if not page.is_final:
        mark(WARN, "not final: a booking in progress may still be dated before this time")


def _row(each: wire.PastBalance) -> tuple[str, ...]:
    return (
        each.account_id,
        wire.AccountKind.Name(each.kind).lower(),
        each.bank,
        each.currency,
        each.posted,
        each.debits,
        each.credits,
        each.account_number,
    )
