"""``statements fetch``: asks banks for the statements of a day, and has them imported.

Promises: every account of ours at the bank gets a line; it may be repeated: what was imported before is not imported
again.
"""

from __future__ import annotations

from typing import Any, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import (
    BAD,
    GOOD,
    WARN,
    as_json,
    counted,
    example,
    mark,
    print_json_line,
)
from settlement_engine.cli.statement_outcomes import FINE, outcome_of
from settlement_engine.proto import settlement_pb2 as wire

FETCH_SECONDS: Final = 600.0
_PREFIX: Final = "FETCH_OUTCOME_"


@lasting
@click.command()
@click.option("--bank", default="", help="Only of our accounts at this bank.")
@click.option(
    "--date", "day", default="", metavar="YYYY-MM-DD", help="The day. Default: yesterday, in UTC."
)
@who_option
@engine_options
@as_json
@example("""
settlement-engine statements fetch
settlement-engine statements fetch --bank DEUTDEFF --date 2026-11-27 --json
""")
def fetch(*, bank: str, day: str, who: str | None, address: EngineAddress, is_json: bool) -> int:
    """Ask banks for the statements of a day (camt.060), over the rails that reach them, and import them.

    The exit code is 0 when every account that a rail reaches has a statement that is IMPORTED or ALREADY_IMPORTED,
    and 1 otherwise. With --json each account is one line.
    """
    wanted = wire.FetchStatementsRequest(bank=bank, date=day)
    with reach(address) as engine:
        options = {**acting(who, address), "timeout": FETCH_SECONDS}
        answer = engine.statements.FetchStatements(wanted, **options)
    lines = [_line(each) for each in answer.accounts]
    problems = 0
    for line in lines:
        problems += line["outcome"] not in {"FETCHED", "NOT_OFFERED"} or not _is_fine(line)
        _tell(line, is_json=is_json)
    if not is_json:
        fetched = sum(line["outcome"] == "FETCHED" for line in lines)
        text = (
            f"{counted(len(lines), 'account')}, {fetched} fetched, {counted(problems, 'problem')}"
        )
        mark(WARN if problems else GOOD, text)
    return ExitCode.FAILED if problems else ExitCode.OK


def _line(found: wire.FetchedAccount) -> dict[str, Any]:
    return {
        "accountId": found.account_id,
        "bank": found.bank,
        "account": found.account_number,
        "currency": found.currency,
        "rail": found.rail or None,
        "outcome": wire.FetchOutcome.Name(found.outcome).removeprefix(_PREFIX),
        "reason": found.reason,
        "statements": [
            {
                "id": each.id,
                "date": each.date,
                "entries": each.entries,
                "outcome": outcome_of(each),
                "reason": each.reason,
            }
            for each in found.statements
        ],
    }


def _is_fine(line: dict[str, Any]) -> bool:
    return all(each["outcome"] in FINE for each in line["statements"])


def _tell(line: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json_line(line)
        return
    named = f"{line['bank']} {line['account']} {line['currency']}"
    if line["outcome"] != "FETCHED":
        mark(WARN, f"{named}: {line['outcome']} {line['reason']}".rstrip())
    for each in line["statements"]:
        sign = GOOD if each["outcome"] in FINE else BAD
        mark(sign, f"{named}: {each['outcome']} {each['id']} {each['date']}".rstrip())
