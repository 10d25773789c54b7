"""Real PostgreSQL and NATS servers without Docker, for development, the demo and the tests.

This component promises: a server is ready when ``start`` returns and gone when ``stop`` returns; it has the same
port and data after a crash; nothing is left running when our own process is killed; it listens on loopback only,
with a password. It must never end a process that it did not start, never widen the permissions of a directory,
never create a user account, and never run in production: there the database and the message bus are operated
separately.
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
