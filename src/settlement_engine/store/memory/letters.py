"""Dead letters in memory (``ports.DeadLetterStore``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.deadletters import (
    ACTS_MAX,
    DeadLetter,
    LetterOutcome,
    require_open,
)
from settlement_engine.errors import InvariantViolated, NotFound

if TYPE_CHECKING:
    from settlement_engine.domain.deadletters import LetterAct
    from settlement_engine.store.memory.records import Records

TAKEN_IN = frozenset({LetterOutcome.ACCEPTED, LetterOutcome.REPLAYED})


class MemoryLetters:
    """See ``ports.DeadLetterStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def bury(self, subject: str, payload: bytes, why: str) -> None:
        """Keep a message with the reason why it was refused."""
        self._records.dead_letters.append(
            DeadLetter(
                id=len(self._records.dead_letters) + 1,
                subject=subject,
                payload=payload,
                why=why,
                received_at=self._records.clock.now(),
            )
        )

    async def dead_letters(
        self, limit: int, *, before_id: int | None = None, is_open_only: bool = False
    ) -> list[DeadLetter]:
        """Return them with what was done about them, latest first."""
        found = [
            _latest(letter)
            for letter in reversed(self._records.dead_letters)
            if (before_id is None or letter.id < before_id)
            and not (is_open_only and letter.ending is not None)
        ]
        return found[:limit]

    async def dead_letter(self, letter_id: int) -> DeadLetter | None:
        """Return one."""
        found = [each for each in self._records.dead_letters if each.id == letter_id]
        return _latest(found[0]) if found else None

    async def note_letter(self, letter_id: int, act: LetterAct) -> DeadLetter:
        """Write down what was done; see the port."""
        place = letter_id - 1
        if not 0 <= place < len(self._records.dead_letters):
            what = f"there is no dead letter {letter_id}"
            raise NotFound(what)
        letter = self._records.dead_letters[place]
        require_open(letter)
        is_told = bool(act.words) or act.outcome is not LetterOutcome.DROPPED
        if (
            not act.who
            or not is_told
            or (act.outcome in TAKEN_IN) != (act.settlement_id is not None)
        ):
            what = "an act upon a dead letter says who, and why or what came of it"
            raise InvariantViolated(what)
        noted = msgspec.structs.replace(act, at=self._records.clock.now())
        after = msgspec.structs.replace(letter, acts=(*letter.acts, noted))
        self._records.dead_letters[place] = after
        return _latest(after)


def _latest(letter: DeadLetter) -> DeadLetter:
    return msgspec.structs.replace(letter, acts=letter.acts[-ACTS_MAX:])
