"""``statements issue`` and ``statements issued``: statements for the banks that have accounts here.

Promises: a file is written whole or not at all, and is compared with the hash under which the engine keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.files import write_new
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import GOOD, WARN, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

ISSUE_SECONDS: Final = 120.0
FORMATS: Final = {
    "camt053": wire.ISSUED_FORMAT_CAMT053,
    "mt950": wire.ISSUED_FORMAT_MT950,
}
COLUMNS: Final = (
    "ACCOUNT",
    "NO.",
    "DATE",
    "OPENING",
    "CREDITS",
    "DEBITS",
    "CLOSING",
    "",
    "ENTRIES",
    "ISSUED",
    "BY",
)
NUMERIC: Final = ("NO.", "OPENING", "CREDITS", "DEBITS", "CLOSING", "ENTRIES")


@lasting
@click.command()
@click.option("--account", "account_id", required=True, metavar="ID", help="The vostro account.")
@click.option("--date", "day", required=True, metavar="DATE", help="The booking date, 2026-01-31.")
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(FORMATS), case_sensitive=False),
    default="camt053",
    show_default=True,
    help="The format of the file.",
)
@click.option(
    "--out",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet.",
)
@who_option
@engine_options
@as_json
@example("""
settlement-engine statements issue --account 7 --date 2026-01-31 --out 7-2026-01-31.xml
settlement-engine statements issue --account 7 --date 2026-01-31 --format mt950 --out 7.sta
""")
def issue(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    account_id: str,
    day: str,
    form: str,
    target: Path | None,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Issue the statement of a vostro account for a booking date that is over.

    It has the account's next number. The same command again gives the same statement, byte for byte.
    """
    wanted = wire.IssueStatementRequest(account_id=account_id, date=day, format=FORMATS[form])
    options = {**acting(who, address), "timeout": ISSUE_SECONDS}
    with reach(address) as engine:
        issued = engine.statements.IssueStatement(wanted, **options)
        if target is not None:
            write_new(target, (_read(engine, issued, FORMATS[form]),))
    if is_json:
        print_json({**as_dict(issued), "file": str(target) if target is not None else None})
        return
    table(COLUMNS, [_row(issued)], right=NUMERIC)
    [file] = [each for each in issued.files if each.format == FORMATS[form]]
    if issued.replayed:
        mark(WARN, "it had been issued before; nothing was issued again")
    if target is None:
        say(f"{file.file_bytes:,} bytes, SHA-256 {file.sha256}; write them with --out FILE")
    else:
        mark(GOOD, f"{target}: {file.file_bytes:,} bytes, SHA-256 {file.sha256}")


def _read(
    engine: EngineClient, issued: wire.IssuedStatement, form: wire.IssuedFormat.ValueType
) -> bytes:
    """Read the bytes part by part, and compare their hash."""
    import hashlib

    content = bytearray()
    while True:
        wanted = wire.GetIssuedStatementFileRequest(
            account_id=issued.account_id, number=issued.number, format=form, offset=len(content)
        )
        part = engine.statements.GetIssuedStatementFile(wanted, timeout=CALL_SECONDS)
        content += part.content
        if not part.content or len(content) >= part.file_bytes:
            break
    same = hashlib.sha256(content).hexdigest() == part.sha256
    assert same, "the bytes are not those that were issued"
    return bytes(content)


@lasting
@click.command()
@click.option("--account", "account_id", default="", metavar="ID", help="Only of this account.")
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine statements issued --account 7
settlement-engine statements issued --json
""")
def issued(*, account_id: str, limit: int, address: EngineAddress, is_json: bool) -> None:
    """List the statements that were issued, the latest first."""
    wanted = wire.ListIssuedStatementsRequest(account_id=account_id)
    with reach(address) as engine:
        listed = read_pages(engine.statements.ListIssuedStatements, wanted, limit, "statements")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"statements": many, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=NUMERIC)
    say_how_much(listed, "nothing was issued")


def _row(each: wire.IssuedStatement) -> tuple[str, ...]:
    return (
        each.account_id,
        str(each.number),
        each.date,
        each.opening,
        each.credits,
        each.debits,
        each.closing,
        each.currency,
        str(each.entries),
        day_and_time(each.issued_time),
        each.issued_by,
    )
