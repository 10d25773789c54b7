"""The reasons why a call could not be served.

A *refusal* is a business outcome: data that is stored on the settlement and sent in the response
(``domain/preconditions.py``). An *exception* of this tree says that the call itself could not be served,
and who has to act:

    SettlementEngineError
    ├── CallerError            the caller must change something
    │   ├── InvalidInstruction
    │   ├── NotFound
    │   ├── IdempotencyConflict
    │   ├── NotAuthenticated
    │   ├── NotPermitted
    │   ├── WrongState
    │   └── NotOffered
    ├── Contention             a concurrent change was first; the engine already tried again
    ├── Overloaded             a limit is reached, or the engine is draining
    ├── Unavailable            PostgreSQL or NATS is out of reach
    ├── Misconfigured          the configuration cannot be run
    └── Broken                 a bug or damaged data: a person has to act
        ├── IllegalMove
        ├── InvariantViolated
        └── CorruptRecord

Each class carries a stable ``reason`` that clients may rely on. The mapping to gRPC statuses lives in
``api/errors.py``; a test demands an entry there for every class. This module must never import another
module of the engine.
"""

from __future__ import annotations

from typing import ClassVar


class SettlementEngineError(Exception):
    """The root of all errors that the engine raises on purpose.

    ``what`` says what failed, ``why`` names the cause, ``todo`` says what to do next. The command line
    prints them as three lines.
    """

    reason: ClassVar[str] = "SETTLEMENT_ENGINE_ERROR"

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo


class CallerError(SettlementEngineError):
    """The caller must change something: the same call would fail again."""

    reason = "CALLER_ERROR"


class InvalidInstruction(CallerError):
    """A field has a wrong format, size or scale. Nothing was stored.

    ``violations`` holds pairs of field name and description; the most important one comes first.
    """

    reason = "INVALID_ARGUMENT"

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        assert violations, "an invalid instruction names at least one field"
        field, text = violations[0]
        super().__init__(f"{field}: {text}", todo="Correct the field and send the call again.")
        self.violations = violations


class NotFound(CallerError):
    """There is no such settlement, account or report. ``listed_by`` names the command that lists them."""

    reason = "NOT_FOUND"

    def __init__(self, what: str, *, listed_by: str = "", why: str = "", todo: str = "") -> None:
        if listed_by:
            todo = f"List them with: settlement-engine {listed_by}."
        super().__init__(what, why=why, todo=todo)


class IdempotencyConflict(CallerError):
    """The key, or the obligation, is already used with other content. ``field`` names the difference."""

    reason = "IDEMPOTENCY_CONFLICT"

    def __init__(self, what: str, *, field: str, settlement_id: str = "", todo: str = "") -> None:
        super().__init__(what, todo=todo or "Use a new idempotency key for a new instruction.")
        self.field = field
        self.settlement_id = settlement_id


class NotAuthenticated(CallerError):
    """The caller has no accepted identity."""

    reason = "NOT_AUTHENTICATED"


class NotPermitted(CallerError):
    """The caller is known but must not do this."""

    reason = "NOT_PERMITTED"


class WrongState(CallerError):
    """The call is not allowed in the current state, such as a cancellation after the final state."""

    reason = "WRONG_STATE"


class NotOffered(CallerError):
    """The call exists in the API, but this version does not serve it."""

    reason = "NOT_OFFERED"


class Contention(SettlementEngineError):
    """A concurrent change was first. The whole operation may be tried again."""

    reason = "CONTENTION"


class Overloaded(SettlementEngineError):
    """A limit is reached, or the engine is draining; try again after ``retry_after_seconds``."""

    reason = "OVERLOADED"

    def __init__(self, what: str, *, retry_after_seconds: float) -> None:
        super().__init__(what, todo=f"Try again after {retry_after_seconds:g} s.")
        self.retry_after_seconds = retry_after_seconds


class Unavailable(SettlementEngineError):
    """PostgreSQL or NATS is out of reach; the same call may be tried again."""

    reason = "UNAVAILABLE"


class Misconfigured(SettlementEngineError):
    """The engine cannot run with this configuration: wrong value, unknown key or unsafe setting."""

    reason = "MISCONFIGURED"


class Broken(SettlementEngineError):
    """A bug or damaged data. The engine does not guess: a person has to act."""

    reason = "BROKEN"


class IllegalMove(Broken):
    """The state machine has no transition for this event in this state. Nothing has changed."""

    reason = "ILLEGAL_MOVE"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"Invalid transition: {event} is not allowed in state {state}")
        self.state = state
        self.event = event


class InvariantViolated(Broken):
    """The books are inconsistent: the engine stops accepting instructions."""

    reason = "INVARIANT_VIOLATED"


class CorruptRecord(Broken):
    """A stored record is damaged or was altered."""

    reason = "CORRUPT_RECORD"
