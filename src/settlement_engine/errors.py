"""Why a call could not be served.

Two languages are kept apart. A *refusal* is an outcome of business: data, stored on the settlement and
sent in the answer (``domain/preconditions.py``). An *exception* of this tree says that the call itself
could not be served, and by whose fault:

    SettlementEngineError
    ├── CallerError            the caller must change something
    │   ├── InvalidInstruction
    │   ├── NotFound
    │   ├── IdempotencyConflict
    │   ├── NotAuthenticated
    │   ├── NotPermitted
    │   ├── WrongState
    │   └── NotOffered
    ├── Contention             somebody else was first; the engine already tried again
    ├── Overloaded             a limit is reached, or the engine is draining
    ├── Unavailable            PostgreSQL or NATS is out of reach
    ├── Misconfigured          the configuration cannot be run
    └── Broken                 a bug or damaged data: a person must look
        ├── IllegalMove
        ├── InvariantViolated
        └── CorruptRecord

Each class carries a stable ``reason`` that clients may rely on. The mapping to gRPC statuses lives in
``api/errors.py``; a test demands an entry there for every class. This module imports nothing of ours.
"""

from __future__ import annotations

from typing import ClassVar


class SettlementEngineError(Exception):
    """The root: whatever the engine raises on purpose.

    ``what`` says what failed, ``why`` the cause, ``todo`` what to do about it: the three lines that a
    person reads on the command line.
    """

    reason: ClassVar[str] = "SETTLEMENT_ENGINE_ERROR"

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo


class CallerError(SettlementEngineError):
    """The caller must change something; the same call again fails again."""

    reason = "CALLER_ERROR"


class InvalidInstruction(CallerError):
    """A field breaks its grammar, size or scale. Nothing was written.

    ``violations`` holds pairs of field name and description, the first one worst.
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
            todo = f"See which there are: settlement-engine {listed_by}."
        super().__init__(what, why=why, todo=todo)


class IdempotencyConflict(CallerError):
    """The key, or the obligation, already stands for something else. ``field`` names the difference."""

    reason = "IDEMPOTENCY_CONFLICT"

    def __init__(self, what: str, *, field: str, settlement_id: str = "", todo: str = "") -> None:
        super().__init__(what, todo=todo or "Use a new idempotency key for a new instruction.")
        self.field = field
        self.settlement_id = settlement_id


class NotAuthenticated(CallerError):
    """Nobody knows who is calling."""

    reason = "NOT_AUTHENTICATED"


class NotPermitted(CallerError):
    """The caller is known and may not do this."""

    reason = "NOT_PERMITTED"


class WrongState(CallerError):
    """The settlement is in a state in which this cannot be done, such as a cancel after the end."""

    reason = "WRONG_STATE"


class NotOffered(CallerError):
    """The call exists in the contract but this version does not serve it."""

    reason = "NOT_OFFERED"


class Contention(SettlementEngineError):
    """Somebody else was first. The whole operation may be tried again."""

    reason = "CONTENTION"


class Overloaded(SettlementEngineError):
    """A limit is reached or the engine is draining; try again after ``retry_after_seconds``."""

    reason = "OVERLOADED"

    def __init__(self, what: str, *, retry_after_seconds: float) -> None:
        super().__init__(what, todo=f"Try again after {retry_after_seconds:g} s.")
        self.retry_after_seconds = retry_after_seconds


class Unavailable(SettlementEngineError):
    """PostgreSQL or NATS is out of reach; the same call may be tried again."""

    reason = "UNAVAILABLE"


class Misconfigured(SettlementEngineError):
    """The configuration cannot be run: a wrong value, an unknown key, an unsafe setting."""

    reason = "MISCONFIGURED"


class Broken(SettlementEngineError):
    """A bug or damaged data. A person must look; nothing is guessed."""

    reason = "BROKEN"


class IllegalMove(Broken):
    """The page has no row for this event in this state. Nothing has changed."""

    reason = "ILLEGAL_MOVE"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"the page has no row for {event} in {state}")
        self.state = state
        self.event = event


class InvariantViolated(Broken):
    """The books contradict themselves: the engine stops admitting."""

    reason = "INVARIANT_VIOLATED"


class CorruptRecord(Broken):
    """A stored record cannot be what it claims to be."""

    reason = "CORRUPT_RECORD"
