"""The fixture of the trials: a database, a bank, stores that bypass the engines, and one engine at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import asyncpg

from settlement_engine.domain.ledger import AccountKind
from settlement_engine.domain.money import Money
from settlement_engine.ports import AccountSpec, Funding
from tests.failure.trials import (
    OVERDUE_CURRENCY,
    SIDES,
    SPENT_CURRENCY,
    WAITING_CURRENCY,
    Trial,
)
from tests.support.frailbank import FrailBank
from tests.support.frailengine import FrailEngine, Watch
from tests.support.histories import MADE_UP
from tests.support.stores import PostgresStores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from settlement_engine.domain.settlement import Instruction
    from settlement_engine.ports import TransitionCommand, TransitionResult

FUNDS_MINOR: Final = 10**9
FUNDING_LEG: Final = 3
SPEND: Final = """
WITH sides AS (
    SELECT v.id AS debit_id, c.id AS credit_id, v.credits_posted - v.debits_posted AS amount
    FROM accounts AS v, accounts AS c
    WHERE v.kind = 'vostro' AND v.bank = $2 AND v.currency = $3
        AND c.kind = 'clearing' AND c.bank = $1 AND c.currency = $3
        AND v.credits_posted > v.debits_posted
), paid AS (
    INSERT INTO transfers (
        group_id, leg, debit_id, credit_id, amount_minor, currency, reference, at
    )
    SELECT gen_random_uuid(), $4::smallint, debit_id, credit_id, amount, $3, $5, clock_timestamp()
    FROM sides
    RETURNING debit_id, credit_id, amount_minor
)
UPDATE accounts AS a SET
    debits_posted = a.debits_posted + CASE a.id WHEN p.debit_id THEN p.amount_minor ELSE 0 END,
    credits_posted = a.credits_posted + CASE a.id WHEN p.credit_id THEN p.amount_minor ELSE 0 END
FROM paid AS p WHERE a.id IN (p.debit_id, p.credit_id)
"""


class Cluster:
    """One database, one bank, stores that bypass the engines, and one engine at a time."""

    def __init__(self, url: str) -> None:
        self.bank = FrailBank()
        self.stores = PostgresStores(url)
        self.deaths = 0
        self._url = url
        self._trial: Trial | None = None
        self._engine: FrailEngine | None = None
        self._sql: asyncpg.Connection[asyncpg.Record] | None = None

    async def open(self) -> Cluster:
        """Open the accounts and start the first engine."""
        self._sql = await asyncpg.connect(self._url)
        await self.execute(
            "UPDATE settlement_windows SET window_start = '00:00', window_end = '00:00',"
            " days_of_week = '{1,2,3,4,5,6,7}'"
        )
        for currency in ("EUR", WAITING_CURRENCY, OVERDUE_CURRENCY, SPENT_CURRENCY):
            for bank in SIDES:
                for kind in (AccountKind.NOSTRO, AccountKind.VOSTRO):
                    spec = AccountSpec(
                        kind=kind,
                        bank=bank,
                        currency=currency,
                        account_number="",
                        credit_limit=0,
                        caller="test",
                        idempotency_key="",
                    )
                    await self.stores.accounts.open_account(spec)
            await self.stores.accounts.fund(
                Funding(
                    bank=SIDES[0],
                    amount=Money(FUNDS_MINOR, currency),
                    reference="",
                    account_number="",
                    caller="test",
                    idempotency_key=f"funds-{currency}",
                )
            )
        return self

    async def close(self) -> None:
        """Stop everything."""
        if self._engine is not None:
            await self._engine.keep_dead_letter()
        await self.stores.close()
        assert self._sql is not None
        await self._sql.close()

    async def execute(self, statement: str, *arguments: object) -> None:
        """Run a statement that bypasses the engine."""
        assert self._sql is not None
        await self._sql.execute(statement, *arguments)

    async def count(self, statement: str, *arguments: object) -> int:
        """Run a count that bypasses the engine."""
        assert self._sql is not None
        return int(await self._sql.fetchval(statement, *arguments))

    async def spend_everything(self) -> None:
        """Let the receiver spend its whole balance in its currency, by a transfer outside the engine."""
        await self.execute(SPEND, SIDES[0], SIDES[1], SPENT_CURRENCY, FUNDING_LEG, MADE_UP)

    async def engine(self, trial: Trial) -> FrailEngine:
        """Return the running engine; start the next one if there is none."""
        if self._engine is not None and self._engine.is_dead:
            await self._engine.keep_dead_letter()
            self._engine = None
            self.deaths += 1
        if self._engine is None:
            self._engine = await FrailEngine(self._url, self.bank, watch=_Relayed(self)).start()
        self._engine.check_alive()
        self._trial = trial
        return self._engine

    @property
    def watch(self) -> Watch:
        """The observer of the current trial."""
        return self._trial or Watch()

    async def set_window(self, trial: Trial, *, is_open: bool) -> None:
        """Open or close the window of the currency for trials that wait."""
        hours = "00:00', '00:00" if is_open else "03:00', '03:01"
        days = "1,2,3,4,5,6,7" if is_open else str((await self._weekday() + 2) % 7 + 1)
        await self.execute("DELETE FROM settlement_windows WHERE currency = $1", WAITING_CURRENCY)
        await self.execute(
            f"INSERT INTO settlement_windows (currency, zone, window_start, window_end,"
            f" days_of_week) VALUES ($1, 'UTC', '{hours}', '{{{days}}}')",
            WAITING_CURRENCY,
        )
        engine = await self.engine(trial)
        engine.service._window_calendar.replace(await self.stores.accounts.windows())

    async def _weekday(self) -> int:
        return await self.count("SELECT extract(isodow FROM clock_timestamp() AT TIME ZONE 'UTC')")


class _Relayed(Watch):
    """Forwards to the current trial, because engines outlive trials."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def before_admission(
        self, engine: FrailEngine, new: Sequence[tuple[UUID, Instruction]]
    ) -> None:
        self._cluster.watch.before_admission(engine, new)

    def before_steps(self, engine: FrailEngine, steps: Sequence[TransitionCommand]) -> None:
        self._cluster.watch.before_steps(engine, steps)

    def after_steps(
        self, steps: Sequence[TransitionCommand], outcomes: Sequence[TransitionResult]
    ) -> None:
        self._cluster.watch.after_steps(steps, outcomes)
