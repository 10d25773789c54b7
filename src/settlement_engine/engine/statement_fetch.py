"""Asks banks for the statements of a day, over the rails that give statements out, and has them imported.

Promises: every account of ours gets an outcome; a bank that fails does not stop the others. What a bank sends is
imported like any other file: kept first, then read. Must never: ask a bank inside a transaction, or take the answer
to one account for an answer to another: each statement says itself which account it is of.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.statement_import import ReceivedFile, accounts_to_ask
from settlement_engine.errors import WrongState
from settlement_engine.ports import StatementQuestion, StatementSource
from settlement_engine.ports.statements import FetchedAccount, FetchOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from settlement_engine.domain.statement_import import (
        AccountAtBank,
        AccountNames,
        AccountToAsk,
    )
    from settlement_engine.ports import (
        Clock,
        SendRail,
        StatementAnswer,
        StatementImporter,
        StatementStore,
    )

ACCOUNTS_MAX: Final = 500
"""The most accounts that one call asks for."""

ASKED_AT_ONCE_MAX: Final = 4


class StatementFetch:
    """See ``ports.StatementFetcher``."""

    def __init__(
        self,
        store: StatementStore,
        importer: StatementImporter,
        rails: Mapping[str, SendRail],
        clock: Clock,
        named: Sequence[AccountNames] = (),
    ) -> None:
        self._store = store
        self._importer = importer
        self._sources = {
            name: rail for name, rail in rails.items() if isinstance(rail, StatementSource)
        }
        self._clock = clock
        self._named = named
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

    async def fetch(self, bank: str, day: date | None, who: str) -> list[FetchedAccount]:
        """Ask for the statements of a day; see the port."""
        day = day or self._clock.now().date() - timedelta(days=1)
        accounts = await self._store.accounts_at_banks(bank, after_id=0, limit=ACCOUNTS_MAX + 1)
        if len(accounts) > ACCOUNTS_MAX:
            what = f"there are more than {ACCOUNTS_MAX} accounts at banks"
            raise WrongState(what, todo="Name a bank, and ask for the others afterwards.")
        wanted = [
            each
            for each in accounts_to_ask(accounts, self._named)
            if not bank or folded_bank(each.bank) == folded_bank(bank)
        ]
        return list(await asyncio.gather(*(self._fetch(each, day, who) for each in wanted)))

    async def fetch_account(
        self, account: AccountAtBank, day: date, who: str
    ) -> list[FetchedAccount]:
        """Ask for the statement of one account, at each bank that keeps it; see the port."""
        bank = "" if account.is_at_agent else account.bank
        beside = await self._store.accounts_at_banks(bank, after_id=0, limit=ACCOUNTS_MAX)
        return [
            await self._fetch(each, day, who)
            for each in accounts_to_ask(beside, self._named)
            if each.account.id == account.id
        ]

    async def _fetch(self, wanted: AccountToAsk, day: date, who: str) -> FetchedAccount:
        """Ask for the statement of one account."""
        currency = wanted.account.currency
        fetched = FetchedAccount(
            account_id=wanted.account.id,
            bank=wanted.bank,
            account_number=wanted.number,
            currency=currency,
            outcome=FetchOutcome.NOT_OFFERED,
            reason="no rail over which the bank gives statements reaches it",
        )
        for name, source in self._sources.items():
            if source.gives_statements(wanted.bank, currency):
                question = StatementQuestion(
                    bank=wanted.bank, account_number=wanted.number, currency=currency, day=day
                )
                async with self._asking:
                    answer = await source.statement(question)
                return await self._import(fetched, name, question, answer, who)
        return fetched

    async def _import(
        self,
        fetched: FetchedAccount,
        rail: str,
        question: StatementQuestion,
        answer: StatementAnswer,
        who: str,
    ) -> FetchedAccount:
        if not answer.content:
            outcome = FetchOutcome.NOT_GIVEN if answer.was_reached else FetchOutcome.NOT_REACHED
            return fetched.with_outcome(outcome, rail, answer.reason)
        name = f"{rail}-{question.bank}-{question.currency}-{question.day}.xml"
        file = ReceivedFile(name=name, content=answer.content, who=who)
        imported = await self._importer.import_file(file)
        return fetched.with_outcome(FetchOutcome.FETCHED, rail, "", tuple(imported))
