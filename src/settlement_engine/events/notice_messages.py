"""A notice as it is published: subject, CloudEvents headers and a JSON body.

Promises: the same notice always gives the same bytes. Its number has a header and a field of its own, so that
nobody takes it for that of a move. Must never: put text of a caller or a bank into a header or a subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.announcement import POSITION_MAX
from settlement_engine.domain.notices import (
    is_notice_id,
    notice_fields,
    notice_id,
    notice_subject,
    notice_type,
)
from settlement_engine.events.announce import (
    BODY_BYTES_MAX,
    ID_HEADER,
    NAME_HEADER,
    NOTICE_HEADER,
    TIME_HEADER,
    TYPE_PREFIX,
    Message,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from settlement_engine.domain.notices import OutboxNotice

_DIGITS_MAX: Final = len(str(POSITION_MAX))


class NoticeAnnouncer:
    """Builds the messages of notices for one subject prefix and one CloudEvents source."""

    def __init__(self, *, prefix: str, source: str) -> None:
        self._prefix = prefix
        self._source = source
        self._encoder = msgspec.json.Encoder()

    @property
    def subjects(self) -> str:
        """The subjects that notices are published on, and no move."""
        return f"{self._prefix}.*.>"

    def message(self, notice: OutboxNotice) -> Message:
        """Build one message."""
        kind, name, at = notice_type(notice.fact), notice_id(notice), rfc3339(notice.at)
        body = {
            "event_id": name,
            "notice_sequence": notice.position,
            "event_type": kind,
            "time": at,
            **notice_fields(notice.fact),
        }
        headers = (
            f"{ID_HEADER}: {name}\r\n{NAME_HEADER}: {name}\r\nce-source: {self._source}\r\n"
            f"ce-specversion: 1.0\r\nce-type: {kind}\r\nce-datacontenttype: application/json\r\n"
            f"ce-subject: {notice_subject(notice.fact)}\r\n{TIME_HEADER}: {at}\r\n"
            f"{NOTICE_HEADER}: {notice.position}\r\n"
        )
        subject = f"{self._prefix}.{kind.removeprefix(TYPE_PREFIX)}"
        text = self._encoder.encode(body)
        assert len(text) <= BODY_BYTES_MAX, "the texts of a fact are bounded by the database"
        return Message(notice.position, name, subject, headers, text.decode())

    def messages(self, notices: Sequence[OutboxNotice]) -> list[Message]:
        """Build the messages of notices."""
        return [self.message(each) for each in notices]


def notice_position_in(headers: Mapping[str, str]) -> int | None:
    """Return the position that a message claims among the notices; None if no notice of ours can have it."""
    text = headers.get(NOTICE_HEADER, "")
    if len(text) > _DIGITS_MAX or not (text.isascii() and text.isdigit()):
        return None
    position = int(text)
    is_ours = 0 < position <= POSITION_MAX and is_notice_id(headers.get(NAME_HEADER, ""))
    return position if is_ours else None
