"""Converts the section ``breaks`` of the configuration to the rules of the work on breaks, and on statements."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING

from settlement_engine.domain.breaks.aging import AgeBucket, BusinessCalendar
from settlement_engine.domain.breaks.authority import ANYBODY, ResolutionRole
from settlement_engine.domain.breaks.escalation import (
    DEFAULT_RULES,
    EscalationRule,
    rule_faults,
)
from settlement_engine.domain.breaks.rules import BreakRules
from settlement_engine.domain.money import parse_amount
from settlement_engine.errors import Misconfigured
from settlement_engine.ports import StatementRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from settlement_engine.config import Config


def break_rules(config: Config) -> BreakRules:
    """Convert the section. Raises Misconfigured for an escalation table in which a rule can never count."""
    section = config.breaks
    rules = tuple(
        EscalationRule(
            bucket=AgeBucket(each.from_business_days),
            level=each.level,
            owner_group=each.owner_group,
            due_business_days=each.due_business_days,
            amounts_minor=_minors(each.amounts),
        )
        for each in section.escalation
    )
    if faults := rule_faults(rules):
        what = f"breaks.escalation: {faults[0]}"
        raise Misconfigured(what, todo="Remove the rule, or give it a higher level.")
    return BreakRules(
        roles=_roles(config),
        escalation=rules or DEFAULT_RULES,
        calendar=BusinessCalendar(
            zone=section.zone,
            holidays=tuple(sorted(set(section.holidays))),
            weekend=frozenset(section.weekend),
            day_ends=time.fromisoformat(section.day_ends),
        ),
        due_business_days=section.due_business_days,
        proposal_valid_seconds=section.proposal_valid_seconds,
        escalation_interval_seconds=section.escalation_interval_seconds,
    )


def statement_rules(config: Config) -> StatementRules:
    """Return who decides on statements: whoever resolves breaks, within the same time."""
    return StatementRules(roles=_roles(config), valid_seconds=config.breaks.proposal_valid_seconds)


def _roles(config: Config) -> tuple[ResolutionRole, ...]:
    section = config.breaks
    if not section.roles and section.anybody_resolves:
        return (ResolutionRole(name="anybody", persons=(ANYBODY,)),)
    return tuple(
        ResolutionRole(name=each.name, persons=each.persons, limits_minor=_minors(each.limits))
        for each in section.roles
    )


def _minors(amounts: Mapping[str, str]) -> dict[str, int]:
    return {currency: parse_amount(text, currency).minor for currency, text in amounts.items()}
