"""HTTP to one bank: one session, one request at a time for each message, and the proof of what left.

Promises: ``NothingSent`` only where the headers of the request were never handed to a connection: no free
connection, no such host, refused, TLS failure, time out while connecting. From then on everything that is not a
whole response is ``NoResponse``. No redirect is followed, nothing is sent twice, no cookie is kept, no proxy of
the environment is used, nothing is decompressed, and no body is longer than its bound.

With TLS 1.3 our side of the handshake ends before the bank has looked at our client certificate. A bank that
refuses it may do so after our first bytes: that is ``NoResponse``, although the bank read none of them.
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
"""No line of a response's head may be longer."""

READ_BYTES: Final = 65_536
RETRY_AFTER_SECONDS_MAX: Final = 3_600
"""A bank that asks for a longer pause is not believed."""

WHY_CHARACTERS_MAX: Final = 200
NO_CONTENT: Final = 204
_TOKEN: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How one bank is reached.

    ``connect_timeout_seconds`` bounds the wait for a free connection, the look-up of the name, and both
    handshakes together. ``timeout_seconds`` bounds the whole exchange, connecting included.
    ``idle_timeout_seconds`` must be shorter than the bank's own: on a connection that the bank is about to
    close, a request gets no response. ``bearer_token`` is sent with each request, and is never shown.
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
        """Refuse what reaches no bank. Raises Misconfigured."""
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
    """The connections to one bank. Between ``start`` and ``stop``, on one event loop."""

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
        """Close all connections; a request under way ends as if its connection were reset."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        progress: ExchangeProgress | None = None,
    ) -> ExchangeResult:
        """Send bytes and read the response.

        Raises nothing of the network's. Whoever may be cancelled gives ``progress``, and reads in it whether
        anything can have left.
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
                return await self._read(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"[:WHY_CHARACTERS_MAX]
            return NoResponse(why) if progress.has_begun else NothingSent(why)

    def _tls(self) -> ssl.SSLContext | bool:
        # Connections are kept by their context: after a renewal none of the old ones is used again.
        return True if self._certificates is None else self._certificates.context()

    async def _read(self, response: aiohttp.ClientResponse) -> ExchangeResult:
        if not _says_its_length(response):
            return NoResponse("the response does not say where it ends")
        most = self._settings.response_bytes_max
        body = bytearray()
        async for piece in response.content.iter_chunked(READ_BYTES):
            body += piece
            if len(body) > most:
                response.close()  # the rest is not waited for
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
    """Have it noted that headers are about to be handed to a connection, which is before any byte is."""

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
    """Say whether half of this response could be told from the whole: not where the connection's end ends it."""
    is_chunked = response.headers.get("transfer-encoding", "").lower() == "chunked"
    return is_chunked or response.content_length is not None or response.status == NO_CONTENT


def _retry_after(text: str) -> int | None:
    """Read a pause in seconds; a date or anything else is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(RETRY_AFTER_SECONDS_MAX)):
        return None
    return min(int(text), RETRY_AFTER_SECONDS_MAX)
