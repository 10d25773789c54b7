"""No module outside of the state machine and its decisions chooses an event.

An event is *chosen* where it stands as a value: as an argument, as what is returned, in a branch of a
conditional, as a value of a table. Comparing with one (``is``, ``in``, ``==``), a set of events to compare
with, and the key of a table choose nothing. What else may name an event as a value is listed here, with
what it passes on; an entry that is not needed any more fails.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from settlement_engine.domain.decisions.before_the_end import RAIL_ANSWERS
from settlement_engine.domain.lifecycle import Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[4]
SOURCE = ROOT / "src" / "settlement_engine"
WHERE_EVENTS_ARE_CHOSEN = ("domain/decisions/", "domain/lifecycle.py")

PASSED_ON = {
    # What screening said.
    "screening/builtin.py": {"CLEARED", "PARKED", "REFUSED"},
    # What two people found: each finding is one event.
    "domain/proposals.py": {"ATTESTED_SETTLED", "ATTESTED_NOT_SETTLED", "APPROVED", "DECLINED"},
    # What a caller asked for.
    # ... and that the store has proved, by a lock, that the payment is in no file.
    "engine/cancelling.py": {"CANCELLED", "UNDELIVERED"},
    # What the store says: the payment is in no file, so nothing of it has left.
    "engine/filing.py": {"UNDELIVERED"},
    # Nobody said anything.
    "engine/asker.py": {"NO_ANSWER"},
    "engine/integrity.py": {"NO_ANSWER"},
    "engine/dispatch/dispatcher.py": {
        "NO_ANSWER"
    },  # the bank has it from before a restore: doubted
    # What was written down before.
    "store/archive.py": {"of a text"},
    "store/exceptions.py": {"of a text"},
    "store/recalls.py": {"of a text"},
    # Which wait it is that ``decide_screened`` has chosen.
    "engine/schedule.py": {"POSTPONED"},
}


SAID_BY_RAILS = {event.name for event in RAIL_ANSWERS | {Event.RETURNED, Event.NO_ANSWER}}
"""A rail passes on what its bank said, and that nothing was said: none of its modules says more."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith(WHERE_EVENTS_ARE_CHOSEN):
            yield name, ast.parse(path.read_text())


def event_of(node: ast.AST) -> str | None:
    """Return the name of the event that an expression names."""
    match node:
        case ast.Attribute(value=ast.Name(id="Event" | "E"), attr=name) if name.isupper():
            return name
        case ast.Attribute(value=ast.Attribute(attr="Event"), attr=name) if name.isupper():
            return name
        case ast.Call(func=ast.Name(id="Event")):
            return "of a text"
        case ast.Subscript(value=ast.Name(id="Event")):
            return "of a text"
        case _:
            return None


def compared(tree: ast.Module) -> set[int]:
    """The expressions that are only compared with, or are keys."""
    found: set[int] = set()
    parts: Sequence[ast.AST]
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                parts = [node.left, *node.comparators]
            case ast.Call(func=ast.Name(id="frozenset"), args=parts):
                pass
            case ast.Dict(keys=keys):
                parts = [key for key in keys if key is not None]
            case ast.Subscript(slice=key):
                parts = [key]
            case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[key, *_]):
                parts = [key]
            case ast.match_case(pattern=pattern):
                parts = list(ast.walk(pattern))
            case _:
                continue
        for part in parts:
            found |= {id(each) for each in plain_parts(part)}
    return found


def plain_parts(node: ast.AST) -> Iterator[ast.AST]:
    """An expression and, of a set or a tuple, its members; never what a call in it is given."""
    yield node
    if isinstance(node, (ast.Set, ast.Tuple, ast.List)):
        for member in node.elts:
            yield from plain_parts(member)
    if isinstance(node, ast.Starred):
        yield from plain_parts(node.value)


def chosen_in(tree: ast.Module) -> set[str]:
    only_compared = compared(tree)
    return {
        event
        for node in ast.walk(tree)
        if id(node) not in only_compared and (event := event_of(node)) is not None
    }


def test_events_are_chosen_nowhere_else():
    chosen = {name: found for name, tree in modules() if (found := chosen_in(tree))}
    rails = {name for name in chosen if name.startswith("rails/")}
    assert {name: chosen[name] for name in chosen.keys() - rails} == PASSED_ON
    assert [name for name in rails if not chosen[name] <= SAID_BY_RAILS] == []


def test_rows_of_the_state_machine_are_written_nowhere_else():
    found = defaultdict(set)
    for name, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="Row" | "to" as called)):
                    found[name].add(called)
                case _:
                    pass
    assert not found


def test_what_counts_as_choosing():
    tree = ast.parse(
        "if a is Event.A or b in (Event.B, Event.C): pass\n"
        "T = frozenset({Event.D})\n"
        "U = {Event.F: Event.G}\n"
        "say(event=Event.H)\n"
        "x = Event.I if late else Event.J\n"
        "y = LIFE[state][Event.K]\n"
        "z = lifecycle.Event.L\n"
        "w = Event('settled')\n"
        "v = f(Event.M) in seen\n"
    )
    assert chosen_in(tree) == {"G", "H", "I", "J", "L", "M", "of a text"}
