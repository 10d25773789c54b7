"""The configured rules of the work on breaks, as one value."""

from __future__ import annotations

import msgspec

from settlement_engine.domain.breaks.aging import BusinessCalendar
from settlement_engine.domain.breaks.authority import ResolutionRole  # noqa: TC001 -- a field's type
from settlement_engine.domain.breaks.escalation import DEFAULT_RULES, EscalationRule


class BreakRules(msgspec.Struct, frozen=True, kw_only=True):
    """Who may resolve breaks, when they are escalated, and which days are business days.

    Without roles nobody resolves anything. A break that is opened is due after ``due_business_days``.
    """

    roles: tuple[ResolutionRole, ...] = ()
    escalation: tuple[EscalationRule, ...] = DEFAULT_RULES
    calendar: BusinessCalendar = BusinessCalendar()
    due_business_days: int = 1
    proposal_valid_seconds: float = 86_400.0
    escalation_interval_seconds: float = 60.0
