"""Errors as callers see them: one table of statuses for gRPC and HTTP.

Promises: every class of ``errors.py`` has its status here (a test demands it). Errors of the caller are
explained. Errors of the engine are not: the caller gets an incident id, and the log has the details.
"""

from __future__ import annotations

import secrets
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from settlement_engine import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

DOMAIN: Final = "settlement-engine"
VIOLATIONS_MAX: Final = 16
"""Violations beyond this number are not listed: the status travels in gRPC metadata, which is small."""

_Code = grpc.StatusCode

CODES: Final[Mapping[type[errors.SettlementEngineError], grpc.StatusCode]] = MappingProxyType(
    {
        errors.SettlementEngineError: _Code.INTERNAL,
        errors.CallerError: _Code.INVALID_ARGUMENT,
        errors.InvalidInstruction: _Code.INVALID_ARGUMENT,
        errors.NotFound: _Code.NOT_FOUND,
        errors.IdempotencyConflict: _Code.ALREADY_EXISTS,
        errors.NotAuthenticated: _Code.UNAUTHENTICATED,
        errors.NotPermitted: _Code.PERMISSION_DENIED,
        errors.WrongState: _Code.FAILED_PRECONDITION,
        errors.NotOffered: _Code.UNIMPLEMENTED,
        errors.Contention: _Code.ABORTED,
        errors.Overloaded: _Code.RESOURCE_EXHAUSTED,
        errors.Unavailable: _Code.UNAVAILABLE,
        errors.Misconfigured: _Code.INTERNAL,
        errors.Broken: _Code.INTERNAL,
        errors.IllegalMove: _Code.INTERNAL,
        errors.InvariantViolated: _Code.INTERNAL,
        errors.CorruptRecord: _Code.DATA_LOSS,
    }
)

HTTP_CODES: Final[Mapping[grpc.StatusCode, int]] = MappingProxyType(
    {
        _Code.INVALID_ARGUMENT: 400,
        _Code.FAILED_PRECONDITION: 400,
        _Code.OUT_OF_RANGE: 400,
        _Code.UNAUTHENTICATED: 401,
        _Code.PERMISSION_DENIED: 403,
        _Code.NOT_FOUND: 404,
        _Code.ALREADY_EXISTS: 409,
        _Code.ABORTED: 409,
        _Code.RESOURCE_EXHAUSTED: 429,
        _Code.CANCELLED: 499,
        _Code.UNKNOWN: 500,
        _Code.INTERNAL: 500,
        _Code.DATA_LOSS: 500,
        _Code.UNIMPLEMENTED: 501,
        _Code.UNAVAILABLE: 503,
        _Code.DEADLINE_EXCEEDED: 504,
    }
)

_RETRY_SECONDS: Final[Mapping[type[errors.SettlementEngineError], float]] = {
    errors.Contention: 0.1,
    errors.Unavailable: 1.0,
}
_OURS: Final = frozenset({_Code.INTERNAL, _Code.DATA_LOSS})
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}
_NANOS: Final = 1_000_000_000


class Fault(NamedTuple):
    """An error as it is reported to the caller."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str]
    violations: list[tuple[str, str]]
    retry_after_seconds: float | None


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the status of an error: that of its class, or of the nearest base class in the table."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return _Code.INTERNAL


def fault_of(error: Exception) -> Fault:
    """Build the report for the caller. An internal error is logged here under an incident id."""
    code = code_of(error)
    if code in _OURS or not isinstance(error, errors.SettlementEngineError):
        return _incident(error, code)
    metadata = {"todo": error.todo} if error.todo else {}
    if isinstance(error, errors.CallerError) and error.why:
        metadata["why"] = error.why
    violations: list[tuple[str, str]] = []
    message = error.what
    if isinstance(error, errors.InvalidInstruction):
        violations = error.violations[:VIOLATIONS_MAX]
        if len(error.violations) > 1:
            message += f" (and {len(error.violations) - 1} more)"
    elif isinstance(error, errors.IdempotencyConflict):
        metadata["field"] = error.field
        metadata["settlement_id"] = error.settlement_id
        if error.field not in message:
            message += f" (field {error.field})"
    return Fault(code, error.reason, message, metadata, violations, _retry_after_seconds(error))


def _retry_after_seconds(error: errors.SettlementEngineError) -> float | None:
    """Return when the same call may be repeated, in seconds; None when it would fail again."""
    if isinstance(error, errors.Overloaded):
        return error.retry_after_seconds
    for kind, seconds in _RETRY_SECONDS.items():
        if isinstance(error, kind):
            return seconds
    return None


def _incident(error: Exception, code: grpc.StatusCode) -> Fault:
    """Log an internal error and give the caller only its incident id."""
    incident = secrets.token_hex(6)
    log.error(
        "call.failed", incident=incident, fault=type(error).__name__, exc_info=error, code=code.name
    )
    reason = "CORRUPT_RECORD" if code is _Code.DATA_LOSS else "INTERNAL"
    message = (
        f"the engine failed; its operator finds the cause in the log under incident {incident}"
    )
    return Fault(code, reason, message, {"incident": incident}, [], None)


def status_of(error: Exception) -> Status:
    """Convert an error to a google.rpc.Status (AIP-193) with its details."""
    return status_of_fault(fault_of(error))


def status_of_fault(fault: Fault) -> Status:
    """Convert a report for the caller to a google.rpc.Status."""
    status = Status(code=fault.code.value[0], message=fault.message)
    status.details.add().Pack(
        ErrorInfo(reason=fault.reason, domain=DOMAIN, metadata=fault.metadata)
    )
    if fault.violations:
        named = [
            BadRequest.FieldViolation(field=field, description=description)
            for field, description in fault.violations
        ]
        status.details.add().Pack(BadRequest(field_violations=named))
    if fault.retry_after_seconds is not None:
        whole = int(fault.retry_after_seconds)
        nanos = int((fault.retry_after_seconds - whole) * _NANOS)
        status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=whole, nanos=nanos)))
    return status


def code_of_status(status: Status) -> grpc.StatusCode:
    """Return the status code that a message carries as a number."""
    return _BY_NUMBER[status.code]


class HttpError(NamedTuple):
    """An error as an HTTP response."""

    http_status: int
    body: dict[str, Any]
    retry_after_seconds: float | None


def http_error(error: Exception) -> HttpError:
    """Convert an error to the JSON gateway's response."""
    fault = fault_of(error)
    return HttpError(HTTP_CODES[fault.code], _json_body(fault), fault.retry_after_seconds)


def _json_body(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code.value[0],
        "status": fault.code.name,
        "message": fault.message,
        "reason": fault.reason,
        "details": [MessageToDict(detail) for detail in status_of_fault(fault).details],
        "violations": [
            {"field": field, "description": description} for field, description in fault.violations
        ],
    }
