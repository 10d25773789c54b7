"""The way to a running engine: a channel, and its errors in words that help.

Promises: each call has a deadline; an engine that cannot be reached is ``Unavailable`` and says how to
start one; what the engine answers is passed on with its fields named.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from settlement_engine.cli.addresses import find_address
from settlement_engine.errors import (
    InvalidInstruction,
    NotFound,
    SettlementEngineError,
    Unavailable,
)
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.rpc.status_pb2 import Status

AnyFunction = TypeVar("AnyFunction", bound="Callable[..., Any]")

CALL_SECONDS: Final = 30.0
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
CHANNEL_OPTIONS: Final = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),)
START_ONE: Final = "Start one with `settlement-engine dev`, or name it with --address HOST:PORT."


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """Where the engine is, and how to prove who we are; without ``ca`` the channel is not encrypted."""

    target: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Read the certificates."""
        if self.ca is None:
            return None
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(),
            self.key.read_bytes() if self.key else None,
            self.certificate.read_bytes() if self.certificate else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The services of a running engine."""

    settlements: settlement_pb2_grpc.SettlementServiceStub
    accounts: settlement_pb2_grpc.AccountServiceStub
    intake: settlement_pb2_grpc.IntakeServiceStub
    exceptions: settlement_pb2_grpc.ExceptionServiceStub


def _file(flag: str, text: str) -> Callable[[AnyFunction], AnyFunction]:
    return click.option(
        flag, type=click.Path(exists=True, dir_okay=False, path_type=Path), help=text
    )


def engine_options(function: AnyFunction) -> AnyFunction:
    """Give a command ``--address`` and the certificates; it gets them as one ``address``."""

    def gather(**arguments: Any) -> object:  # noqa: ANN401 -- whatever the command takes
        address = EngineAddress(
            target=arguments.pop("address") or find_address(),
            ca=arguments.pop("ca"),
            certificate=arguments.pop("cert"),
            key=arguments.pop("key"),
        )
        return function(address=address, **arguments)

    gather.__doc__ = function.__doc__
    gather.__name__ = function.__name__
    gather.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    options = (
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="The engine; else $SETTLEMENT_ADDRESS, else the `dev` that runs here.",
        ),
        _file("--ca", "The authority that signed the engine's certificate: encrypt."),
        _file("--cert", "Our certificate."),
        _file("--key", "Our certificate's key."),
    )
    decorated: Any = gather
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@contextmanager
def reach(address: EngineAddress) -> Iterator[Engine]:
    """Open a channel; what goes wrong on it is raised as one of our errors."""
    credentials = address.credentials()
    channel = (
        grpc.secure_channel(address.target, credentials, CHANNEL_OPTIONS)
        if credentials
        else grpc.insecure_channel(address.target, CHANNEL_OPTIONS)
    )
    try:
        with channel:
            yield Engine(
                settlements=settlement_pb2_grpc.SettlementServiceStub(channel),
                accounts=settlement_pb2_grpc.AccountServiceStub(channel),
                intake=settlement_pb2_grpc.IntakeServiceStub(channel),
                exceptions=settlement_pb2_grpc.ExceptionServiceStub(channel),
            )
    except grpc.RpcError as error:
        raise translate(error, address.target) from None


def translate(error: grpc.RpcError, target: str) -> SettlementEngineError:
    """Turn a failed call into an error that tells a person what to do."""
    assert isinstance(error, grpc.Call), "a failed call is a call"
    code = error.code()
    detail = error.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"no engine answers at {target}", why=detail, todo=START_ONE)
    status = rpc_status.from_call(error)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        invalid = InvalidInstruction(_violations(status) or [("the call", detail)])
        invalid.why = "the engine refused it, and nothing was written"
        return invalid
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(detail, why="the engine does not know it", todo="Look with `list`.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"the engine at {target} did not answer in time", why=detail)
    told = _told(status)
    why = told.get("why") or _reason(status) or code.name
    return SettlementEngineError(detail, why=why, todo=told.get("todo") or _advice(status))


def explain_status(status: Status) -> str:
    """Write the error of one item of a batch on one line."""
    violations = _violations(status)
    return "; ".join(f"{field}: {text}" for field, text in violations) or status.message


def _unpack(status: Status | None, kind: type[Any]) -> Any | None:  # noqa: ANN401 -- a message
    for detail in status.details if status else ():
        found = kind()
        if detail.Unpack(found):
            return found
    return None


def _violations(status: Status | None) -> list[tuple[str, str]]:
    found = _unpack(status, error_details_pb2.BadRequest)
    return [(item.field, item.description) for item in found.field_violations] if found else []


def _reason(status: Status | None) -> str:
    found = _unpack(status, error_details_pb2.ErrorInfo)
    return str(found.reason) if found else ""


def _told(status: Status | None) -> dict[str, str]:
    """Return what the engine adds to an error: why it is so, and what to do."""
    found = _unpack(status, error_details_pb2.ErrorInfo)
    return dict(found.metadata) if found else {}


def _advice(status: Status | None) -> str:
    found = _unpack(status, error_details_pb2.RetryInfo)
    return (
        f"Try again after {found.retry_delay.ToTimedelta().total_seconds():g} s." if found else ""
    )
