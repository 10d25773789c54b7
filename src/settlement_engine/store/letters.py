"""Dead letters in PostgreSQL, and what was done about them (``ports.DeadLetterStore``).

Both are only ever added to; the database refuses any other change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.deadletters import (
    ACTS_MAX,
    DeadLetter,
    LetterAct,
    LetterOutcome,
    require_open,
)
from settlement_engine.errors import Contention, NotFound
from settlement_engine.store.database import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from settlement_engine.store.database import DatabaseSettings, Readers


class PostgresLetters:
    """See ``ports.DeadLetterStore``."""

    def __init__(self, settings: DatabaseSettings, readers: Readers) -> None:
        self._readers = readers
        self._writing = Line(settings, is_writing=True)

    async def close(self) -> None:
        """Close the line."""
        await self._writing.close()

    async def bury(self, subject: str, payload: bytes, why: str) -> None:
        """Keep a message with the reason why it was refused."""
        await self._writing.fetch("bury", subject, payload, why)

    async def dead_letters(
        self, limit: int, *, before_id: int | None = None, is_open_only: bool = False
    ) -> list[DeadLetter]:
        """Return them with what was done about them, latest first."""
        rows = await self._readers.fetch("dead_letters", limit, before_id, is_open_only)
        return await self._with_acts(rows)

    async def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Return one."""
        found = await self._with_acts(await self._readers.fetch("dead_letter", letter_id))
        return found[0] if found else None

    async def note_letter(self, letter_id: int, act: LetterAct) -> DeadLetter:
        """Write down what was done; see the port."""
        letter = await self.dead_letter(letter_id)
        if letter is None:
            what = f"there is no dead letter {letter_id}"
            raise NotFound(what)
        require_open(letter)
        noted = await self._writing.fetch(
            "note_letter", letter_id, act.who, act.outcome.value, act.words, act.settlement_id
        )
        after = await self.dead_letter(letter_id)
        assert after is not None, "a dead letter is never taken away"
        if not noted:
            require_open(after)  # Somebody else was first, and ended it.
            what = f"somebody else acts upon dead letter {letter_id}"
            raise Contention(what)
        return after

    async def _with_acts(self, rows: Sequence[asyncpg.Record]) -> list[DeadLetter]:
        if not rows:
            return []
        acts: dict[int, list[LetterAct]] = {row["id"]: [] for row in rows}
        for row in await self._readers.fetch("dead_letter_acts", list(acts), ACTS_MAX):
            acts[row["dead_letter_id"]].append(
                LetterAct(
                    at=row["at"],
                    who=row["who"],
                    outcome=LetterOutcome(row["outcome"]),
                    words=row["words"],
                    settlement_id=row["settlement_id"],
                )
            )
        return [
            DeadLetter(
                id=row["id"],
                subject=row["subject"],
                payload=row["payload"],
                why=row["why"],
                received_at=row["received_at"],
                acts=tuple(acts[row["id"]]),
            )
            for row in rows
        ]
