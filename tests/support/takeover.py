"""How long it takes until other engines have taken over and finished the work of an engine that is gone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    import asyncpg

    from tests.support.soak_installation import Installation

    Asked: TypeAlias = asyncpg.Connection[Any] | asyncpg.Pool[asyncpg.Record]

LOOK_SECONDS = 0.005
QUIET_SECONDS = 0.5
"""How long a transaction of the dead engine may still commit: until then its work is checked."""

TAKEOVER_SECONDS_MAX = 60.0
READY_SECONDS_MAX = 60.0

CARRYING = """
    SELECT DISTINCT g.pid FROM open_settlements AS w JOIN engines AS g ON g.id = w.owner
    WHERE g.gone_at IS NULL
"""
OWNER = "SELECT max(id) FROM engines WHERE pid = $1"
OWNED = "SELECT settlement_id FROM open_settlements WHERE owner = $1"
ENDED = """
    SELECT max(ended_at) AS last, count(*) FILTER (WHERE ended_at IS NULL) AS open
    FROM settlement_transactions WHERE id = ANY ($1::uuid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """What happened to the work of one engine. Times are seconds since the fault."""

    settlements: int
    taken_seconds: float
    ended_seconds: float


async def owner_of(connection: Asked, pid: int) -> int:
    """Return the engine id of a process."""
    return int(await connection.fetchval(OWNER, pid))


async def watch_takeover(
    connection: Asked,
    engine_id: int,
    began: float,
    *,
    seconds: float = TAKEOVER_SECONDS_MAX,
    is_ended_awaited: bool = True,
    tick: Callable[[], object] = lambda: None,
) -> Takeover:
    """Wait until no settlement is owned by this engine id, and all that it owned have ended.

    ``began`` is the time of the fault on the monotonic clock; ``tick`` is called at every check.
    """
    seen: set[UUID] = set()
    taken_at = began
    deadline = began + seconds
    while True:
        left = {row["settlement_id"] for row in await connection.fetch(OWNED, engine_id)}
        now = time.monotonic()
        assert now < deadline, (
            f"after {seconds} s {len(left)} settlements still belong to the dead engine"
        )
        seen |= left
        if left:
            taken_at = now
        elif now - taken_at > QUIET_SECONDS:
            break
        tick()
        await asyncio.sleep(LOOK_SECONDS)
    since = time.time() - time.monotonic() + began
    while True:
        row = await connection.fetchrow(ENDED, list(seen))
        assert row is not None
        if not row["open"] or not is_ended_awaited:
            break
        assert time.monotonic() < deadline, f"{row['open']} settlements have not ended"
        tick()
        await asyncio.sleep(LOOK_SECONDS)
    ended_seconds = row["last"].timestamp() - since if row["last"] else 0.0
    return Takeover(
        settlements=len(seen),
        taken_seconds=taken_at - began,
        ended_seconds=max(ended_seconds, 0.0),
    )


async def strike(installation: Installation, number: int, *, is_kill: bool) -> Takeover:
    """Kill or freeze an engine under load, and measure the takeover of its work.

    A frozen engine is resumed when others have all of its work; a killed one is restarted meanwhile.
    """
    connection = await installation.connect()
    try:
        pid = installation.engines[number].pid
        assert pid is not None
        engine_id = await owner_of(connection, pid)
        began = time.monotonic()
        if is_kill:
            installation.kill_engine(number)
        else:
            installation.freeze(number)
        return await watch_takeover(connection, engine_id, began, tick=installation.watch)
    finally:
        installation.thaw(number)
        await connection.close()


async def until_carrying(
    installation: Installation, number: int, seconds: float = READY_SECONDS_MAX
) -> None:
    """Wait until every engine is ready, and this one owns settlements."""
    connection = await installation.connect()
    deadline = time.monotonic() + seconds
    try:
        while True:
            installation.watch()
            is_complete = all(engine.is_ready for engine in installation.engines)
            carrying = {row["pid"] for row in await connection.fetch(CARRYING)}
            if is_complete and installation.engines[number].pid in carrying:
                return
            assert time.monotonic() < deadline, f"engine {number} carries nothing, only {carrying}"
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await connection.close()


def percentiles(values: Sequence[float]) -> str:
    """Return the percentiles of the values, in milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return "none"

    def at(share: float) -> str:
        place = min(len(ordered) - 1, round(share * (len(ordered) - 1)))
        return f"{ordered[place] * 1000:.0f}"

    return (
        f"p50 {at(0.5)} ms, p90 {at(0.9)} ms, p99 {at(0.99)} ms, max {at(1)} ms of {len(ordered)}"
    )
