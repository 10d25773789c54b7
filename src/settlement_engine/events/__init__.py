"""Events: what happened goes out to JetStream, and clearing's instructions come in from it.

The room promises that each announcement is in the stream exactly once and in order, and that an
instruction is acknowledged only after it is written down. It must never hold up a settlement: when NATS
is away, only this room waits. It decides nothing about a settlement's life.
"""

from settlement_engine.events.announce import Announcer, Message
from settlement_engine.events.clearing import ClearingIntake, ClearingSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.leadership import Leadership, SoleLeader
from settlement_engine.events.relay import Relay, RelayNotifier, RelaySettings
from settlement_engine.events.replay import Replay, ReplayPlan, ReplaySettings
from settlement_engine.events.stream import StreamSpec

__all__ = [
    "Announcer",
    "ClearingIntake",
    "ClearingSettings",
    "Leadership",
    "Message",
    "NatsAccess",
    "Relay",
    "RelayNotifier",
    "RelaySettings",
    "Replay",
    "ReplayPlan",
    "ReplaySettings",
    "SoleLeader",
    "StreamSpec",
]
