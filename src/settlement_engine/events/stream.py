"""The JetStream stream of announcements: created if it does not exist.

An existing stream belongs to the operators of NATS (replicas, placement, limits). Promises: differences from the
configuration are logged, once for each connection. Must never: change an existing stream; two engines with different
configurations would change it back and forth.
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
    """The settings of the stream.

    ``duplicate_window_seconds`` is only a second protection: the expected sequence number prevents duplicates.
    When ``max_bytes`` is reached, new announcements wait; old ones are never removed. 0 means no limit.
    """

    name: str = "settlement-events"
    prefix: str = "settlement"
    max_age_seconds: float = 30 * 86_400.0
    max_bytes: int = 0
    duplicate_window_seconds: float = 120.0
    replicas: int = 1

    def config(self) -> StreamConfig:
        """Return the settings as JetStream's configuration."""
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
    """Create the stream if it does not exist; return whether it accepts atomic batches.

    A server before 2.12 does not know batches, would store their messages one by one, and does not return the
    flag.
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
