"""Regulatory reports: versions that follow one another, made again byte for byte, and never changed."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import date, timedelta

import pytest

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.payment import PaymentDetails
from settlement_engine.domain.regulatory_report import RegulatoryOrder, ReportingInstitution
from settlement_engine.errors import CorruptRecord, WrongState
from settlement_engine.messages.regulatory_files import build_regulatory_report
from settlement_engine.messages.report_templates import shipped_templates
from settlement_engine.ports import RegulatoryFilter
from settlement_engine.store import regulatory as in_postgres
from settlement_engine.store import reports as reports_in_postgres
from settlement_lab.memory import regulatory as in_memory
from settlement_lab.memory import reports as reports_in_memory

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 1, 30)
WE = ReportingInstitution(name="We", bic="SETTGB2L", lei="")
INSTANT = timedelta(microseconds=1)
TOTALS, SETTLEMENTS = shipped_templates()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    for store in (in_postgres, in_memory, reports_in_postgres, reports_in_memory):
        monkeypatch.setattr(store, "BOOKING_SECONDS_MAX", 0.0)


async def now(scene):
    return await scene.stores.reports.complete_until()


class Maker:
    """Makes reports of a time, by a template whose name is that of the scene."""

    def __init__(self, scene, begins, ends, template=SETTLEMENTS):
        name = f"of_{scene.source_bank.lower()}"
        content = template.content.replace(f'name = "{template.name}"', f'name = "{name}"')
        self.scene = scene
        self.order = RegulatoryOrder(
            template=replace(template, name=name, content=content),
            booking_date=DAY,
            day=BookingDay(begins, ends),
            as_of=None,
            reason="",
            who="ada",
        )

    async def make(self, build=build_regulatory_report, **changes):
        order = replace(self.order, **changes)
        return await self.scene.stores.regulatory.make_report(order, WE, build)

    async def content(self, report):
        part = await self.scene.stores.regulatory.report_part(report.id, 0, 10**6)
        assert hashlib.sha256(part.content).digest() == part.sha256 == report.sha256
        assert (part.file_bytes, len(part.content)) == (report.file_bytes, report.file_bytes)
        return part.content.decode()

    async def rows(self, report):
        """Return the rows that are about the scene's banks."""
        lines = (await self.content(report)).splitlines()
        return [line for line in lines if self.scene.target_bank in line]


async def busy(scene):
    """Settle two payments with a purpose and one without; one of the two is returned later."""
    begins = await now(scene)
    said = PaymentDetails(purpose="SALA")
    back = await scene.bring(State.COMPLETED, payment=said)
    await scene.bring(State.COMPLETED, payment=said)
    await scene.bring(State.COMPLETED)
    await scene.bring(State.FAILED)
    await scene.bring(State.SENT)
    return back, begins, await now(scene)


async def test_final_settlements_by_currency_counterparty_and_purpose(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    made = await maker.make()
    assert (made.version, made.reason, made.made_by, made.is_replay) == (1, "", "ada", False)
    assert (made.begins, made.ends, made.booking_date) == (begins, ends, DAY)
    plain, salaries = await maker.rows(made)
    bank = scene.target_bank
    assert plain.startswith(f"SETTGB2L,2026-01-30,EUR,{bank},,1,1.00,0.00,1.00,")
    assert salaries.startswith(f"SETTGB2L,2026-01-30,EUR,{bank},SALA,2,2.00,0.00,2.00,")


async def test_a_correction_is_the_next_version_and_the_earlier_one_stays(scene):
    back, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    one = await maker.make()
    before = await maker.content(one)
    await scene.move(back, Event.RETURNED)
    with pytest.raises(WrongState, match="was reported"):
        await maker.make()
    two = await maker.make(reason="a late return")
    assert (two.version, two.reason) == (2, "a late return")
    assert two.as_of > one.as_of
    assert await maker.content(one) == before
    assert ",SALA,2,2.00,1.00,1.00," in (await maker.rows(two))[1]
    wanted = RegulatoryFilter(limit=9, template=maker.order.template.name)
    assert await scene.stores.regulatory.regulatory_reports(wanted) == [two, one]


async def test_a_report_as_of_its_instant_is_the_same_again(scene):
    back, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    one = await maker.make()
    await scene.move(back, Event.RETURNED)
    await scene.bring(State.COMPLETED)
    assert await maker.make(as_of=one.as_of) == replace(one, is_replay=True)
    # Another template of that name, and another institution, change nothing that was reported.
    other = replace(maker.order.template, version=2, content=TOTALS.content)
    again = await maker.make(as_of=one.as_of, template=replace(other, name=one.template))
    assert again == replace(one, is_replay=True)


async def test_a_report_that_gives_other_bytes_is_a_damaged_record(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    one = await maker.make()
    with pytest.raises(CorruptRecord, match="another one when made again"):
        await maker.make(lambda *_: (b"other", 1), as_of=one.as_of)


async def test_a_date_that_is_not_over_or_not_complete_is_refused(scene):
    _, begins, ends = await busy(scene)
    later = Maker(scene, begins, ends + timedelta(days=1))
    with pytest.raises(WrongState, match="is not over"):
        await later.make()
    early = Maker(scene, begins, ends)
    for as_of in (ends - INSTANT, ends + timedelta(days=1)):
        with pytest.raises(WrongState, match="is not over and complete"):
            await early.make(as_of=as_of)


async def test_a_correction_knows_more_than_the_version_before(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    one = await maker.make()
    with pytest.raises(WrongState, match="knows more"):
        await maker.make(as_of=one.as_of - INSTANT, reason="earlier")


async def test_what_cannot_be_made_takes_no_version(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)

    def fail(*_):
        raise WrongState("it cannot be written")

    with pytest.raises(WrongState, match="cannot be written"):
        await maker.make(fail)
    assert (await maker.make()).version == 1


async def test_two_engines_make_one_first_version(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends)
    sides = [scene.stores.beside() for _ in range(3)]
    made = await asyncio.gather(
        *(each.regulatory.make_report(maker.order, WE, build_regulatory_report) for each in sides),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in made) == ["RegulatoryReport"] + ["WrongState"] * 2


async def test_a_report_of_nothing_has_its_header_only(scene):
    begins = await now(scene)
    maker = Maker(scene, begins - timedelta(days=9999), begins - timedelta(days=9998))
    made = await maker.make()
    assert (made.rows, await maker.content(made)) == (
        0,
        ",".join(each.name for each in SETTLEMENTS.columns) + "\r\n",
    )


async def test_reports_are_listed_in_pages(scene):
    _, begins, ends = await busy(scene)
    maker = Maker(scene, begins, ends, TOTALS)
    made = [await maker.make(), *[await maker.make(reason="again") for _ in range(2)]]
    listed = scene.stores.regulatory.regulatory_reports
    name = made[0].template
    first = await listed(RegulatoryFilter(limit=2, template=name))
    rest = await listed(RegulatoryFilter(limit=2, template=name, before_id=first[-1].id))
    assert [*first, *rest] == made[::-1]
    assert await listed(RegulatoryFilter(limit=2, report_id=made[1].id)) == [made[1]]
    assert (
        await listed(RegulatoryFilter(limit=2, template=name, booking_date=DAY - timedelta(1)))
        == []
    )
    assert await scene.stores.regulatory.report_part(10**9, 0, 1) is None
