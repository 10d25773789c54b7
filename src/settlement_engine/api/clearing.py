"""Instructions from clearing: a SettlementRequest as JSON, received over NATS.

Promises: the same strict reading as the JSON gateway's, so that both accept exactly the same instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.api.read_json import read_json
from settlement_engine.api.translate import to_instruction
from settlement_engine.proto.settlement_pb2 import SettlementRequest

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Instruction

CLEARING_CALLER: Final = "clearing"


def read_instruction(data: bytes, caller: str = CLEARING_CALLER) -> Instruction:
    """Read an instruction. Raises InvalidInstruction for everything that the JSON gateway rejects."""
    return to_instruction(read_json(data, SettlementRequest), caller=caller)
