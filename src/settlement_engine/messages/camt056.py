"""camt.056 (ISO 20022): the request to cancel or return a payment. It moves no money by itself."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import MONEY, Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import (
    BOOLEAN,
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MAX35,
    UETR,
)
from settlement_engine.messages.parties import AGENT, Agent, Party, party_or_agent
from settlement_engine.messages.references import (
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    REASON,
    OriginalGroup,
    OriginalTransaction,
    Reason,
)


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """The institution that asks, the one that is asked, and when."""

    id: str
    assigner: Party | None = None
    assigner_institution: Agent | None = None
    assignee: Party | None = None
    assignee_institution: Agent | None = None
    created_at: datetime


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """The case to which an investigation belongs."""

    id: str
    creator: Party | None = None
    creator_institution: Agent | None = None
    is_reopened: bool | None = None


class GroupCancellation(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be cancelled, as a whole or in the payments listed with it."""

    cancellation_id: str | None = None
    case: Case | None = None
    message_id: str
    message_name: str
    created_at: datetime | None = None
    transactions: int | None = None
    control_sum: str | None = None
    is_whole_group: bool | None = None
    reasons: tuple[Reason, ...] = ()


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """One payment to be cancelled or returned."""

    cancellation_id: str | None = None
    case: Case | None = None
    group: OriginalGroup | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    clearing_system_reference: str | None = None
    amount: Money | None = None
    settlement_date: date | None = None
    assigner: Agent | None = None
    assignee: Agent | None = None
    reasons: tuple[Reason, ...] = ()
    original: OriginalTransaction | None = None


class Underlying(msgspec.Struct, frozen=True, kw_only=True):
    """The messages and payments to be cancelled."""

    group: GroupCancellation | None = None
    cancellations: tuple[Cancellation, ...] = ()


class CancellationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    assignment: Assignment
    case: Case | None = None
    transactions: int | None = None
    control_sum: str | None = None
    underlying: tuple[Underlying, ...]


ASSIGNMENT = Form(
    Assignment,
    (
        one("Id", "id", MAX35),
        party_or_agent("Assgnr", "assigner", least=1),
        party_or_agent("Assgne", "assignee", least=1),
        one("CreDtTm", "created_at", DATE_TIME),
    ),
)
CASE = Form(
    Case,
    (
        one("Id", "id", MAX35),
        party_or_agent("Cretr", "creator", least=1),
        opt("ReopCaseIndctn", "is_reopened", BOOLEAN),
    ),
)
_GROUP = Form(
    GroupCancellation,
    (
        opt("GrpCxlId", "cancellation_id", MAX35),
        opt("Case", "case", CASE),
        *ORIGINAL_GROUP.elements,
        opt("NbOfTxs", "transactions", COUNT),
        opt("CtrlSum", "control_sum", DECIMAL),
        opt("GrpCxl", "is_whole_group", BOOLEAN),
        many("CxlRsnInf", "reasons", REASON),
    ),
)
_CANCELLATION = Form(
    Cancellation,
    (
        opt("CxlId", "cancellation_id", MAX35),
        opt("Case", "case", CASE),
        opt("OrgnlGrpInf", "group", ORIGINAL_GROUP),
        opt("OrgnlInstrId", "instruction_id", MAX35),
        opt("OrgnlEndToEndId", "end_to_end_id", MAX35),
        opt("OrgnlTxId", "transaction_id", MAX35),
        opt("OrgnlUETR", "uetr", UETR),
        opt("OrgnlClrSysRef", "clearing_system_reference", MAX35),
        opt("OrgnlIntrBkSttlmAmt", "amount", MONEY),
        opt("OrgnlIntrBkSttlmDt", "settlement_date", DATE),
        opt("Assgnr", "assigner", AGENT),
        opt("Assgne", "assignee", AGENT),
        many("CxlRsnInf", "reasons", REASON),
        opt("OrgnlTxRef", "original", ORIGINAL_TRANSACTION),
        *skip("SplmtryData"),
    ),
)
CANCELLATION_REQUEST = Form(
    CancellationRequest,
    (
        one("Assgnmt", "assignment", ASSIGNMENT),
        opt("Case", "case", CASE),
        inside(
            "CtrlData",
            one("NbOfTxs", "transactions", COUNT),
            opt("CtrlSum", "control_sum", DECIMAL),
        ),
        many(
            "Undrlyg",
            "underlying",
            Form(
                Underlying,
                (
                    opt("OrgnlGrpInfAndCxl", "group", _GROUP),
                    many("TxInf", "cancellations", _CANCELLATION),
                ),
            ),
            least=1,
        ),
        *skip("SplmtryData"),
    ),
)
