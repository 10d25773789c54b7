"""Dead letters: messages that intake could not take in, and what people did about them.

Nothing is ever taken away: a letter is what came and why it was refused, and each act upon it is written
beside it. A letter is at its end when its instruction was written down after all, or when a person has
dropped it with a reason.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

REASON_CHARACTERS_MAX: Final = 1_000
ACTS_MAX: Final = 100
"""No more acts are read of one letter, the latest ones."""


class LetterOutcome(StrEnum):
    """What came of an act."""

    ACCEPTED = auto()  # tried again, and written down as a settlement
    REPLAYED = auto()  # tried again, and found written down before
    REFUSED = auto()  # tried again, and refused again
    DROPPED = auto()  # a person decided that nothing is to come of it


class LetterAct(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did, and what came of it. ``words`` is the refusal, or the person's reason.

    ``at`` is the store's own time of the writing; None before it.
    """

    who: str
    outcome: LetterOutcome
    words: str = ""
    settlement_id: UUID | None = None
    at: datetime | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be taken in, with the reason; ``acts`` are in their order."""

    id: int
    subject: str
    payload: bytes
    why: str
    received_at: datetime
    acts: tuple[LetterAct, ...] = ()

    @property
    def ending(self) -> LetterAct | None:
        """Return the act that ended it; None while it waits for a person."""
        ends = (act for act in self.acts if act.outcome is not LetterOutcome.REFUSED)
        return next(ends, None)


def require_open(letter: DeadLetter) -> None:
    """Raise WrongState when the letter is at its end."""
    ending = letter.ending
    if ending is not None:
        what = f"dead letter {letter.id} is at its end: {ending.outcome.name}"
        raise WrongState(what, why=f"by {ending.who}")
