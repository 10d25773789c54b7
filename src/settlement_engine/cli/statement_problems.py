"""What is wrong with the statements at present, and a statement's place in the chain of its account, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from settlement_engine.cli.connection import CALL_SECONDS
from settlement_engine.cli.messages import as_dict
from settlement_engine.cli.output import GOOD, counted, mark, table
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.cli.connection import EngineClient

PAGES_MAX: Final = 1_000
_PREFIX: Final = "STATEMENT_PROBLEM_KIND_"
COLUMNS: Final = ("PROBLEM", "BANK", "ACCOUNT", "FROM", "TO", "NO.", "")


def present_problems(
    engine: EngineClient, account_id: str, limit: int
) -> list[wire.StatementProblem]:
    """Read so many problems, of one account or of all."""
    found: list[wire.StatementProblem] = []
    wanted = wire.ListStatementProblemsRequest(account_id=account_id)
    for _ in range(PAGES_MAX):
        answer = engine.statements.ListStatementProblems(wanted, timeout=CALL_SECONDS)
        found += answer.problems
        if len(found) >= limit or not answer.next_page_token:
            break
        wanted.page_token = answer.next_page_token
    return found[:limit]


def _kind(found: wire.StatementProblem) -> str:
    return wire.StatementProblemKind.Name(found.kind).removeprefix(_PREFIX)


def problem_as_dict(found: wire.StatementProblem) -> dict[str, Any]:
    """Return a problem as JSON has it."""
    return {**as_dict(found), "kind": _kind(found)}


def say_problems(found: Sequence[wire.StatementProblem]) -> None:
    """Print the problems as a table."""
    if not found:
        mark(GOOD, "nothing is missing at present")
        return
    rows = [
        (
            _kind(each),
            each.bank,
            f"{each.account_number} {each.currency}",
            each.first_date,
            each.last_date,
            str(each.number or ""),
            each.reason,
        )
        for each in found
    ]
    table(COLUMNS, rows, right=("NO.",))


def place_in_words(answer: wire.GetStatementResponse) -> str:
    """Say where the statement stands in the chain of its account; empty for what is in none."""
    if not answer.HasField("place"):
        return "not in the chain of its account" if answer.statement.account_id else ""
    place = answer.place
    numbers = (("after", place.number_before), ("before", place.number_after))
    beside = ", ".join(f"{word} no. {number}" for word, number in numbers if number)
    text = f"{place.position} of {counted(place.of, 'statement')}"
    problem = place.problem
    said = f"{_kind(problem)}: {problem.reason}" if place.HasField("problem") else ""
    return "; ".join(part for part in (text, beside, said) if part)
