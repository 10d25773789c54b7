"""The API: gRPC and JSON over HTTP in front of the engine, with one implementation behind both.

This component promises that every request is checked against a strict grammar before anything is written,
that a refusal is a normal answer, that an error names its cause, and that a caller who disconnects changes
nothing. It must never decide about money, and never show a caller the engine's internals.
"""

from __future__ import annotations

import os

# gRPC's handlers of fork() run in every process that the engine starts for its own work, beside gRPC's threads: they
# ended one in thirty by a fault of memory before it had begun. The engine never calls gRPC in a forked process.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
