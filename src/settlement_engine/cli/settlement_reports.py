"""``reports settlements``: what happened to settlements on a booking date, as CSV or JSON lines.

Promises: the file is written page by page, whatever its length; a report that breaks off leaves no file behind.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.files import write_new
from settlement_engine.cli.instants import Instant
from settlement_engine.cli.output import counted, example
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.cli.connection import EngineClient

FORMATS: Final = {"csv": wire.REPORT_FORMAT_CSV, "jsonl": wire.REPORT_FORMAT_JSON_LINES}
STATES: Final = (
    *("validating", "held", "queued", "locked", "sent", "in_doubt", "recalling"),
    *("completed", "failed", "rolled_back", "returned"),
)


class Sums:
    """The sums of a report, each currency by itself."""

    def __init__(self) -> None:
        self.rows = 0
        self.as_of = ""
        self._settlements: defaultdict[str, int] = defaultdict(int)
        self._amounts: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 3)

    def add(self, page: wire.ReportSettlementsResponse) -> None:
        """Add a page."""
        self.rows += page.rows
        self.as_of = page.as_of.ToDatetime(UTC).isoformat()
        for each in page.totals:
            self._settlements[each.currency] += each.settlements
            more = map(Decimal, (each.settled, each.returned, each.charges))
            own = self._amounts[each.currency]
            self._amounts[each.currency] = [
                one + other for one, other in zip(own, more, strict=True)
            ]

    def lines(self) -> Iterator[str]:
        """Write the sums of each currency."""
        for currency, (settled, returned, charges) in sorted(self._amounts.items()):
            count = counted(self._settlements[currency], "settlement")
            yield f"{currency}: {count}, settled {settled}, returned {returned}, charges {charges}"


@lasting
@click.command()
@click.option("--date", "day", required=True, metavar="DATE", help="The booking date, 2026-01-31.")
@click.option(
    "--as-of",
    type=Instant(),
    help="What the report knows: what was booked before. Default: the latest complete instant.",
)
@click.option("--state", type=click.Choice(STATES), help="Only in this state, as of the instant.")
@click.option("--bank", default="", help="Only with this bank, as FROM or TO.")
@click.option("--currency", default="", help="Only in this currency.")
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(FORMATS)),
    default="csv",
    show_default=True,
    help="The format of the report.",
)
@click.option(
    "--out",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; it must not exist yet. Default: standard output.",
)
@engine_options
@example("""
settlement-engine reports settlements --date 2026-01-31 --out settlements.csv
settlement-engine reports settlements --date 2026-01-31 --state completed --format jsonl
""")
def settlements(  # noqa: PLR0913 -- each option of the command is an argument
    *,
    day: str,
    as_of: datetime | None,
    state: str | None,
    bank: str,
    currency: str,
    form: str,
    target: Path | None,
    address: EngineAddress,
) -> None:
    """Report the settlements to which something happened on a booking date, with what was posted on it.

    The sums of each currency and the instant of the report go to standard error. With the same --as-of the report is
    the same, byte for byte, whatever happens later.
    """
    wanted = wire.ReportSettlementsRequest(
        date=day, state=state or "", bank=bank, currency=currency, format=FORMATS[form]
    )
    if as_of is not None:
        wanted.as_of.FromDatetime(as_of.astimezone(UTC))
    sums = Sums()
    with reach(address) as engine:
        pages = _pages(engine, wanted, sums)
        if target is None:
            for page in pages:
                sys.stdout.buffer.write(page)
        else:
            write_new(target, pages)
    for line in sums.lines():
        click.echo(line, err=True)
    name = "" if target is None else f"{target}: "
    click.echo(f"{name}{counted(sums.rows, 'row')}, as of {sums.as_of}", err=True)


def _pages(
    engine: EngineClient, wanted: wire.ReportSettlementsRequest, sums: Sums
) -> Iterator[bytes]:
    while True:
        page = engine.reports.ReportSettlements(wanted, timeout=CALL_SECONDS)
        sums.add(page)
        yield page.content
        wanted.page_token = page.next_page_token
        if not page.next_page_token:
            return
