"""Dead letters in memory (``ports.DeadLetterStore``)."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.deadletters import (
    ACTS_MAX,
    EVERY_DEAD_LETTER,
    KEPT_DAYS_MIN,
    DeadLetter,
    DeadLetterOutcome,
    require_open,
)
from settlement_engine.errors import InvariantViolated, NotFound

if TYPE_CHECKING:
    from settlement_engine.domain.deadletters import DeadLetterAct, DeadLetterFilter, MessageOrigin
    from settlement_lab.memory.records import Records

TAKEN_IN = frozenset({DeadLetterOutcome.ACCEPTED, DeadLetterOutcome.REPLAYED})


class MemoryDeadLetters:
    """See ``ports.DeadLetterStore``."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def keep_dead_letter(
        self,
        subject: str,
        payload: bytes,
        why: str,
        origin: MessageOrigin | None = None,
        *,
        kept_bytes_max: int | None = None,
    ) -> bool:
        """Keep a message with the reason why it was refused; see the port."""
        kept = self._records.dead_letters
        if origin is not None and any(each.origin == origin for each in kept):
            return False
        self._records.last_dead_letter += 1
        kept.append(
            DeadLetter(
                id=self._records.last_dead_letter,
                subject=subject,
                payload=payload[:kept_bytes_max],
                why=why,
                received_at=self._records.clock.now(),
                kept_bytes=len(payload[:kept_bytes_max]),
                payload_bytes=len(payload),
                payload_hash=sha256(payload).digest(),
                origin=origin,
            )
        )
        return True

    async def open_dead_letters(
        self,
        limit: int,
        *,
        after_id: int = 0,
        wanted: DeadLetterFilter = EVERY_DEAD_LETTER,
        is_whole_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return dead letters that wait for a person, oldest first."""
        found = [
            _latest(dead_letter, has_payload=has_payload)
            for dead_letter in self._records.dead_letters
            if dead_letter.ending is None
            and dead_letter.id > after_id
            and wanted.subject in ("", dead_letter.subject)
            and (wanted.since is None or dead_letter.received_at >= wanted.since)
            and (wanted.until is None or dead_letter.received_at < wanted.until)
            and (dead_letter.is_whole or not is_whole_only)
        ]
        return found[:limit]

    async def waiting_dead_letters(self, limit: int) -> int:
        """Count dead letters that wait for a person, up to ``limit``."""
        waiting = sum(dead_letter.ending is None for dead_letter in self._records.dead_letters)
        return min(waiting, limit)

    async def remove_dead_letters(self, days: int, limit: int) -> int:
        """Remove dead letters that were closed ``days`` ago; see the port."""
        assert days >= KEPT_DAYS_MIN, "the database would refuse a shorter time"
        until = self._records.clock.now() - timedelta(days=days)
        ended = [
            (dead_letter.ending.at, dead_letter.id)
            for dead_letter in self._records.dead_letters
            if dead_letter.ending is not None and dead_letter.ending.at is not None
        ]
        gone = {number for at, number in sorted(ended)[:limit] if at < until}
        kept = [
            dead_letter for dead_letter in self._records.dead_letters if dead_letter.id not in gone
        ]
        self._records.dead_letters[:] = kept
        return len(gone)

    async def dead_letters(
        self,
        limit: int,
        *,
        before_id: int | None = None,
        is_open_only: bool = False,
        has_payload: bool = True,
    ) -> list[DeadLetter]:
        """Return dead letters with what was done about them, latest first."""
        found = [
            _latest(dead_letter, has_payload=has_payload)
            for dead_letter in reversed(self._records.dead_letters)
            if (before_id is None or dead_letter.id < before_id)
            and not (is_open_only and dead_letter.ending is not None)
        ]
        return found[:limit]

    async def dead_letter(self, dead_letter_id: int) -> DeadLetter | None:
        """Return one dead letter."""
        found = [each for each in self._records.dead_letters if each.id == dead_letter_id]
        return _latest(found[0]) if found else None

    async def note_dead_letter(self, dead_letter_id: int, act: DeadLetterAct) -> DeadLetter:
        """Record what was done; see the port."""
        places = {each.id: place for place, each in enumerate(self._records.dead_letters)}
        place = places.get(dead_letter_id)
        if place is None:
            what = f"there is no dead letter {dead_letter_id}"
            raise NotFound(what, listed_by="intake dead-letters list")
        dead_letter = self._records.dead_letters[place]
        require_open(dead_letter)
        is_told = bool(act.words) or act.outcome is not DeadLetterOutcome.DROPPED
        if (
            not act.who
            or not is_told
            or (act.outcome in TAKEN_IN) != (act.settlement_id is not None)
        ):
            what = "an act upon a dead letter says who, and why or what came of it"
            raise InvariantViolated(what)
        noted = msgspec.structs.replace(act, at=self._records.clock.now())
        after = msgspec.structs.replace(dead_letter, acts=(*dead_letter.acts, noted))
        self._records.dead_letters[place] = after
        return _latest(after)


def _latest(dead_letter: DeadLetter, *, has_payload: bool = True) -> DeadLetter:
    payload = dead_letter.payload if has_payload else b""
    return msgspec.structs.replace(dead_letter, payload=payload, acts=dead_letter.acts[-ACTS_MAX:])
