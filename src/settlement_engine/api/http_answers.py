"""HTTP responses to requests that never became a call: always JSON, with the reason as a name.

Promises: the same shape everywhere, and never the text of an internal error. After the response to a request
that was not read completely the connection is closed.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from aiohttp import web

from settlement_engine.api.errors import http_error

JSON: Final = "application/json"


def failed(error: Exception) -> web.Response:
    """Answer an error according to the table of ``errors.py``."""
    http = http_error(error)
    response = _json(http.http_status, http.body)
    if http.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(math.ceil(http.retry_after_seconds))
    return response


def too_large(limit: int) -> web.Response:
    """Refuse a body that is larger than its limit."""
    message = f"the body has more than {limit} bytes"
    response = _json(413, _plain(8, "RESOURCE_EXHAUSTED", message, "BODY_TOO_LARGE"))
    response.force_close()
    return response


def too_slow(seconds: float) -> web.Response:
    """Give up waiting for a body that does not arrive."""
    message = f"the body did not arrive within {seconds:g} s; nothing was done"
    response = _json(408, _plain(4, "DEADLINE_EXCEEDED", message, "BODY_TOO_SLOW"))
    response.force_close()
    return response


def broken_off() -> web.Response:
    """Refuse a body that ended early; usually the caller has disconnected and reads no response."""
    message = "the body is incomplete; nothing was done"
    response = _json(400, _plain(3, "INVALID_ARGUMENT", message, "BODY_BROKEN_OFF"))
    response.force_close()
    return response


def not_http(status: int, why: str) -> web.Response:
    """Refuse bytes that are not a valid HTTP request."""
    message = f"this is not a valid HTTP/1.1 request: {why}"
    response = _json(status, _plain(3, "INVALID_ARGUMENT", message, "NOT_HTTP"))
    response.force_close()
    return response


def not_json() -> web.Response:
    """Refuse a body whose Content-Type is not JSON."""
    message = f"the header Content-Type must be {JSON}"
    response = _json(415, _plain(3, "INVALID_ARGUMENT", message, "NOT_JSON"))
    response.force_close()
    return response


def not_xml() -> web.Response:
    """Refuse a call-back whose Content-Type is not XML."""
    message = "the header Content-Type must be application/xml or text/xml"
    response = _json(415, _plain(3, "INVALID_ARGUMENT", message, "NOT_XML"))
    response.force_close()
    return response


def not_readable(fault: str) -> web.Response:
    """Refuse a call-back in which no message can be read; it was not stored."""
    message = f"the message cannot be read: {fault}"
    return _json(400, _plain(3, "INVALID_ARGUMENT", message, "MESSAGE_NOT_READABLE"))


def not_post() -> web.Response:
    """Refuse a method other than POST."""
    response = _json(405, _plain(12, "UNIMPLEMENTED", "calls are made by POST", "NOT_POST"))
    response.headers["Allow"] = "POST"
    return response


def deadline_reached() -> web.Response:
    """Report that the caller's deadline was reached."""
    message = "the deadline was reached; accepted settlements continue"
    return _json(504, _plain(4, "DEADLINE_EXCEEDED", message, "DEADLINE_EXCEEDED"))


def _plain(code: int, status: str, message: str, reason: str) -> dict[str, Any]:
    fields = {"code": code, "status": status, "message": message, "reason": reason}
    return fields | {"details": [], "violations": []}


def _json(status: int, body: dict[str, Any]) -> web.Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return web.Response(status=status, body=text.encode(), content_type=JSON)
