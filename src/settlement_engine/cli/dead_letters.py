"""``intake dead-letters``: clearing messages that could not be accepted, and what people do about them.

Promises: no dead letter is changed or deleted here; a retried one is never settled twice; the name of who
acted is recorded; ``--dry-run`` does nothing.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import click
from typing_extensions import Unpack

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
from settlement_engine.cli.pages import LIST_MAX, limit_option, read_pages, say_how_much
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

WHY_WIDTH: Final = 60
PAYLOAD_SHOWN_MAX: Final = 10_000
AT_ONCE_MAX: Final = 100
"""The most dead letters that the engine processes in one call."""

_letter_id = click.argument("dead_letter_id", metavar="NUMBER", type=click.IntRange(min=1))
_letter_id_or_many = click.argument(
    "dead_letter_id", metavar="[NUMBER]", type=click.IntRange(min=1), required=False
)
_who = click.option("--as", "who", help="Who acts. Default: the user of this machine.")


def _many(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that select several dead letters."""
    instant = click.DateTime(["%Y-%m-%dT%H:%M:%S%z"])
    for option in (
        click.option("--dry-run", "is_dry_run", is_flag=True, help="Show which ones; do nothing."),
        click.option(
            "--limit",
            type=click.IntRange(1, LIST_MAX),
            default=1_000,
            show_default=True,
            help="How many at most, oldest first.",
        ),
        click.option("--until", type=instant, help="All received before this time."),
        click.option("--since", type=instant, help="All received at this time or later."),
        click.option("--subject", help="All of this NATS subject."),
        click.option("--all", "every", is_flag=True, help="All open ones."),
    ):
        command = option(command)
    return command


class _Chosen(TypedDict):
    """The values of the options of ``_many``."""

    every: bool
    subject: str | None
    since: datetime | None
    until: datetime | None
    limit: int
    is_dry_run: bool


@lasting
@click.group()
@example("""
settlement-engine intake dead-letters list
""")
def intake() -> None:
    """Work on clearing messages that could not be accepted."""


@lasting
@intake.group("dead-letters")
@example("""
settlement-engine intake dead-letters list
settlement-engine intake dead-letters retry 7
""")
def dead_letters() -> None:
    """List, show, retry or drop clearing messages that could not be accepted."""


@lasting
@dead_letters.command("list")
@click.option("--all", "with_ended", is_flag=True, help="Also list closed ones.")
@limit_option(20)
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters list
settlement-engine intake dead-letters list --all --json
""")
def list_(*, with_ended: bool, limit: int, address: EngineAddress, is_json: bool) -> None:
    """List dead letters, newest first."""
    wanted = wire.ListDeadLettersRequest(with_ended=with_ended)
    with reach(address) as engine:
        listed = read_pages(engine.intake.ListDeadLetters, wanted, limit, "letters")
    if is_json:
        many = [as_dict(dead_letter) for dead_letter in listed.items]
        print_json({"letters": many, "hasMore": listed.has_more})
        return
    if not listed.items:
        mark(GOOD, "no open dead letters")
        return
    columns = ("NUMBER", "RECEIVED", "BYTES", "STATE", "WHY")
    table(columns, [_row(dead_letter) for dead_letter in listed.items], right=("NUMBER", "BYTES"))
    say_how_much(listed)


@lasting
@dead_letters.command()
@_letter_id
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters show 7
""")
def show(*, dead_letter_id: int, address: EngineAddress, is_json: bool) -> None:
    """Show a dead letter with its payload and the actions on it."""
    with reach(address) as engine:
        dead_letter = engine.intake.GetDeadLetter(
            wire.GetDeadLetterRequest(id=dead_letter_id), timeout=CALL_SECONDS
        )
    _print(dead_letter, is_json=is_json)
    if is_json:
        return
    text = dead_letter.payload[:PAYLOAD_SHOWN_MAX].decode("utf-8", "backslashreplace")
    say()
    say("".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text))


