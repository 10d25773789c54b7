"""Pages that one import has brought before the rest of their statement: whether a later one has completed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.cli.connection import CALL_SECONDS
from settlement_engine.cli.statement_problems import PAGES_MAX, present_problems
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Collection

    from settlement_engine.cli.connection import EngineClient

ACCOUNTS_MAX: Final = 1_000
"""The most accounts that are asked about after an import: pages of the others count as problems."""


class WaitingPages:
    """The pages that were INCOMPLETE when they were imported, by account."""

    def __init__(self) -> None:
        self._by_account: dict[str, list[int]] = {}

    def note(self, found: wire.Statement) -> None:
        """Remember a page whose statement was not complete."""
        is_known = found.account_id in self._by_account
        if found.outcome == wire.STATEMENT_OUTCOME_INCOMPLETE and (
            is_known or len(self._by_account) < ACCOUNTS_MAX
        ):
            self._by_account.setdefault(found.account_id, []).append(found.number)

    def completed(self, engine: EngineClient) -> int:
        """Return how many of them belong to statements that are complete by now."""
        return sum(
            len(numbers) - len(_incomplete(engine, account_id, numbers))
            for account_id, numbers in self._by_account.items()
        )


def _incomplete(engine: EngineClient, account_id: str, numbers: list[int]) -> Collection[int]:
    """Return the pages whose statement is still incomplete: all, where no chain of the account is told."""
    wanted = wire.GetStatementRequest(number=numbers[0], page_size=1)
    if not engine.statements.GetStatement(wanted, timeout=CALL_SECONDS).HasField("place"):
        return numbers
    problems = present_problems(engine, account_id, PAGES_MAX)
    if len(problems) == PAGES_MAX:
        return numbers
    kind = wire.STATEMENT_PROBLEM_KIND_INCOMPLETE
    return {each.number for each in problems if each.kind == kind} & set(numbers)
