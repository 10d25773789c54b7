"""How many messages one core builds and reads per second: an ordinary pacs.009 with its header, and its pacs.002.

Promises: what is measured is checked first, so that a rate is one of correct messages.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.money import Money
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.head import Head
from settlement_engine.messages.pacs002 import Notice, StatusReportMessage, TransactionStatus
from settlement_engine.messages.pacs009 import InstitutionTransfer, InstitutionTransfers
from settlement_engine.messages.parties import Agent, PartyAccount
from settlement_engine.messages.references import OriginalGroup, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader

if TYPE_CHECKING:
    from collections.abc import Callable

AT: Final = datetime(2026, 11, 28, 17, 0, tzinfo=UTC)
OURS, THEIRS = Agent(bic="DEUTDEFF"), Agent(bic="CHASUS33")
UETR: Final = "0123abcd-0123-4abc-8abc-0123456789ab"
TRANSFER: Final = InstitutionTransfers(
    header=TransferHeader(
        message_id="M1",
        created_at=AT,
        transactions=1,
        settlement=SettlementInformation(method="INDA", account=PartyAccount(other_id="123")),
    ),
    transfers=(
        InstitutionTransfer(
            instruction_id="I1",
            end_to_end_id="E1",
            uetr=UETR,
            amount=Money(1250, "USD"),
            settlement_date=date(2026, 11, 30),
            instructing_agent=OURS,
            instructed_agent=THEIRS,
            debtor=OURS,
            creditor=THEIRS,
            creditor_account=PartyAccount(other_id="456"),
        ),
    ),
)
HEAD: Final = Head(
    sender_institution=OURS,
    receiver_institution=THEIRS,
    message_id="B1",
    definition="pacs.009.001.08",
    service="swift.cbprplus.02",
    created_at=AT,
)
STATUS: Final = built(
    "pacs.002.001.10",
    StatusReportMessage(
        header=Notice(message_id="M2", created_at=AT),
        transactions=(
            TransactionStatus(
                group=OriginalGroup(message_id="M1", message_name="pacs.009.001.08"),
                instruction_id="I1",
                end_to_end_id="E1",
                uetr=UETR,
                status="ACSC",
                instructing_agent=THEIRS,
                instructed_agent=OURS,
            ),
        ),
    ),
    HEAD,
)


class Rates(NamedTuple):
    """Messages per second of one core."""

    built_pacs009: float
    read_pacs002: float


def measure(seconds: float = 1.0) -> Rates:
    """Measure both rates, in CPU time."""
    return Rates(
        built_pacs009=_rate(lambda: built("pacs.009.001.08", TRANSFER, HEAD), seconds),
        read_pacs002=_rate(lambda: opened(STATUS), seconds),
    )


def _rate(act: Callable[[], object], seconds: float) -> float:
    act()
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        for _ in range(50):
            act()
        count += 50
    return count / spent
