"""For consumers of the engine's events, in their own process; it has no dependencies.

Promises: an inbox handles each event once, however often NATS delivers it. No module here may import the
engine: a consumer installs only this package.
"""

from settlement_client.inbox import Inbox, MemoryInbox, PostgresInbox

__all__ = ["Inbox", "MemoryInbox", "PostgresInbox"]
