"""Events: moves and notices are published to JetStream, and clearing's instructions are read from it.

Promises: each announcement is in the stream exactly once and in order; an instruction is acknowledged only after it
was stored. Must never: delay a settlement, or decide about one; when NATS is unreachable, only this component waits.
"""

from settlement_engine.events.announce import Announcer, Message
from settlement_engine.events.clearing import ClearingIntake, ClearingSettings
from settlement_engine.events.connection import NatsAccess
from settlement_engine.events.leadership import Leadership, SoleLeader
from settlement_engine.events.relay import Relay, RelayNotifier, RelaySettings
from settlement_engine.events.replay import Replay, ReplayPlan, ReplaySettings
from settlement_engine.events.replay_lanes import NoticeLane
from settlement_engine.events.stream import StreamSpec

__all__ = [
    "Announcer",
    "ClearingIntake",
    "ClearingSettings",
    "Leadership",
    "Message",
    "NatsAccess",
    "NoticeLane",
    "Relay",
    "RelayNotifier",
    "RelaySettings",
    "Replay",
    "ReplayPlan",
    "ReplaySettings",
    "SoleLeader",
    "StreamSpec",
]
