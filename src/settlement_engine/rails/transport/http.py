"""HTTP to one bank: one session, one request for each message, and the proof of whether it was sent.

Promises: the result is ``NothingSent`` only if the headers of the request were never passed to a connection: no
free connection, unknown host, connection refused, TLS failure, or time-out while connecting. After that point
everything but a complete response is ``NoResponse``. No redirect is followed, nothing is sent twice, no cookie is
kept, no proxy of the environment is used, nothing is decompressed, and the size of a body is limited.

With TLS 1.3 our side of the handshake ends before the bank has checked our client certificate. If the bank rejects
it, the connection may end after our first bytes: the result is ``NoResponse``, although the bank read none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from settlement_engine.errors import Misconfigured
from settlement_engine.rails.transport.certificates import BankCertificates
from settlement_engine.rails.transport.results import (
    ExchangeProgress,
    ExchangeResult,
    NoResponse,
    NothingSent,
    Response,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import SimpleNamespace

    from settlement_engine.rails.transport.certificates import BankCertificateFiles

HEADER_BYTES_MAX: Final = 8_190
"""The longest line in the head of a response."""

READ_BYTES: Final = 65_536
RETRY_AFTER_SECONDS_MAX: Final = 3_600
"""The longest pause that a bank can request; a longer one is shortened, or ignored."""

WHY_CHARACTERS_MAX: Final = 200
NO_CONTENT: Final = 204
_TOKEN: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How to connect to one bank.

    ``connect_timeout_seconds`` limits the wait for a free connection, the look-up of the host name and both
    handshakes together. ``timeout_seconds`` limits the whole exchange, including the connection.
    ``idle_timeout_seconds`` must be shorter than the bank's own, because a request on a connection that the
    bank is just closing gets no response. ``bearer_token`` is sent with each request, and never shown.
    """

    endpoint: str
    bearer_token: str = field(default="", repr=False)
    certificates: BankCertificateFiles | None = None
    connect_timeout_seconds: float = 5.0
    timeout_seconds: float = 30.0
    idle_timeout_seconds: float = 15.0
    connections_max: int = 16
    response_bytes_max: int = 1_048_576

    def __post_init__(self) -> None:
        """Check the settings. Raises Misconfigured."""
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            what = "the endpoint of a bank must be like https://host:port/path, without a query"
            raise Misconfigured(what)
        if parts.username or parts.password:
            what = "the endpoint of a bank must not contain a user or a password"
            raise Misconfigured(what, todo="Name a client certificate's files instead.")
        if (parts.scheme == "https") != (self.certificates is not None):
            what = "https needs the bank's certificate authority, and http has no use for one"
            raise Misconfigured(what, todo="Name ca_file for an endpoint with https.")
        if self.bearer_token and not _TOKEN.fullmatch(self.bearer_token):
            what = "a bank's token must be visible characters of ASCII, without spaces"
            raise Misconfigured(what, todo="Correct the file with the token.")
        if not 0 < self.connect_timeout_seconds <= self.timeout_seconds:
            what = "connect_timeout_seconds must be above 0 and at most timeout_seconds"
            raise Misconfigured(what)


class HttpTransport:
    """The connections to one bank, usable between ``start`` and ``stop`` on one event loop."""

    def __init__(self, settings: HttpSettings) -> None:
        """Read the certificates. Raises Misconfigured."""
        self._settings = settings
        self._endpoint = settings.endpoint.rstrip("/")
        files = settings.certificates
        self._certificates = None if files is None else BankCertificates(files)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session; connections are made when they are needed."""
        assert self._session is None, "the transport has been started already"
        settings = self._settings
        connector = aiohttp.TCPConnector(
            limit=settings.connections_max,
            keepalive_timeout=settings.idle_timeout_seconds,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout_seconds, connect=settings.connect_timeout_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_own_headers(settings),
            auto_decompress=False,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            trace_configs=[_begin_tracing()],
        )

    async def stop(self) -> None:
        """Close all connections; a request in progress ends as if its connection were reset."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        progress: ExchangeProgress | None = None,
        bytes_max: int | None = None,
    ) -> ExchangeResult:
        """Send bytes and read the response, which may have ``bytes_max``, or else what the settings say.

        Network errors are returned as a result, never raised. A caller that may be cancelled passes ``progress``,
        which tells afterwards whether anything may have been sent.
        """
        session = self._session
        assert session is not None, "the transport is not started"
        progress = progress or ExchangeProgress()
        try:
            async with session.post(
                self._endpoint + path,
                data=body,
                headers=headers,
                allow_redirects=False,
                ssl=self._tls(),
                trace_request_ctx=progress,
            ) as response:
                return await self._read(response, bytes_max or self._settings.response_bytes_max)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"[:WHY_CHARACTERS_MAX]
            return NoResponse(why) if progress.has_begun else NothingSent(why)

    def _tls(self) -> ssl.SSLContext | bool:
        # aiohttp reuses connections of the same context only: after a renewal no old connection is used.
        return True if self._certificates is None else self._certificates.context()

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> ExchangeResult:
        if not _says_its_length(response):
            return NoResponse("the response does not say where it ends")
        body = bytearray()
        async for piece in response.content.iter_chunked(READ_BYTES):
            body += piece
            if len(body) > most:
                response.close()  # do not read the rest
                return NoResponse(f"the response has more than {most} bytes")
        return Response(
            status=response.status,
            body=bytes(body),
            content_type=response.content_type,
            retry_after_seconds=_retry_after(response.headers.get("retry-after", "")),
        )


def _own_headers(settings: HttpSettings) -> dict[str, str]:
    headers = {"accept-encoding": "identity"}
    if settings.bearer_token:
        headers["authorization"] = f"Bearer {settings.bearer_token}"
    return headers


def _begin_tracing() -> aiohttp.TraceConfig:
    """Return the tracing that sets ``has_begun`` just before the headers are passed to the connection."""

    async def note(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        _params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        progress: ExchangeProgress = context.trace_request_ctx
        progress.has_begun = True

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(note)
    return tracing


def _says_its_length(response: aiohttp.ClientResponse) -> bool:
    """Say whether a truncated response can be detected: not if only the end of the connection ends the body."""
    is_chunked = response.headers.get("transfer-encoding", "").lower() == "chunked"
    return is_chunked or response.content_length is not None or response.status == NO_CONTENT


def _retry_after(text: str) -> int | None:
    """Read a pause in seconds; None for a date or another text."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(RETRY_AFTER_SECONDS_MAX)):
        return None
    return min(int(text), RETRY_AFTER_SECONDS_MAX)
