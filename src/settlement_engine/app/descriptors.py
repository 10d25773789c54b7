"""The process's limit of open files: how many of them callers may use.

Promises: callers' connections never take the file descriptors that the engine needs for PostgreSQL, NATS and
itself. With a low limit callers get fewer connections; a limit that leaves them almost none is refused at the
start.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.app.settings import api_settings
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.config import Config

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

KEPT_BACK: Final = 128
"""Reserved for NATS, logs, files, listening sockets, timers and connections that are closing. The database's
connections are added to this."""

METRICS_CONNECTIONS_MAX: Final = 64
CALLERS_MIN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many connections the JSON gateway, the metrics port and gRPC may have."""

    http: int
    metrics: int
    grpc: int

    @property
    def total(self) -> int:
        """The sum of all three."""
        return self.http + self.metrics + self.grpc


def divide(wanted: Shares, *, limit: int, database_connections: int) -> Shares:
    """Divide what the limit leaves: as wanted if it suffices, else in proportion. Raises Misconfigured."""
    left = limit - KEPT_BACK - database_connections
    if left >= wanted.total:
        return wanted
    if left < CALLERS_MIN:
        what = "the limit of open files is too low"
        least = CALLERS_MIN + KEPT_BACK + database_connections
        why = f"it is {limit}, and the engine needs at least {least} with these settings"
        raise Misconfigured(
            what, why=why, todo="Raise it (ulimit -n), or lower database.max_connections."
        )
    metrics = min(wanted.metrics, left // 4)
    left -= metrics
    http = max(left * wanted.http // (wanted.http + wanted.grpc), 1)
    return Shares(http=http, metrics=metrics, grpc=max(left - http, 1))


def bounded_api(config: Config) -> tuple[ApiSettings, int]:
    """Fit the limits of connections into the limit of open files, which is raised as far as possible.

    Returns the API's settings and the limit of the metrics port. Raises Misconfigured.
    """
    api, database_connections = api_settings(config), config.database.max_connections
    wanted = Shares(
        http=api.http.connections_max,
        metrics=METRICS_CONNECTIONS_MAX,
        grpc=api.grpc_connections_max,
    )
    limit = _raise_limit(wanted.total + KEPT_BACK + database_connections)
    shares = divide(wanted, limit=limit, database_connections=database_connections)
    if shares != wanted:
        log.warning("connections.bounded", open_files=limit, http=shares.http, grpc=shares.grpc)
    http = replace(
        api.http,
        connections_max=shares.http,
        connections_per_address_max=min(api.http.connections_per_address_max, shares.http),
    )
    return replace(api, http=http, grpc_connections_max=shares.grpc), shares.metrics


def _raise_limit(wanted: int) -> int:
    """Raise the process's soft limit as far as the hard limit allows; return the resulting limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit
