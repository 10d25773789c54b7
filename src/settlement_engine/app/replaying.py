"""The replay of announcements to a stream, built from the configuration. No engine needs to run for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from settlement_engine import __version__
from settlement_engine.app.settings import database_settings
from settlement_engine.events import (
    NatsAccess,
    NoticeLane,
    Replay,
    ReplayPlan,
    ReplaySettings,
    StreamSpec,
)
from settlement_engine.monitoring import logs
from settlement_engine.monitoring.metrics import Metrics
from settlement_engine.store.database import Readers
from settlement_engine.store.hosts import addresses
from settlement_engine.store.stream import PostgresStream

if TYPE_CHECKING:
    from settlement_engine.config import Config

__all__ = ["ReplayPlan", "ReplayRequest", "replay"]

log = structlog.get_logger(__name__)

PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """A request to replay; without a stream name it is the engine's own, and ``last`` 0 is the head.

    ``is_of_notices`` is about the notices, which have positions of their own, and not about the moves.
    """

    first: int
    last: int = 0
    stream: str = ""
    subject_prefix: str = ""
    is_of_notices: bool = False


async def replay(config: Config, request: ReplayRequest, *, is_dry_run: bool) -> ReplayPlan:
    """Plan a replay; unless it is a dry run, carry it out. Raises WrongState, Misconfigured, Unavailable."""
    logs.configure("info", "auto", sys.stderr)  # standard output belongs to the command
    settings = database_settings(config)
    readers = Readers(settings)
    stream = PostgresStream(settings, readers)
    settled = ReplaySettings(
        stream=_spec(config, request),
        first=request.first,
        last=request.last,
        batch_max=config.nats.publish_batch_max,
    )
    meter = Metrics(__version__)
    notices = NoticeLane(stream.notices, settled.stream, settled.source, meter)
    work = Replay(
        outbox=notices if request.is_of_notices else stream,
        nats=NatsAccess(servers=tuple(addresses(config.nats.url.get_secret_value()))),
        meter=meter,
        settings=settled,
    )
    reported = 0

    def report(position: int) -> None:
        nonlocal reported
        if position - reported >= PROGRESS_EVERY:
            reported = position
            log.info("replay.at", position=position)

    try:
        return await (work.plan() if is_dry_run else work.run(report))
    finally:
        await stream.close()
        await readers.close()


def _spec(config: Config, request: ReplayRequest) -> StreamSpec:
    nats = config.nats
    return StreamSpec(
        name=request.stream or nats.stream,
        prefix=(request.subject_prefix or request.stream)
        if request.stream
        else nats.subject_prefix,
        max_bytes=nats.stream_max_bytes or -1,
        duplicate_window_seconds=nats.duplicate_window_seconds,
        replicas=nats.stream_replicas,
    )
