"""Asks banks for the balances of our accounts, over the rails whose banks state them.

Promises: a bank that fails is an account without a balance, and nothing more; the wait for an answer is bounded. Must
never: ask inside a transaction.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.balance_comparison import StatedBalance
from settlement_engine.domain.statement_import import accounts_to_ask
from settlement_engine.errors import SettlementEngineError
from settlement_engine.ports import BalanceQuestion, BalanceSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.reconciliation import AccountToReconcile
    from settlement_engine.domain.statement_import import AccountNames, AccountToAsk
    from settlement_engine.ports import Clock, SendRail, StatementStore

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

ANSWER_SECONDS_MAX: Final = 60.0
"""How long a run waits for one bank's balance."""


class BalanceFetch:
    """See ``ports.BalanceAsker``."""

    def __init__(
        self,
        store: StatementStore,
        rails: Mapping[str, SendRail],
        clock: Clock,
        named: Sequence[AccountNames] = (),
    ) -> None:
        self._store = store
        self._sources = {
            name: rail for name, rail in rails.items() if isinstance(rail, BalanceSource)
        }
        self._clock = clock
        self._named = named

    async def balance(self, account: AccountToReconcile) -> StatedBalance | None:
        """Ask for the balance of an account; see the port."""
        if not self._sources:
            return None
        found = await self._store.accounts_at_banks("", after_id=account.id - 1, limit=1)
        for wanted in accounts_to_ask(found, self._named):
            for name, source in self._sources.items():
                currency = wanted.account.currency
                is_it = wanted.account.id == account.id
                if is_it and source.gives_balances(wanted.bank, currency):
                    return await self._ask(name, source, wanted)
        return None

    async def _ask(
        self, rail: str, source: BalanceSource, wanted: AccountToAsk
    ) -> StatedBalance | None:
        question = BalanceQuestion(
            bank=wanted.bank, account_number=wanted.number, currency=wanted.account.currency
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await source.balance(question)
        except (TimeoutError, SettlementEngineError) as error:
            log.warning("balance_not_given", account_id=wanted.account.id, reason=str(error))
            return None
        if answer.minor is None:
            log.warning("balance_not_given", account_id=wanted.account.id, reason=answer.reason)
            return None
        as_of = answer.as_of or self._clock.now()
        return StatedBalance(minor=answer.minor, as_of=as_of, source=rail)
