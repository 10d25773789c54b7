"""Writes announcements again from the database's moves or notices: into a stream that lost them, or a new one.

The relay repairs by itself a stream that was deleted or lost its end. It does not publish again what expired or was
purged; a replay does, at a person's request. Promises: the same bytes with the same ids, in order and without a
gap; a consumer with an inbox handles each once.

Must never: break the order of a stream. It appends only to a stream that is empty, or that ends exactly where the
replay continues (after an interrupted replay, or beside a relay: both append to a known end or not at all).
Messages cannot be inserted into the middle or at the beginning of a stream; that needs another stream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from nats.js.errors import APIError, NotFoundError

from settlement_engine.domain.announcement import follows, system_epoch_of
from settlement_engine.errors import Contention, InvariantViolated, Misconfigured, WrongState
from settlement_engine.events.appending import append_each
from settlement_engine.events.connection import NatsAccess, connect
from settlement_engine.events.held import fingerprint_of, read_held
from settlement_engine.events.publisher import BATCH_MAX, Conflict, Publisher
from settlement_engine.events.replay_lanes import MoveLane, NoticeLane
from settlement_engine.events.stream import StreamSpec, ensure_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.js import JetStreamContext
    from nats.js.api import RawStreamMsg

    from settlement_engine.events.announce import Message
    from settlement_engine.events.connection import NatsLink
    from settlement_engine.events.replay_lanes import ReplayLane
    from settlement_engine.ports import Meter, Stream

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

CONFLICTS_MAX: Final = 100
"""How often in a row another publisher may have appended first."""

CONFLICT_PAUSE_SECONDS: Final = 0.05
MARGIN_SECONDS: Final = 0.5
"""The time added to the stream's duplicate window before known ids count as expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """What is written where: the positions ``first`` to ``last`` of the outbox (0 is its head)."""

    stream: StreamSpec
    first: int
    last: int = 0
    source: str = "/settlement-engine"
    batch_max: int = 500
    ack_timeout_seconds: float = 5.0


class ReplayPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done: the announcements after ``after`` up to ``last``, and their count."""

    stream: str
    is_made: bool  # the stream does not exist yet
    holds: int  # messages in the stream now
    first: int
    last: int
    after: int
    count: int
    wait_seconds: float  # until the stream has forgotten the ids that were purged from it


class Replay:
    """One replay. ``plan`` changes nothing; ``run`` carries it out and may be repeated."""

    def __init__(
        self,
        *,
        outbox: Stream | NoticeLane,
        nats: NatsAccess,
        meter: Meter,
        settings: ReplaySettings,
    ) -> None:
        assert 0 < settings.batch_max <= BATCH_MAX
        self._nats = nats
        self._settings = settings
        self._spec = settings.stream
        self._lane: ReplayLane = (
            outbox
            if isinstance(outbox, NoticeLane)
            else MoveLane(outbox, self._spec, settings.source, meter)
        )

    async def plan(self) -> ReplayPlan:
        """Return what would be done. Raises WrongState if the order could not be kept."""
        async with connect(self._nats) as connection:
            return await self._plan(connection)

    async def run(self, tell: Callable[[int], None]) -> ReplayPlan:
        """Publish; ``tell`` is called with each position reached. Returns the plan as carried out.

        Raises WrongState, Contention, Unavailable; the messages written by then are correct and stay.
        """
        async with connect(self._nats) as connection:
            plan = await self._plan(connection)
            if not plan.count:
                return plan
            jetstream = connection.jetstream(timeout=self._settings.ack_timeout_seconds)
            is_atomic = await self._ensure(jetstream)
            publisher = Publisher(
                connection,
                stream=self._spec.name,
                ack_timeout_seconds=self._settings.ack_timeout_seconds,
                is_atomic=is_atomic,
            )
            await publisher.start()
            if plan.wait_seconds:
                log.info("replay.waiting", seconds=plan.wait_seconds)
                await asyncio.sleep(plan.wait_seconds)
            await self._publish(connection, publisher, tell)
            await self._require_whole(connection, plan)
            return plan

    async def _ensure(self, jetstream: JetStreamContext) -> bool:
        try:
            return await ensure_stream(jetstream, self._spec)
        except APIError as error:
            what = f"the stream {self._spec.name} cannot be made"
            todo = "Choose another --subject-prefix: two streams cannot have the same subjects."
            raise Misconfigured(what, why=str(error.description), todo=todo) from error

    # --- where to begin ---------------------------------------------------------------------------

    async def _plan(self, connection: NatsLink) -> ReplayPlan:
        first, last = await self._range()
        info = await self._info(connection)
        state = info.get("state", {})
        plan = ReplayPlan(
            stream=self._spec.name,
            is_made=not info,
            holds=state.get("messages", 0),
            first=first,
            last=last,
            after=first - 1,
            count=await self._between(first - 1, last),
            wait_seconds=_wait_seconds(info) if info and not state.get("messages") else 0.0,
        )
        if not plan.holds:
            return plan
        jetstream = connection.jetstream(timeout=self._settings.ack_timeout_seconds)
        held = await self._held(jetstream, state["first_seq"])
        if held is None:
            return plan  # the other outbox's messages are no hindrance
        begins = self._lane.position_in(held[0].headers or {})
        ends = await self._end(jetstream, held[1])
        self._require_order(begins, ends, first, last)
        after = max(ends, first - 1)
        return msgspec.structs.replace(plan, after=after, count=await self._between(after, last))

    async def _range(self) -> tuple[int, int]:
        head = await self._lane.head()
        first, last = self._settings.first, self._settings.last or head
        found = await self._lane.read(first - 1, 1)
        if not found or found[0].position != first:
            what = f"there is no announcement {first}"
            raise WrongState(what, why=f"the last one is {head}")
        if not first <= last <= head:
            what = f"there are no announcements from {first} to {last}"
            raise WrongState(what, why=f"the last announcement is {head}")
        return first, last

    def _require_order(self, begins: int | None, ends: int, first: int, last: int) -> None:
        """Raise WrongState unless appending at the stream's end keeps the order and leaves no gap."""
        name = self._spec.name
        elsewhere = "Replay into another stream: --stream NAME."
        if begins is None or first < begins:
            what = f"{first} cannot be put in front of the stream {name}"
            raise WrongState(what, why=f"it begins with {begins}", todo=elsewhere)
        if ends < first - 1:
            what = f"the stream {name} ends at {ends}: the announcements up to {first} would be missing"
            raise WrongState(
                what, todo=f"Replay from {ends + 1}; a running relay does it by itself."
            )
        if ends > last:
            log.info("replay.nothing_to_do", ends=ends, last=last)

    async def _end(self, jetstream: JetStreamContext, last: RawStreamMsg) -> int:
        """Return the position of the stream's last message of this outbox; it must be one of ours."""
        told = self._lane.position_in(last.headers or {})
        if told is None or not await self._lane.is_known_at(jetstream, last.seq or 0):
            what = f"the stream {self._spec.name} ends with a message that is not in the database"
            todo = "Replay into another stream: --stream NAME."
            raise WrongState(what, why=f"its last message is {told}", todo=todo)
        return told

    async def _held(
        self, jetstream: JetStreamContext, first: int
    ) -> tuple[RawStreamMsg, RawStreamMsg] | None:
        """Return the stream's first and last message under this outbox's subjects; None if there is none."""
        name, subjects = self._spec.name, self._lane.subjects
        try:
            return (
                await jetstream.get_msg(name, seq=max(first, 1), subject=subjects, next=True),
                await jetstream.get_last_msg(name, subjects),
            )
        except NotFoundError:
            return None

    async def _info(self, connection: NatsLink) -> dict[str, Any]:
        """Request the stream's data; empty if there is none. nats-py's own call leaves out the times."""
        reply = await connection.request(
            f"$JS.API.STREAM.INFO.{self._spec.name}", timeout=self._settings.ack_timeout_seconds
        )
        found: dict[str, Any] = msgspec.json.decode(reply.data)
        return {} if "error" in found else found

    # --- writing ------------------------------------------------------------------------------------

    async def _publish(
        self, connection: NatsLink, publisher: Publisher, tell: Callable[[int], None]
    ) -> None:
        """Append batch after batch, until all is written; a relay may have written some of it."""
        before: tuple[int, int] | None = None
        jetstream = connection.jetstream(timeout=self._settings.ack_timeout_seconds)

        async def is_held(sequence: int, message: Message) -> bool:
            held = await read_held(jetstream, self._spec.name, sequence)
            return held.is_there and held.fingerprint == fingerprint_of(message)

        for _ in range(CONFLICTS_MAX):
            plan = await self._plan(connection)
            sequence = int((await self._info(connection))["state"]["last_seq"])
            # When it looks the same again, a batch that holds a known id has to be sent one by one.
            is_again = before == (plan.after, sequence)
            before = after, _ = plan.after, sequence
            try:
                while after < plan.last:
                    batch = await self._batch(after, plan.last)
                    count, sequence = (
                        await append_each(publisher, batch, sequence, is_held)
                        if is_again
                        else await publisher.append(batch, sequence)
                    )
                    after = batch[count - 1].position
                    tell(after)
            except Conflict as conflict:
                log.info("replay.conflict", why=conflict.why)
                await asyncio.sleep(CONFLICT_PAUSE_SECONDS)
            else:
                return
        what = f"another program keeps writing to the stream {self._spec.name}"
        raise Contention(what)

    async def _batch(self, after: int, last: int) -> list[Message]:
        """Build the next announcements; a missing position is never skipped."""
        found = await self._lane.read(after, self._settings.batch_max)
        batch = [each for each in found if each.position <= last]
        before = after
        for each in batch:
            if not follows(each.position, before):
                break
            before = each.position
        if before != (batch[-1].position if batch else last):
            what = f"the announcement after {before} is missing"
            raise InvariantViolated(what, why="the outbox has a gap")
        return self._lane.messages(batch, after)[: self._settings.batch_max]

    async def _require_whole(self, connection: NatsLink, plan: ReplayPlan) -> None:
        """Count the stream's messages: one that was taken for a duplicate would be missing."""
        holds = int((await self._info(connection))["state"]["messages"])
        if holds < plan.holds + plan.count:
            what = f"the stream {plan.stream} has not stored all announcements"
            todo = "Purge it, wait for its duplicate window to pass, and replay again."
            raise Contention(what, why=f"it holds {holds} messages", todo=todo)

    async def _between(self, after: int, last: int) -> int:
        """Count the announcements of a range; within a system epoch positions have no gaps."""
        if system_epoch_of(after + 1) == system_epoch_of(last):
            return max(0, last - after)
        count = 0
        while after < last:
            found = await self._lane.read(after, self._settings.batch_max)
            inside = [each for each in found if each.position <= last]
            if not inside:
                break
            count += len(inside)
            after = inside[-1].position
        return count


def _wait_seconds(info: dict[str, Any]) -> float:
    """Return for how many seconds the stream still knows ids of messages that it no longer has.

    Both times are the server's own. A replayed message with such an id would be taken for a duplicate.
    """
    window_seconds = info["config"].get("duplicate_window", 0) / 1e9
    last = info["state"].get("last_ts", "")
    now = info.get("ts", "")
    if not info["state"].get("last_seq") or not last or not now:
        return 0.0
    since = (_instant(now) - _instant(last)).total_seconds()
    left: float = window_seconds - since
    return left + MARGIN_SECONDS if left > 0 else 0.0


def _instant(text: str) -> datetime:
    """Parse the server's time; it has more digits than Python accepts."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")
