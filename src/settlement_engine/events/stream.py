"""The JetStream stream of announcements: made if it is absent, never changed if it is there.

A stream that exists belongs to whoever runs NATS (replicas, placement, limits). What differs from the
configuration is complained of, once per connection, and left as it is: two engines with two
configurations would otherwise change it to and fro.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

if TYPE_CHECKING:
    from nats.js import JetStreamContext

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

NO_LIMIT: Final = -1
COMPARED: Final = (
    "allow_atomic",
    "discard",
    "duplicate_window",
    "max_age",
    "max_bytes",
    "num_replicas",
    "retention",
    "storage",
    "subjects",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """What the stream has to be like.

    ``duplicate_window_seconds`` is convenience only: what keeps announcements single is the expected
    sequence number. When ``max_bytes`` is reached new announcements wait; old ones are never pushed out.
    0 means without limit.
    """

    name: str = "settlement-events"
    prefix: str = "settlement"
    max_age_seconds: float = 30 * 86_400.0
    max_bytes: int = 0
    duplicate_window_seconds: float = 120.0
    replicas: int = 1

    def config(self) -> StreamConfig:
        """Say it in JetStream's words."""
        return StreamConfig(
            name=self.name,
            description="What happened to every settlement, in order",
            subjects=[f"{self.prefix}.>"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=self.max_age_seconds,
            max_bytes=self.max_bytes or NO_LIMIT,
            duplicate_window=self.duplicate_window_seconds,
            num_replicas=self.replicas,
            allow_atomic=True,
        )


async def ensure_stream(jetstream: JetStreamContext, spec: StreamSpec) -> bool:
    """Make the stream if it is absent; return whether it takes atomic batches.

    A server before 2.12 does not know of batches, would store their parts one by one, and leaves the
    flag out of its answer.
    """
    wanted = spec.config()
    try:
        found = (await jetstream.stream_info(spec.name)).config
    except NotFoundError:
        found = (await jetstream.add_stream(wanted)).config
        log.info("relay.stream_made", stream=spec.name)
    differing = {
        key: {"wanted": str(getattr(wanted, key)), "found": str(getattr(found, key))}
        for key in COMPARED
        if getattr(found, key) != getattr(wanted, key)
    }
    if differing:
        log.warning("relay.stream_differs", stream=spec.name, differing=differing)
    return found.allow_atomic is True
