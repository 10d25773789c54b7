"""Errors of calls to an engine, translated for a person.

Promises: the engine's own error is passed on with its fields. These three cases have different messages: no
engine is reachable, an engine could not serve the call, and another program listens at the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from settlement_engine.errors import (
    Contention,
    InvalidInstruction,
    NotAuthenticated,
    NotFound,
    NotOffered,
    NotPermitted,
    SettlementEngineError,
    Unavailable,
    WrongState,
)

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

REFUSED: Final = "the engine refused the call, and nothing was stored"
_CLASSES: Final = {
    kind.reason: kind
    for kind in (
        Contention,
        NotAuthenticated,
        NotFound,
        NotOffered,
        NotPermitted,
        Unavailable,
        WrongState,
    )
}
"""Errors of the engine that have the same class here; the others become ``EngineError``."""


class EngineError(SettlementEngineError):
    """An error response of the engine; ``told_reason`` is the engine's own reason code."""

    def __init__(self, what: str, *, told_reason: str, why: str = "", todo: str = "") -> None:
        super().__init__(what, why=why, todo=todo)
        self.told_reason = told_reason


def translate(error: grpc.RpcError, target: str) -> SettlementEngineError:
    """Turn a failed call into an error that says what to do next."""
    assert isinstance(error, grpc.Call), "gRPC raises errors that are calls"
    code = error.code()
    detail = error.details() or code.name
    status = rpc_status.from_call(error)
    if status is not None and status.details:
        return from_status(status)
    return _without_details(code, detail, target)


def _without_details(code: grpc.StatusCode, detail: str, target: str) -> SettlementEngineError:
    """Explain an error of gRPC itself, or of a server that is not an engine."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"the engine at {target} did not answer in time", why=detail)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
        from settlement_engine.cli.diagnosis import who_listens

        return who_listens(target, detail)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        what = f"the server at {target} does not know this call"
        todo = "Give the address of an engine of this version: --address HOST:PORT."
        return NotOffered(what, why=f"it speaks gRPC and answered: {detail}", todo=todo)
    return EngineError(detail, told_reason=code.name, why=code.name)


def from_status(status: Status) -> SettlementEngineError:
    """Turn the engine's error for a call, or for one item of a batch, into an exception."""
    details = _details(status)
    if status.code == code_pb2.INVALID_ARGUMENT:
        invalid = InvalidInstruction(_violations(status) or [("the call", status.message)])
        invalid.why = REFUSED
        return invalid
    reason = _reason(status)
    why, todo = details.get("why") or reason, details.get("todo") or _advice(status)
    kind = _CLASSES.get(reason)
    if kind is not None:
        why = why if why != NotFound.reason else "the engine has no record with this reference"
        return kind(status.message, why=why, todo=todo)
    why = why or str(code_pb2.Code.Name(status.code))
    return EngineError(status.message, told_reason=reason, why=why, todo=todo)


def explain_status(status: Status) -> str:
    """Write the error of one item of a batch on one line."""
    violations = _violations(status)
    return "; ".join(f"{field}: {text}" for field, text in violations) or status.message


def _unpack(status: Status, kind: type[Any]) -> Any | None:  # noqa: ANN401 -- a message
    for detail in status.details:
        found = kind()
        if detail.Unpack(found):
            return found
    return None


def _violations(status: Status) -> list[tuple[str, str]]:
    found = _unpack(status, error_details_pb2.BadRequest)
    return [(item.field, item.description) for item in found.field_violations] if found else []


def _reason(status: Status) -> str:
    found = _unpack(status, error_details_pb2.ErrorInfo)
    return str(found.reason) if found else ""


def _details(status: Status) -> dict[str, str]:
    """Return the engine's explanation of an error: ``why`` and ``todo``."""
    found = _unpack(status, error_details_pb2.ErrorInfo)
    return dict(found.metadata) if found else {}


def _advice(status: Status) -> str:
    found = _unpack(status, error_details_pb2.RetryInfo)
    return (
        f"Try again after {found.retry_delay.ToTimedelta().total_seconds():g} s." if found else ""
    )
