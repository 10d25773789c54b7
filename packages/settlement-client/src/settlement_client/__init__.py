"""What a consumer of the engine's events needs in its own process; it has no dependencies.

Promises: an inbox handles each event once, however often NATS hands it out. Nothing here may import the
engine: a consumer installs this alone.
"""

from settlement_client.inbox import Inbox, MemoryInbox, PostgresInbox

__all__ = ["Inbox", "MemoryInbox", "PostgresInbox"]
