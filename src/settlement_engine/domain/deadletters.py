"""Dead letters: instruction messages that could not be accepted, and what people did about them.

A dead letter is the message and the reason why it was refused; each action on it is recorded beside it. It is
closed when a retry was accepted as a settlement, or when a person dropped it with a reason.

Promises: message, reason and actions are never changed. Must never: be removed before it has been closed for
``KEPT_DAYS_MIN`` days.
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
"""How many actions on one dead letter are read: the latest ones."""

KEPT_DAYS_MIN: Final = 30
"""How many days a closed dead letter is kept at least; the database enforces it too."""

COUNTED_MAX: Final = 100_000
"""How far open dead letters are counted."""


class MessageOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """Which message of a stream it was. The time it was stored distinguishes streams of the same name."""

    stream: str
    sequence: int
    stored_at: datetime


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters: of this subject, received from ``since`` on and before ``until``; empty is any."""

    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERY_DEAD_LETTER: Final = DeadLetterFilter()


class DeadLetterOutcome(StrEnum):
    """The result of an action on a dead letter."""

    ACCEPTED = auto()  # retried, and accepted as a settlement
    REPLAYED = auto()  # retried, and found accepted earlier
    REFUSED = auto()  # retried, and refused again
    DROPPED = auto()  # a person decided not to process it


class DeadLetterAct(msgspec.Struct, frozen=True, kw_only=True):
    """One action on a dead letter, with its result. ``words`` is the refusal, or the person's reason.

    ``at`` is the database's time when it was written; None before that.
    """

    who: str
    outcome: DeadLetterOutcome
    words: str = ""
    settlement_id: UUID | None = None
    at: datetime | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that could not be accepted, with the reason; ``acts`` are in the order they happened.

    ``payload`` is the kept part of the message, or empty if the payload was not requested; ``kept_bytes`` is its
    size in either case. ``payload_bytes`` and ``payload_hash`` (SHA-256) describe the whole message.
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
    acts: tuple[DeadLetterAct, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Say whether the whole message was kept: only then can it be retried."""
        return self.kept_bytes == self.payload_bytes

    @property
    def ending(self) -> DeadLetterAct | None:
        """Return the action that closed it; None while it waits for a person."""
        ends = (act for act in self.acts if act.outcome is not DeadLetterOutcome.REFUSED)
        return next(ends, None)


def require_whole(dead_letter: DeadLetter) -> None:
    """Raise WrongState when only a part of the message was kept."""
    if not dead_letter.is_whole:
        what = f"dead letter {dead_letter.id} was stored without its whole payload, so it cannot be retried"
        kept = f"{dead_letter.kept_bytes} of {dead_letter.payload_bytes} bytes were kept"
        raise WrongState(
            what, why=kept, todo="Ask its sender to send it again, then drop this one."
        )


def require_open(dead_letter: DeadLetter) -> None:
    """Raise WrongState when the dead letter is closed already."""
    ending = dead_letter.ending
    if ending is not None:
        what = f"dead letter {dead_letter.id} is already closed: {ending.outcome.name}"
        raise WrongState(what, why=f"by {ending.who}")
