"""Removes safeguards from the program for the length of a block.

The change is made in the source text of a real function, which is compiled again, or in a transition of
the state machine. If the text is not found, the mutant fails, because mutants must follow the program's
changes. Everything is restored at the end.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from settlement_engine.domain import lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.domain.lifecycle import Event, State, Transition


@dataclass(frozen=True, slots=True)
class Cut:
    """A change in the source text of one function: ``where`` is its module and its name there."""

    where: str
    old: str
    new: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """A transition of the state machine with another result."""

    state: State
    event: Event
    transition: Transition


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is removed, how, and a world that detects it."""

    what: str
    changes: tuple[Cut | Turn, ...]
    seed: int = 0
    emphasis: Mapping[str, float] = field(default_factory=dict)


@contextmanager
def without(mutant: Mutant) -> Iterator[None]:
    """Remove the safeguard for the length of the block."""
    codes: dict[FunctionType, CodeType] = {}
    texts: dict[FunctionType, str] = {}
    rows: list[tuple[State, Event, Transition | None]] = []
    try:
        for change in mutant.changes:
            if isinstance(change, Turn):
                table: Any = lifecycle.TRANSITIONS[change.state]
                rows.append((change.state, change.event, table.get(change.event)))
                table[change.event] = change.transition
            else:
                function = _function(change.where)
                codes.setdefault(function, function.__code__)
                text = texts.get(function) or textwrap.dedent(inspect.getsource(function))
                texts[function] = _changed(text, change)
                # The code object is replaced, so that modules that imported the function see the change.
                function.__code__ = _compiled(texts[function], function)
        yield
    finally:
        for function, code in codes.items():
            function.__code__ = code
        for state, event, transition in reversed(rows):
            again: Any = lifecycle.TRANSITIONS[state]
            if transition is None:
                del again[event]
            else:
                again[event] = transition


def _function(where: str) -> FunctionType:
    module_name, _, path = where.partition(":")
    found: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        found = getattr(found, part)
    function = inspect.getattr_static(found, name)
    assert isinstance(function, FunctionType), f"{where} is a plain function or method"
    return function


def _changed(text: str, cut: Cut) -> str:
    old, new = cut.old, cut.new
    if old not in text:
        old, new = _a_level_less(old), _a_level_less(new)
    assert old in text, f"{cut.where} no longer says {cut.old!r}"
    return text.replace(old, new)


def _compiled(text: str, function: FunctionType) -> CodeType:
    """Compile a function with the change in it."""
    space: dict[str, Any] = {}
    name = function.__qualname__
    code = compile(text, f"<{name}>", "exec", annotations.compiler_flag, dont_inherit=True)
    exec(code, vars(sys.modules[function.__module__]), space)  # noqa: S102 - the mutants are ours
    made: CodeType = space[function.__name__].__code__
    return made


def _a_level_less(text: str) -> str:
    """Remove one level of indentation, as methods lose it when they are taken out of their class."""
    lines = text.split("\n")
    return "\n".join(line[4:] if line.startswith("        ") else line for line in lines)
