"""``reconcile`` and ``reports``: start a reconciliation, and show what runs have found.

Promises: the exit code of ``reconcile`` is 0 only if every account that has statements is balanced. Amounts are
printed as the engine writes them, each with its currency.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import (
    GOOD,
    WARN,
    as_json,
    busy,
    counted,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.errors import Misconfigured
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TextIO

RECONCILE_SECONDS: Final = 3_600.0
"""How long `reconcile` waits: a day of a million entries takes minutes."""

PREFIX: Final = "RECONCILIATION_STATUS_"
OURS: Final = ("ACCOUNT", "BANK", "DAY", "OURS", "THEIRS", "DIFFERENCE", "", "STATUS", "BREAKS")
AMOUNTS: Final = ("OURS", "THEIRS", "DIFFERENCE", "BREAKS")
RUNS: Final = ("REPORT", "STARTED", "FOR", "DAY", "CURRENCY", "ACCOUNTS", "BALANCED", "DIFFERENCE")
EXPORTED: Final = (
    *("report_id", "account_id", "bank", "currency", "business_date", "internal_balance"),
    *("external_balance", "discrepancy", "status", "reason", "open_breaks", "is_zero"),
    *("closed_differences", "closed_amount", "kind"),
)

account_option = click.option(
    "--account", "account_id", default="", metavar="ID", help="Only this account: our id of it."
)
date_option = click.option(
    "--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="The booking day, as YYYY-MM-DD."
)


def day_text(day: datetime | None) -> str:
    """Write the day of an option; empty without one."""
    return "" if day is None else day.date().isoformat()


@lasting
@click.command()
@account_option
@click.option("--bank", default="", help="Only accounts at this bank.")
@click.option("--currency", default="", help="Only accounts in this currency.")
@date_option
@who_option
@engine_options
@as_json
@example("""
settlement-engine reconcile
settlement-engine reconcile --account 12 --date 2026-01-31 --json
""")
def reconcile(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    account_id: str,
    bank: str,
    currency: str,
    day: datetime | None,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Match what is new or open, and prove each account; exit code 1 if one is not balanced.

    The report is about the day of --date, or the last day of each account's statements. An account without a
    statement is pending, and does not count. Where a bank gives only a balance, the balances are compared: that is no
    proof, and says so.
    """
    wanted = wire.ReconcileRequest(
        bank=bank, currency=currency, business_date=day_text(day), account_id=account_id
    )
    options = {**acting(who, address), "timeout": RECONCILE_SECONDS}
    with reach(address) as engine, busy("reconciling"):
        found = engine.settlements.ReconcileAccounts(wanted, **options)
    _tell(found, is_json=is_json)
    fine = (
        wire.RECONCILIATION_STATUS_BALANCED,
        wire.RECONCILIATION_STATUS_COMPARED,
        wire.RECONCILIATION_STATUS_PENDING,
    )
    is_fine = all(each.status in fine for each in found.accounts)
    return ExitCode.OK if is_fine else ExitCode.FAILED


@lasting
@click.group()
def reports() -> None:
    """Report settlements; list, show and export the reports of reconciliation."""


@lasting
@reports.command("list")
@date_option
@limit_option(20)
@engine_options
@as_json
@example("""
settlement-engine reports list
settlement-engine reports list --date 2026-01-31 --json
""")
def list_(*, day: datetime | None, limit: int, address: EngineAddress, is_json: bool) -> None:
    """List the reports of runs, the latest first; --date is the day on which a run began, in UTC."""
    wanted = wire.ListReportsRequest(date=day_text(day))
    with reach(address) as engine:
        listed = read_pages(engine.reconciliation.ListReports, wanted, limit, "reports")
    if is_json:
        many = [_as_dict(each) for each in listed.items]
        print_json({"reports": many, "hasMore": listed.has_more})
        return
    rows = [row for each in listed.items for row in _run_rows(each)]
    table(RUNS, rows, right=("ACCOUNTS", "BALANCED", "DIFFERENCE"))
    say_how_much(listed)


def _run_rows(report: wire.ReconcileResponse) -> list[tuple[str, ...]]:
    run = (
        report.report_id,
        day_and_time(report.started_time),
        report.started_for,
        report.business_date,
    )
    return [
        (
            *run,
            each.currency,
            str(each.total_accounts),
            str(each.balanced_accounts),
            each.total_discrepancy,
        )
        for each in report.totals
    ] or [(*run, "", "0", "0", "")]


