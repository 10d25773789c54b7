"""Reconciles our accounts at banks with the banks' statements.

Promises: one run at a time in all engines. What is new or open is matched, page by page, each page in one
transaction, so that a run that was cut off is continued by the next one with the same result. An account that fails is
reported as failed, with what is to be done, and the others go on. Must never: post anything but a difference that the
rules close, or match what is not unique.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from settlement_engine.domain.balance_comparison import BalanceComparison
from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.booking_days import first_day
from settlement_engine.domain.break_search import found_breaks
from settlement_engine.domain.closed_differences import NO_RULES, rules_of
from settlement_engine.domain.continuity import compact_identifier
from settlement_engine.domain.matching.breaks import BreakSeverity
from settlement_engine.domain.matching_pages import match_page
from settlement_engine.domain.proof import at_day, prove
from settlement_engine.domain.reconciliation import (
    ACCOUNTS_MAX,
    OPENING_DIFFERENCE,
    SET_ASIDE,
    SUPERSEDED,
    AccountOutcome,
    AccountResult,
    EntryPlace,
    FoundBreak,
    RunBegin,
    RunLost,
    reported,
)
from settlement_engine.domain.statement_chain import chain_of
from settlement_engine.domain.statement_import import NEIGHBOURS_MAX, AccountNames
from settlement_engine.errors import Contention, NotFound, SettlementEngineError
from settlement_engine.ports import Zones

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID

    from settlement_engine.domain.matching.values import Rules
    from settlement_engine.domain.proof import BalanceProof
    from settlement_engine.domain.reconciliation import (
        AccountToReconcile,
        BreakPage,
        PageDone,
        ReconciliationRun,
    )
    from settlement_engine.domain.statement_chain import StatementChain
    from settlement_engine.ports import BalanceAsker, ReconciliationStore, StatementToMatch

log = structlog.get_logger(__name__)

STATEMENTS_MAX: Final = NEIGHBOURS_MAX
"""The most statements of an account: more than fifty years of days."""

ACCOUNTS_AT_ONCE: Final = 2
"""How many accounts a run reconciles side by side: the engine prepares one page while the database writes another."""

REASON_CHARACTERS_MAX: Final = 1_000


@dataclass(slots=True)
class _Progress:
    """What a run has done about an account: the number of matches, and the hash over the pages in order."""

    matches: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, done: PageDone) -> None:
        """Count a page."""
        self.matches += done.matches
        self.digest.update(done.result_hash.encode())


class Reconciliation:
    """See ``ports.Reconciler``."""

    def __init__(
        self,
        store: ReconciliationStore,
        named: Sequence[AccountNames] = (),
        *,
        zone: str = "UTC",
        rules: Rules = NO_RULES,
        balances: BalanceAsker | None = None,
    ) -> None:
        self._store = store
        self._balances = balances
        self._zone = zone
        self._rules = rules
        self._named = {
            (folded_bank(each.bank), each.currency, compact_identifier(each.number)): each
            for each in named
        }

    @property
    def rules_version(self) -> str:
        """Return the version of the rules that matches are made by."""
        return self._rules.full_version

    async def reconcile(self, run: ReconciliationRun) -> list[AccountResult]:
        """Carry out a run, and return what it found about each account."""
        run = replace(run, rules_version=self.rules_version)
        begun = await self._store.begin(run)
        if begun is RunBegin.DONE:
            return []
        if begun is RunBegin.BUSY:
            what = "another reconciliation is going on"
            raise Contention(what, todo="Wait for its report, or ask again.")
        try:
            return await self._carry_out(run)
        except BaseException:
            await self._store.leave()
            raise

    async def _carry_out(self, run: ReconciliationRun) -> list[AccountResult]:
        zones = await self._own_zones(run)
        while await self._store.take_in_postings(Zones(default=self._zone, by_account=zones)):
            pass
        wanted = await self._store.accounts_to_reconcile(run, ACCOUNTS_MAX)
        if run.account_id is not None and not wanted:
            raise NotFound(
                f"there is no account {run.account_id} at a bank", listed_by="accounts list"
            )
        progress = [_Progress() for _ in wanted]
        results = await self._reconcile_each(run, wanted, progress)
        digest = hashlib.sha256()
        for each in progress:
            digest.update(each.digest.digest())
        digest.update(msgspec.json.encode(results))
        matches = sum(each.matches for each in progress)
        await self._store.end(run.id, reported(results), matches, digest.digest())
        return results

    async def _own_zones(self, run: ReconciliationRun) -> dict[int, str]:
        """Return the zones of the accounts that have their own: only their banks' accounts are read for it."""
        zones: dict[int, str] = {}
        for bank in sorted({folded_bank(each.bank) for each in self._named.values() if each.zone}):
            at_bank = replace(run, account_id=None, bank=bank, currency="")
            for account in await self._store.accounts_to_reconcile(at_bank, ACCOUNTS_MAX):
                zone = self._names_of(account).zone
                if zone:
                    zones[account.id] = zone
        return zones

    async def _reconcile_each(
        self,
        run: ReconciliationRun,
        wanted: Sequence[AccountToReconcile],
        progress: Sequence[_Progress],
    ) -> list[AccountResult]:
        """Reconcile accounts, a few side by side; the results are in the order of the accounts."""
        results: dict[int, AccountResult] = {}
        waiting = iter(range(len(wanted)))

        async def work() -> None:
            for place in waiting:
                results[place] = await self._try(run, wanted[place], progress[place])

        try:
            async with asyncio.TaskGroup() as group:
                # An error that is no account's own ends the run.
                for _ in range(ACCOUNTS_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as found:
            if (lost := found.subgroup(RunLost)) is not None:
                raise lost.exceptions[0] from found
            raise
        return [results[place] for place in range(len(wanted))]

    async def _try(
        self, run: ReconciliationRun, account: AccountToReconcile, progress: _Progress
    ) -> AccountResult:
        """Reconcile an account; one that fails does not stop the others."""
        try:
            return await self._reconcile(run, account, progress)
        except RunLost:
            raise  # another engine may be carrying out a run of its own
        except SettlementEngineError as error:
            log.warning("account_not_reconciled", account_id=account.id, error=str(error))
            return AccountResult(
                account_id=account.id,
                bank=account.bank,
                currency=account.currency,
                outcome=AccountOutcome.FAILED,
                reason=_said(error),
            )

    async def _reconcile(
        self, run: ReconciliationRun, account: AccountToReconcile, progress: _Progress
    ) -> AccountResult:
        names = self._names_of(account)
        await self._store.take_in_outside(account.id, names.zone or self._zone)
        statements = await self._store.statements_to_match(account.id, STATEMENTS_MAX)
        heads = [each.head for each in statements]
        chain = chain_of(heads, numbers_count_by_one=names.numbers_count_by_one)
        closed = await self._match(run.id, account, _in_force(chain, statements), progress)
        waiting = await self._store.reverse_differences(account.id, zone=names.zone or self._zone)
        await self._find_breaks(run.id, account.id)
        days = await self._store.statement_days(account.id)
        begins = first_day(chain, days)
        books = await self._store.books(account.id, begins)
        proofs = prove(chain, books, heads, days)
        opening = _opening_break(account, begins, proofs)
        await self._store.set_opening_difference(account.id, run.id, opening)
        last = proofs[-1].booking_date if proofs else None
        open_breaks = await self._store.settle_breaks(
            account.id, run.id, begins=begins, last_day=last
        )
        await self._store.keep_proofs(
            account,
            run.id,
            proofs,
            last_statement_id=max((each.id for each in statements), default=0),
            last_decision_id=max((each.last_decision_id for each in statements), default=0),
        )
        result = msgspec.structs.replace(
            _result(account, _wanted(proofs, run.business_date), open_breaks),
            closed_differences=sum(each.differences for each in closed),
            closed_minor=sum(each.differences_minor for each in closed),
        )
        if waiting.transfers:
            log.warning("differences_not_reversed", account_id=account.id, count=waiting.transfers)
            return _with_waiting(result, waiting.reason(account.currency))
        if statements or run.business_date is not None:
            return result
        return await self._compared(account, result)

    async def _compared(self, account: AccountToReconcile, result: AccountResult) -> AccountResult:
        """Compare the balances of an account that has no statements, if the bank states one: no proof is made of it."""
        said = await self._balances.balance(account) if self._balances is not None else None
        said = said or await self._store.reported_balance(account.id)
        if said is None:
            return result
        found = BalanceComparison(
            as_of=said.as_of,
            our_minor=await self._store.balance_at(account.id, said.as_of),
            their_minor=said.minor,
            source=said.source,
        )
        is_same = found.difference_minor == 0
        return msgspec.structs.replace(
            result,
            outcome=AccountOutcome.COMPARED if is_same else AccountOutcome.UNRESOLVED,
            reason=found.reason,
            comparison=found,
        )

    async def _match(
        self,
        run_id: UUID,
        account: AccountToReconcile,
        statements: tuple[list[StatementToMatch], list[StatementToMatch]],
        progress: _Progress,
    ) -> list[PageDone]:
        """Match what is new and what is open; returns the pages on which the rules closed differences."""
        in_force, superseded = statements
        account_id, zone = account.id, self._names_of(account).zone or self._zone
        rules = rules_of(self._rules, account.bank, account.currency)
        matcher = partial(match_page, rules=rules)
        closed: list[PageDone] = []
        for each in superseded:
            if each.entries_done is not None:
                why = SET_ASIDE if each.head.is_set_aside else SUPERSEDED
                await self._store.retract_statement(
                    account_id, each.id, run_id, zone=zone, reason=why
                )
        for each in in_force:
            statement = each
            while statement.entries_done is None or statement.entries_done < statement.entries:
                done = await self._store.match_statement_page(
                    account_id, run_id, statement, matcher, zone=zone
                )
                progress.add(done)
                closed += [done] * bool(done.differences)
                statement = replace(statement, entries_done=done.upto)
        await self._store.reopen_late(account_id, run_id, zone=zone)
        place, is_last = EntryPlace(), False
        while not is_last:
            done, place = await self._store.match_open_page(
                account_id, run_id, place, matcher, zone=zone
            )
            progress.add(done)
            closed += [done] * bool(done.differences)
            is_last = done.is_last
        return closed

    async def _find_breaks(self, run_id: UUID, account_id: int) -> None:
        place: EntryPlace | None = EntryPlace()
        while place is not None:
            place = await self._store.find_breaks_page(account_id, run_id, place, self._finder)

    def _finder(self, page: BreakPage) -> list[FoundBreak]:
        return found_breaks(page, self._rules)

    def _names_of(self, account: AccountToReconcile) -> AccountNames:
        """Return what is configured of an account's statements."""
        key = (folded_bank(account.bank), account.currency, compact_identifier(account.number))
        return self._named.get(key) or AccountNames(
            bank=account.bank, currency=account.currency, number=account.number
        )


def _said(error: SettlementEngineError) -> str:
    """Say why an account could not be reconciled, and what is to be done."""
    words = ": ".join(text for text in (error.what, error.why) if text)
    return f"{words}. {error.todo}".removesuffix(". ")[:REASON_CHARACTERS_MAX]


def _with_waiting(result: AccountResult, reason: str) -> AccountResult:
    """Return the result of an account with differences that wait to be reversed: it is not balanced meanwhile."""
    is_balanced = result.outcome is AccountOutcome.BALANCED
    return msgspec.structs.replace(
        result,
        outcome=AccountOutcome.IDENTIFIED if is_balanced else result.outcome,
        reason="; ".join(text for text in (result.reason, reason) if text),
    )


def _in_force(
    chain: StatementChain, statements: Sequence[StatementToMatch]
) -> tuple[list[StatementToMatch], list[StatementToMatch]]:
    """Return the statements whose entries count, in the order of the chain, and the others."""
    by_hash = {each.head.content_hash: each for each in statements}
    hashes = [page.content_hash for joined in chain.row for page in joined.pages]
    counting = [by_hash.pop(each) for each in hashes]
    return counting, list(by_hash.values())


def _opening_break(
    account: AccountToReconcile, begins: date | None, proofs: Sequence[BalanceProof]
) -> FoundBreak | None:
    """Return the break of the opening difference; None if there is none."""
    if begins is None or not proofs or proofs[-1].opening_difference_minor == 0:
        return None
    return FoundBreak(
        kind=OPENING_DIFFERENCE,
        severity=int(BreakSeverity.HIGH),
        amount_minor=proofs[-1].opening_difference_minor,
        currency=account.currency,
        business_date=begins,
        reason="the first statement's opening balance is not our balance as of that day",
    )


def _wanted(proofs: Sequence[BalanceProof], day: date | None) -> BalanceProof | None:
    """Return the proof of a day, or the last one."""
    if day is None:
        return proofs[-1] if proofs else None
    return at_day(proofs, day)


def _result(
    account: AccountToReconcile, proof: BalanceProof | None, open_breaks: int
) -> AccountResult:
    outcome, reason = AccountOutcome.BALANCED, ""
    if proof is None:
        outcome, reason = AccountOutcome.PENDING, "there is no statement for the day"
    elif not proof.is_zero:
        outcome = AccountOutcome.UNRESOLVED
        reason = proof.held_back_by or "a difference is left that no item explains"
    elif proof.unmatched_ours or proof.unmatched_theirs or proof.opening_difference_minor:
        outcome, reason = AccountOutcome.IDENTIFIED, "open items explain the difference"
    return AccountResult(
        account_id=account.id,
        bank=account.bank,
        currency=account.currency,
        outcome=outcome,
        reason=reason,
        proof=proof,
        open_breaks=open_breaks,
    )
