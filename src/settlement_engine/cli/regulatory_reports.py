"""``reports regulatory``: reports to authorities, as versioned and dated jobs.

Promises: an exported file is compared with the hash under which the engine keeps it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.acting import acting, who_option
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.files import write_new
from settlement_engine.cli.instants import Instant
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import GOOD, WARN, as_json, example, mark, print_json, say, table
from settlement_engine.cli.pages import limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from settlement_engine.cli.connection import EngineClient

MAKING_SECONDS: Final = 240.0
COLUMNS: Final = ("NO.", "TEMPLATE", "DATE", "VERSION", "ROWS", "AS OF", "BY", "REASON")

_number = click.argument("number", type=click.IntRange(min=1))


@lasting
@click.group()
def regulatory() -> None:
    """Make, list, show and export reports to authorities."""


@lasting
@regulatory.command()
@engine_options
@as_json
@example("settlement-engine reports regulatory templates")
def templates(*, address: EngineAddress, is_json: bool) -> None:
    """List the templates. Those that come with the engine are samples."""
    with reach(address) as engine:
        answer = engine.reports.ListReportTemplates(
            wire.ListReportTemplatesRequest(), timeout=CALL_SECONDS
        )
    if is_json:
        print_json(as_dict(answer))
        return
    rows = [
        (each.name, str(each.version), each.format, "sample" if each.is_sample else "", each.title)
        for each in answer.templates
    ]
    table(("NAME", "VERSION", "FORMAT", "", "TITLE"), rows, right=("VERSION",))


@lasting
@regulatory.command()
@click.option("--template", required=True, help="The template, as `templates` lists it.")
@click.option("--date", "day", required=True, metavar="DATE", help="The booking date, 2026-01-31.")
@click.option(
    "--as-of",
    type=Instant(),
    help="What the report knows; that of a stored report makes it again. Default: the latest complete instant.",
)
@click.option(
    "--correct", "reason", default="", metavar="REASON", help="Make the next version, and why."
)
@who_option
@engine_options
@as_json
@example("""
settlement-engine reports regulatory run --template sample_final_settlements --date 2026-01-31
settlement-engine reports regulatory run --template sample_final_settlements --date 2026-01-31 --correct "a late return"
""")
def run(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    template: str,
    day: str,
    as_of: datetime | None,
    reason: str,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Make the report of a booking date and store it.

    A stored report is never replaced: a correction is the next version. With the --as-of of a stored report it is
    made again, and compared with what is stored.
    """
    wanted = wire.RunRegulatoryReportRequest(template=template, date=day, reason=reason)
    if as_of is not None:
        wanted.as_of.FromDatetime(as_of.astimezone(UTC))
    with reach(address) as engine:
        options = {**acting(who, address), "timeout": MAKING_SECONDS}
        made = engine.reports.RunRegulatoryReport(wanted, **options)
    if is_json:
        print_json(as_dict(made))
        return
    table(COLUMNS, [_row(made)], right=("NO.", "VERSION", "ROWS"))
    if made.replayed:
        mark(GOOD, "made again: it is the same as the stored one, byte for byte")
    if template.startswith("sample_"):
        mark(WARN, "the template is a sample that no authority has confirmed")
    say(f"{made.file_bytes:,} bytes, SHA-256 {made.sha256}")


@lasting
@regulatory.command("list")
@click.option("--template", default="", help="Only by this template.")
@click.option("--date", "day", default="", metavar="DATE", help="Only of this booking date.")
@limit_option()
@engine_options
@as_json
@example("settlement-engine reports regulatory list --date 2026-01-31")
def list_(*, template: str, day: str, limit: int, address: EngineAddress, is_json: bool) -> None:
    """List reports, the latest first."""
    wanted = wire.ListRegulatoryReportsRequest(template=template, date=day)
    with reach(address) as engine:
        listed = read_pages(engine.reports.ListRegulatoryReports, wanted, limit, "reports")
    if is_json:
        many = [as_dict(each) for each in listed.items]
        print_json({"reports": many, "hasMore": listed.has_more})
        return
    table(COLUMNS, [_row(each) for each in listed.items], right=("NO.", "VERSION", "ROWS"))
    say_how_much(listed, "nothing was reported")


@lasting
@regulatory.command()
@_number
@engine_options
@as_json
@example("settlement-engine reports regulatory show 3")
def show(*, number: int, address: EngineAddress, is_json: bool) -> None:
    """Show a report. NUMBER is ours, as `list` has it."""
    with reach(address) as engine:
        report, content = _read(engine, number)
    if is_json:
        print_json({**as_dict(report), "content": content.decode()})
        return
    table(COLUMNS, [_row(report)], right=("NO.", "VERSION", "ROWS"))
    say(f"SHA-256 {report.sha256}")
    say(content.decode().replace("\r\n", "\n").rstrip("\n"))


@lasting
@regulatory.command()
@_number
@click.option(
    "--out",
    "target",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet.",
)
@engine_options
@as_json
@example("settlement-engine reports regulatory export 3 --out report.csv")
def export(*, number: int, target: Path, address: EngineAddress, is_json: bool) -> None:
    """Write a report to a file. NUMBER is ours."""
    with reach(address) as engine:
        report, content = _read(engine, number)
    write_new(target, (content,))
    if is_json:
        print_json({**as_dict(report), "file": str(target)})
        return
    mark(GOOD, f"{target}: {len(content):,} bytes, SHA-256 {report.sha256}")


def _read(engine: EngineClient, number: int) -> tuple[wire.RegulatoryReport, bytes]:
    """Read a report part by part, and compare its hash."""
    import hashlib

    content = bytearray()
    while True:
        wanted = wire.GetRegulatoryReportRequest(number=number, offset=len(content))
        part = engine.reports.GetRegulatoryReport(wanted, timeout=CALL_SECONDS)
        content += part.content
        if not part.content or len(content) >= part.report.file_bytes:
            break
    same = hashlib.sha256(content).hexdigest() == part.report.sha256
    assert same, "the bytes are not those that were stored"
    return part.report, bytes(content)


def _row(each: wire.RegulatoryReport) -> tuple[str, ...]:
    return (
        str(each.number),
        each.template,
        each.date,
        str(each.version),
        str(each.rows),
        day_and_time(each.as_of),
        each.made_by,
        each.reason,
    )
