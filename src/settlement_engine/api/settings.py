"""The edge's bounds and waits, each with its unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. With ``client_ca`` callers must show a certificate of that authority."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """How a connection on which nobody speaks is found to be dead, and how often callers may ask.

    One on which there was no call for ``idle_seconds`` is closed; callers of gRPC open it again by themselves.
    """

    ping_after_seconds: float = 60.0
    ping_timeout_seconds: float = 20.0
    caller_pings_at_least_every_seconds: float = 10.0
    idle_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """What callers over HTTP may take of connections, time and memory.

    ``body_bytes_max`` bounds what the bodies in flight have together, apart from what each connection may
    send without asking (``http_body.FREE_BYTES``).
    """

    connections_max: int = 1_024
    connections_per_address_max: int = 512
    body_bytes_max: int = 32 * MEBIBYTE
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What the edge is told once, at its start.

    ``execute_wait_seconds`` is how long ExecuteSettlement waits without a deadline,
    ``execute_wait_seconds_max`` how long at most with one. Of a deadline the greater of
    ``deadline_margin_seconds`` and ``deadline_margin_share`` is kept for the answer's way back.
    Over HTTP, an event stream of which nothing is read ends after ``stream_unread_seconds_max``; until then the system
    keeps about ``stream_unsent_bytes_max`` of it for sending.
    ``trusts_names`` says whether a caller without a certificate may say who acts: then two people are two
    names and no more. ``is_port_shared`` lets several engines of one machine listen on the same port.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 50056
    is_port_shared: bool = False
    has_reflection: bool = False
    tls: TlsFiles | None = None
    trusts_names: bool = True
    keep_alive: KeepAlive = field(default_factory=KeepAlive)
    http: HttpBounds = field(default_factory=HttpBounds)
    allowed_hosts: tuple[str, ...] = ()

    message_bytes_max: int = 4 * MEBIBYTE
    reply_bytes_max: int = 16 * MEBIBYTE
    metadata_bytes_max: int = 16 * 1024
    calls_max: int = 4_096
    calls_per_connection_max: int = 1_024
    grpc_connections_max: int = 4_096
    grpc_handshake_seconds: float = 10.0
    event_streams_max: int = 256
    execute_streams_max: int = 1_024
    stream_in_flight_max: int = 1_000
    stream_unsent_bytes_max: int = 128 * 1024
    batch_items_max: int = 5_000

    execute_wait_seconds: float = 20.0
    execute_wait_seconds_max: float = 300.0
    deadline_margin_seconds: float = 0.25
    deadline_margin_share: float = 0.05
    disconnect_poll_seconds: float = 1.0
    stream_unread_seconds_max: float = 300.0

    def wait_seconds(self, deadline_seconds: float | None) -> float:
        """Say how long a call may wait for an end, so that the answer still reaches the caller."""
        if deadline_seconds is None:
            return self.execute_wait_seconds
        share = deadline_seconds * self.deadline_margin_share
        margin = max(self.deadline_margin_seconds, share)
        return min(max(deadline_seconds - margin, 0.0), self.execute_wait_seconds_max)
