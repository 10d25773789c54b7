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
    POSITIONS_PER_EPOCH,
    REOPENED,
    announcement_type,
    event_text,
    marker_id,
    system_epoch_of,
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

UTF8_BYTES_MAX: Final = 4
"""A character has no more bytes than that, so that a short body need not be counted."""

GENERATION: Final = 10_000
"""So many settlements are a generation. The texts of two are kept: a few seconds of a full load."""

DETAILS_MAX: Final = 32
DETAIL_TEXT_MAX: Final = 1_000

POSITION_HEADER: Final = "ce-sequence"
ID_HEADER: Final = "Nats-Msg-Id"
NAME_HEADER: Final = "ce-id"
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
    body: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON body. Fields are added at the end and never removed or given another meaning.

    Bodies are put together from texts written once: those of a kind of move, and those of a settlement, which
    is announced several times within moments. What is put together is what this structure would be, to the byte.
    """

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
    system_epoch: int = msgspec.field(name="era")
    last_sequence: int


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a body that depend on the kind of move only."""

    event_type: str
    state: str
    status: str
    previous_state: str
    event: str


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a body that depend on the settlement only."""

    obligation_id: str
    from_bank: str
    to_bank: str
    amount: str
    currency: str
    value_date: date
    priority: str


class _Words(NamedTuple):
    """What depends on the kind of move only, written once for each kind."""

    subject: str
    headers: str
    fields: str


class Announcer:
    """Writes announcements for one subject prefix and one CloudEvents source."""

    def __init__(self, *, prefix: str, source: str) -> None:
        assert _SUBJECT_PREFIX.fullmatch(prefix), "the prefix is made of subject tokens"
        assert _SOURCE.fullmatch(source), "the source is a URI reference in ASCII"
        self._prefix = prefix
        self._source = source
        self._encoder = msgspec.json.Encoder()
        self._words: dict[tuple[State, Event, State], _Words] = {}
        self._new_generation: dict[int, tuple[str, str]] = {}
        self._old_generation: dict[int, tuple[str, str]] = {}
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
        settlement_id, facts = self._known(announcement)
        name = event_text(settlement_id, moved.seq, moved.position)
        body = self._body(moved, name, settlement_id, f"{words.fields},{facts}")
        headers = (
            f"{ID_HEADER}: {name}\r\n{NAME_HEADER}: {name}\r\n{words.headers}"
            f"ce-subject: {settlement_id}\r\n{TIME_HEADER}: {self._time}\r\n"
            f"{POSITION_HEADER}: {moved.position}\r\n"
        )
        return Message(moved.position, name, words.subject, headers, body)

    def _body(self, moved: Moved, name: str, settlement_id: str, fields: str) -> str:
        """Put a body together; one that is too long is written again with shortened details."""
        detail = self._encoder.encode(dict(moved.detail)).decode() if moved.detail else "{}"
        before = (
            f'{{"event_id":"{name}","sequence":{moved.position},"settlement_id":"{settlement_id}",'
            f'"seq":{moved.seq},{fields},"time":"{self._time}","detail":'
        )
        body = f"{before}{detail}}}"
        if len(body) * UTF8_BYTES_MAX <= BODY_BYTES_MAX or len(body.encode()) <= BODY_BYTES_MAX:
            return body
        kept = list(moved.detail.items())[:DETAILS_MAX]
        short = {key[:DETAIL_TEXT_MAX]: text[:DETAIL_TEXT_MAX] for key, text in kept}
        return f"{before}{self._encoder.encode(short).decode()}}}"

    def _known(self, announcement: Announcement) -> tuple[str, str]:
        """Return the settlement's identifier and its fields of the body, written once for all its moves."""
        key = announcement.moved.settlement_id.int
        known = self._new_generation.get(key) or self._old_generation.get(key)
        if known is None:
            amount = announcement.amount
            facts = _Facts(
                obligation_id=announcement.obligation_id,
                from_bank=announcement.from_bank,
                to_bank=announcement.to_bank,
                amount=format_amount(amount.minor, amount.currency),
                currency=amount.currency,
                value_date=announcement.value_date,
                priority=_PRIORITY[announcement.priority],
            )
            known = str(announcement.moved.settlement_id), self._fields(facts)
            if len(self._new_generation) >= GENERATION:
                self._old_generation, self._new_generation = self._new_generation, {}
            self._new_generation[key] = known
        return known

    def _fields(self, part: msgspec.Struct) -> str:
        """Write the fields of a part of the body, without the braces around them."""
        return self._encoder.encode(part)[1:-1].decode()

    def marker(self, system_epoch: int, last_position: int) -> Message:
        """Write the marker of an era; ``last_position`` is the last place of before that still counts."""
        position = system_epoch * POSITIONS_PER_EPOCH
        name = marker_id(system_epoch)
        body = Marker(
            event_id=name,
            sequence=position,
            event_type=REOPENED,
            system_epoch=system_epoch,
            last_sequence=last_position,
        )
        headers = (
            f"{ID_HEADER}: {name}\r\n{NAME_HEADER}: {name}\r\nce-source: {self._source}\r\n"
            f"ce-specversion: 1.0\r\nce-type: {REOPENED}\r\n"
            f"ce-datacontenttype: application/json\r\n{POSITION_HEADER}: {position}\r\n"
        )
        subject = f"{self._prefix}.{REOPENED.removeprefix(TYPE_PREFIX)}"
        return Message(position, name, subject, headers, self._encoder.encode(body).decode())

    def messages(self, announcements: Sequence[Announcement], after: int) -> list[Message]:
        """Write announcements that follow a place, with the marker of each era that begins among them."""
        found: list[Message] = []
        for announcement in announcements:
            position = announcement.moved.position
            if position != after + 1:
                found.append(self.marker(system_epoch_of(position), after))
            found.append(self.message(announcement))
            after = position
        return found

    def _find_words(self, moved: Moved) -> _Words:
        kind = announcement_type(moved)
        fields = _Kind(
            event_type=kind,
            state=moved.to_state.name,
            status=STATUS[moved.to_state].name,
            previous_state=moved.from_state.name,
            event=moved.event.name,
        )
        words = _Words(
            subject=f"{self._prefix}.{kind.removeprefix(TYPE_PREFIX)}",
            headers=(
                f"ce-source: {self._source}\r\n"
                "ce-specversion: 1.0\r\n"
                f"ce-type: {kind}\r\n"
                "ce-datacontenttype: application/json\r\n"
            ),
            fields=self._fields(fields),
        )
        self._words[moved.from_state, moved.event, moved.to_state] = words
        return words


def without_id(message: Message) -> Message:
    """Leave out the id by which JetStream knows a message again; ``ce-id`` goes on naming it.

    For one that has to be stored although somebody else has used its id.
    """
    return message._replace(
        headers=message.headers.removeprefix(f"{ID_HEADER}: {message.event_id}\r\n")
    )


def rfc3339(at: datetime) -> str:
    """Write an instant in UTC with microseconds: ``2026-01-31T09:30:00.000000Z``."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:-6] + "Z"
