"""Messages of the API as text and as JSON.

Promises: JSON has the same names as the JSON gateway; nothing is rounded or left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from settlement_engine.cli.failures import ExitCode
from settlement_engine.cli.output import BAD, GOOD, WARN
from settlement_engine.proto import settlement_pb2 as wire

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

ENDED: Final = frozenset({wire.COMPLETED, wire.FAILED, wire.ROLLED_BACK, wire.RETURNED})
NOT_SETTLED: Final = ENDED - {wire.COMPLETED}


def as_dict(message: Message) -> dict[str, Any]:
    """Return the message as the JSON gateway writes it."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def status_name(status: int) -> str:
    """Return the name of a status, also of one that a later version has added."""
    try:
        return wire.SettlementStatus.Name(status)  # type: ignore[arg-type]
    except ValueError:
        return f"STATUS_{status}"


def status_sign(status: int) -> str:
    """Return the sign that is printed before a status."""
    if status == wire.COMPLETED:
        return GOOD
    return BAD if status in NOT_SETTLED else WARN


def code_of(status: int) -> ExitCode:
    """Return the exit code for the status of a settlement."""
    if status == wire.COMPLETED:
        return ExitCode.OK
    return ExitCode.FAILED if status in NOT_SETTLED else ExitCode.OPEN


def instant(at: Timestamp) -> datetime:
    """Return the local time of an instant."""
    from datetime import UTC

    return at.ToDatetime(tzinfo=UTC).astimezone()


def clock_time(at: Timestamp) -> str:
    """Write an instant's local time of day to the millisecond."""
    return instant(at).strftime("%H:%M:%S.%f")[:-3]


def day_and_time(at: Timestamp) -> str:
    """Write an instant's local day and time."""
    return instant(at).strftime("%Y-%m-%d %H:%M:%S")
