"""Which banks stand in the bank directory, as far as an engine has to know: kept in memory, read when it is old.

Promises: a bank that was entered is known at once; one that was withdrawn, or whose rails have changed, is
taken for what it was for at most ``EngineSettings.banks_refresh_seconds``. A bank is called unknown only after a
read that began when it was asked for. Must never: cost a query for each settlement.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_directory import (
    BANKS_MAX,
    NOT_IN_DIRECTORY,
    DirectoryFacts,
    unlisted_field,
)
from settlement_engine.ports import CorrespondentsRail, CoverRail, OurAccountsRail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.engine.lease import EngineLease
    from settlement_engine.engine.settings import EngineSettings
    from settlement_engine.ports import BankStore, SendRail

CHANGES_AT_ONCE_MAX: Final = 1_000
"""How many changes are read in one query."""

READS_MAX: Final = BANKS_MAX // CHANGES_AT_ONCE_MAX + 2
"""How many queries one look takes at most: each bank is returned once."""


def listed_banks(
    settings: EngineSettings,
    banks: BankStore | None,
    lease: EngineLease,
    rails: Mapping[str, SendRail],
) -> ListedBanks | None:
    """Make the cache of the bank directory, if there is one; rails find accounts and correspondents in it."""
    if banks is None:
        assert not settings.needs_listed_banks, "what is required is there"
        return None
    listed = ListedBanks(settings, banks, lease)
    for rail in rails.values():
        if isinstance(rail, OurAccountsRail):
            rail.know_accounts(listed.our_account)
        if isinstance(rail, CorrespondentsRail):
            rail.know_correspondents(listed.serial_route)
        if isinstance(rail, CoverRail):
            rail.know_covers(listed.cover_route)
    return listed


class ListedBanks:
    """The directory's facts, and when they were read. Until ``current_until`` no look is due, in monotonic seconds."""

    def __init__(self, settings: EngineSettings, banks: BankStore, lease: EngineLease) -> None:
        self._refresh_seconds = settings.banks_refresh_seconds
        self._banks = banks
        self._lease = lease
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self.current_until = float("-inf")
        self.facts = DirectoryFacts()

    def forget(self) -> None:
        """Read everything again: the database may be another one, or one that has lost commits."""
        self.facts, self._read_at = DirectoryFacts(), None
        self.current_until = float("-inf")

    async def keep_current(self) -> None:
        """Read what has changed, unless the last look is recent enough. Raises Unavailable."""
        now = self._lease.monotonic()
        if now >= self.current_until:
            await self._look(now)

    async def _look(self, wanted_at: float) -> None:
        """Read the changes; a look that began at the wanted time or later is not repeated."""
        async with self._reading:
            if self._read_at is not None and self._read_at >= wanted_at:
                return
            began_at, facts = self._lease.monotonic(), self.facts
            for _ in range(READS_MAX):
                changes = await self._banks.bank_changes(facts.position, CHANGES_AT_ONCE_MAX)
                for change in changes:
                    facts.take(change)
                if len(changes) < CHANGES_AT_ONCE_MAX:
                    break
            if facts is self.facts:
                self._read_at = began_at
                self.current_until = began_at + self._refresh_seconds

    def our_account(self, bank: str, currency: str) -> str:
        """Return the number of our account with a bank, as the directory was read last; empty if it has none."""
        return self.facts.our_account(bank, currency)

    def serial_route(self, bank: str, currency: str) -> CorrespondentRoute | None:
        """Return the correspondent through which a bank is paid, as it was read last; None if there is none."""
        return self.facts.serial_route(bank, currency)

    def cover_route(self, bank: str, currency: str) -> CorrespondentRoute | None:
        """Return how a bank is covered, as it was read last; None if the directory says nothing of it."""
        return self.facts.cover_route(bank, currency)

    async def faults(self, instructions: Sequence[Instruction]) -> list[tuple[str, str] | None]:
        """Return, for each instruction, the field that names a bank outside of the directory, and why."""
        await self.keep_current()
        fields = self._unlisted(instructions)
        if any(fields):  # it may have been entered since
            await self._look(self._lease.monotonic())
            fields = self._unlisted(instructions)
        return [(field, NOT_IN_DIRECTORY) if field else None for field in fields]

    def _unlisted(self, instructions: Sequence[Instruction]) -> list[str]:
        facts = self.facts
        return [unlisted_field(facts, each.from_bank, each.to_bank) for each in instructions]
