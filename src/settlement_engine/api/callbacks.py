"""Call-backs of banks: ``POST /rails/{rail}/inbound``, the messages that a bank sends unasked.

Promises: only a bank of that rail is accepted, by its certificate or its token, and this is checked before the
body is read; the rail is told which of its banks it is; a message is stored before it is answered with 200. A
repeated message is acknowledged again and changes nothing. Must never: interpret a message (its rail does), or
accept a bank in any other call.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp import web

from settlement_engine.api.call import CallLimit
from settlement_engine.api.http_answers import (
    JSON,
    failed,
    not_post,
    not_readable,
    not_xml,
)
from settlement_engine.api.http_body import Bodies, NotRead
from settlement_engine.api.tls import caller_of_transport
from settlement_engine.domain.identity import is_same_person
from settlement_engine.errors import CallerError, NotAuthenticated, NotPermitted
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports.inbound import CONTENT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from settlement_engine.api.settings import ApiSettings, CallbackAccess

    Take: TypeAlias = Callable[[bytes, frozenset[str]], Awaitable[None]]
    """Stores a message; the names are those of the rail's banks as which its sender is known."""

ALL_BODIES_BYTES_MAX: Final = 16 * CONTENT_BYTES_MAX
"""The most memory that the bodies of all call-backs in progress may use."""

AT_ONCE_MAX: Final = 256
"""The most call-backs in progress; further ones are refused, and the bank sends them again."""

XML: Final = frozenset({"application/xml", "text/xml"})
_SCHEME: Final = "bearer "


class CallbackRoutes:
    """Passes each call-back to its rail. ``takers`` store a message, or raise MessageError."""

    def __init__(self, settings: ApiSettings, takers: Mapping[str, Take]) -> None:
        self._accesses = {
            rail: tuple(each for each in settings.callbacks if each.rail == rail)
            for rail in dict.fromkeys(each.rail for each in settings.callbacks)
            if rail in takers
        }
        self._takers = takers
        self._bodies = Bodies(replace(settings.http, body_bytes_max=ALL_BODIES_BYTES_MAX))
        self._in_flight = CallLimit("call-backs", AT_ONCE_MAX)

    def routes(self) -> list[web.RouteDef]:
        """Return a route for each rail whose bank may call back."""
        return [
            web.route("*", f"/rails/{{rail:{rail}}}/inbound", self._handle)
            for rail in self._accesses
        ]

    async def _handle(self, request: web.Request) -> web.Response:
        """Answer one call-back; every exception becomes a JSON response."""
        rail = request.match_info["rail"]
        try:
            if request.method != "POST":
                return not_post()
            senders = require_bank(self._accesses[rail], request)
            if request.content_type not in XML:
                return not_xml()
            async with self._bodies.read(request, CONTENT_BYTES_MAX) as body:
                with self._in_flight:
                    await self._takers[rail](body, senders)
            return web.Response(body=b"{}", content_type=JSON)
        except NotRead as refused:
            return refused.response
        except MessageError as error:
            return not_readable(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the bank gets JSON and no 200
            return _refused(error)


def _refused(error: Exception) -> web.Response:
    """Answer an error; a caller's error closes the connection, because its body may be unread."""
    response = failed(error)
    if isinstance(error, CallerError):
        response.force_close()
    return response


def require_bank(accesses: Sequence[CallbackAccess], request: web.Request) -> frozenset[str]:
    """Return the names of the banks as which the caller is known. Raises NotAuthenticated, NotPermitted."""
    caller = caller_of_transport(request.transport)
    given = request.headers.getall("Authorization", [])
    known = frozenset(each.sender for each in accesses if _is_known(each, caller, given))
    if known:
        return known
    if any(each.certificate_name for each in accesses) and not given:
        what = "this caller is not the bank of this rail"
        todo = "Name the certificate of the bank in the rail's callback_name."
        raise NotPermitted(what, why=f"its certificate names {caller}", todo=todo)
    raise NotAuthenticated(
        "the bank of this rail is not known by this call", todo="Send its token."
    )


def _is_known(access: CallbackAccess, caller: str | None, given: Sequence[str]) -> bool:
    if access.certificate_name and caller == access.certificate_name:
        return True
    return bool(access.token) and len(given) == 1 and _is_token(given[0], access.token)


def _is_token(given: str, token: str) -> bool:
    """Compare in constant time, so that the time does not show where the tokens differ."""
    if given[: len(_SCHEME)].lower() != _SCHEME:
        return False
    return hmac.compare_digest(given[len(_SCHEME) :].encode(), token.encode())


def refuse_banks(settings: ApiSettings, caller: str) -> None:
    """Raise NotPermitted when a caller of the API is a bank, which may only call back."""
    for each in settings.callbacks:
        if each.certificate_name and is_same_person(each.certificate_name, caller):
            what = f"{caller} is the bank of the rail {each.rail}, which may only call back"
            raise NotPermitted(what, todo=f"Use POST /rails/{each.rail}/inbound.")
