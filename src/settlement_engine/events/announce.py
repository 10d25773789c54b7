"""A move, as the world outside hears it: subject, CloudEvents headers and a JSON body.

The module promises that the same move always gives the same bytes, so that a stream that was lost can be
written anew from the outbox; and that no text of a caller or a bank ever gets into a header or a
subject. It must never announce more than the move and the facts of its settlement.
"""

from __future__ import annotations

import re
from datetime import UTC, date
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.announcement import (
    ERA_PLACES,
    REOPENED,
    announcement_type,
    era_of,
    event_id,
    marker_id,
)
from settlement_engine.domain.lifecycle import STATUS
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.settlement import Priority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from settlement_engine.domain.lifecycle import Event, State
    from settlement_engine.domain.settlement import Moved
    from settlement_engine.ports import Announcement

TYPE_PREFIX: Final = "settlement."
BODY_BYTES_MAX: Final = 64 * 1024
"""A longer body is written again with shortened details: one odd text must not stop the stream."""

DETAILS_MAX: Final = 32
DETAIL_TEXT_MAX: Final = 1_000

POSITION_HEADER: Final = "ce-sequence"
ID_HEADER: Final = "Nats-Msg-Id"
TIME_HEADER: Final = "ce-time"

_SUBJECT_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_SOURCE: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
_PRIORITY: Final = {int(priority): priority.name for priority in Priority}


class Message(NamedTuple):
    """What is published for one move. ``headers`` are lines, each ended by carriage return and feed."""

    position: int
    event_id: str
    subject: str
    headers: str
    body: bytes


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON body. Fields are added at the end and never removed or given another meaning."""

    event_id: str
    sequence: int
    settlement_id: str
    seq: int
    event_type: str
    state: str
    status: str
    previous_state: str
    event: str
    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    value_date: date
    priority: str
    time: str
    detail: dict[str, str]


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the marker at the beginning of an era.

    What was announced after ``last_sequence``, and before this, may be forgotten: it is not in our books
    any more, and its settlements are being asked about anew.
    """

    event_id: str
    sequence: int
    event_type: str
    era: int
    last_sequence: int


class _Words(NamedTuple):
    """What depends on the kind of move only, written once for each kind."""

    subject: str
    event_type: str
    state: str
    status: str
    previous_state: str
    event: str
    headers: str


class Announcer:
    """Writes announcements for one subject prefix and one CloudEvents source."""

    def __init__(self, *, prefix: str, source: str) -> None:
        assert _SUBJECT_PREFIX.fullmatch(prefix), "the prefix is made of subject tokens"
        assert _SOURCE.fullmatch(source), "the source is a URI reference in ASCII"
        self._prefix = prefix
        self._source = source
        self._encoder = msgspec.json.Encoder()
        self._words: dict[tuple[State, Event, State], _Words] = {}
        self._at: datetime | None = None
        self._time = ""

    def message(self, announcement: Announcement) -> Message:
        """Write one announcement."""
        moved = announcement.moved
        words = self._words.get((moved.from_state, moved.event, moved.to_state))
        if words is None:
            words = self._find_words(moved)
        if moved.at != self._at:  # The moves of one transaction share an instant.
            self._at = moved.at
            self._time = rfc3339(moved.at)
        name = event_id(moved)
        settlement_id = name.partition(".")[0]
        amount = announcement.amount
        body = Body(
            event_id=name,
            sequence=moved.position,
            settlement_id=settlement_id,
            seq=moved.seq,
            event_type=words.event_type,
            state=words.state,
            status=words.status,
            previous_state=words.previous_state,
            event=words.event,
            obligation_id=announcement.obligation_id,
            from_bank=announcement.from_bank,
            to_bank=announcement.to_bank,
            amount=format_amount(amount.minor, amount.currency),
            currency=amount.currency,
            value_date=announcement.value_date,
            priority=_PRIORITY[announcement.priority],
            time=self._time,
            detail=dict(moved.detail),
        )
        headers = (
            f"{ID_HEADER}: {name}\r\nce-id: {name}\r\n{words.headers}"
            f"ce-subject: {settlement_id}\r\n{TIME_HEADER}: {self._time}\r\n"
            f"{POSITION_HEADER}: {moved.position}\r\n"
        )
        return Message(moved.position, name, words.subject, headers, self._encode(body))

    def marker(self, era: int, last_position: int) -> Message:
        """Write the marker of an era; ``last_position`` is the last place of before that still counts."""
        position = era * ERA_PLACES
        name = marker_id(era)
        body = Marker(
            event_id=name,
            sequence=position,
            event_type=REOPENED,
            era=era,
            last_sequence=last_position,
        )
        headers = (
            f"{ID_HEADER}: {name}\r\nce-id: {name}\r\nce-source: {self._source}\r\n"
            f"ce-specversion: 1.0\r\nce-type: {REOPENED}\r\n"
            f"ce-datacontenttype: application/json\r\n{POSITION_HEADER}: {position}\r\n"
        )
        subject = f"{self._prefix}.{REOPENED.removeprefix(TYPE_PREFIX)}"
        return Message(position, name, subject, headers, self._encoder.encode(body))

    def messages(self, announcements: Sequence[Announcement], after: int) -> list[Message]:
        """Write announcements that follow a place, with the marker of each era that begins among them."""
        found: list[Message] = []
        for announcement in announcements:
            position = announcement.moved.position
            if position != after + 1:
                found.append(self.marker(era_of(position), after))
            found.append(self.message(announcement))
            after = position
        return found

    def _find_words(self, moved: Moved) -> _Words:
        kind = announcement_type(moved)
        words = _Words(
            subject=f"{self._prefix}.{kind.removeprefix(TYPE_PREFIX)}",
            event_type=kind,
            state=moved.to_state.name,
            status=STATUS[moved.to_state].name,
            previous_state=moved.from_state.name,
            event=moved.event.name,
            headers=(
                f"ce-source: {self._source}\r\n"
                "ce-specversion: 1.0\r\n"
                f"ce-type: {kind}\r\n"
                "ce-datacontenttype: application/json\r\n"
            ),
        )
        self._words[moved.from_state, moved.event, moved.to_state] = words
        return words

    def _encode(self, body: Body) -> bytes:
        encoded = self._encoder.encode(body)
        if len(encoded) <= BODY_BYTES_MAX:
            return encoded
        kept = list(body.detail.items())[:DETAILS_MAX]
        detail = {key[:DETAIL_TEXT_MAX]: text[:DETAIL_TEXT_MAX] for key, text in kept}
        return self._encoder.encode(msgspec.structs.replace(body, detail=detail))


def rfc3339(at: datetime) -> str:
    """Write an instant in UTC with microseconds: ``2026-01-31T09:30:00.000000Z``."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:-6] + "Z"
