"""A process that is started beside gRPC runs none of gRPC's code between fork and exec: there it died, now and then."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import asyncio
import sys

from settlement_engine.api.server import GrpcServer
import grpc
import uvloop


async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        calls = [asyncio.ensure_future(ask(channel)) for _ in range(8)]
        for _ in range(5):
            child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
            assert await child.wait() == 0
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    await server.stop(None)
    print("started five")


async def ask(channel):
    method = channel.unary_unary("/a/b")
    while True:
        try:
            await method(b"")
        except grpc.RpcError:
            pass


uvloop.run(main())
"""


def test_no_handler_of_grpc_runs_when_a_process_is_started() -> None:
    """gRPC says on standard error what its handlers do."""
    environment = {name: text for name, text in os.environ.items() if "GRPC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**environment, "GRPC_VERBOSITY": "INFO"},
    )
    assert done.stdout == "started five\n"
    assert "fork" not in done.stderr
