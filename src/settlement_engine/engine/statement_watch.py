"""Watches for late statements: an alarm for each account, and the question to its bank where a rail can ask.

Promises: an account is told in the log when it becomes late and when its statement has come, and counted meanwhile;
a bank is asked for the first missing day, and again only after a pause; a failure of one look does not end the watch.
Must never: hold up anything else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.exceptions import ENGINE
from settlement_engine.errors import SettlementEngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date, datetime

    from settlement_engine.domain.missing_statements import MissingStatement
    from settlement_engine.engine.statement_problems import PresentProblems
    from settlement_engine.ports import Clock, StatementFetcher

LOOK_SECONDS: Final = 60.0
ASK_AGAIN_AFTER: Final = timedelta(minutes=15)
ASKED_MAX: Final = 20
"""The most banks that one look asks for statements."""

LOGGED_MAX: Final = 100
"""The most accounts that one look writes to the log."""

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)


class StatementWatch:
    """Looks for late statements until it is cancelled."""

    def __init__(
        self,
        problems: PresentProblems,
        fetcher: StatementFetcher,
        clock: Clock,
        show: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._problems = problems
        self._fetcher = fetcher
        self._clock = clock
        self._show = show
        self._late: dict[int, MissingStatement] = {}
        self._asked: dict[tuple[int, date], datetime] = {}

    async def run(self) -> None:
        """Look again and again."""
        while True:
            try:
                await self.look()
            except SettlementEngineError as error:
                log.warning("statements_not_looked_at", why=error.why or error.what)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, tell what has changed, and ask for what is late. Raises what the store raises."""
        late = {each.account.id: each for each in await self._problems.late()}
        self._show(Counter(folded_bank(each.account.bank) for each in late.values()))
        self._tell(late)
        self._late = late
        await self._ask([each for each in late.values() if self._is_to_be_asked(each)])

    def _tell(self, late: Mapping[int, MissingStatement]) -> None:
        new = [each for key, each in late.items() if key not in self._late]
        for each in new[:LOGGED_MAX]:
            log.error(
                "statement_missing",
                account=each.account.id,
                bank=each.account.bank,
                currency=each.account.currency,
                day=each.first_day.isoformat(),
                days=each.days,
            )
        come = [each for key, each in self._late.items() if key not in late]
        for each in come[:LOGGED_MAX]:
            log.info("statement_no_longer_missing", account=each.account.id)

    def _is_to_be_asked(self, each: MissingStatement) -> bool:
        asked_at = self._asked.get((each.account.id, each.first_day))
        return asked_at is None or self._clock.now() >= asked_at + ASK_AGAIN_AFTER

    async def _ask(self, late: Sequence[MissingStatement]) -> None:
        kept = {(each.account.id, each.first_day) for each in self._late.values()}
        self._asked = {key: at for key, at in self._asked.items() if key in kept}
        for each in late[:ASKED_MAX]:
            self._asked[each.account.id, each.first_day] = self._clock.now()
            try:
                found = await self._fetcher.fetch_account(each.account, each.first_day, ENGINE)
            except SettlementEngineError as error:
                log.warning("statement_not_asked_for", why=error.why or error.what)
                continue
            for answer in found:
                log.info(
                    "statement_asked_for",
                    account=answer.account_id,
                    day=each.first_day.isoformat(),
                    outcome=answer.outcome.value,
                    reason=answer.reason,
                )