@lasting
@dead_letters.command()
@_letter_id_or_many
@_many
@_who
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters retry 7
settlement-engine intake dead-letters retry --all --dry-run
settlement-engine intake dead-letters retry --subject clearing.instructions --since 2026-01-31T09:30:00+0000
""")
def retry(
    *,
    dead_letter_id: int | None,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
    **chosen: Unpack[_Chosen],
) -> int:
    """Submit one dead letter again, or several. An instruction is never settled twice."""
    many = _read_many(dead_letter_id, **chosen)
    with reach(address) as engine:
        if many is not None:
            request = wire.RetryDeadLettersRequest(who=_name(who), is_dry_run=many.is_dry_run)
            return _act_on_many(many, request, engine.intake.RetryDeadLetters, is_json=is_json)
        dead_letter = engine.intake.RetryDeadLetter(
            wire.RetryDeadLetterRequest(id=dead_letter_id or 0, who=_name(who)),
            timeout=CALL_SECONDS,
        )
    _print(dead_letter, is_json=is_json)
    return ExitCode.FAILED if dead_letter.is_open else ExitCode.OK


@lasting
@dead_letters.command()
@_letter_id_or_many
@_many
@click.option("--reason", required=True, help="Why it is not needed, for the record.")
@_who
@engine_options
@as_json
@example("""
settlement-engine intake dead-letters drop 7 --reason "clearing confirmed that it was a test"
settlement-engine intake dead-letters drop --subject clearing.tests --reason "tests" --dry-run
""")
def drop(
    *,
    dead_letter_id: int | None,
    reason: str,
    who: str | None,
    address: EngineAddress,
    is_json: bool,
    **chosen: Unpack[_Chosen],
) -> int:
    """Close one dead letter with a reason, or several. Closed ones stay readable."""
    many = _read_many(dead_letter_id, **chosen)
    with reach(address) as engine:
        if many is not None:
            request = wire.DropDeadLettersRequest(
                reason=reason, who=_name(who), is_dry_run=many.is_dry_run
            )
            return _act_on_many(many, request, engine.intake.DropDeadLetters, is_json=is_json)
        dead_letter = engine.intake.DropDeadLetter(
            wire.DropDeadLetterRequest(id=dead_letter_id or 0, reason=reason, who=_name(who)),
            timeout=CALL_SECONDS,
        )
    _print(dead_letter, is_json=is_json)
    return ExitCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    """Which dead letters a command processes, and how many at most."""

    chosen: wire.DeadLetterFilter
    limit: int
    is_dry_run: bool


def _read_many(dead_letter_id: int | None, **chosen: Unpack[_Chosen]) -> _Many | None:
    """Return the selection; None for a single number. Raises UsageError if it is not clear."""
    subject, since, until = chosen["subject"], chosen["since"], chosen["until"]
    is_chosen = chosen["every"] or any(each is not None for each in (subject, since, until))
    if (dead_letter_id is not None) == is_chosen:
        message = "give one NUMBER, or select several with --all, --subject, --since or --until"
        raise click.UsageError(message)
    if dead_letter_id is not None:
        if chosen["is_dry_run"]:
            message = "--dry-run is only for several dead letters; see a single one with `show`"
            raise click.UsageError(message)
        return None
    wanted = wire.DeadLetterFilter(subject=subject or "")
    if since is not None:
        wanted.since.FromDatetime(since)
    if until is not None:
        wanted.until.FromDatetime(until)
    return _Many(chosen=wanted, limit=chosen["limit"], is_dry_run=chosen["is_dry_run"])


def _act_on_many(
    many: _Many,
    request: wire.RetryDeadLettersRequest | wire.DropDeadLettersRequest,
    call: Callable[..., wire.DeadLettersResponse],
    *,
    is_json: bool,
) -> int:
    """Process page after page, until none is left or the limit is reached."""
    request.filter.CopyFrom(many.chosen)
    found: list[wire.DeadLetter] = []
    stopped = ""
    has_more = True
    while has_more and len(found) < many.limit and not stopped:
        request.limit = min(many.limit - len(found), AT_ONCE_MAX)
        page = call(request, timeout=CALL_SECONDS)
        found += page.letters
        stopped = page.stopped_because
        request.filter.after_id = page.next_after_id
        has_more = bool(page.next_after_id)
    _print_many(found, many, stopped, has_more=has_more, is_json=is_json)
    is_done = many.is_dry_run or not any(dead_letter.is_open for dead_letter in found)
    return ExitCode.OK if is_done and not stopped else ExitCode.FAILED


def _print_many(
    found: list[wire.DeadLetter], many: _Many, stopped: str, *, has_more: bool, is_json: bool
) -> None:
    if is_json:
        shown = [as_dict(dead_letter) for dead_letter in found]
        print_json({"letters": shown, "has_more": has_more, "stopped_because": stopped})
        return
    if found:
        columns = ("NUMBER", "RECEIVED", "BYTES", "STATE", "WHY")
        table(columns, [_row(dead_letter) for dead_letter in found], right=("NUMBER", "BYTES"))
    open_count = sum(dead_letter.is_open for dead_letter in found)
    if many.is_dry_run:
        mark(GOOD, f"{len(found)} dead letters would be processed; nothing was done")
    else:
        ended = len(found) - open_count
        mark(WARN if open_count else GOOD, f"{ended} closed, {open_count} still open")
    if stopped:
        mark(BAD, f"stopped: {stopped}")
    elif has_more:
        say(f"  There are more. The limit was {many.limit}; run the command again for the rest.")


def _name(who: str | None, ask: Callable[[], str] = getpass.getuser) -> str:
    return who or ask()


def _state(dead_letter: wire.DeadLetter) -> str:
    return "open" if dead_letter.is_open else dead_letter.acts[-1].outcome.lower()


def _row(dead_letter: wire.DeadLetter) -> tuple[str, ...]:
    why = (
        dead_letter.why if len(dead_letter.why) <= WHY_WIDTH else f"{dead_letter.why[:WHY_WIDTH]}…"
    )
    return (
        str(dead_letter.id),
        day_and_time(dead_letter.received_at),
        str(dead_letter.payload_bytes),
        _state(dead_letter),
        why,
    )


def _print(dead_letter: wire.DeadLetter, *, is_json: bool) -> None:
    if is_json:
        print_json(as_dict(dead_letter))
        return
    sign = GOOD
    if dead_letter.is_open:
        sign = BAD if dead_letter.acts else WARN
    mark(sign, f"dead letter {dead_letter.id}: {_state(dead_letter)}")
    say(f"  received    {day_and_time(dead_letter.received_at)} on {dead_letter.subject}")
    say(f"  why         {dead_letter.why}")
    if dead_letter.stream:
        say(f"  message     {dead_letter.stream_sequence} of the stream {dead_letter.stream}")
    say(
        f"  size        {dead_letter.payload_bytes} bytes, SHA-256 {dead_letter.payload_hash.hex()}"
    )
    if not dead_letter.is_whole:
        say("  kept        only in part, so it cannot be retried; ask the sender to send it again")
    for act in dead_letter.acts:
        became = f" settlement {act.settlement_id}" if act.settlement_id else ""
        words = f": {act.words}" if act.words else ""
        say(f"  {day_and_time(act.at)}  {act.outcome} by {act.who}{became}{words}")
