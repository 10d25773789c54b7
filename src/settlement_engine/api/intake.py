"""The calls of IntakeService: dead letters, and what people do about them.

Promises: a dead letter that is retried is read as strictly as the first time and submitted under its own
idempotency key, so that it never settles twice; the result is stored before the call is answered, even if the
caller has disconnected. It must never change or delete a dead letter.
"""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Final

from settlement_engine.api.call import Service, Unary
from settlement_engine.api.clearing import read_instruction
from settlement_engine.api.grammar import (
    Found,
    check_number,
    check_page_size,
    check_reason,
    check_text,
    check_words,
    refuse,
)
from settlement_engine.api.pages import make_token, read_token
from settlement_engine.api.render import timestamp
from settlement_engine.api.turns import in_parts
from settlement_engine.domain.deadletters import (
    REASON_CHARACTERS_MAX,
    DeadLetterAct,
    DeadLetterFilter,
    DeadLetterOutcome,
    require_open,
    require_whole,
)
from settlement_engine.errors import (
    CallerError,
    Contention,
    NotFound,
    Overloaded,
    Unavailable,
    WrongState,
)
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from settlement_engine.api.call import Call, Undisturbed
    from settlement_engine.domain.deadletters import DeadLetter
    from settlement_engine.ports import DeadLetterStore, Engine

WHO_CHARACTERS_MAX: Final = 100
SUBJECT_CHARACTERS_MAX: Final = 256
AT_ONCE_MAX: Final = 100
"""The most dead letters that one call acts on."""

PASSING: Final = (Overloaded, Unavailable, Contention)
"""Temporary errors: they say nothing about the dead letter, and they stop a call that acts on many."""

_TAKEN_IN: Final = frozenset({DeadLetterOutcome.ACCEPTED, DeadLetterOutcome.REPLAYED})


class IntakeCalls:
    """Serves the calls."""

    def __init__(
        self, engine: Engine, dead_letters: DeadLetterStore, undisturbed: Undisturbed
    ) -> None:
        self._engine = engine
        self._dead_letters = dead_letters
        self._undisturbed = undisturbed

    def unary(self) -> Service:
        """Map the names of the calls, as in the proto, to their handlers."""
        return {
            "ListDeadLetters": Unary(pb.ListDeadLettersRequest, self.list_dead_letters),
            "GetDeadLetter": Unary(pb.GetDeadLetterRequest, self.get),
            "RetryDeadLetter": Unary(pb.RetryDeadLetterRequest, self.retry),
            "DropDeadLetter": Unary(pb.DropDeadLetterRequest, self.drop),
            "RetryDeadLetters": Unary(pb.RetryDeadLettersRequest, self.retry_many),
            "DropDeadLetters": Unary(pb.DropDeadLettersRequest, self.drop_many),
        }

    async def list_dead_letters(
        self, request: pb.ListDeadLettersRequest, call: Call
    ) -> pb.ListDeadLettersResponse:
        """List dead letters, newest first."""
        del call
        found: Found = []
        filters = (request.with_ended,)
        size = check_page_size(request.page_size, found)
        position = read_token(request.page_token, filters, found)
        before_id = check_number("page_token", position, found) if position else None
        refuse(found)
        dead_letters = await self._dead_letters.dead_letters(
            size + 1,
            before_id=before_id,
            is_open_only=not request.with_ended,
            has_payload=False,
        )
        page = dead_letters[:size]
        has_more = len(dead_letters) > size
        return pb.ListDeadLettersResponse(
            letters=await in_parts(page, partial(_dead_letter, has_payload=False)),
            next_page_token=make_token(filters, str(page[-1].id)) if has_more else "",
        )

    async def get(self, request: pb.GetDeadLetterRequest, call: Call) -> pb.DeadLetter:
        """Return one dead letter with its payload."""
        del call
        return _dead_letter(await self._find(request.id))

    async def retry(self, request: pb.RetryDeadLetterRequest, call: Call) -> pb.DeadLetter:
        """Read a dead letter again and submit it; one that was accepted before is returned unchanged."""
        who = _who(request.who, call)
        dead_letter = await self._find(request.id)
        ending = dead_letter.ending
        if ending is not None and ending.outcome in _TAKEN_IN:
            return _dead_letter(dead_letter)
        require_open(dead_letter)
        require_whole(dead_letter)
        return _dead_letter(await self._undisturbed.run(self._resubmit(dead_letter, who)))

    async def drop(self, request: pb.DropDeadLetterRequest, call: Call) -> pb.DeadLetter:
        """Close a dead letter with a reason; repeating the call returns it unchanged."""
        _check_reason(request.reason)
        who = _who(request.who, call)
        dead_letter = await self._find(request.id)
        ending = dead_letter.ending
        if ending is not None and ending.outcome is DeadLetterOutcome.DROPPED:
            return _dead_letter(dead_letter)
        act = DeadLetterAct(who=who, outcome=DeadLetterOutcome.DROPPED, words=request.reason)
        return _dead_letter(
            await self._undisturbed.run(self._dead_letters.note_dead_letter(dead_letter.id, act))
        )

    async def retry_many(
        self, request: pb.RetryDeadLettersRequest, call: Call
    ) -> pb.DeadLettersResponse:
        """Retry the open dead letters that were stored whole, oldest first."""
        who = _who(request.who, call)

        async def act(dead_letter: DeadLetter) -> DeadLetter:
            return await self._undisturbed.run(self._resubmit(dead_letter, who))

        return await self._act_on_many(request, act, is_whole_only=True)

    async def drop_many(
        self, request: pb.DropDeadLettersRequest, call: Call
    ) -> pb.DeadLettersResponse:
        """Close the open dead letters, oldest first, with one reason."""
        _check_reason(request.reason)
        who = _who(request.who, call)
        note = DeadLetterAct(who=who, outcome=DeadLetterOutcome.DROPPED, words=request.reason)

        async def act(dead_letter: DeadLetter) -> DeadLetter:
            return await self._undisturbed.run(
                self._dead_letters.note_dead_letter(dead_letter.id, note)
            )

        return await self._act_on_many(request, act, is_whole_only=False)

    async def _act_on_many(
        self,
        request: pb.RetryDeadLettersRequest | pb.DropDeadLettersRequest,
        act: Callable[[DeadLetter], Awaitable[DeadLetter]],
        *,
        is_whole_only: bool,
    ) -> pb.DeadLettersResponse:
        """Act on one after the other; a temporary error ends the call but keeps what was already done."""
        limit, wanted = _read_many(request)
        dead_letters = await self._dead_letters.open_dead_letters(
            limit + 1,
            after_id=request.filter.after_id,
            wanted=wanted,
            is_whole_only=is_whole_only,
            has_payload=is_whole_only and not request.is_dry_run,
        )
        answer = pb.DeadLettersResponse()
        for dead_letter in dead_letters[:limit]:
            after: DeadLetter | None = dead_letter
            if not request.is_dry_run:
                try:
                    after = await act(dead_letter)
                except WrongState:  # another caller has closed it in the meantime
                    after = await self._dead_letters.dead_letter(dead_letter.id)
                except PASSING as fault:
                    answer.stopped_because = f"{type(fault).__name__}: {fault}"
                    return answer
            if after is not None:
                answer.letters.append(_dead_letter(after, has_payload=False))
            answer.next_after_id = dead_letter.id
        if len(dead_letters) <= limit:
            answer.next_after_id = 0
        return answer

    async def _resubmit(self, dead_letter: DeadLetter, who: str) -> DeadLetter:
        """Submit a dead letter; a temporary error is raised and not recorded."""
        outcome, words, settlement_id = DeadLetterOutcome.REFUSED, "", None
        try:
            [result] = await self._engine.submit([read_instruction(dead_letter.payload)])
            if isinstance(result, Exception):
                raise result
            outcome = DeadLetterOutcome.REPLAYED if result.is_replay else DeadLetterOutcome.ACCEPTED
            settlement_id = result.id
        except CallerError as error:
            words = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]
        act = DeadLetterAct(who=who, outcome=outcome, words=words, settlement_id=settlement_id)
        return await self._dead_letters.note_dead_letter(dead_letter.id, act)

    async def _find(self, dead_letter_id: int) -> DeadLetter:
        dead_letter = (
            await self._dead_letters.dead_letter(dead_letter_id) if dead_letter_id > 0 else None
        )
        if dead_letter is None:
            what = f"there is no dead letter {dead_letter_id}"
            raise NotFound(what, listed_by="intake dead-letters list")
        return dead_letter


