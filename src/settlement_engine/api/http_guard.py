"""Whom a request was meant for, and where it comes from: the doors that pages in browsers find closed.

A page of another site can make its visitor's browser send requests here, and by re-pointing its own name at
this machine's address (DNS rebinding) even read the answers. Promises: only requests to a name that is ours
are served, only pages that were read under such a name may call, and a body must say that it is JSON, which
no page of another site can do without asking first. It must never let a name through that nobody named.
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
    """Make the middleware that refuses requests to other names, and those of other names' pages."""
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
    """Say whether the body is said to be JSON, in UTF-8."""
    kinds = request.headers.getall("Content-Type", [])
    if len(kinds) != 1 or request.content_type != JSON:
        return False
    return (request.charset or "utf-8").lower() in {"utf-8", "utf8"}


def _is_ours(host: str, allowed: frozenset[str], transport: object) -> bool:
    """Say whether the Host header names us: by a name of ours, or by the address that was reached.

    An address is no danger: only a name can be pointed elsewhere. A Unix socket is reached by its path,
    which no browser does, so that callers name it as they like.
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
    """Take the name from a target that is a whole URI, as proxies get it: it goes before Host's."""
    _, is_whole, rest = target.partition("://")
    return [] if target.startswith("/") or not is_whole else [rest.partition("/")[0]]


def _is_of(origin: str, host: str) -> bool:
    """Say whether a page was read under the very name, and port, that it calls."""
    scheme, _, rest = origin.partition("://")
    return scheme in {"http", "https"} and rest.lower() == host.lower()


def _name_of(host: str) -> str | None:
    """Take the name, or the address, from a Host header; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        is_bare = parts.netloc == host and parts.username is None and not host.endswith(":")
        _ = parts.port
    except ValueError:
        return None
    return _plain(parts.hostname) if is_bare and parts.hostname else None


def _plain(name: str) -> str:
    """Write a name without differences that make no difference."""
    address = _address(name)
    return str(address) if address is not None else name.lower().removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _refused(what: str, header: str) -> web.Response:
    why = f"its header {header} names neither this machine nor a name in [server] allowed_hosts"
    todo = "Call the engine by one of its own names, or add the name to [server] allowed_hosts."
    response = failed(NotPermitted(what, why=why, todo=todo))
    response.force_close()
    return response
