"""``message check``: reads a message or statement file of a bank, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN, as_json, example, mark, print_json, say

if TYPE_CHECKING:
    from settlement_engine.messages.csv_mapping import Mapping
    from settlement_engine.messages.errors import MessageError
    from settlement_engine.messages.recognition import Recognised


@lasting
@click.group()
def message() -> None:
    """Check message and statement files of banks."""


@lasting
@message.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--xsd-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also validate against the schemas in this directory, for example pacs.008.001.08.xsd.",
)
@click.option(
    "--csv-mapping",
    metavar="FILE|NAME",
    help="Read a CSV file of bookings with this mapping: a TOML file, or a built-in name.",
)
@as_json
@example("""
settlement-engine message check pacs.002.xml
settlement-engine message check statement.sta
settlement-engine message check bookings.csv --csv-mapping signed_amount
settlement-engine message check pacs.002.xml --json
""")
def check(*, file: Path, xsd_dir: Path | None, csv_mapping: str | None, is_json: bool) -> int:
    """Read a file, and print its kind and its content, or the place where it cannot be read.

    A file of statements may be as large as those that `statements import` takes.
    """
    from settlement_engine.messages.errors import MessageError
    from settlement_engine.messages.recognition import read_statement_file, recognised
    from settlement_engine.messages.xml import MESSAGE_BYTES_MAX

    try:
        data = _bytes_of(file, is_statement=csv_mapping is not None)
        if csv_mapping is not None:
            found = read_statement_file(data, _mapping_of(csv_mapping))
        elif len(data) > MESSAGE_BYTES_MAX:
            found = read_statement_file(data)
        else:
            found = recognised(data)
        if xsd_dir is not None:
            _validate(data, xsd_dir)
    except MessageError as error:
        return _tell_fault(file, error, is_json=is_json)
    _tell(file, found, is_json=is_json)
    return ExitCode.FAILED if found.unread else ExitCode.OK


def _mapping_of(named: str) -> Mapping:
    from settlement_engine.messages.csv_mapping import read_mapping, shipped_mapping

    file = Path(named)
    if file.exists():
        return read_mapping(_bytes_of(file))
    return shipped_mapping(shipped_name(named))


def shipped_name(named: str) -> str:
    """Return the name of a mapping that comes with the engine. Raises UsageError for any other."""
    from settlement_engine.messages.csv_mapping import SHIPPED

    if named in SHIPPED:
        return named
    message = f"there is no mapping {named}: name a TOML file, or one of {', '.join(SHIPPED)}"
    raise click.UsageError(message)


def _bytes_of(file: Path, *, is_statement: bool = False) -> bytes:
    """Read a file, up to the maximum size of a message, or of a file of statements if it begins like one."""
    from settlement_engine.errors import Misconfigured
    from settlement_engine.messages.camt_statements import FILE_BYTES_MAX
    from settlement_engine.messages.errors import MessageError
    from settlement_engine.messages.statements import NAMESPACE_BYTES_MAX, may_be_large
    from settlement_engine.messages.xml import MESSAGE_BYTES_MAX

    try:
        with file.open("rb") as opened:
            size = file.stat().st_size
            data = opened.read(NAMESPACE_BYTES_MAX)
            is_large = is_statement or may_be_large(data)
            bytes_max = FILE_BYTES_MAX if is_large else MESSAGE_BYTES_MAX
            if size <= bytes_max:
                data += opened.read(bytes_max + 1 - len(data))
    except OSError as error:
        what = f"{file} cannot be read"
        todo = "Give a file that exists and that you may read."
        raise Misconfigured(what, why=error.strerror or "", todo=todo) from error
    size = max(size, len(data))
    if size > bytes_max:
        kind = "a file of statements" if is_large else "a message"
        text = f"has {size:,} bytes; the maximum of {kind} is {bytes_max:,}"
        raise MessageError("file" if is_large else "message", text)
    return data


def _validate(data: bytes, xsd_dir: Path) -> None:
    from settlement_engine.messages.schemas import MessageSchemas, schema_names

    paths = {name: xsd_dir / f"{name}.xsd" for name in schema_names(data)}
    MessageSchemas(
        {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    ).check(data)


def _tell_fault(file: Path, error: MessageError, *, is_json: bool) -> int:
    if is_json:
        shown = {"place": error.place, "reason": error.reason, "exitCode": int(ExitCode.FAILED)}
        print_json({"file": str(file), "error": shown})
    else:
        mark(BAD, f"{file}: cannot be read as a message")
        say(f"  place   {error.place}")
        say(f"  reason  {error.reason}")
    return ExitCode.FAILED


def _tell(file: Path, found: Recognised, *, is_json: bool) -> None:
    from settlement_engine.messages.plain import plain

    if is_json:
        shown: dict[str, Any] = {"file": str(file), "kind": found.kind, "version": found.version}
        shown["says"] = list(found.says)
        shown["warnings"] = [{"place": each.place, "text": each.text} for each in found.odd]
        shown["unread"] = [{"place": each.place, "reason": each.text} for each in found.unread]
        shown["head"] = None if found.head is None else plain(found.head)
        print_json({**shown, "content": plain(found.content)})
        return
    mark(GOOD, f"{file}: {found.kind} version {found.version}")
    for sentence in found.says:
        say(f"  {sentence}")
    for each in found.odd:
        mark(WARN, f"{each.place} {each.text}")
    for each in found.unread:
        mark(BAD, f"{each.place}: {each.text}")
