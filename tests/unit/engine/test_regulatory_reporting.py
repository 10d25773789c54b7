"""Regulatory reporting by templates, on the store in memory."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.regulatory_report import ReportingInstitution
from settlement_engine.engine.regulatory_reporting import RegulatoryReporting
from settlement_engine.errors import NotFound
from settlement_engine.messages.report_templates import shipped_templates
from tests.support.stores import MemoryStores

DAY = date(2026, 1, 31)
BEGINS = datetime(2026, 1, 31, tzinfo=UTC)
SPAN = BookingDay(BEGINS, BEGINS + timedelta(days=1))
WE = ReportingInstitution(name="We", bic="SETTGB2L", lei="")


def reporting(stores: MemoryStores, institution: ReportingInstitution = WE) -> RegulatoryReporting:
    return RegulatoryReporting(stores.regulatory, shipped_templates()[::-1], institution)


async def run(by: RegulatoryReporting, template: str, as_of: datetime | None = None):
    return await by.report(template, DAY, SPAN, as_of=as_of, reason="", who="ada")


async def test_a_report_is_made_by_the_template_of_that_name():
    by = reporting(MemoryStores())
    assert [each.name for each in by.templates] == [each.name for each in shipped_templates()]
    for template in by.templates:
        made = await run(by, template.name)
        assert (made.template, made.template_version) == (template.name, template.version)
        assert made.template_content == template.content
        assert (made.institution, made.booking_date, made.made_by) == (WE, DAY, "ada")


async def test_an_unknown_template_is_not_found_and_nothing_is_stored():
    stores = MemoryStores()
    with pytest.raises(NotFound, match="no template"):
        await run(reporting(stores), "nothing")
    assert stores.records.regulatory_reports == []


async def test_what_was_reported_is_made_again_in_the_name_of_then():
    stores = MemoryStores()
    one = await run(reporting(stores), "sample_final_settlements")
    renamed = reporting(stores, ReportingInstitution(name="We & Co", bic="CHASUS33", lei=""))
    again = await run(renamed, "sample_final_settlements", one.as_of)
    assert again.is_replay
    assert (again.sha256, again.institution) == (one.sha256, WE)
