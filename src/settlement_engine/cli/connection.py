"""The connection to a running engine: a gRPC channel whose errors are translated (``call_errors``).

Promises: each call has a deadline; an unreachable engine raises ``Unavailable``, which says how to start
one.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import grpc

from settlement_engine.cli.addresses import find_address
from settlement_engine.cli.call_errors import translate
from settlement_engine.proto import settlement_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AnyFunction = TypeVar("AnyFunction", bound="Callable[..., Any]")

CALL_SECONDS: Final = 30.0
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
CHANNEL_OPTIONS: Final = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAddress:
    """The engine's address and our certificate; without ``ca`` the channel is not encrypted."""

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
class EngineClient:
    """The services of a running engine."""

    settlements: settlement_pb2_grpc.SettlementServiceStub
    accounts: settlement_pb2_grpc.AccountServiceStub
    banks: settlement_pb2_grpc.BankServiceStub
    intake: settlement_pb2_grpc.IntakeServiceStub
    exceptions: settlement_pb2_grpc.ExceptionServiceStub
    rails: settlement_pb2_grpc.RailServiceStub
    statements: settlement_pb2_grpc.StatementServiceStub
    reconciliation: settlement_pb2_grpc.ReconciliationServiceStub
    reports: settlement_pb2_grpc.ReportServiceStub


def _file(flag: str, text: str) -> Callable[[AnyFunction], AnyFunction]:
    return click.option(
        flag, type=click.Path(exists=True, dir_okay=False, path_type=Path), help=text
    )


def engine_options(function: AnyFunction) -> AnyFunction:
    """Add ``--address`` and the certificate options to a command; it gets them as one ``address``."""

    def gather(**arguments: Any) -> object:  # noqa: ANN401 -- whatever the command takes
        address = EngineAddress(
            target=arguments.pop("address") or find_address(),
            ca=arguments.pop("ca"),
            certificate=arguments.pop("cert"),
            key=arguments.pop("key"),
        )
        _check_files(address)
        return function(address=address, **arguments)

    gather.__doc__ = function.__doc__
    gather.__name__ = function.__name__
    gather.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    options = (
        click.option(
            "--address",
            metavar="HOST:PORT",
            help="The engine. Default: $SETTLEMENT_ADDRESS, or the `dev` running in this directory.",
        ),
        _file("--ca", "The CA certificate of the engine. With it the connection uses TLS."),
        _file("--cert", "The client certificate."),
        _file("--key", "The private key of the client certificate."),
    )
    decorated: Any = gather
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def _check_files(address: EngineAddress) -> None:
    """Refuse a client certificate without a CA: the connection would not be encrypted."""
    if address.ca is None and (address.certificate or address.key):
        message = (
            "--cert and --key need --ca, the CA certificate of the engine:"
            " without it the connection is not encrypted and the client certificate is not used"
        )
        raise click.UsageError(message)
    if (address.certificate is None) != (address.key is None):
        message = "give both --cert and --key, or neither"
        raise click.UsageError(message)


@contextmanager
def reach(address: EngineAddress) -> Iterator[EngineClient]:
    """Open a channel; its gRPC errors are raised as errors of the engine's own classes."""
    credentials = address.credentials()
    channel = (
        grpc.secure_channel(address.target, credentials, CHANNEL_OPTIONS)
        if credentials
        else grpc.insecure_channel(address.target, CHANNEL_OPTIONS)
    )
    try:
        with channel:
            yield EngineClient(
                settlements=settlement_pb2_grpc.SettlementServiceStub(channel),
                accounts=settlement_pb2_grpc.AccountServiceStub(channel),
                banks=settlement_pb2_grpc.BankServiceStub(channel),
                intake=settlement_pb2_grpc.IntakeServiceStub(channel),
                exceptions=settlement_pb2_grpc.ExceptionServiceStub(channel),
                rails=settlement_pb2_grpc.RailServiceStub(channel),
                statements=settlement_pb2_grpc.StatementServiceStub(channel),
                reconciliation=settlement_pb2_grpc.ReconciliationServiceStub(channel),
                reports=settlement_pb2_grpc.ReportServiceStub(channel),
            )
    except grpc.RpcError as error:
        raise translate(error, address.target) from None
