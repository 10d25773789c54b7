"""Templates of regulatory reports, and the bytes that they give."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from settlement_engine.domain.regulatory_report import (
    FinalSettlements,
    ReportingInstitution,
    ReportJob,
    grouped,
)
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.regulatory_files import build_regulatory_report
from settlement_engine.messages.report_templates import read_template, shipped_templates

WE = ReportingInstitution(name="We", bic="SETTGB2L", lei="7H6GLXDRUGQFU57RNE97")
TOTALS, SETTLEMENTS = shipped_templates()


def final(currency: str, to_bank: str, purpose: str, minor: int, **changes) -> FinalSettlements:
    made = FinalSettlements(
        currency=currency,
        from_bank="DEUTDEFF",
        to_bank=to_bank,
        purpose=purpose,
        settlements=1,
        settled_minor=minor,
        returned_minor=0,
    )
    return replace(made, **changes)


FOUND = [
    final("JPY", "CHASUS33", "", 5),
    final("EUR", "CHASUS33", "SALA", 100, returned_minor=40),
    final("EUR", "CHASUS33", "SALA", 11, from_bank="BARCGB22"),
    final("EUR", "BARCGB22", "SALA", 7),
]


def job(template) -> ReportJob:
    return ReportJob(
        template_content=template.content,
        booking_date=date(2026, 1, 31),
        as_of=datetime(2026, 2, 1, 6, tzinfo=UTC),
        version=3,
        institution=WE,
    )


def test_the_shipped_templates_are_samples_and_say_so_in_their_first_line():
    assert [each.name for each in (TOTALS, SETTLEMENTS)] == [
        "sample_currency_totals",
        "sample_final_settlements",
    ]
    for each in (TOTALS, SETTLEMENTS):
        assert each.is_sample
        assert each.content.startswith("# Sample, not certified.")
        assert "sample" in each.title


def test_rows_are_grouped_as_the_template_says_and_never_across_currencies():
    content, rows = build_regulatory_report(job(SETTLEMENTS), FOUND)
    header, *lines = content.decode().splitlines()
    assert header.startswith("reporting_bic,booking_date,currency,counterparty,purpose,")
    end = "2026-02-01T06:00:00.000000Z,3"
    assert lines == [
        f"SETTGB2L,2026-01-31,EUR,BARCGB22,SALA,1,0.07,0.00,0.07,{end}",
        f"SETTGB2L,2026-01-31,EUR,CHASUS33,SALA,2,1.11,0.40,0.71,{end}",
        f"SETTGB2L,2026-01-31,JPY,CHASUS33,,1,5,0,5,{end}",
    ]
    assert rows == 3


def test_totals_are_per_currency():
    content, rows = build_regulatory_report(job(TOTALS), FOUND)
    eur, jpy = map(json.loads, content.splitlines())
    assert (eur["currency"], eur["settledAmount"], eur["returnedAmount"]) == ("EUR", "1.18", "0.40")
    assert (jpy["numberOfSettlements"], jpy["reportingInstitution"]) == (1, WE.lei)
    assert rows == 2


def test_the_order_in_which_settlements_are_found_changes_nothing():
    for template in (TOTALS, SETTLEMENTS):
        assert build_regulatory_report(job(template), FOUND) == build_regulatory_report(
            job(template), FOUND[::-1]
        )


def test_the_counterparty_is_the_bank_that_the_template_names():
    template = replace(SETTLEMENTS, counterparty="from_bank")
    assert [(each.currency, each.to_bank) for each in grouped(template, FOUND)] == [
        ("EUR", "BARCGB22"),
        ("EUR", "DEUTDEFF"),
        ("JPY", "DEUTDEFF"),
    ]


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("", "name =", "name"),
        ("surprise", "version = 1", "version = 1\nsurprise = 2"),
        ("name", '"sample_final_settlements"', '"Sample 1"'),
        ("name", 'name = "sample_final_settlements"\n', ""),
        ("version", "version = 1", "version = 0"),
        ("version", "version = 1", 'version = "1"'),
        ("version", "version = 1", "version = true"),
        ("is_sample", "is_sample = true", 'is_sample = "yes"'),
        ("format", '"csv"', '"xlsx"'),
        ("counterparty", '"to_bank"', '"both"'),
        ("group_by", '"currency", ', ""),
        ("group_by", '["booking_date"', '["month"'),
        ("group_by", '["booking_date"', "[1"),
        ("columns[2].value", 'value = "booking_date" }', 'value = "month" }'),
        ("columns[2]", 'value = "booking_date" }', 'value = "booking_date", x = 1 }'),
        ("columns", '"booking_date", value', '"currency", value'),
    ],
)
def test_a_template_that_cannot_be_read_is_refused_with_its_place(place, old, new):
    assert old in SETTLEMENTS.content
    with pytest.raises(MessageError) as refused:
        read_template(SETTLEMENTS.content.replace(old, new, 1))
    assert refused.value.place == place


def test_a_column_of_a_group_that_is_not_grouped_by_is_refused():
    text = TOTALS.content.replace('value = "settled"', 'value = "purpose"')
    with pytest.raises(MessageError, match="is not one of"):
        read_template(text)
