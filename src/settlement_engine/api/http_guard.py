"""Checks to whom a request is addressed and where it comes from, against web pages in browsers.

A page of another site can make its visitor's browser send requests here, and, by pointing its own name at
this machine's address (DNS rebinding), even read the responses. Promises: only requests addressed to a name of
this engine are served; only pages loaded under such a name may call; and a body must declare itself JSON,
which a page of another site cannot do without a preflight request (CORS). It must never accept a host name
that is not configured.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web

from settlement_engine.api.http_answers import JSON, failed
from settlement_engine.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from ipaddress import IPv4Address, IPv6Address

    Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
    from aiohttp.typedefs import Middleware

LOCALHOST: Final = "localhost"


def host_guard(allowed_hosts: Iterable[str]) -> Middleware:
    """Return the middleware that refuses requests to other host names and from other origins."""
    allowed = frozenset({LOCALHOST, *(_plain(name) for name in allowed_hosts)})

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        named = [*hosts, *_named_by_target(request.raw_path)]
        if len(hosts) != 1 or not all(_is_ours(n, allowed, request.transport) for n in named):
            return _refused("this name is not one of the engine's", "Host")
        origins = request.headers.getall("Origin", [])
        if any(not _is_of(origin, hosts[0]) for origin in origins):
            return _refused("a page of another origin may not call this engine", "Origin")
        return await handler(request)

    return guard


def is_json(request: web.Request) -> bool:
    """Return whether the body is declared as JSON in UTF-8."""
    kinds = request.headers.getall("Content-Type", [])
    if len(kinds) != 1 or request.content_type != JSON:
        return False
    return (request.charset or "utf-8").lower() in {"utf-8", "utf8"}


def _is_ours(host: str, allowed: frozenset[str], transport: object) -> bool:
    """Return whether the Host header names this engine: a configured name, or the address reached.

    An address is safe: only a name can be pointed elsewhere. A Unix socket is reached by its path, which no
    browser does, so that any name is accepted there.
    """
    name = _name_of(host)
    if name is None:
        return False
    if name in allowed:
        return True
    reached = transport.get_extra_info("sockname") if hasattr(transport, "get_extra_info") else None
    if isinstance(reached, (str, bytes)):
        return True
    address = _address(name)
    if address is None or not isinstance(reached, tuple):
        return False
    return address.is_loopback or address == _address(str(reached[0]))


def _named_by_target(target: str) -> list[str]:
    """Return the host of an absolute-form request target, as proxies receive it; it overrides Host."""
    _, is_whole, rest = target.partition("://")
    return [] if target.startswith("/") or not is_whole else [rest.partition("/")[0]]


def _is_of(origin: str, host: str) -> bool:
    """Return whether a page's origin is the same host and port that it calls."""
    scheme, _, rest = origin.partition("://")
    return scheme in {"http", "https"} and rest.lower() == host.lower()


def _name_of(host: str) -> str | None:
    """Return the name, or the address, in a Host header; None if it is invalid."""
    try:
        parts = urlsplit(f"//{host}")
        is_bare = parts.netloc == host and parts.username is None and not host.endswith(":")
        _ = parts.port
    except ValueError:
        return None
    return _plain(parts.hostname) if is_bare and parts.hostname else None


def _plain(name: str) -> str:
    """Normalise a name or address, so that equal ones compare equal."""
    address = _address(name)
    return str(address) if address is not None else name.lower().removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _refused(what: str, header: str) -> web.Response:
    why = f"its header {header} is neither a name of this machine nor in [server] allowed_hosts"
    todo = "Use a host name of the engine, or add the name to [server] allowed_hosts."
    response = failed(NotPermitted(what, why=why, todo=todo))
    response.force_close()
    return response
