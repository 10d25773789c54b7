"""Cover payments: a customer's payment to TO, and the transfer between banks through FROM that covers it.

The payment (pacs.008) goes to TO and moves no money of ours; its cover (pacs.009 COV) goes to FROM, which debits our
account. Both have one UETR. The pair is settled only when both are, and either may fail alone (rails.md 4.3, row 26);
``decisions/pairs.py`` decides which event that is.

Promises: a payment that TO has taken is not sent again because its cover failed: people repair the cover, under the
same UETR, or recall the payment. Must never: let a cover be repaired without FROM's own no to the one before.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.errors import WrongState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Settlement

COVER_SUFFIX: Final = "_cover"
"""A rail with this ending of its name sends pairs; the messages of its banks come in over the rail without it."""

COVERS_MAX: Final = 9
"""The most covers of one payment: the first one, and its repairs."""

REASON_CHARACTERS_MAX: Final = 500
"""The longest reason for a repair, as the database has it."""

_NUMBERS: Final = "GHJKLMNPQ"
"""A letter for each cover, none of them a hexadecimal digit: no id of a payment's message has one in that place."""

COVER: Final = "cover"
COVER_SHA256: Final = "cover_sha256"
"""The details of the move that records the send intent of a cover: its number, and the hash of its bytes."""

MAY_BE_REPAIRED: Final = frozenset({State.SENT, State.IN_DOUBT})


class LegSays(StrEnum):
    """What is known of one message of a pair."""

    UNSENT = auto()  # it has not left, and this is proved
    SILENT = auto()  # its bank has not answered
    UNKNOWN = auto()  # its bank does not know it
    TAKEN = auto()  # its bank has it; not final
    SETTLED = auto()  # its bank says that it is final
    REFUSED = auto()  # its bank has rejected it
    GIVEN_BACK = auto()  # its bank has cancelled it after a recall


class CoverProblem(StrEnum):
    """What people have to look at: one message of the pair failed, and the other one did not."""

    COVER_FAILED = "cover"  # TO has the payment, and FROM does not pay the cover
    PAYMENT_FAILED = "payment"  # TO does not have the payment, and FROM may have paid the cover
    COVER_TOO_LATE = "cover_too_late"  # TO has the payment, and the cover may not be sent any more


class CoverRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """FROM's no to a cover, with its own code and text."""

    code: str = ""
    text: str = ""


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """One cover of a payment: the bytes to send, recorded before they leave.

    ``sends`` counts the transmissions that were allowed, ``undelivered`` those that were proved never transmitted.
    ``is_found``: FROM had it when it was recorded; a database that was restored did not know of it.
    ``ordered_by`` is who has ordered the repair, for a ``reason``; the first cover has neither.
    """

    number: int
    message_id: str
    content: bytes
    recorded_at: datetime
    valid_until: datetime
    sends: int = 0
    undelivered: int = 0
    is_found: bool = False
    refusal: CoverRefusal | None = None
    ordered_by: str = ""
    reason: str = ""

    @property
    def has_left(self) -> bool:
        """Say whether it may have left: not every transmission is proved undelivered."""
        return self.is_found or self.sends > self.undelivered


SAID: Final[Mapping[Event, LegSays]] = {
    Event.ACKNOWLEDGED: LegSays.TAKEN,
    Event.SETTLED: LegSays.SETTLED,
    Event.REJECTED: LegSays.REFUSED,
    Event.RECALLED: LegSays.GIVEN_BACK,
    Event.NOT_FOUND: LegSays.UNKNOWN,
}
"""What the answer of a bank says of its message."""


def is_pair(rail: str) -> bool:
    """Say whether the payments of a rail are pairs; it holds for a rail that was removed as well."""
    return rail.endswith(COVER_SUFFIX)


def family_of(rail: str) -> str:
    """Return the rail over which the banks of a rail are reached, and report."""
    return rail.removesuffix(COVER_SUFFIX)


def cover_message_id(message_id: str, number: int) -> str:
    """Return the message id of a cover: that of its payment, with another beginning."""
    return "C" + _NUMBERS[number - 1] + message_id[2:]


def cover_intent(cover: Cover, sha256: str) -> dict[str, str]:
    """Return the details of the move that records the send intent of a cover, and who has ordered it, and why."""
    ordered = {"ordered_by": cover.ordered_by, "reason": cover.reason}
    intent = {COVER: str(cover.number), COVER_SHA256: sha256}
    return intent | {name: text for name, text in ordered.items() if text}


def check_repair(settlement: Settlement, cover: Cover | None) -> None:
    """Refuse to repair what has not failed: only FROM's own no to the last cover allows another one.

    Raises WrongState.
    """
    attempt = settlement.attempt
    if attempt is None or not is_pair(attempt.route.rail):
        raise WrongState("the settlement is no cover payment", why="there is no cover to repair")
    if settlement.state not in MAY_BE_REPAIRED or settlement.is_frozen:
        what = f"the cover of a settlement that is {settlement.state.value} cannot be repaired"
        raise WrongState(
            what, why="it is repaired while TO has the payment and waits for its cover"
        )
    if cover is None or cover.refusal is None:
        what = "the bank has not refused the cover"
        why = "without its own no the cover may still be paid, and another one would pay twice"
        raise WrongState(what, why=why, todo="Ask the bank; `show ID --messages` has its answers.")
    if cover.number >= COVERS_MAX:
        todo = "Cancel the settlement: the bank that has the payment is then asked to give it back."
        raise WrongState(
            f"the cover was sent {COVERS_MAX} times", why="all were refused", todo=todo
        )


def check_still_refused(says: LegSays) -> None:
    """Refuse to repair what FROM does not refuse now: it may have taken its refusal back. Raises WrongState.

    A bank that does not know what it has refused stands by its refusal.
    """
    if says in (LegSays.REFUSED, LegSays.GIVEN_BACK, LegSays.UNKNOWN):
        return
    if says is LegSays.SILENT:
        what = "the bank was asked about the cover once more, and has not answered"
        raise WrongState(what, why="it may have taken its refusal back", todo="Try again later.")
    what = f"the bank has taken its refusal back: it now says that the cover is {says.value}"
    raise WrongState(what, why="another cover would pay twice")


def names_of_cover(references: References, cover: Cover) -> References:
    """Return the references in a cover: those of its payment, with its own message id."""
    return msgspec.structs.replace(references, message_id=cover.message_id)
