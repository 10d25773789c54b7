"""The rules of a rail on which money depends, and what they allow: may the same bytes leave again.

Promises: bytes are sent again only while they are valid, and only if the rail would recognise them as a
duplicate of an earlier transmission. Must never: read a clock; the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final, Protocol

from settlement_engine.domain.lifecycle import Ask

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.settlement import Attempt


class RailClass(StrEnum):
    """What a rail guarantees; a new rail is D until it is shown to guarantee more."""

    A = auto()  # deduplicates, can be asked, enforces validity
    B = auto()  # a recall also stops a payment that arrives after it (a tombstone)
    C = auto()  # files: only a statement proves
    D = auto()  # send once, never again


AT_RAIL: Final = frozenset({Ask.SEND, Ask.ENQUIRE, Ask.RECALL})
"""The questions that rails are asked; screening is no rail."""

RESENDABLE: Final = frozenset({RailClass.A, RailClass.B})
"""The classes in which *not found* may allow the same bytes to be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRules:
    """What decisions need to know of a rail.

    ``is_not_found_definite`` says whether *not found* proves that our reference never arrived, and
    ``not_found_after_seconds`` how long after the send intent it begins to: before, the bank may only not show it yet.
    ``deduplicates_seconds`` is for how long the rail recognises a resend. ``overdue_after_seconds`` is when
    a sent payment is recalled; None means never. ``asks`` are the questions that the rail supports: every
    rail takes payments, some answer enquiries, some take recalls.
    """

    rail_class: RailClass
    is_not_found_definite: bool
    deduplicates_seconds: float
    not_found_after_seconds: float = 0.0
    overdue_after_seconds: float | None = None
    asks: frozenset[Ask] = AT_RAIL


class Transmitted(Protocol):
    """Bytes that may have left: when they were recorded, and until when they may be sent."""

    @property
    def recorded_at(self) -> datetime:
        """When their send intent was recorded."""
        ...

    @property
    def valid_until(self) -> datetime:
        """Until when they may be sent."""
        ...


def may_send_again(attempt: Transmitted, rules: SendingRules, now: datetime) -> bool:
    """Say whether *not found* allows the same bytes to be sent again, by the rail's own rules.

    All must hold: *not found* is definite on this rail and by now, its class allows a resend, the bytes are still
    valid, and the rail would still recognise a duplicate.
    """
    age_seconds = (now - attempt.recorded_at).total_seconds()
    return (
        rules.is_not_found_definite
        and age_seconds >= rules.not_found_after_seconds
        and rules.rail_class in RESENDABLE
        and now < attempt.valid_until
        and _is_recognised(attempt, rules, now)
    )


def is_too_late_to_send(attempt: Attempt, rules: SendingRules | None, now: datetime) -> bool:
    """Say whether the bytes must not be sent any more, after a send that was never transmitted.

    Either they are no longer valid, or an earlier transmission may have arrived and the rail would not
    recognise a duplicate. For a rail that was removed (None) only the validity of the bytes is checked.
    """
    if now >= attempt.valid_until:
        return True
    if rules is None or attempt.sends == attempt.undelivered + 1:
        return False
    return not _is_recognised(attempt, rules, now)


def _is_recognised(attempt: Transmitted, rules: SendingRules, now: datetime) -> bool:
    """Say whether the rail still recognises the reference of the first transmission."""
    return (now - attempt.recorded_at).total_seconds() < rules.deduplicates_seconds
