"""Checks of evidence for the messages: their bytes are those that were recorded, and of the recorded type.

Promises: the bytes of each copied message are compared with its hash; a message that was not copied is only
listed. Must never: interpret the content of a message.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

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
