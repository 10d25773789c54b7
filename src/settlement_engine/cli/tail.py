"""``tail``: prints settlement events as they happen.

Promises: it begins with the next event, unless an option says otherwise. If the connection is lost it says
so and resumes after the last printed event, so that no event is missed or printed twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from settlement_engine.cli.call_errors import EngineError
from settlement_engine.cli.commands import lasting
from settlement_engine.cli.connection import EngineAddress, engine_options, reach
from settlement_engine.cli.histories import settlement_id_of
from settlement_engine.cli.messages import as_dict, clock_time
from settlement_engine.cli.output import as_json, example, note, note_json, print_json_line, say
from settlement_engine.errors import Overloaded, Unavailable
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

OVERLOADED: Final = Overloaded.reason
PAUSE_FIRST_SECONDS: Final = 0.5
PAUSE_MAX_SECONDS: Final = 5.0
AWAY_SECONDS_MAX: Final = 3_600.0
"""After this time without a connection it gives up."""


@lasting
@click.command()
@click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="N",
    help="Begin after this sequence number; 0 begins with the first event.",
)
@click.option("--from-start", is_flag=True, help="Begin with the first event.")
@click.option(
    "--settlement", default="", metavar="ID", help="Only of this settlement; any of its references."
)
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Wait for new events. With --no-follow, print all existing events and exit.",
)
@engine_options
@as_json
@example("""
settlement-engine tail
settlement-engine tail --after 1200
settlement-engine tail --no-follow --json
""")
def tail(
    *,
    after: int | None,
    from_start: bool,
    settlement: str,
    follow: bool,
    address: EngineAddress,
    is_json: bool,
) -> None:
    """Follow the settlement events, one line for each move, until Ctrl-C."""
    if from_start and after:
        raise click.UsageError("give --from-start or --after, not both")
    if after is None and (from_start or not follow):
        after = 0
    request = wire.StreamRequest(
        after_sequence=after or 0, begins_at_head=after is None, ends_at_head=not follow
    )
    if settlement:
        with reach(address) as engine:
            request.settlement_id = settlement_id_of(engine, settlement)
    following = _Following(address, request, is_json=is_json)
    try:
        for event in following.events():
            if is_json:
                print_json_line(as_dict(event))
            else:
                say(_event_line(event))
    except KeyboardInterrupt:
        following.say_where()
        raise


class _Following:
    """One event stream that is resumed after a lost connection."""

    def __init__(
        self, address: EngineAddress, request: wire.StreamRequest, *, is_json: bool
    ) -> None:
        self._address = address
        self._request = request
        self._is_json = is_json
        self._has_begun = False
        self._is_away = False
        self._heard_at = 0.0
        self._pause_seconds = PAUSE_FIRST_SECONDS

    def events(self) -> Iterator[wire.SettlementEvent]:
        """Yield events: up to the newest one with ``--no-follow``, otherwise without end."""
        while True:
            why = "the engine closed the stream"
            try:
                yield from self._read()
            except (Unavailable, EngineError) as error:
                if not self._may_come_back(error):
                    raise
                why = error.what
            if self._request.ends_at_head:
                return
            self._wait(why)

    def _read(self) -> Iterator[wire.SettlementEvent]:
        with reach(self._address) as engine:
            stream: Any = engine.settlements.StreamSettlementEvents(self._request)
            stream.initial_metadata()  # comes when the stream is open
            if stream.is_active():
                self._heard()
            for event in stream:
                self._heard()
                self._request.after_sequence = event.sequence
                self._request.begins_at_head = False
                if event.event_id:
                    yield event

    def _heard(self) -> None:
        if self._is_away:
            self._tell("the engine is reachable again")
        self._has_begun, self._is_away = True, False
        self._heard_at, self._pause_seconds = time.monotonic(), PAUSE_FIRST_SECONDS

    def _may_come_back(self, error: Unavailable | EngineError) -> bool:
        """Say whether to retry: only after a stream was open, and only for a limited time."""
        is_passing = isinstance(error, Unavailable) or error.told_reason == OVERLOADED
        is_followed = self._has_begun and not self._request.ends_at_head
        return is_passing and is_followed and time.monotonic() - self._heard_at < AWAY_SECONDS_MAX

    def _wait(self, why: str) -> None:
        if not self._is_away:
            self._tell(f"{why}; retrying")
        self._is_away = True
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, PAUSE_MAX_SECONDS)

    def say_where(self) -> None:
        """Print the command that resumes after the last printed event."""
        if self._request.after_sequence:
            self._tell(
                f"resume with: settlement-engine tail --after {self._request.after_sequence}"
            )

    def _tell(self, text: str) -> None:
        if self._is_json:
            note_json({"news": text})
        else:
            note(f"! {text}")


def _event_line(event: wire.SettlementEvent) -> str:
    moved = wire.SettlementMoved()
    event.payload.Unpack(moved)
    what = f"{moved.amount} {moved.currency} {moved.from_bank} → {moved.to_bank}"
    name = event.event_type.removeprefix("settlement.")
    return (
        f"{event.sequence:>8}  {clock_time(event.time)}  {name:<12} {event.settlement_id}  {what}"
    )
