"""What is wrong with the statements of our accounts at present, computed from the kept statements and the due times.

Promises: nothing is stored, so what was cured is gone at the next look; a page reads a bounded number of accounts.
Must never: read entries.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.chain_problems import (
    ChainProblem,
    ProblemKind,
    place_of_statement,
    problems_of,
)
from settlement_engine.domain.continuity import compact_identifier
from settlement_engine.domain.missing_statements import missing_statement
from settlement_engine.domain.statement_chain import chain_of
from settlement_engine.ports.statements import AccountProblem, ProblemPage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from settlement_engine.domain.chain_problems import ChainPlace, KeptHead
    from settlement_engine.domain.missing_statements import MissingStatement, StatementDueTimes
    from settlement_engine.domain.statement_chain import StatementChain
    from settlement_engine.domain.statement_import import AccountAtBank, AccountNames
    from settlement_engine.ports import Clock, StatementStore, UnreadStatement

PAGE_ACCOUNTS: Final = 50
"""The accounts whose chains one page computes."""

ACCOUNTS_MAX: Final = 10_000
"""The most accounts that are looked at for late statements."""

ACCOUNTS_AT_ONCE: Final = 1_000
UNREAD_MAX: Final = 1_000
"""The most statements with unread entries that one page tells of."""


class PresentProblems:
    """See ``ports.StatementProblems``."""

    def __init__(
        self,
        store: StatementStore,
        clock: Clock,
        due_times: StatementDueTimes,
        named: Sequence[AccountNames] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._due_times = due_times
        self._irregular = {
            (folded_bank(each.bank), each.currency, compact_identifier(each.number))
            for each in named
            if not each.numbers_count_by_one
        }

    async def page(self, account_id: int | None, after_id: int) -> ProblemPage:
        """Return a page of the problems; see the port."""
        behind = after_id if account_id is None else account_id - 1
        limit = PAGE_ACCOUNTS if account_id is None else 1
        accounts = await self._store.accounts_at_banks("", after_id=behind, limit=limit + 1)
        page = [each for each in accounts[:limit] if account_id in (None, each.id)]
        last_days = await self._store.last_days([each.id for each in page])
        found: list[AccountProblem] = []
        unread = await self._store.unread([each.id for each in page], UNREAD_MAX)
        for account in page:
            problems = []
            if account.id in last_days:
                chain, by_hash = await self._chain(account)
                problems = list(problems_of(chain, by_hash))
            late = self._late(account, last_days)
            if late is not None:
                problems.append(_of_late(late))
            problems += [_of_unread(each) for each in unread if each.account_id == account.id]
            found += [AccountProblem(account=account, problem=each) for each in problems]
        has_more = account_id is None and len(accounts) > limit
        return ProblemPage(problems=found, after_id=page[-1].id if has_more else 0)

    async def place(self, account_id: int, statement_id: int) -> ChainPlace | None:
        """Return the place of a statement in the chain of its account; see the port."""
        accounts = await self._store.accounts_at_banks("", after_id=account_id - 1, limit=1)
        if not accounts or accounts[0].id != account_id:
            return None
        chain, by_hash = await self._chain(accounts[0])
        own = next((key for key, each in by_hash.items() if each.id == statement_id), None)
        return None if own is None else place_of_statement(chain, by_hash, own)

    async def _chain(self, account: AccountAtBank) -> tuple[StatementChain, dict[str, KeptHead]]:
        kept = await self._store.kept_heads(account.id)
        key = (folded_bank(account.bank), account.currency, compact_identifier(account.number))
        chain = await asyncio.to_thread(
            chain_of,
            [each.head for each in kept],
            numbers_count_by_one=key not in self._irregular,
        )
        return chain, {each.head.content_hash: each for each in kept}

    async def late(self) -> list[MissingStatement]:
        """Return the accounts whose statements are late; at most ``ACCOUNTS_MAX`` accounts are looked at."""
        found: list[MissingStatement] = []
        if self._due_times.is_empty:
            return found
        after_id = 0
        for _ in range(ACCOUNTS_MAX // ACCOUNTS_AT_ONCE):
            accounts = await self._store.accounts_at_banks(
                "", after_id=after_id, limit=ACCOUNTS_AT_ONCE
            )
            last_days = await self._store.last_days([each.id for each in accounts])
            late = (self._late(each, last_days) for each in accounts)
            found += [each for each in late if each is not None]
            if len(accounts) < ACCOUNTS_AT_ONCE:
                break
            after_id = accounts[-1].id
        return found

    def _late(self, account: AccountAtBank, last_days: dict[int, date]) -> MissingStatement | None:
        due = self._due_times.of(account)
        if due is None:
            return None
        return missing_statement(account, last_days.get(account.id), due, self._clock.now())


def _of_unread(unread: UnreadStatement) -> ChainProblem:
    what = "nothing of it can be read"
    if unread.first_entry:
        plural = "entry" if unread.entries == 1 else "entries"
        what = f"{unread.entries} {plural} cannot be read, the first is {unread.first_entry}"
    return ChainProblem(
        kind=ProblemKind.UNREAD,
        reason=f"{what}; what it says of our payments is unknown: {unread.why}",
        first_day=unread.begins,
        last_day=unread.ends,
        statement_id=unread.id,
    )


def _of_late(late: MissingStatement) -> ChainProblem:
    plural = "s are" if late.days > 1 else " is"
    return ChainProblem(
        kind=ProblemKind.MISSING,
        reason=f"{late.days} statement{plural} late",
        first_day=late.first_day,
        last_day=late.last_day,
    )
