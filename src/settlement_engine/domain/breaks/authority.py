"""Who may resolve breaks, and up to which amount: roles with persons and limits by currency.

Promises: whoever has no role may resolve nothing; two people are two persons, however their names are spelled; the
limit of the person who approves counts. Must never: let a proposer approve.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 -- msgspec resolves the field's type
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.identity import person_of
from settlement_engine.domain.money import format_amount
from settlement_engine.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Sequence

ANYBODY: Final = "*"
"""In the persons of a role: whoever has a name."""


class ResolutionRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role, and who has it.

    ``limits_minor`` are the largest amounts that it approves, by currency, in minor units. A currency that is not
    there has the limit 0, unless there is none at all: then every amount is approved.
    """

    name: str
    persons: tuple[str, ...]
    limits_minor: Mapping[str, int] = msgspec.field(default_factory=dict)

    def is_of(self, who: str) -> bool:
        """Say whether a person has the role."""
        key = person_of(who)
        return any(each == ANYBODY or person_of(each) == key for each in self.persons)

    def covers(self, currency: str, amount_minor: int) -> bool:
        """Say whether the role approves an amount."""
        return not self.limits_minor or abs(amount_minor) <= self.limits_minor.get(currency, 0)


def roles_of(roles: Sequence[ResolutionRole], who: str) -> list[ResolutionRole]:
    """Return the roles of a person."""
    return [each for each in roles if each.is_of(who)]


def check_has_role(roles: Sequence[ResolutionRole], who: str) -> None:
    """Refuse a person without a role. Raises NotPermitted."""
    if not roles_of(roles, who):
        what = f"{who} has no role that resolves breaks"
        todo = "Name the person in a role of [[breaks.roles]] in the configuration."
        raise NotPermitted(what, why="resolutions are proposed and approved by roles", todo=todo)


def check_limit(
    roles: Sequence[ResolutionRole], who: str, currency: str, amount_minor: int
) -> ResolutionRole:
    """Return the role by which a person approves an amount. Raises NotPermitted if none of theirs does."""
    check_has_role(roles, who)
    own = roles_of(roles, who)
    for role in own:
        if role.covers(currency, amount_minor):
            return role
    limit = max(role.limits_minor.get(currency, 0) for role in own)
    what = (
        f"{who} may approve up to {format_amount(limit, currency)} {currency}, "
        f"and this is about {format_amount(abs(amount_minor), currency)} {currency}"
    )
    raise NotPermitted(
        what,
        why="the limits of the role are in [[breaks.roles]]",
        todo="Ask a person whose role has a higher limit.",
    )
