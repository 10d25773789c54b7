"""The meaning of PostgreSQL's errors, each with its own sentence.

Promises: the driver's exceptions are translated here and nowhere else. ``Unavailable`` means that the outcome is
unknown or that the server cannot serve us now; ``Contention`` means that nothing was written; ``Broken`` is for
what no other server and no other setting would fix.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg
from asyncpg.exceptions import TargetServerAttributeNotMatched

from settlement_engine.errors import (
    Contention,
    CorruptRecord,
    InvariantViolated,
    SettlementEngineError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,  # a transaction that ends on a lost connection
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
"""What the driver raises when a connection fails, at any moment."""

CONTEXTS_MAX: Final = 8
"""How many errors behind an error are looked at."""

_CONTENTION: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
_OUT_OF_REACH: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised by the driver when a connection ends in the middle of an answer
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    OSError,
    TimeoutError,
)
_TAKES_NO_WRITES: Final = (
    "PostgreSQL takes no writes: it is a standby or read-only",
    "Name the primary in database.url; set default_transaction_read_only = off if somebody set it.",
)
_HAS_NO_SCHEMA: Final = (
    "the engine's tables are not in this database, or not in the user's search_path",
    "Run `settlement-engine migrate`, or correct database.url or the search_path.",
)
_IS_OF_ANOTHER_VERSION: Final = (
    "the engine's tables are of another version than this program",
    "Run `settlement-engine migrate`, or use the program that fits the database.",
)
_IS_POOLED: Final = (
    "a connection pooler gives the statements of one session to several connections",
    "Use the address of PostgreSQL in database.url, or a pool with pool_mode = session.",
)

SENTENCES: Final[tuple[tuple[type[Exception], tuple[str, str]], ...]] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,  # base class of a wrong password
        ("PostgreSQL refuses the user or the password", "Check database.url."),
    ),
    (
        asyncpg.InvalidCatalogNameError,
        ("there is no such database on this server", "Check database.url, or create the database."),
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        (
            "PostgreSQL does not give this user the rights it needs",
            "Grant them to the user that database.url names, or name the owner of the tables.",
        ),
    ),
    (asyncpg.ReadOnlySQLTransactionError, _TAKES_NO_WRITES),
    (TargetServerAttributeNotMatched, _TAKES_NO_WRITES),
    (asyncpg.UndefinedTableError, _HAS_NO_SCHEMA),
    (asyncpg.UndefinedColumnError, _IS_OF_ANOTHER_VERSION),
    (asyncpg.UndefinedFunctionError, _HAS_NO_SCHEMA),
    (asyncpg.UndefinedObjectError, _HAS_NO_SCHEMA),
    (asyncpg.InvalidSchemaNameError, _HAS_NO_SCHEMA),
    (asyncpg.InvalidSQLStatementNameError, _IS_POOLED),
    (asyncpg.DuplicatePreparedStatementError, _IS_POOLED),
    (
        asyncpg.DiskFullError,
        ("PostgreSQL's disk is full", "Make room on the volume that holds its data and its log."),
    ),
    (
        asyncpg.TooManyConnectionsError,
        (
            "PostgreSQL has no connection left for the engine",
            "Raise max_connections, or run fewer engines or readers (database.max_connections).",
        ),
    ),
)
"""The sentences about a server that answers but cannot serve us in its current state."""


@contextmanager
def translated() -> Iterator[None]:
    """Translate the driver's exceptions into ours; one that came out of a cancelled block ends the task."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if _is_of_a_cancelled_block(error):
            raise asyncio.CancelledError from error
        raise _translation(error) from error


def _is_of_a_cancelled_block(error: BaseException) -> bool:
    """Say whether the block was cancelled and its rollback then failed, which would hide the cancellation."""
    found: BaseException | None = error
    for _ in range(CONTEXTS_MAX):
        if found is None:
            return False
        if isinstance(found, asyncio.CancelledError):
            task = asyncio.current_task()
            return task is not None and task.cancelling() > 0
        found = found.__context__
    return False


def is_of_the_server(error: BaseException) -> bool:
    """Return whether the server could not serve us, independently of the statement."""
    return isinstance(error, _OUT_OF_REACH) or any(isinstance(error, kind) for kind, _ in SENTENCES)


def _translation(error: Exception) -> SettlementEngineError:
    if isinstance(error, _CONTENTION):
        return Contention(
            "the database stopped the transaction in favour of another one", why=str(error)
        )
    for kind, (what, todo) in SENTENCES:
        if isinstance(error, kind):
            is_driver = isinstance(error, TargetServerAttributeNotMatched)
            why = "it says that its transactions are read-only" if is_driver else str(error)
            return Unavailable(what, why=why, todo=todo)
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, _OUT_OF_REACH):
        return Unavailable("PostgreSQL cannot be reached", why=why)
    if isinstance(error, (asyncpg.IntegrityConstraintViolationError, asyncpg.UnknownPostgresError)):
        return InvariantViolated(
            "the database refused a write that violates a rule of the books", why=str(error)
        )
    return CorruptRecord("the database could not execute a statement", why=why)
