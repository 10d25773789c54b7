"""What the tests of rails build: settlements, questions, a clock that is set by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

from settlement_engine.domain.identifiers import references
from settlement_engine.domain.lifecycle import State
from settlement_engine.domain.money import Money
from settlement_engine.domain.settlement import Instruction, Priority, Settlement
from settlement_engine.ports import Answer, Question
from settlement_engine.rails.mock import MockRail, MockSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.ports import SendRail

CALLER = "a-caller"
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class HandClock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        return self.instant

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


class Heard:
    """Collects what was reported, in order."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def __call__(self, answers: Sequence[Answer]) -> None:
        self.answers.extend(answers)

    @property
    def events(self) -> list[Event]:
        return [answer.event for answer in self.answers]


def settlement(key: str, simulate: str | None = None, amount_minor: int = 12_50) -> Settlement:
    instruction = Instruction(
        caller=CALLER,
        idempotency_key=key,
        obligation_id=f"OB-{key}",
        from_bank="DEUTDEFF",
        to_bank="CHASUS33",
        amount=Money(amount_minor, "EUR"),
        value_date=None,
        priority=Priority.NORMAL,
        metadata={} if simulate is None else {"simulate": simulate},
    )
    return Settlement(
        id=settlement_id(key),
        instruction=instruction,
        state=State.LOCKED,
        seq=2,
        fencing_token=1,
        created_at=START,
        value_date=date(2026, 11, 25),
    )


def settlement_id(key: str) -> UUID:
    return uuid5(NAMESPACE_URL, key)


def question(
    rail: SendRail,
    key: str,
    simulate: str | None = None,
    *,
    attempt: int = 1,
    valid_seconds: float = 60,
) -> Question:
    names = references(CALLER, key, attempt)
    return Question(
        settlement_id=settlement_id(key),
        attempt=attempt,
        references=names,
        payload=rail.prepare(settlement(key, simulate), names),
        valid_until=START + timedelta(seconds=valid_seconds),
        trace=f"09100001{settlement_id(key).int % 9_999_999 + 1:07d}",
    )


def mock_settings(folder: Path, **changes: object) -> MockSettings:
    settings: dict[str, object] = {
        "book_file": folder / "bank" / "book.db",
        "latency_seconds": 0.0,
        "success_rate": Decimal(1),
        "answer_timeout_seconds": 0.05,
        "late_seconds": 5.0,
    }
    return MockSettings(**(settings | changes))  # type: ignore[arg-type]


async def book_of(rail: MockRail) -> dict[str, dict[str, object]]:
    """Read the bank's own book, by obligation."""
    entries = [entry async for page in rail.ledger_pages() for entry in page]
    return {entry["obligation_id"]: dict(entry) for entry in entries}
