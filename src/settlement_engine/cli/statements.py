"""``statements``: import, list, show and export the account statements of banks.

Promises: every file gets at least one line with an outcome; a file that cannot be read does not stop the others.
An import that was cut off may be repeated: what was imported before is not imported again.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.files import write_new
from settlement_engine.cli.issued_statements import issue, issued
from settlement_engine.cli.message import shipped_name
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import (
    BAD,
    GOOD,
    WARN,
    as_json,
    counted,
    example,
    mark,
    print_json,
    print_json_line,
    progress,
    say,
    table,
)
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.cli.statement_decisions import COMMANDS as DECISIONS
from settlement_engine.cli.statement_decisions import set_aside_in_words
from settlement_engine.cli.statement_fetch import fetch
from settlement_engine.cli.statement_outcomes import FINE, LOST, outcome_of
from settlement_engine.cli.statement_pages import WaitingPages
from settlement_engine.cli.statement_problems import (
    place_in_words,
    present_problems,
    problem_as_dict,
    say_problems,
)
from settlement_engine.errors import Misconfigured
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.cli.connection import EngineClient

FILES_MAX: Final = 100_000
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
PART_BYTES: Final = 32 * 1024
"""The bytes of one part: less than any limit of an engine on the size of a message."""

IMPORT_SECONDS: Final = 600.0
NAME_CHARACTERS_MAX: Final = 255

COLUMNS: Final = ("NO.", "OUTCOME", "ACCOUNT", "ID", "DATE", "ENTRIES", "OPENING", "CLOSING", "")


@lasting
@click.group()
def statements() -> None:
    """Import, list, show and export account statements of banks, and issue statements to them."""


statements.add_command(issue)
statements.add_command(issued)
for _command in DECISIONS:
    statements.add_command(_command)


@lasting
@statements.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--csv-mapping",
    metavar="FILE|NAME",
    help="Read the files as CSV with this mapping: a TOML file, or a built-in name.",
)
@who_option
@engine_options
@as_json
@example("""
settlement-engine statements import camt.053.xml
settlement-engine statements import statements/ --json
settlement-engine statements import bookings.csv --csv-mapping signed_amount
""")
def import_(
    *,
    paths: tuple[Path, ...],
    csv_mapping: str | None,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
) -> int:
    """Import files of statements, or the files in directories: camt, MT, or CSV with a mapping.

    Each statement gets an outcome. The exit code is 0 when every outcome is IMPORTED or ALREADY_IMPORTED, and 1
    otherwise; a page that was INCOMPLETE and that a later one of the same call has completed is no problem.
    `statements list --problems` shows what is left to do. With --json each statement is one line.
    """
    files = _files(paths)
    mapping = _mapping(csv_mapping)
    problems = 0
    total = 0
    waiting = WaitingPages()
    with reach(address) as engine, progress() as bar:
        task = bar.add_task("importing", total=len(files), note="")
        for file in files:
            for found in _import(engine, file, mapping, acting(who, address)):
                total += 1
                problems += outcome_of(found) not in FINE
                waiting.note(found)
                _tell(_line(str(file), found), is_json=is_json)
            bar.update(task, advance=1, note=f"{counted(total, 'statement')}")
        completed = waiting.completed(engine)
        problems -= completed
    if not is_json:
        text = f"{counted(len(files), 'file')}, {counted(total, 'statement')}"
        if completed:
            text += f", {counted(completed, 'page')} completed by later ones"
        mark(WARN if problems else GOOD, f"{text}, {counted(problems, 'problem')}")
    return ExitCode.FAILED if problems else ExitCode.OK


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """List the files in the order in which they are given; those of a directory by name."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            message = f"{path} does not exist"
            raise click.UsageError(message)
        inside = (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else (path,)
        room = FILES_MAX - len(found)
        listed = list(itertools.islice(inside, room + 1))
        if len(listed) > room:
            message = f"there are more than {FILES_MAX:,} files: import them in parts"
            raise click.UsageError(message)
        found += sorted(listed)
    if not found:
        message = "the directory has no files"
        raise click.UsageError(message)
    return list(dict.fromkeys(found))


def _mapping(named: str | None) -> str:
    if named is None:
        return ""
    file = Path(named)
    if not file.is_file():
        return shipped_name(named)
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"the mapping {file} cannot be read"
        raise Misconfigured(what, why=str(error), todo="Give a TOML file in UTF-8.") from None


def _import(
    engine: EngineClient, file: Path, mapping: str, call: dict[str, Any]
) -> Iterator[wire.Statement]:
    """Import one file, and yield what became of each statement."""
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= FILE_BYTES_MAX else b""
    except OSError as error:
        yield _unreadable(f"the file cannot be opened: {error.strerror}")
        return
    if size > FILE_BYTES_MAX:
        yield _unreadable(f"has {size:,} bytes, and {FILE_BYTES_MAX:,} is the most")
        return
    options = {**call, "timeout": IMPORT_SECONDS}
    answer = engine.statements.ImportStatement(parts_of(file.name, content, mapping), **options)
    yield from answer.statements


def parts_of(name: str, content: bytes, mapping: str = "") -> Iterator[wire.ImportStatementRequest]:
    """Yield a file of statements in the parts in which it is sent."""
    yield wire.ImportStatementRequest(
        file_name=name[:NAME_CHARACTERS_MAX],
        csv_mapping=mapping,
        content=content[:PART_BYTES],
    )
    for start in range(PART_BYTES, len(content), PART_BYTES):
        yield wire.ImportStatementRequest(content=content[start : start + PART_BYTES])


def _unreadable(reason: str) -> wire.Statement:
    return wire.Statement(outcome=wire.STATEMENT_OUTCOME_UNREADABLE, reason=reason)


def _line(file: str, found: wire.Statement) -> dict[str, Any]:
    return {
        "file": file,
        "account": found.account,
        "id": found.id,
        "date": found.date or None,
        "entries": found.entries,
        "opening": found.opening or None,
        "closing": found.closing or None,
        "outcome": outcome_of(found),
        "reason": found.reason,
    }


def _tell(found: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_json_line(found)
        return
    outcome = found["outcome"]
    sign = GOOD if outcome in FINE else BAD if outcome in LOST else WARN
    named = " ".join(filter(None, (found["account"], found["id"], found["date"])))
    mark(sign, f"{found['file']}: {outcome} {named}".rstrip())
    if outcome not in FINE:
        say(f"  {found['reason']}")


statements.add_command(fetch)


@lasting
@statements.command("list")
@click.option("--problems", is_flag=True, help="Only what is not simply imported.")
@click.option("--account", "account_id", default="", help="Only of this account: our id of it.")
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine statements list
settlement-engine statements list --problems --json
""")
def list_(
    *, problems: bool, account_id: str, limit: int, address: EngineAddress, is_json: bool
) -> None:
    """List statements with the outcomes of their imports, the latest first.

    With --problems also what is wrong at present with each account's statements: late ones, gaps that are still open,
    missing pages, versions that contradict each other.
    """
    wanted = wire.ListStatementsRequest(only_problems=problems, account_id=account_id)
    with reach(address) as engine:
        listed = read_pages(engine.statements.ListStatements, wanted, limit, "statements")
        present = present_problems(engine, account_id, limit) if problems else []
    if is_json:
        many = [_as_dict(each) for each in listed.items]
        more = {"problems": [problem_as_dict(each) for each in present]} if problems else {}
        print_json({"statements": many, **more, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=("NO.", "OPENING", "CLOSING"))
    say_how_much(listed)
    if problems:
        say_problems(present)


def _as_dict(found: wire.Statement) -> dict[str, Any]:
    return {**as_dict(found), "outcome": outcome_of(found)}


def _row(found: wire.Statement) -> tuple[str, ...]:
    return (
        str(found.number),
        outcome_of(found),
        found.account or found.file_name,
        found.id,
        found.date,
        str(found.entries),
        found.opening,
        found.closing,
        f"{found.currency} set aside" if found.is_set_aside else found.currency,
    )


@lasting
@statements.command()
@click.argument("number", type=click.IntRange(min=1))
@limit_option()
@engine_options
@as_json
@example("""
settlement-engine statements show 12
settlement-engine statements show 12 --limit 10000 --json
""")
def show(*, number: int, limit: int, address: EngineAddress, is_json: bool) -> None:
    """Show a statement with its entries. NUMBER is ours, as `statements list` has it."""
    wanted = wire.GetStatementRequest(number=number)
    with reach(address) as engine:
        listed = read_pages(engine.statements.GetStatement, wanted, limit, "entries")
        answer = _answer(engine, number)
        aside = set_aside_in_words(engine, answer.statement)
    found = answer.statement
    if is_json:
        entries = [as_dict(each) for each in listed.items]
        place = as_dict(answer.place) if answer.HasField("place") else None
        more = {"place": place, "entryList": entries, "hasMore": listed.has_more}
        print_json({**_as_dict(found), **more})
        return
    present = [("set aside", aside), ("place", place_in_words(answer))]
    for title, text in [*_facts(found), *present]:
        if text:
            say(f"  {title:<9} {text}")
    columns = ("NO.", "BOOKED", "VALUE", "AMOUNT", "STATUS", "REFERENCE", "TEXT")
    table(columns, [_entry_row(each) for each in listed.items], right=("NO.", "AMOUNT"))
    say_how_much(listed, "no entries")


def _answer(engine: EngineClient, number: int) -> wire.GetStatementResponse:
    wanted = wire.GetStatementRequest(number=number, page_size=1)
    return engine.statements.GetStatement(wanted, timeout=CALL_SECONDS)


def _facts(found: wire.Statement) -> list[tuple[str, str]]:
    numbers = (f"number {found.sequence}" if found.HasField("sequence") else "",)
    page = (f"page {found.page}" if found.HasField("page") else "",)
    balances = f"opening {found.opening or 'none'}, closing {found.closing or 'none'}"
    return [
        ("statement", " ".join(filter(None, (found.source, found.id, *numbers, *page)))),
        ("account", " ".join(filter(None, (found.account, found.currency, found.servicer)))),
        ("ours", f"account {found.account_id}" if found.account_id else "no account of ours"),
        ("days", " to ".join(dict.fromkeys(filter(None, (found.begin_date, found.date))))),
        ("balances", balances),
        ("outcome", f"{outcome_of(found)}: {found.reason}"),
        ("file", f"{found.file_name}, {found.place}"),
        ("SHA-256", found.file_sha256),
        ("imported", f"by {found.imported_by} at {day_and_time(found.imported_time)}"),
    ]


def _entry_row(entry: wire.StatementEntry) -> tuple[str, ...]:
    said = entry.references
    reference = said.end_to_end_id or said.customer or said.servicer or said.entry
    text = entry.text + (" (details differ)" if entry.details_differ else "")
    return (
        str(entry.number),
        entry.booking_date,
        entry.value_date,
        entry.amount,
        entry.status,
        reference,
        " ".join(text.split()),
    )


@lasting
@statements.command()
@click.argument("number", type=click.IntRange(min=1))
@click.option(
    "--out",
    "target",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet.",
)
@engine_options
@as_json
@example("""
settlement-engine statements export 12 --out statement.xml
""")
def export(*, number: int, target: Path, address: EngineAddress, is_json: bool) -> None:
    """Write the file that a statement came in, byte for byte. NUMBER is ours."""
    with reach(address) as engine:
        found = _answer(engine, number).statement
        content = _read_file(engine, found.file_sha256)
    write_new(target, (content,))
    if is_json:
        print_json({"file": str(target), "bytes": len(content), "sha256": found.file_sha256})
        return
    mark(GOOD, f"{target}: {len(content):,} bytes, SHA-256 {found.file_sha256}")


def _read_file(engine: EngineClient, sha256: str) -> bytes:
    """Read a file part by part, and compare its hash."""
    import hashlib

    content = bytearray()
    while True:
        wanted = wire.GetStatementFileRequest(sha256=sha256, offset=len(content))
        part = engine.statements.GetStatementFile(wanted, timeout=CALL_SECONDS)
        content += part.content
        if not part.content or len(content) >= part.file_bytes:
            break
    assert hashlib.sha256(content).hexdigest() == sha256, "the file is not the one that was kept"
    return bytes(content)
