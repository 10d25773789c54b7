"""Escalation: each step once, whichever engine looks, and due by the calendar."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from settlement_engine.domain.breaks.aging import AgeBucket, BusinessCalendar
from settlement_engine.domain.breaks.escalation import EscalationRule
from settlement_engine.domain.breaks.history import BreakStatus, BreakWork
from settlement_engine.domain.breaks.rules import BreakRules
from settlement_engine.engine import breaks
from settlement_engine.engine.breaks import BreakEscalator, EngineBreaks
from settlement_engine.errors import Unavailable
from settlement_engine.ports import BreakToEscalate

MONDAY = date(2026, 3, 2)
RULES = BreakRules(
    escalation=(
        EscalationRule(
            bucket=AgeBucket.DAYS_2_TO_5, level=1, owner_group="settlement", due_business_days=1
        ),
        EscalationRule(
            bucket=AgeBucket.DAYS_0_TO_1,
            level=2,
            owner_group="lead",
            due_business_days=0,
            amounts_minor={"USD": 1_000_00},
        ),
    ),
    calendar=BusinessCalendar(holidays=(date(2026, 3, 4),)),
)


class Clock:
    def __init__(self, at):
        self.at = at

    def now(self):
        return self.at


class Meter:
    def __init__(self):
        self.steps: Counter[str] = Counter()
        self.levels: Counter[int] = Counter()
        self.open: dict[tuple[str, str], int] = {}

    def break_step(self, step):
        self.steps[step] += 1

    def breaks_escalated(self, level, count):
        self.levels[level] += count

    def open_breaks(self, counts):
        self.open = dict(counts)


class Store:
    """Open breaks by id, and what was escalated."""

    def __init__(self, *found):
        self.found = {each.id: each for each in found}
        self.taken = []
        self.reads = 0

    async def to_escalate(self, after_id, limit):
        self.reads += 1
        return [each for _, each in sorted(self.found.items()) if each.id > after_id][:limit]

    async def escalate(self, steps):
        done = []
        for step in steps:
            before = self.found[step.break_id]
            if before.level == step.was:
                self.found[step.break_id] = msgspec.structs.replace(before, level=step.level)
                self.taken.append(step)
                done.append(step.break_id)
        return done


def opened(number, day, amount=5_00, at=datetime(2026, 3, 5, 9, tzinfo=UTC), **fields):
    fields = {"level": 0, "due_at": None, "currency": "USD", "severity": 2} | fields
    return BreakToEscalate(
        id=number,
        kind="MISSING_OURS",
        amount_minor=amount,
        business_date=day,
        opened_at=at,
        seen_at=at,
        **fields,
    )


async def test_a_break_is_escalated_once_for_its_age_and_again_for_no_reason():
    store, meter = Store(opened(1, MONDAY), opened(2, date(2026, 3, 3))), Meter()
    escalator = BreakEscalator(RULES, store, meter)
    # From Monday to Thursday, with a holiday on Wednesday: two business days, and one from Tuesday.
    assert await escalator.look() == 1
    [step] = store.taken
    assert (step.break_id, step.was, step.level, step.owner) == (1, 0, 1, "settlement")
    assert step.due_at == datetime(2026, 3, 6, 17, tzinfo=UTC)
    assert await escalator.look() == 0
    assert meter.levels == {1: 1}
    assert meter.open == {("2-5", "USD"): 1, ("0-1", "USD"): 1}


async def test_a_large_break_goes_to_its_level_at_once_and_is_due_the_same_day():
    store, meter = Store(opened(1, date(2026, 3, 5), amount=-1_000_00)), Meter()
    assert await BreakEscalator(RULES, store, meter).look() == 1
    [step] = store.taken
    assert (step.level, step.owner) == (2, "lead")
    assert step.due_at == datetime(2026, 3, 5, 17, tzinfo=UTC)


async def test_two_engines_that_look_at_once_take_each_step_once():
    store, meters = Store(opened(1, MONDAY)), (Meter(), Meter())
    seen = await store.to_escalate(0, 10)
    first, second = (BreakEscalator(RULES, store, meter) for meter in meters)
    steps = [step for each in seen if (step := first._step(each))]
    assert await first._escalate(steps) == 1
    assert await second._escalate(steps) == 0
    assert (meters[0].levels, meters[1].levels) == ({1: 1}, {})


async def test_all_open_breaks_are_looked_at_page_by_page(monkeypatch):
    monkeypatch.setattr(breaks, "BREAKS_AT_ONCE", 3)
    store, meter = Store(*(opened(number, MONDAY) for number in range(1, 8))), Meter()
    assert await BreakEscalator(RULES, store, meter).look() == 7
    assert store.reads == 3
    assert sum(meter.open.values()) == 7


async def test_an_escalator_goes_on_after_an_outage(monkeypatch):
    looks = []

    class Stop(BaseException):
        pass

    class Failing(Store):
        async def to_escalate(self, after_id, limit):
            looks.append(after_id)
            if len(looks) == 1:
                raise Unavailable("the database is away")
            raise Stop

    async def no_wait(seconds):
        assert seconds == RULES.escalation_interval_seconds

    monkeypatch.setattr(breaks, "sleep", no_wait)
    with pytest.raises(Stop):
        await BreakEscalator(RULES, Failing(), Meter()).run()
    assert len(looks) == 2


def test_a_break_is_due_after_it_was_opened_until_somebody_says_otherwise():
    at = datetime(2026, 3, 3, 9, tzinfo=UTC)
    store, ids = cast("Any", Store()), cast("Any", None)
    management = EngineBreaks(RULES, store, clock=Clock(at), ids=ids, meter=Meter())
    work = BreakWork(status=BreakStatus.OPEN, opened_at=at, version=1)
    assert management.due_at(work) == datetime(2026, 3, 5, 17, tzinfo=UTC)
    later = at + timedelta(days=9)
    assert management.due_at(msgspec.structs.replace(work, due_at=later)) == later
    closed = msgspec.structs.replace(work, status=BreakStatus.CLOSED)
    assert management.due_at(closed) is None
    assert management.age_business_days(MONDAY) == 1
