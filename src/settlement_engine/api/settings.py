"""The limits and timeouts of the API, each with its unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Paths of PEM files. With ``client_ca`` callers must present a certificate of that authority."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """How a dead idle connection is detected, and how often callers may send keep-alive pings.

    A connection without calls for ``idle_seconds`` is closed; gRPC clients reconnect by themselves.
    """

    ping_after_seconds: float = 60.0
    ping_timeout_seconds: float = 20.0
    caller_pings_at_least_every_seconds: float = 10.0
    idle_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """The connections, time and memory that callers over HTTP may use.

    ``body_bytes_max`` limits all bodies in flight together, except for what each connection may send
    without a reservation (``http_body.FREE_BYTES``).
    """

    connections_max: int = 1_024
    connections_per_address_max: int = 512
    body_bytes_max: int = 32 * MEBIBYTE
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackAccess:
    """How a bank of a rail authenticates its call-backs: by its certificate's name, by a token, or either.

    ``sender`` is the rail's name for this bank.
    """

    rail: str
    sender: str = ""
    certificate_name: str = ""
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The settings of the API, fixed at the start of the process.

    ``execute_wait_seconds`` is how long ExecuteSettlement waits without a deadline, and
    ``execute_wait_seconds_max`` the longest wait with one. The greater of ``deadline_margin_seconds`` and
    ``deadline_margin_share`` of the deadline is reserved for returning the answer.
    An HTTP event stream that is not read ends after ``stream_unread_seconds_max``; until then the system
    buffers about ``stream_unsent_bytes_max`` of it.
    ``trusts_names`` says whether a caller without a certificate may name the person who acts: the check for
    two different people is then a check for two different names only. With ``is_port_shared`` several
    engines of one machine listen on the same port (SO_REUSEPORT). With ``needs_listed_banks`` new accounts may only
    be opened for banks of the bank directory. Booking dates are those of ``zone``, the institution's.
    ``rails_without_enquiries`` are asked for no status: what a payment over them waits for is a message of the bank.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 50056
    is_port_shared: bool = False
    has_reflection: bool = False
    tls: TlsFiles | None = None
    trusts_names: bool = True
    needs_listed_banks: bool = False
    zone: str = "UTC"
    keep_alive: KeepAlive = field(default_factory=KeepAlive)
    http: HttpBounds = field(default_factory=HttpBounds)
    allowed_hosts: tuple[str, ...] = ()
    callbacks: tuple[CallbackAccess, ...] = ()
    rails_without_enquiries: frozenset[str] = frozenset()

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
