"""The section ``breaks``: who may resolve breaks, when they are escalated, and which days are business days."""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- pydantic resolves the field's type
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from settlement_engine.config.values import Amounts, Seconds, Section, TimeOfDay, check_zone
from settlement_engine.domain.breaks.aging import DUE_DAYS_MAX, HOLIDAYS_MAX
from settlement_engine.domain.breaks.escalation import LEVEL_MAX, RULES_MAX

ROLES_MAX = 100
PERSONS_MAX = 1_000
WEEK_DAYS = 7

Person = Annotated[str, Field(min_length=1, max_length=256)]
Group = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


def _check_weekend(days: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(days)) >= WEEK_DAYS:
        message = "must leave a day of the week that is a business day"
        raise ValueError(message)
    return days


class BreakRole(Section):
    """A role that resolves breaks: who has it, and the largest amounts that it approves."""

    name: Group
    persons: Annotated[tuple[Person, ...], Field(min_length=1, max_length=PERSONS_MAX)]
    limits: Amounts = Field(default_factory=dict)


class BreakEscalation(Section):
    """A rule of the escalation table."""

    from_business_days: Literal[0, 2, 6, 11, 31]
    level: Annotated[int, Field(ge=1, le=LEVEL_MAX)]
    owner_group: Group
    due_business_days: Annotated[int, Field(ge=0, le=DUE_DAYS_MAX)] = 1
    amounts: Amounts = Field(default_factory=dict)


class BreaksConfig(Section):
    """Work on breaks: roles, escalation, business days."""

    anybody_resolves: bool = False
    proposal_valid_seconds: Seconds = 86_400.0
    escalation_interval_seconds: Seconds = 60.0
    due_business_days: Annotated[int, Field(ge=0, le=DUE_DAYS_MAX)] = 1
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    day_ends: TimeOfDay = "17:00"
    weekend: Annotated[
        tuple[Annotated[int, Field(ge=1, le=7)], ...], AfterValidator(_check_weekend)
    ] = (6, 7)
    holidays: Annotated[tuple[date, ...], Field(max_length=HOLIDAYS_MAX)] = ()
    roles: Annotated[tuple[BreakRole, ...], Field(max_length=ROLES_MAX)] = ()
    escalation: Annotated[tuple[BreakEscalation, ...], Field(max_length=RULES_MAX)] = ()
