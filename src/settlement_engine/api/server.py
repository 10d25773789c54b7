"""The gRPC server: limits, health, reflection, TLS and an orderly shutdown.

Promises: messages, connections and calls all have limits; a handler that is cancelled because its caller
disconnected cancels nothing in the engine; every failure is answered with a status of ``errors.py``. It must
never answer with the text of an internal exception.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from settlement_engine.api.bounds import ReadBounds
from settlement_engine.api.call import (
    ACTOR_HEADER,
    KEY_HEADER,
    LOCAL_CALLER,
    Call,
    CallLimit,
)
from settlement_engine.api.callbacks import refuse_banks
from settlement_engine.api.errors import code_of_status, status_of
from settlement_engine.api.grammar import one_actor, one_key
from settlement_engine.api.grpc_health import NOT_SERVING, SERVING, Health
from settlement_engine.api.read_proto import read_proto, reading_proto
from settlement_engine.api.requests import Requests
from settlement_engine.api.tls import Certificates, caller_of
from settlement_engine.errors import InvalidInstruction, Misconfigured
from settlement_engine.proto import settlement_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from google.protobuf.message import Message

    from settlement_engine.api.call import Service, Unary
    from settlement_engine.api.calls import Calls
    from settlement_engine.api.settings import ApiSettings

    Context: TypeAlias = grpc.aio.ServicerContext[bytes, Message]

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

SETTLEMENT_SERVICE: Final = pb.DESCRIPTOR.services_by_name["SettlementService"].full_name
STATEMENT_SERVICE: Final = pb.DESCRIPTOR.services_by_name["StatementService"].full_name

_EVERYTHING: Final = ""
_STATUS_ENTRY: Final = "grpc-status-details-bin"
_MILLISECONDS: Final = 1_000

LAST_WORDS_SECONDS: Final = 1.0
"""How long an ended stream waits for writes in progress; a caller who reads nothing gets no status."""

LAST_BOUND_TIMES: Final = 2
"""gRPC's own limit is so many times ours: what gRPC itself rejects carries no advice when to retry."""


