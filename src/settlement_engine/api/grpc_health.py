"""gRPC's health service (grpc.health.v1), within limits.

Promises: health checks are answered even while no calls are accepted; the number of watchers is limited, and
they do not delay shutdown; a call whose request does not arrive is ended, as for every other call.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from typing_extensions import override

from settlement_engine.api.call import CallLimit, Drain
from settlement_engine.errors import InvalidInstruction, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from settlement_engine.api.requests import Requests

WATCHES_MAX: Final = 256

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health(health.aio.HealthServicer):
    """Health service whose watchers do not delay shutdown."""

    def __init__(self) -> None:
        super().__init__()
        self._drain = Drain()
        self._watches = CallLimit("watches of health", WATCHES_MAX)

    def end_watches(self) -> None:
        """End the streams of all watchers, which have no end of their own."""
        self._drain.begin()

    @override
    async def Watch(self, request: Any, context: Any) -> None:
        """Stream the status until the server drains."""
        with suppress(Unavailable), self._watches:
            async with self._drain.until_drained():
                await super().Watch(request, context)

    def handlers(
        self, requests: Requests, abort: Callable[[Any, Exception], Awaitable[Any]]
    ) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """Return the handlers of the service; ``abort`` ends a call with an error's status."""

        def reading(kind: type[Message], serve: Callable[[Any, Any], Awaitable[Any]]) -> Any:  # noqa: ANN401
            async def handle(_: object, context: Any) -> Any:  # noqa: ANN401 - grpc's own
                try:
                    return await serve(_read(await requests.next_of(context), kind), context)
                except grpc.aio.AbortError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
                    await abort(context, error)

            return handle

        one, many = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        check = health_pb2.HealthCheckRequest
        listing = health_pb2.HealthListRequest  # type: ignore[attr-defined]  # newer than its types
        return {
            "Check": one(reading(check, self.Check), None, _to_bytes),
            "List": one(reading(listing, self.List), None, _to_bytes),  # type: ignore[attr-defined]  # as above
            "Watch": many(reading(check, self.Watch), None, _to_bytes),
        }


def _read(request: bytes, kind: type[Message]) -> Message:
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise InvalidInstruction([("request", "is no message of this kind")]) from error


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()
