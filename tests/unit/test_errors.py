from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

from settlement_engine import errors
from settlement_engine.app import application
from settlement_engine.errors import (
    Broken,
    CallerError,
    IdempotencyConflict,
    IllegalMove,
    InvalidInstruction,
    Misconfigured,
    Overloaded,
    SettlementEngineError,
    Unavailable,
)


def family(kind: type[SettlementEngineError]) -> list[type[SettlementEngineError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in family(below))]


def ours() -> list[type[SettlementEngineError]]:
    """Only this module's classes: an exception of another component is not part of the contract."""
    return [kind for kind in family(SettlementEngineError) if kind.__module__ == errors.__name__]


def test_every_class_has_a_reason_of_its_own():
    reasons = [kind.reason for kind in ours()]
    assert len(set(reasons)) == len(reasons)
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", reason) for reason in reasons)
    assert all("reason" in vars(kind) for kind in ours())


def test_every_class_says_what_it_is_for():
    assert [kind for kind in ours() if not kind.__doc__] == []


def test_the_reasons_stay_what_clients_rely_on():
    assert {kind.__name__: kind.reason for kind in ours()} == {
        "SettlementEngineError": "SETTLEMENT_ENGINE_ERROR",
        "CallerError": "CALLER_ERROR",
        "InvalidInstruction": "INVALID_ARGUMENT",
        "NotFound": "NOT_FOUND",
        "IdempotencyConflict": "IDEMPOTENCY_CONFLICT",
        "NotAuthenticated": "NOT_AUTHENTICATED",
        "NotPermitted": "NOT_PERMITTED",
        "WrongState": "WRONG_STATE",
        "NotOffered": "NOT_OFFERED",
        "Contention": "CONTENTION",
        "Overloaded": "OVERLOADED",
        "Unavailable": "UNAVAILABLE",
        "Misconfigured": "MISCONFIGURED",
        "Broken": "BROKEN",
        "IllegalMove": "ILLEGAL_MOVE",
        "InvariantViolated": "INVARIANT_VIOLATED",
        "CorruptRecord": "CORRUPT_RECORD",
    }


def test_the_tree_in_the_text_is_the_tree():
    drawn = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}((?:[│ ] {3})*)(?:[├└]── )?([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4 + ("── " in line)
            drawn.append((depth, found[2]))
    real = []

    def walk(kind: type[SettlementEngineError], depth: int) -> None:
        real.append((depth, kind.__name__))
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:
                walk(below, depth + 1)

    walk(SettlementEngineError, 0)
    assert drawn == real


def test_an_error_says_what_why_and_what_to_do():
    error = Unavailable("no database", why="refused", todo="Start it.")
    assert (str(error), error.what, error.why, error.todo) == (
        "no database",
        "no database",
        "refused",
        "Start it.",
    )


def test_an_invalid_instruction_names_its_worst_field_first():
    error = InvalidInstruction([("amount", "must be positive"), ("currency", "is unknown")])
    assert error.what == "amount: must be positive"
    assert len(error.violations) == 2
    assert error.todo


def test_an_invalid_instruction_without_a_field_is_a_bug():
    with pytest.raises(AssertionError):
        InvalidInstruction([])


def test_a_conflict_names_the_field_and_the_settlement():
    error = IdempotencyConflict("amount: differs", field="amount", settlement_id="7")
    assert (error.field, error.settlement_id) == ("amount", "7")


def test_overload_says_when_to_come_back():
    error = Overloaded("full", retry_after_seconds=0.5)
    assert error.retry_after_seconds == 0.5
    assert "0.5 s" in error.todo


def test_an_illegal_move_names_state_and_event_and_is_our_fault():
    error = IllegalMove("completed", "cancelled")
    assert str(error) == "Invalid transition: cancelled is not allowed in state completed"
    assert isinstance(error, Broken)
    assert not isinstance(error, CallerError)


def test_the_module_imports_nothing_of_ours():
    code = "import sys, settlement_engine.errors; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("settlement_engine")}
    assert loaded == {"settlement_engine", "settlement_engine.errors"}


def test_the_engine_does_not_run_without_assertions():
    """Under -O the compiler takes ``__debug__`` for false, as it does here."""
    source = inspect.getsource(application.require_assertions)
    room: dict[str, Any] = {"Misconfigured": Misconfigured}
    exec(compile(source, "application.py", "exec", optimize=1), room)
    with pytest.raises(Misconfigured, match="without assertions") as raised:
        room["require_assertions"]()
    assert "-O" in raised.value.why
    assert "-O" in raised.value.todo


def test_the_refusal_comes_before_anything_is_built():
    built = ast.parse(inspect.getsource(application.Application)).body[0]
    first = next(node for node in ast.walk(built) if isinstance(node, ast.FunctionDef)).body[0]
    assert ast.unparse(first) == "require_assertions()"
