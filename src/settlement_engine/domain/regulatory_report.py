"""Regulatory reports: final settlements of a booking date by currency, counterparty and purpose, as dated jobs.

Promises: a job is a template in a version, a date and an instant; the same job gives the same bytes. A correction is
the next version, as of a later instant and with a reason; the earlier ones stay. Sums are per currency. Must never:
report a date that is not over, or replace what was reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.errors import CorruptRecord, WrongState

if TYPE_CHECKING:
    from datetime import date, datetime

    from settlement_engine.domain.past_balances import BookingDay

GROUPS_MAX: Final = 100_000
"""The most rows of a report, and the most combinations of banks, purposes and currencies that are read for it."""

GROUPS: Final = ("booking_date", "currency", "counterparty", "purpose")
"""By what a report can be grouped. Amounts are always grouped by currency."""

FACTS: Final = (
    *("institution_name", "institution_bic", "institution_lei", "as_of", "report_version"),
    *("settlements", "settled", "returned", "net"),
)
"""What a column can contain besides a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateColumn:
    """A column of a report: its name for the authority, and what it contains."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTemplate:
    """The layout of a report. ``content`` is the file that it was read from, which is kept with each report.

    ``counterparty`` says which bank of a settlement is reported: ``from_bank`` or ``to_bank``.
    """

    name: str
    version: int
    title: str
    is_sample: bool
    format: str
    counterparty: str
    group_by: tuple[str, ...]
    columns: tuple[TemplateColumn, ...]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingInstitution:
    """Who reports."""

    name: str
    bic: str
    lei: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatoryOrder:
    """A report that somebody wants. Without ``as_of`` it is as of the latest complete instant."""

    template: ReportTemplate
    booking_date: date
    day: BookingDay
    as_of: datetime | None
    reason: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalSettlements:
    """Settlements of a date between two banks that became final, and what of them was returned since; minor units."""

    currency: str
    from_bank: str
    to_bank: str
    purpose: str
    settlements: int
    settled_minor: int
    returned_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegulatoryReport:
    """A report that was made: a version of a template's report for a date. ``sha256`` is that of its bytes.

    ``institution`` is who reported then. ``is_replay``: it had been made before this call.
    """

    id: int
    template: str
    template_version: int
    template_content: str
    booking_date: date
    begins: datetime
    ends: datetime
    as_of: datetime
    version: int
    institution: ReportingInstitution
    reason: str
    rows: int
    file_bytes: int
    sha256: bytes
    made_by: str
    made_at: datetime
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportJob:
    """What a report is made of, besides the settlements: nothing else changes its bytes."""

    template_content: str
    booking_date: date
    as_of: datetime
    version: int
    institution: ReportingInstitution


ReportBuilder: TypeAlias = Callable[[ReportJob, Sequence[FinalSettlements]], tuple[bytes, int]]
"""Makes the bytes of a report and counts its rows; it is pure, and runs inside a transaction."""


def next_version(
    order: RegulatoryOrder, latest: RegulatoryReport | None, complete: datetime
) -> tuple[int, datetime]:
    """Return the version and the instant of the next report. Raises WrongState."""
    name, day = order.template.name, order.booking_date
    as_of = order.as_of or complete
    if as_of > complete or order.day.ends > as_of:
        what = f"the booking date {day} is not over and complete as of {as_of.isoformat()}"
        why = f"it ends at {order.day.ends.isoformat()}, and bookings are complete until {complete.isoformat()}"
        raise WrongState(what, why=why, todo="Report it after that.")
    if latest is None:
        return 1, as_of
    if not order.reason:
        what = f"{name} was reported for {day} already: version {latest.version}"
        todo = "Export that version, or give a reason to report a correction as the next version."
        raise WrongState(what, why=f"it is as of {latest.as_of.isoformat()}", todo=todo)
    if as_of <= latest.as_of:
        what = f"a correction of {name} for {day} knows more than version {latest.version}"
        raise WrongState(
            what, why=f"that is as of {latest.as_of.isoformat()}", todo="Give a later instant."
        )
    return latest.version + 1, as_of


def require_groups(found: Sequence[FinalSettlements], booking_date: date) -> None:
    """Refuse a report of too many groups. Raises WrongState."""
    if len(found) > GROUPS_MAX:
        what = f"{booking_date} has settlements between more than {GROUPS_MAX:,} pairs of banks and purposes"
        raise WrongState(what, why="a report is made as a whole")


def require_same(report: RegulatoryReport, sha256: bytes) -> None:
    """Compare a report that was made again with what was stored. Raises CorruptRecord."""
    if sha256 != report.sha256:
        what = f"{report.template} of {report.booking_date}, version {report.version}, is another one when made again"
        why = f"it was stored with the SHA-256 {report.sha256.hex()}, and gives {sha256.hex()}"
        raise CorruptRecord(what, why=why, todo="Run `settlement-engine prove`.")


def grouped(template: ReportTemplate, found: Sequence[FinalSettlements]) -> list[FinalSettlements]:
    """Add up what belongs to one row of the report; a group that the template does not name is left empty."""
    by_row: defaultdict[tuple[str, str, str], list[FinalSettlements]] = defaultdict(list)
    for each in found:
        bank = each.from_bank if template.counterparty == "from_bank" else each.to_bank
        by_row[
            each.currency,
            bank if "counterparty" in template.group_by else "",
            each.purpose if "purpose" in template.group_by else "",
        ].append(each)
    return [
        replace(
            own[0],
            from_bank=bank,
            to_bank=bank,
            purpose=purpose,
            settlements=sum(each.settlements for each in own),
            settled_minor=sum(each.settled_minor for each in own),
            returned_minor=sum(each.returned_minor for each in own),
        )
        for (_, bank, purpose), own in sorted(by_row.items())
    ]
