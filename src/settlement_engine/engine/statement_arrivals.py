"""Tells reconciliation of the accounts whose statements were kept, once these were searched for our payments.

An entry may be the proof that ends a payment in doubt. Before its settlement has posted, the entry would be a debit
that nobody ordered. Promises: an account is passed on when what its statements say of our payments is decided, and
after ``SEARCHED_SECONDS_MAX`` in any case. Must never: reconcile, or lose an account that waits (of an engine that
dies, others find its statements).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.errors import Broken, Contention, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from settlement_engine.ports.statement_evidence import UndecidedEvidence

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
"""How often it asks whether the statements were searched."""

SEARCHED_SECONDS_MAX: Final = 60.0
"""How long an account waits: a payment that cannot be decided does not keep its account from a run."""

WAITING_MAX: Final = 10_000
"""The most accounts that wait; all are passed on beyond it."""


class StatementArrivals:
    """Holds accounts back until their statements were searched."""

    def __init__(
        self, store: UndecidedEvidence, arrived: Callable[[Collection[int]], None]
    ) -> None:
        self._store = store
        self._arrived = arrived
        self._waiting: dict[int, float] = {}
        self._wake = asyncio.Event()

    def kept(self, account_ids: Collection[int]) -> None:
        """Take note of accounts whose statements were kept."""
        now = asyncio.get_running_loop().time()
        for each in account_ids:
            self._waiting.setdefault(each, now)
        if len(self._waiting) > WAITING_MAX:
            self._pass_on(list(self._waiting))
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Pass accounts on until cancelled."""
        while True:
            await self._wake.wait()
            await self._look()
            if not self._waiting:
                self._wake.clear()
                continue
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        late = {at for at, since in self._waiting.items() if now - since >= SEARCHED_SECONDS_MAX}
        asked = sorted(self._waiting.keys() - late)
        try:
            undecided = await self._store.undecided_accounts(asked) if asked else set()
        except (Unavailable, Contention, Broken) as error:
            log.warning("searched_statements_not_found", why=error.why or error.what)
            undecided = set(asked)
        if late:
            log.warning("statements_not_decided", accounts=sorted(late)[:20])
        self._pass_on([*late, *(each for each in asked if each not in undecided)])

    def _pass_on(self, account_ids: Collection[int]) -> None:
        for each in account_ids:
            del self._waiting[each]
        if account_ids:
            self._arrived(account_ids)
