"""A move as it is published: subject, CloudEvents headers and a JSON body.

Promises: the same move always gives the same bytes, so that a lost stream can be written again from the outbox.
Must never: put text of a caller or a bank into a header or a subject, or publish more than the move and the fields
of its settlement.
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
"""The longest body in bytes; a longer one is written again with shortened details."""

UTF8_BYTES_MAX: Final = 4
"""The most bytes of a character, so that the bytes of a short body need not be counted."""

GENERATION: Final = 10_000
"""The number of settlements in a cache generation. Two generations are kept: a few seconds of full load."""

DETAILS_MAX: Final = 32
DETAIL_TEXT_MAX: Final = 1_000

POSITION_HEADER: Final = "ce-sequence"
NOTICE_HEADER: Final = "ce-noticesequence"
"""The position of a notice (``events/notice_messages.py``); no announcement of a move has it."""

ID_HEADER: Final = "Nats-Msg-Id"
NAME_HEADER: Final = "ce-id"
TIME_HEADER: Final = "ce-time"

_SUBJECT_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_SOURCE: Final = re.compile(r"[!-~]{1,200}", re.ASCII)
_PRIORITY: Final = {int(priority): priority.name for priority in Priority}


class Message(NamedTuple):
    """The message published for one move. ``headers`` are lines that end with carriage return and line feed."""

    position: int
    event_id: str
    subject: str
    headers: str
    body: str


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON body. Fields are added at the end and never removed or given another meaning.

    Only a compensation has ``compensates``: the id of the settlement that it compensates.

    Bodies are assembled from cached parts: one for each kind of move, and one for each settlement, which is
    announced several times within a short time. The result has exactly the bytes of this structure.
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
    compensates: str = ""


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the marker at the beginning of a system epoch.

    Moves announced after ``last_sequence`` and before this marker may be lost: they are not in our database any
    more, and the banks are asked about these payments again.
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
    """The parts of a message that depend only on the kind of move, built once for each kind."""

    subject: str
    headers: str
    fields: str


class _Known(NamedTuple):
    """The parts of a body that depend on the settlement only, built once for each; ``end`` follows the details."""

    settlement_id: str
    facts: str
    end: str


class Announcer:
    """Builds announcements for one subject prefix and one CloudEvents source."""

    def __init__(self, *, prefix: str, source: str) -> None:
        assert _SUBJECT_PREFIX.fullmatch(prefix), "the prefix is made of subject tokens"
        assert _SOURCE.fullmatch(source), "the source is a URI reference in ASCII"
        self._prefix = prefix
        self._source = source
        self._encoder = msgspec.json.Encoder()
        self._words: dict[tuple[State, Event, State], _Words] = {}
        self._new_generation: dict[int, _Known] = {}
        self._old_generation: dict[int, _Known] = {}
        self._at: datetime | None = None
        self._time = ""

    @property
    def subjects(self) -> str:
        """The subjects that moves are announced on, and nothing else of ours."""
        return f"{self._prefix}.*"

    def message(self, announcement: Announcement) -> Message:
        """Build one announcement."""
        moved = announcement.moved
        words = self._words.get((moved.from_state, moved.event, moved.to_state))
        if words is None:
            words = self._find_words(moved)
        if moved.at != self._at:  # The moves of one transaction have the same time.
            self._at = moved.at
            self._time = rfc3339(moved.at)
        settlement_id, facts, end = self._known(announcement)
        name = event_text(settlement_id, moved.seq, moved.position)
        body = self._body(moved, name, settlement_id, (f"{words.fields},{facts}", end))
        headers = (
            f"{ID_HEADER}: {name}\r\n{NAME_HEADER}: {name}\r\n{words.headers}"
            f"ce-subject: {settlement_id}\r\n{TIME_HEADER}: {self._time}\r\n"
            f"{POSITION_HEADER}: {moved.position}\r\n"
        )
        return Message(moved.position, name, words.subject, headers, body)

    def _body(self, moved: Moved, name: str, settlement_id: str, parts: tuple[str, str]) -> str:
        """Assemble a body; one that is too long is built again with shortened details."""
        fields, end = parts
        detail = self._encoder.encode(dict(moved.detail)).decode() if moved.detail else "{}"
        before = (
            f'{{"event_id":"{name}","sequence":{moved.position},"settlement_id":"{settlement_id}",'
            f'"seq":{moved.seq},{fields},"time":"{self._time}","detail":'
        )
        body = f"{before}{detail}{end}}}"
        if len(body) * UTF8_BYTES_MAX <= BODY_BYTES_MAX or len(body.encode()) <= BODY_BYTES_MAX:
            return body
        kept = list(moved.detail.items())[:DETAILS_MAX]
        short = {key[:DETAIL_TEXT_MAX]: text[:DETAIL_TEXT_MAX] for key, text in kept}
        return f"{before}{self._encoder.encode(short).decode()}{end}}}"

    def _known(self, announcement: Announcement) -> _Known:
        """Return the settlement's parts of the body, cached for all its moves."""
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
            compensates = announcement.compensates
            end = f',"compensates":"{compensates}"' if compensates is not None else ""
            known = _Known(str(announcement.moved.settlement_id), self._fields(facts), end)
            if len(self._new_generation) >= GENERATION:
                self._old_generation, self._new_generation = self._new_generation, {}
            self._new_generation[key] = known
        return known

    def _fields(self, part: msgspec.Struct) -> str:
        """Encode a part of the body, without the braces around it."""
        return self._encoder.encode(part)[1:-1].decode()

    def marker(self, system_epoch: int, last_position: int) -> Message:
        """Build the marker of a system epoch; ``last_position`` is the last earlier position that is valid."""
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
        """Build the announcements after a position, with the marker of each system epoch among them."""
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
    """Return the message without JetStream's message id; ``ce-id`` still identifies it.

    For a message that must be stored although another message with its id is in the stream.
    """
    return message._replace(
        headers=message.headers.removeprefix(f"{ID_HEADER}: {message.event_id}\r\n")
    )


def rfc3339(at: datetime) -> str:
    """Format a time in UTC with microseconds: ``2026-01-31T09:30:00.000000Z``."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:-6] + "Z"
