"""What the archive of placed files says, for a database that was restored: which payments left, and under which traces.

Promises: a file is in the archive before the connector can see it, so what the archive does not have has not left. Must
never: be believed about what became of a payment; only the operator knows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.domain.lifecycle import Event
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.ports import BankPage, BankPayment
from settlement_engine.rails.ach.closing import party_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.messages.nacha.model import NachaEntry
    from settlement_engine.rails.ach.connections import AchConnection

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

NEWEST_READ: Final = 100
"""So many of the newest files are read for the highest trace: traces are given in ascending order."""

INSTITUTION_DIGITS: Final = 8


def page_since(connections: Sequence[AchConnection], since: datetime, after: str) -> BankPage:
    """Return the payments of the next file that was placed since then; ``after`` is the last page's file.

    Raises OSError.
    """
    last_number, _, last_name = after.partition(" ")
    for number, connection in enumerate(connections):
        prefix = party_prefix(connection.party)
        for sent in connection.transport.sent_files(prefix, since.timestamp()):
            if after and (number, sent.name) <= (int(last_number), last_name):
                continue
            at = datetime.fromtimestamp(sent.at_seconds, UTC)
            payments = [
                BankPayment(
                    reference=_reference(entry),
                    event=Event.ACKNOWLEDGED,
                    received_at=at,
                    facts={"file": sent.name, "trace": entry.trace_number},
                )
                for entry in _entries(connection, sent.name)
            ]
            return BankPage(payments=payments, after=f"{number} {sent.name}")
    return BankPage(payments=())


def highest_trace(connections: Sequence[AchConnection]) -> int:
    """Return the highest number in the traces of the newest files; 0 when there is none. Raises OSError."""
    highest = 0
    for connection in connections:
        sent = connection.transport.sent_files(party_prefix(connection.party))
        for each in sent[-NEWEST_READ:]:
            for entry in _entries(connection, each.name):
                highest = max(highest, int(entry.trace_number[INSTITUTION_DIGITS:]))
    return highest


def _entries(connection: AchConnection, name: str) -> tuple[NachaEntry, ...]:
    """Read a file of ours; one that cannot be read was not written by us."""
    try:
        return read_file(connection.transport.sent_content(name)).entries()
    except MessageError as error:
        log.warning("ach.sent_file_not_read", name=name, why=error.reason)
        return ()


def _reference(entry: NachaEntry) -> str:
    """Return our end-to-end id, with which the addenda begin."""
    return entry.remittance[0].partition(" ")[0] if entry.remittance else entry.identification
