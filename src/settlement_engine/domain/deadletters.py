"""Dead letters: messages that intake could not take in, and what people did about them.

A letter is what came and why it was refused, and each act upon it is written beside it; neither is ever
changed. A letter is at its end when its instruction was written down after all, or when a person has
dropped it with a reason. Some time after its end, and never before, it may be removed.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the fields' types
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from uuid import UUID

REASON_CHARACTERS_MAX: Final = 1_000
ACTS_MAX: Final = 100
"""No more acts are read of one letter, the latest ones."""

KEPT_DAYS_MIN: Final = 30
"""No letter is removed sooner after its end; the database guards it."""

COUNTED_MAX: Final = 100_000
"""Those that wait for a person are counted up to this."""


class MessageOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Which message of a stream it was. The instant of its storing tells streams of one name apart."""

    stream: str
    sequence: int
    stored_at: datetime


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters: of this subject, received from ``since`` on and before ``until``; empty is any."""

    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERY_LETTER: Final = LetterFilter()


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
    """A message that could not be taken in, with the reason; ``acts`` are in their order.

    ``payload`` is what was kept, or empty where it was not asked for; ``kept_bytes`` is its size in any case.
    ``payload_bytes`` and ``payload_hash`` (SHA-256) are those of the whole message.
    """

    id: int
    subject: str
    payload: bytes
    why: str
    received_at: datetime
    kept_bytes: int
    payload_bytes: int
    payload_hash: bytes
    origin: MessageOrigin | None = None
    acts: tuple[LetterAct, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Say whether all that came was kept: only then it can be tried again."""
        return self.kept_bytes == self.payload_bytes

    @property
    def ending(self) -> LetterAct | None:
        """Return the act that ended it; None while it waits for a person."""
        ends = (act for act in self.acts if act.outcome is not LetterOutcome.REFUSED)
        return next(ends, None)


def require_whole(letter: DeadLetter) -> None:
    """Raise WrongState when only a part of the message was kept."""
    if not letter.is_whole:
        what = (
            f"dead letter {letter.id} was stored without its whole payload, so it cannot be retried"
        )
        kept = f"{letter.kept_bytes} of {letter.payload_bytes} bytes were kept"
        raise WrongState(
            what, why=kept, todo="Ask its sender to send it again, then drop this one."
        )


def require_open(letter: DeadLetter) -> None:
    """Raise WrongState when the letter is at its end."""
    ending = letter.ending
    if ending is not None:
        what = f"dead letter {letter.id} is already closed: {ending.outcome.name}"
        raise WrongState(what, why=f"by {ending.who}")
