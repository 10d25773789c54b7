"""The outcomes of imports, as the commands write them."""

from __future__ import annotations

from typing import Final

from settlement_engine.proto import settlement_pb2 as wire

FINE: Final = frozenset({"IMPORTED", "ALREADY_IMPORTED"})
"""The outcomes after which nothing is left to do."""

LOST: Final = frozenset({"UNREADABLE", "WRONG_CONTAINER", "UNKNOWN_ACCOUNT", "WRONG_CURRENCY"})
"""The outcomes of what was not kept."""

_PREFIX: Final = "STATEMENT_OUTCOME_"


def outcome_of(found: wire.Statement) -> str:
    """Return the outcome without the prefix that the API gives it."""
    return wire.StatementOutcome.Name(found.outcome).removeprefix(_PREFIX)