def _check_reason(reason: str) -> None:
    """Raise InvalidInstruction unless the reason is given and within its limit."""
    found: Found = []
    check_reason(reason, REASON_CHARACTERS_MAX, found)
    refuse(found)


def _read_many(
    request: pb.RetryDeadLettersRequest | pb.DropDeadLettersRequest,
) -> tuple[int, DeadLetterFilter]:
    """Read the limit and the filter. Raises InvalidInstruction."""
    found: Found = []
    if not 0 <= request.limit <= AT_ONCE_MAX:
        found.append(("limit", f"must be 1 to {AT_ONCE_MAX}, or 0 for {AT_ONCE_MAX}"))
    wanted = request.filter
    check_text("filter.subject", wanted.subject, SUBJECT_CHARACTERS_MAX, found)
    if wanted.after_id < 0:
        found.append(("filter.after_id", "must not be negative"))
    since = _instant("filter.since", wanted.since, found) if wanted.HasField("since") else None
    until = _instant("filter.until", wanted.until, found) if wanted.HasField("until") else None
    refuse(found)
    return request.limit or AT_ONCE_MAX, DeadLetterFilter(
        subject=wanted.subject, since=since, until=until
    )


def _instant(field: str, at: Timestamp, found: Found) -> datetime | None:
    try:
        return at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        found.append((field, "is no instant that there is"))
        return None


def _who(name: str, call: Call) -> str:
    """Name the person who acts: the caller, and the person it names. Raises InvalidInstruction."""
    found: Found = []
    check_words("who", name, WHO_CHARACTERS_MAX, found)
    refuse(found)
    return f"{name} ({call.caller})" if name.strip() else call.caller


def _dead_letter(dead_letter: DeadLetter, *, has_payload: bool = True) -> pb.DeadLetter:
    return pb.DeadLetter(
        id=dead_letter.id,
        subject=dead_letter.subject,
        payload=dead_letter.payload if has_payload else b"",
        payload_bytes=dead_letter.payload_bytes,
        payload_hash=dead_letter.payload_hash,
        is_whole=dead_letter.is_whole,
        stream=dead_letter.origin.stream if dead_letter.origin else "",
        stream_sequence=dead_letter.origin.sequence if dead_letter.origin else 0,
        why=dead_letter.why,
        received_at=timestamp(dead_letter.received_at),
        acts=[
            pb.DeadLetterAct(
                at=timestamp(act.at or dead_letter.received_at),
                who=act.who,
                outcome=act.outcome.name,
                words=act.words,
                settlement_id=str(act.settlement_id) if act.settlement_id else "",
            )
            for act in dead_letter.acts
        ],
        is_open=dead_letter.ending is None,
    )