class GrpcServer:
    """Serves gRPC. Call ``start`` once; ``drain`` and ``stop`` may be repeated."""

    def __init__(self, calls: Calls, settings: ApiSettings) -> None:
        self._calls = calls
        self._services = calls.services()
        self._settings = settings
        self._has_banks = any(each.certificate_name for each in settings.callbacks)
        self._in_flight = CallLimit("calls", settings.calls_max)
        self._streams = CallLimit("streams of settlements", settings.execute_streams_max)
        self._requests = Requests(settings.calls_max, settings.http.body_seconds)
        self._health = Health()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises Misconfigured when the port is not available."""
        server = grpc.aio.server(
            options=_options(self._settings),
            maximum_concurrent_rpcs=LAST_BOUND_TIMES * self._settings.calls_max,
        )
        server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(name, self._handlers(name, service))
                for name, service in self._services.items()
            )
        )
        healthy = self._health.handlers(self._requests, _abort)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(health.SERVICE_NAME, healthy),)
        )
        if self._settings.has_reflection:
            named = (*self._services, health.SERVICE_NAME)
            reflection.enable_server_reflection((*named, reflection.SERVICE_NAME), server)
        port = self._bind(server)
        await server.start()
        self._server = server
        await self.set_serving(is_serving=True)
        log.info("grpc.listening", port=port, tls=self._settings.tls is not None)
        return port

    def _bind(self, server: grpc.aio.Server) -> int:
        address = _address(self._settings.host, self._settings.grpc_port)
        try:
            if self._settings.tls is None:
                return server.add_insecure_port(address)
            credentials = Certificates(self._settings.tls).credentials()
            return server.add_secure_port(address, credentials)
        except RuntimeError as error:
            what = f"gRPC cannot listen on {address}"
            why = "the address is in use, or is not one of this machine"
            todo = "Choose another [server] grpc_port; 0 takes any free one."
            raise Misconfigured(what, why=why, todo=todo) from error

    async def set_serving(self, *, is_serving: bool) -> None:
        """Set the status of the health service; after ``drain`` it stays NOT_SERVING."""
        status = SERVING if is_serving else NOT_SERVING
        for service in (_EVERYTHING, *self._services):
            await self._health.set(service, status)

    async def drain(self) -> None:
        """Report NOT_SERVING, and end the streams that have no end of their own."""
        await self._health.enter_graceful_shutdown()
        self._calls.drain.begin()
        self._requests.give_up_all()

    async def stop(self, grace_seconds: float) -> None:
        """Accept nothing new; let calls in progress finish within the grace period, then end them."""
        # Stopping gRPC's own server twice would crash the process.
        server, self._server = self._server, None
        if server is None:
            return
        await self.drain()
        async with asyncio.TaskGroup() as group:
            group.create_task(server.stop(grace_seconds))
            await self._in_flight.idle()
            self._health.end_watches()
        await self._calls.undisturbed.finished()

    # --- what is served ---------------------------------------------------------------------------

    def _handlers(self, name: str, service: Service) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        if name == STATEMENT_SERVICE:
            received: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(
                self._guarded(self._import_statement), None, _to_bytes
            )
            return self._unary(service) | {"ImportStatement": received}
        if name != SETTLEMENT_SERVICE:
            return self._unary(service)
        streams: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "StreamSettlementEvents": grpc.stream_stream_rpc_method_handler(
                self._with_request(self._stream_events), None, pb.SettlementEvent.SerializeToString
            ),
            "ExecuteSettlements": grpc.stream_stream_rpc_method_handler(
                self._guarded(self._execute_many), None, pb.SettlementResponse.SerializeToString
            ),
        }
        return self._unary(service) | streams

    def _unary(self, service: Service) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        return {
            name: grpc.stream_unary_rpc_method_handler(
                self._with_request(self._serving(unary)), None, _to_bytes
            )
            for name, unary in service.items()
        }

    def _serving(self, unary: Unary) -> Callable[[bytes, Context], Awaitable[Any]]:
        """Make the handler of a unary call."""

        async def serve(request: bytes, context: Context) -> Any:  # noqa: ANN401 - the call's own message
            call = self._call_of(context)
            if unary.bounds.items_max is None:
                return await unary.serve(read_proto(request, unary.request, unary.bounds), call)
            steps = reading_proto(request, unary.request, unary.bounds)
            return await unary.serve(await self._calls.turns.run(steps), call)

        return serve

    def _guarded(self, serve: Callable[[Any, Context], Awaitable[Any]]) -> Any:  # noqa: ANN401 - grpc's own
        """Count a call, and answer its exceptions with a status."""

        async def handle(requests: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401
            try:
                with self._streams, self._in_flight:
                    return await serve(requests, context)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
                await _abort(context, error)

        return handle

    def _with_request(self, serve: Callable[[bytes, Context], Awaitable[Any]]) -> Any:  # noqa: ANN401 - grpc's own
        """Wrap a call with one request, which is counted once its request has arrived."""

        async def handle(_: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401 - an answer
            try:
                request = await self._requests.next_of(context)
                with self._in_flight:
                    return await serve(request, context)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
                await _abort(context, error)

        return handle

    async def _stream_events(self, request: bytes, context: Context) -> None:
        async def write(events: Sequence[pb.SettlementEvent]) -> None:
            if not events:
                await context.send_initial_metadata(())
            for event in events:
                await context.write(event)

        async def send(events: Sequence[pb.SettlementEvent]) -> None:
            # gRPC cannot end a call with a status while a write is in progress.
            writing = asyncio.gather(write(events))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait((writing,), timeout=LAST_WORDS_SECONDS)
                if not writing.cancel() and not writing.cancelled():
                    writing.exception()  # retrieved, because the call has ended and reports nothing more
                raise

        call = self._call_of(context)
        wanted = read_proto(request, pb.StreamRequest)
        await self._calls.events.follow(wanted, call, send, _as_it_is)

    async def _execute_many(self, requests: AsyncIterator[bytes], context: Context) -> None:
        call = self._call_of(context)
        await self._calls.many.execute(_read_each(requests), call, context.write)

    async def _import_statement(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> pb.ImportStatementResponse:
        bounds = ReadBounds(self._settings.message_bytes_max)

        async def parts() -> AsyncIterator[pb.ImportStatementRequest]:
            async for request in requests:
                yield read_proto(request, pb.ImportStatementRequest, bounds)

        return await self._calls.statements.import_parts(parts(), self._call_of(context))

    def _call_of(self, context: Context) -> Call:
        """Describe the call; without TLS no caller can prove a name, so gRPC is not asked for one."""
        call = call_of(context, has_names=self._settings.tls is not None)
        if self._has_banks:
            refuse_banks(self._settings, call.caller)
        return call


def _as_it_is(event: pb.SettlementEvent) -> pb.SettlementEvent:
    """Return the event itself: gRPC encodes it."""
    return event


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()


async def _read_each(
    requests: AsyncIterator[bytes],
) -> AsyncIterator[pb.SettlementRequest | Exception]:
    """Decode each request; one that cannot be decoded is yielded as its error."""
    async for request in requests:
        try:
            yield read_proto(request, pb.SettlementRequest)
        except InvalidInstruction as error:
            yield error


def call_of(context: Context, *, has_names: bool = True) -> Call:
    """Describe a call: caller, deadline, keys. Raises NotAuthenticated, InvalidInstruction."""
    keys: list[str] = []
    actors: list[str] = []
    for name, value in context.invocation_metadata() or ():
        if name == KEY_HEADER:
            keys.append(str(value))
        elif name == ACTOR_HEADER:
            actors.append(str(value))
    return Call(
        caller=caller_of(context.auth_context()) if has_names else LOCAL_CALLER,
        deadline_seconds=context.time_remaining(),
        idempotency_key=one_key(keys) if keys else "",
        actor=one_actor(actors) if actors else "",
    )


async def _abort(context: Context, error: Exception) -> NoReturn:
    """End the call with the error's status and its details."""
    status = status_of(error)
    entry = (_STATUS_ENTRY, status.SerializeToString())
    await context.abort(code_of_status(status), status.message, (entry,))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(settings: ApiSettings) -> list[tuple[str, Any]]:
    """Return the limits as gRPC's channel options."""
    alive = settings.keep_alive
    at_least_every = alive.caller_pings_at_least_every_seconds
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.reply_bytes_max),
        ("grpc.max_metadata_size", settings.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", 2 * settings.metadata_bytes_max),
        ("grpc.max_concurrent_streams", settings.calls_per_connection_max),
        ("grpc.max_connection_idle_ms", int(alive.idle_seconds * _MILLISECONDS)),
        ("grpc.keepalive_time_ms", int(alive.ping_after_seconds * _MILLISECONDS)),
        ("grpc.keepalive_timeout_ms", int(alive.ping_timeout_seconds * _MILLISECONDS)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", int(at_least_every * _MILLISECONDS)),
        ("grpc.max_allowed_incoming_connections", settings.grpc_connections_max),
        ("grpc.server_handshake_timeout_ms", int(settings.grpc_handshake_seconds * _MILLISECONDS)),
        ("grpc.so_reuseport", int(settings.is_port_shared)),
    ]
