"""``intake dead-letters``: what clearing sent and could not be taken in, and what people do about it.

Promises: nothing is deleted; a letter that is tried again is never settled twice; who acted is written down.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Final

import click

from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import CALL_SECONDS, EngineAddress, engine_options, reach
from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.messages import as_dict, day_and_time
from settlement_engine.cli.output import (
    BAD,
    GOOD,
    WARN,
    as_json,
    example,
    mark,
    print_json,
    say,
    table,
)
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_MAX: Final = 1_000
LIST_MAX: Final = 100_000
WHY_WIDTH: Final = 60
PAYLOAD_SHOWN_MAX: Final = 10_000

_letter_id = click.argument("letter_id", metavar="NUMBER", type=click.IntRange(min=1))
_who = click.option("--as", "who", help="Who acts; else the user of this machine.")


@lasting
@click.group()
@example("""
settlement-engine intake dead-letters list
""")
def intake() -> None:
    """Look after what comes in from clearing."""


@lasting
@intake.group("dead-letters")
@example("""
settlement-engine intake dead-letters list
settlement-engine intake dead-letters retry 7
""")
def dead_letters() -> None:
    """List, show, retry or drop what could not be taken in."""


@lasting
@dead_letters.command("list")
@click.option("--all", "with_ended", is_flag=True, help="Those too that are at their end.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_MAX),
    default=20,
    show_default=True,
    help="How many at most.",
)
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters list
settlement-engine intake dead-letters list --all --json
""")
def list_(*, with_ended: bool, limit: int, address: EngineAddress, is_json: bool) -> None:
    """List dead letters, newest first."""
    wanted = wire.ListDeadLettersRequest(with_ended=with_ended)
    found: list[wire.DeadLetter] = []
    with reach(address) as engine:
        while len(found) < limit:
            wanted.page_size = min(limit - len(found), PAGE_MAX)
            page = engine.intake.ListDeadLetters(wanted, timeout=CALL_SECONDS)
            found += page.letters
            wanted.page_token = page.next_page_token
            if not page.next_page_token:
                break
    if is_json:
        print_json({"letters": [as_dict(letter) for letter in found]})
        return
    if not found:
        mark(GOOD, "no dead letter waits for a person")
        return
    columns = ("NUMBER", "RECEIVED", "BYTES", "STATE", "WHY")
    table(columns, [_row(letter) for letter in found], right=("NUMBER", "BYTES"))


@lasting
@dead_letters.command()
@_letter_id
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters show 7
""")
def show(*, letter_id: int, address: EngineAddress, is_json: bool) -> None:
    """Show one with its payload and what was done about it."""
    with reach(address) as engine:
        letter = engine.intake.GetDeadLetter(
            wire.GetDeadLetterRequest(id=letter_id), timeout=CALL_SECONDS
        )
    _print(letter, is_json=is_json)
    if is_json:
        return
    text = letter.payload[:PAYLOAD_SHOWN_MAX].decode("utf-8", "backslashreplace")
    say()
    say("".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text))


@lasting
@dead_letters.command()
@_letter_id
@_who
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters retry 7
""")
def retry(*, letter_id: int, who: str | None, address: EngineAddress, is_json: bool) -> int:
    """Read it again and submit it; it is never settled twice."""
    request = wire.RetryDeadLetterRequest(id=letter_id, who=_name(who))
    with reach(address) as engine:
        letter = engine.intake.RetryDeadLetter(request, timeout=CALL_SECONDS)
    _print(letter, is_json=is_json)
    return ExitCode.FAILED if letter.is_open else ExitCode.OK


@lasting
@dead_letters.command()
@_letter_id
@click.option("--reason", required=True, help="Why nothing is to come of it, for the record.")
@_who
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters drop 7 --reason "a test message of clearing's, by their word"
""")
def drop(
    *, letter_id: int, reason: str, who: str | None, address: EngineAddress, is_json: bool
) -> None:
    """End it with a reason; it stays readable."""
    request = wire.DropDeadLetterRequest(id=letter_id, reason=reason, who=_name(who))
    with reach(address) as engine:
        letter = engine.intake.DropDeadLetter(request, timeout=CALL_SECONDS)
    _print(letter, is_json=is_json)


def _name(who: str | None, ask: Callable[[], str] = getpass.getuser) -> str:
    return who or ask()


def _state(letter: wire.DeadLetter) -> str:
    return "open" if letter.is_open else letter.acts[-1].outcome.lower()


def _row(letter: wire.DeadLetter) -> tuple[str, ...]:
    why = letter.why if len(letter.why) <= WHY_WIDTH else f"{letter.why[:WHY_WIDTH]}…"
    return (
        str(letter.id),
        day_and_time(letter.received_at),
        str(letter.payload_bytes),
        _state(letter),
        why,
    )


def _print(letter: wire.DeadLetter, *, is_json: bool) -> None:
    if is_json:
        print_json(as_dict(letter))
        return
    sign = GOOD
    if letter.is_open:
        sign = BAD if letter.acts else WARN
    mark(sign, f"dead letter {letter.id}: {_state(letter)}")
    say(f"  received    {day_and_time(letter.received_at)} on {letter.subject}")
    say(f"  why         {letter.why}")
    for act in letter.acts:
        became = f" settlement {act.settlement_id}" if act.settlement_id else ""
        words = f": {act.words}" if act.words else ""
        say(f"  {day_and_time(act.at)}  {act.outcome} by {act.who}{became}{words}")
