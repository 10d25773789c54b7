"""Real PostgreSQL and NATS servers without Docker, for development, the demo and the tests.

The room promises: a server that is ready when ``start`` returns and gone when ``stop`` returns;
the same port and the same data after a crash; nothing left behind when our own process is killed;
loopback only, with a password. It must never end a process that it did not start, never widen the
permissions of a directory, never make an account on the machine, and never run in production:
there the database and the message bus have owners of their own.
"""

from settlement_engine.embedded.errors import EmbeddedServerError
from settlement_engine.embedded.nats import MAX_FILE_DEFAULT, EmbeddedNats
from settlement_engine.embedded.postgres import EmbeddedPostgres
from settlement_engine.embedded.supervisor import EmbeddedServers, ServerStatus

__all__ = [
    "MAX_FILE_DEFAULT",
    "EmbeddedNats",
    "EmbeddedPostgres",
    "EmbeddedServerError",
    "EmbeddedServers",
    "ServerStatus",
]