@lasting
@reports.command()
@click.argument("report_id")
@engine_options
@as_json
@example("""
settlement-engine reports show 0198c0de-0000-7000-8000-000000000001
""")
def show(*, report_id: str, address: EngineAddress, is_json: bool) -> None:
    """Show the report of a run: each account with its balances and its status."""
    _tell(_report(address, report_id), is_json=is_json)


@lasting
@reports.command()
@click.argument("report_id")
@click.option(
    "--out",
    "target",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="CSV, or one JSON object on each line.",
)
@engine_options
@as_json
@example("""
settlement-engine reports export 0198c0de-0000-7000-8000-000000000001 --out report.csv
""")
def export(
    *, report_id: str, target: Path, form: str, address: EngineAddress, is_json: bool
) -> None:
    """Write the accounts of a report to a file: CSV, or one JSON object on each line."""
    found = _report(address, report_id)
    rows = [_exported(found, each) for each in found.accounts]
    try:
        with target.open("x", encoding="utf-8", newline="") as opened:
            _write(opened, rows, form)
    except OSError as error:
        what = f"{target} cannot be written"
        todo = "Name a file that does not exist, in a directory that you may write to."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from None
    if is_json:
        print_json({"file": str(target), "accounts": len(rows)})
        return
    mark(GOOD, f"{target}: {counted(len(rows), 'account')}")


def _write(opened: TextIO, rows: list[dict[str, Any]], form: str) -> None:
    if form == "jsonl":
        opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    writer = csv.DictWriter(opened, EXPORTED, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _exported(report: wire.ReconcileResponse, each: wire.AccountReconciliation) -> dict[str, Any]:
    return {
        "report_id": report.report_id,
        "account_id": each.account_id,
        "bank": each.bank,
        "currency": each.currency,
        "business_date": each.proof.booking_date or _compared_on(each),
        "internal_balance": each.internal_balance,
        "external_balance": each.external_balance,
        "discrepancy": each.discrepancy,
        "status": status_name(each.status),
        "reason": each.reason,
        "open_breaks": each.open_breaks,
        "is_zero": each.proof.is_zero,
        "closed_differences": each.closed_differences,
        "closed_amount": each.closed_amount,
        "kind": "balance compared, no proof" if each.HasField("comparison") else "proof",
    }


def _report(address: EngineAddress, report_id: str) -> wire.ReconcileResponse:
    with reach(address) as engine:
        wanted = wire.GetReportRequest(report_id=report_id)
        return engine.reconciliation.GetReport(wanted, timeout=CALL_SECONDS)


def status_name(status: int) -> str:
    """Return the name of an account's status."""
    try:
        name = wire.ReconciliationStatus.Name(status)  # type: ignore[arg-type]
    except ValueError:
        return f"STATUS_{status}"
    return name.removeprefix(PREFIX)


def _as_dict(report: wire.ReconcileResponse) -> dict[str, Any]:
    return as_dict(report)


def _tell(report: wire.ReconcileResponse, *, is_json: bool) -> None:
    if is_json:
        print_json(_as_dict(report))
        return
    table(OURS, [_row(each) for each in report.accounts], right=AMOUNTS)
    for each in report.accounts:
        is_told = each.HasField("comparison")
        if each.reason and (is_told or each.status == wire.RECONCILIATION_STATUS_UNRESOLVED):
            say(f"  account {each.account_id}: {each.reason}")
    sign = WARN if report.discrepancy_accounts else GOOD
    balanced = f"{report.balanced_accounts} of {counted(report.total_accounts, 'account')} balanced"
    mark(sign, f"{balanced}, report {report.report_id}")


def _compared_on(each: wire.AccountReconciliation) -> str:
    """Return the day of a comparison of balances, in UTC; empty without one."""
    if not each.HasField("comparison"):
        return ""
    return each.comparison.as_of_time.ToDatetime().date().isoformat()


def _row(each: wire.AccountReconciliation) -> tuple[str, ...]:
    return (
        each.account_id,
        each.bank,
        each.proof.booking_date or _compared_on(each),
        each.internal_balance,
        each.external_balance,
        each.discrepancy,
        each.currency,
        status_name(each.status),
        str(each.open_breaks),
    )
