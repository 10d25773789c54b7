"""Checks of evidence for the messages: their bytes are those that were recorded, and of the recorded type.

Promises: the bytes of each copied message are compared with its hash; a message that was not copied is only
listed. Must never: interpret the content of a message.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from settlement_engine.domain.covers import COVER_SHA256
from settlement_engine.domain.kept_messages import MessageDirection
from settlement_engine.domain.lifecycle import Event
from settlement_engine.evidence.dossier import message_file, payload_file
from settlement_engine.messages.naming import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from settlement_engine.evidence.dossier import Dossier, MessageRecord


def message_faults(dossier: Dossier, _state_machine: object) -> Iterator[str]:
    """Return the faults of the messages."""
    numbers = {attempt.number for attempt in dossier.attempts}
    for number, each in enumerate(dossier.messages.latest, start=1):
        if each.attempt not in numbers:
            yield f"message {number} is about attempt {each.attempt}, which does not exist"
        if each.file:
            yield from _faults_of(number, each, _content(dossier, number, each))


def cover_faults(dossier: Dossier, _state_machine: object) -> Iterator[str]:
    """Compare the send intents of covers with the messages: each names one that was sent.

    Messages of a type that is not known are not copied: without any there is nothing to compare.
    """
    sent = {
        each.sha256 for each in dossier.messages.latest if each.direction is MessageDirection.OUT
    }
    for move in dossier.moves:
        if move.event is not Event.COVER_DUE or not sent or not dossier.messages.is_whole:
            continue
        if move.detail.get(COVER_SHA256, "") not in sent:
            yield f"move {move.seq} records the send intent of a cover that is no message"


def _content(dossier: Dossier, number: int, message: MessageRecord) -> bytes | None:
    if message.file == payload_file(message.attempt):
        return dossier.payloads.get(message.attempt)
    return dossier.contents.get(number) if message.file == message_file(number) else None


def _faults_of(number: int, message: MessageRecord, content: bytes | None) -> Iterator[str]:
    if content is None:
        yield f"the bytes of message {number} are missing"
    elif (hashlib.sha256(content).hexdigest(), len(content)) != (message.sha256, message.bytes):
        yield f"the bytes of message {number} differ from those that were recorded"
    elif message.type and name_of(content).type != message.type:
        yield f"message {number} is no {message.type}"
