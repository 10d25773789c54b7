"""The escalation table: from which age and amount a break is escalated, to whom, and when it is due there.

Promises: of all rules that apply, the one with the highest level counts, so that a break is never de-escalated by
growing older or larger. A table in which a rule can never count is refused. Must never: escalate to one level twice.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 -- msgspec resolves the field's type
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.breaks.aging import AgeBucket, bucket_of

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL_MAX: Final = 9
RULES_MAX: Final = 100


class EscalationRule(msgspec.Struct, frozen=True, kw_only=True):
    """From this bucket on, breaks from these amounts on are escalated to a level.

    ``amounts_minor`` are the smallest amounts by currency, in minor units. Without any, the rule applies to every
    amount and every currency.
    """

    bucket: AgeBucket
    level: int
    owner_group: str
    due_business_days: int
    amounts_minor: Mapping[str, int] = msgspec.field(default_factory=dict)

    def applies_to(self, age_business_days: int, currency: str, amount_minor: int) -> bool:
        """Say whether a break of this age and amount is covered."""
        if bucket_of(age_business_days) < self.bucket:
            return False
        least = self.amounts_minor.get(currency)
        return not self.amounts_minor or (least is not None and abs(amount_minor) >= least)

    def covers(self, other: EscalationRule) -> bool:
        """Say whether this rule applies wherever the other one does."""
        if self.bucket > other.bucket:
            return False
        if not self.amounts_minor:
            return True
        return bool(other.amounts_minor) and all(
            self.amounts_minor.get(currency, least + 1) <= least
            for currency, least in other.amounts_minor.items()
        )


DEFAULT_RULES: Final = (
    EscalationRule(
        bucket=AgeBucket.DAYS_2_TO_5, level=1, owner_group="settlement", due_business_days=1
    ),
    EscalationRule(
        bucket=AgeBucket.DAYS_6_TO_10, level=2, owner_group="settlement-lead", due_business_days=2
    ),
    EscalationRule(
        bucket=AgeBucket.DAYS_11_TO_30, level=3, owner_group="operations-risk", due_business_days=5
    ),
    EscalationRule(
        bucket=AgeBucket.MORE_THAN_30_DAYS, level=4, owner_group="management", due_business_days=1
    ),
)
"""The table where none is configured: by age alone."""


def rule_faults(rules: Sequence[EscalationRule]) -> list[str]:
    """Say what is wrong with a table; empty when nothing is."""
    if len(rules) > RULES_MAX:
        return [f"has more than {RULES_MAX} rules"]
    found = []
    for number, rule in enumerate(rules, start=1):
        if not 1 <= rule.level <= LEVEL_MAX:
            found.append(f"rule {number}: level must be from 1 to {LEVEL_MAX}")
        if any(amount < 0 for amount in rule.amounts_minor.values()):
            found.append(f"rule {number}: an amount must not be negative")
        for before, other in enumerate(rules, start=1):
            is_chosen = (other.level, -before) > (rule.level, -number)
            if is_chosen and other.covers(rule):
                found.append(f"rule {number} never counts: rule {before} applies wherever it does")
                break
    return found


def rule_for(
    rules: Sequence[EscalationRule], age_business_days: int, currency: str, amount_minor: int
) -> EscalationRule | None:
    """Return the rule that counts for a break: the one with the highest level; None if none applies."""
    applying = [
        rule for rule in rules if rule.applies_to(age_business_days, currency, amount_minor)
    ]
    return max(applying, key=lambda rule: rule.level, default=None)


def next_step(
    rules: Sequence[EscalationRule],
    level: int,
    *,
    age_business_days: int,
    currency: str,
    amount_minor: int,
) -> EscalationRule | None:
    """Return the rule to whose level a break at this level is to be escalated now; None if it is there already."""
    rule = rule_for(rules, age_business_days, currency, amount_minor)
    return rule if rule is not None and rule.level > level else None
