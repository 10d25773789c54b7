"""The banks that the rail ach reaches: whose files go where, and when they are closed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.payment_scope import EVERYTHING, is_in_scope, scope_of
from settlement_engine.errors import Misconfigured
from settlement_engine.rails.ach.closing import file_prefix, modifier_in
from settlement_engine.rails.ach.orders import CURRENCY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from settlement_engine.ports import RailCapabilities
    from settlement_engine.rails.ach.party import AchParty
    from settlement_engine.rails.ach.profile import AchProfile
    from settlement_engine.rails.transport.folder import FolderTransport

BANKS_MAX: Final = 100
"""The most banks of the rail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AchConnection:
    """One bank. ``banks`` (folded codes) keep the accounts that it pays from; none at all means every bank.

    A file is closed ``close_after_seconds`` after its oldest payment's send intent, or when it is full; one of payments
    that are to be settled the same day after ``same_day_close_after_seconds``, if that is sooner, or before its window
    closes. ``poll_seconds`` is how often the inbox is read.
    """

    name: str
    party: AchParty
    profile: AchProfile
    transport: FolderTransport
    close_after_seconds: float
    same_day_close_after_seconds: float = 300.0
    poll_seconds: float = 1.0
    banks: frozenset[str] = frozenset()

    @property
    def scope(self) -> frozenset[str]:
        """The payments that go to it, and that its reports may be about."""
        return scope_of(self.banks, {CURRENCY})

    @property
    def heard_scope(self) -> frozenset[str]:
        """The same, where empty means all of the rail."""
        return frozenset() if self.scope >= EVERYTHING else self.scope

    async def placed_modifiers(self, day: date) -> frozenset[str]:
        """Return the modifiers of a day's files that were placed, as the archive has them."""
        prefix = file_prefix(self.party, day)
        sent = await asyncio.to_thread(self.transport.sent_files, prefix)
        found = (modifier_in(each.name, self.party, day) for each in sent)
        return frozenset(each for each in found if each is not None)


class AchConnections:
    """All banks of the rail. Raises Misconfigured where a payment could go to two of them."""

    def __init__(self, connections: Sequence[AchConnection]) -> None:
        assert connections, "a rail reaches somebody"
        self.all = tuple(connections)
        if len(self.all) > BANKS_MAX:
            raise Misconfigured(f"ach reaches {len(self.all)} banks, and {BANKS_MAX} are the most")
        for place, one in enumerate(self.all):
            _refuse_late_closing(one)
            for other in self.all[:place]:
                _refuse_overlap(other, one)
        if any(each.profile != self.all[0].profile for each in self.all):
            raise Misconfigured(
                "the banks of ach have different profiles",
                todo="Name the same profile for all of them.",
            )

    @property
    def banks(self) -> frozenset[str] | None:
        """The banks that take orders over the rail; None for every bank."""
        if any(not each.banks for each in self.all):
            return None
        return frozenset().union(*(each.banks for each in self.all))

    def capabilities(self) -> RailCapabilities:
        """Return the rules of the rail: those of the one profile that all its banks have."""
        open_seconds = max(each.close_after_seconds for each in self.all)
        return self.all[0].profile.capabilities(self.banks, open_seconds)

    def of(self, bank: str) -> AchConnection | None:
        """Return who takes orders from our account at a bank; None if nobody does."""
        for each in self.all:
            if is_in_scope(each.scope, bank, CURRENCY):
                return each
        return None


def _refuse_late_closing(one: AchConnection) -> None:
    if one.profile.answer_seconds(one.close_after_seconds) < one.profile.validity_seconds:
        return
    raise Misconfigured(
        f"a file for {one.name} would be closed too late",
        why="its payments could be sent no more when it is closed, or be acknowledged in time",
        todo="Set close_after_seconds lower than the profile's validity_seconds less acknowledged_seconds.",
    )


def _refuse_overlap(one: AchConnection, other: AchConnection) -> None:
    if one.banks and other.banks and not one.banks & other.banks:
        return
    raise Misconfigured(
        f"payments would go to {one.name} and to {other.name}",
        todo="Name in banks whose payments go to each of them.",
    )
