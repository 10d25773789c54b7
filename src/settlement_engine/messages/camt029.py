"""camt.029 (ISO 20022): the answer to a cancellation request: done, refused or pending."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.camt056 import ASSIGNMENT, CASE, Assignment, Case
from settlement_engine.messages.forms import MONEY, Form, either, many, one, opt, skip
from settlement_engine.messages.leaves import (
    BOOLEAN,
    COUNT,
    DATE,
    DECIMAL,
    MAX4,
    MAX35,
    UETR,
    open_choice,
)
from settlement_engine.messages.parties import Agent, Party, party_or_agent
from settlement_engine.messages.references import (
    CHARGE,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    REASON,
    AgentCharge,
    OriginalGroup,
    OriginalTransaction,
    Reason,
)


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The payment by which a case was resolved, such as the return."""

    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    amount: Money | None = None
    settlement_date: date | None = None
    charges: tuple[AgentCharge, ...] = ()


class GroupAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the request for a message as a whole."""

    cancellation_id: str | None = None
    case: Case | None = None
    message_id: str
    message_name: str
    created_at: datetime | None = None
    transactions: int | None = None
    control_sum: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()


class CancellationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the request for one payment."""

    cancellation_status_id: str | None = None
    case: Case | None = None
    group: OriginalGroup | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    clearing_system_reference: str | None = None
    uetr: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    settled: Settled | None = None
    amount: Money | None = None
    settlement_date: date | None = None
    assigner: Party | None = None
    assigner_institution: Agent | None = None
    assignee: Party | None = None
    assignee_institution: Agent | None = None
    original: OriginalTransaction | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers about one message."""

    group: GroupAnswer | None = None
    answers: tuple[CancellationAnswer, ...] = ()


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The message. ``confirmation`` is the answer for the whole case."""

    assignment: Assignment
    case: Case | None = None
    confirmation: str | None = None
    duplicate_of: Case | None = None
    is_assignment_cancelled: bool | None = None
    details: tuple[Answers, ...] = ()
    settled: Settled | None = None


_SETTLED = Form(
    Settled,
    (
        opt("EndToEndId", "end_to_end_id", MAX35),
        opt("TxId", "transaction_id", MAX35),
        opt("UETR", "uetr", UETR),
        opt("IntrBkSttlmAmt", "amount", MONEY),
        opt("IntrBkSttlmDt", "settlement_date", DATE),
        *skip("ClrChanl", "Compstn", most=1),
        many("Chrgs", "charges", CHARGE),
    ),
)
_GROUP_ANSWER = Form(
    GroupAnswer,
    (
        opt("OrgnlGrpCxlId", "cancellation_id", MAX35),
        opt("RslvdCase", "case", CASE),
        *ORIGINAL_GROUP.elements,
        opt("OrgnlNbOfTxs", "transactions", COUNT),
        opt("OrgnlCtrlSum", "control_sum", DECIMAL),
        opt("GrpCxlSts", "status", open_choice("PACR", "RJCR", "ACCR", "PDCR")),
        many("CxlStsRsnInf", "reasons", REASON),
        *skip("NbOfTxsPerCxlSts"),
    ),
)
_ANSWER = Form(
    CancellationAnswer,
    (
        opt("CxlStsId", "cancellation_status_id", MAX35),
        opt("RslvdCase", "case", CASE),
        opt("OrgnlGrpInf", "group", ORIGINAL_GROUP),
        opt("OrgnlInstrId", "instruction_id", MAX35),
        opt("OrgnlEndToEndId", "end_to_end_id", MAX35),
        opt("OrgnlTxId", "transaction_id", MAX35),
        opt("OrgnlClrSysRef", "clearing_system_reference", MAX35),
        opt("OrgnlUETR", "uetr", UETR),
        opt("TxCxlSts", "status", open_choice("RJCR", "ACCR", "PDCR")),
        many("CxlStsRsnInf", "reasons", REASON),
        opt("RsltnRltdInf", "settled", _SETTLED),
        opt("OrgnlIntrBkSttlmAmt", "amount", MONEY),
        opt("OrgnlIntrBkSttlmDt", "settlement_date", DATE),
        party_or_agent("Assgnr", "assigner"),
        party_or_agent("Assgne", "assignee"),
        opt("OrgnlTxRef", "original", ORIGINAL_TRANSACTION),
    ),
)
RESOLUTION = Form(
    Resolution,
    (
        one("Assgnmt", "assignment", ASSIGNMENT),
        opt("RslvdCase", "case", CASE),
        either(
            "Sts",
            opt("Conf", "confirmation", MAX4),
            *skip("RjctdMod"),
            opt("DplctOf", "duplicate_of", CASE),
            opt("AssgnmtCxlConf", "is_assignment_cancelled", BOOLEAN),
            least=1,
        ),
        many(
            "CxlDtls",
            "details",
            Form(
                Answers,
                (
                    opt("OrgnlGrpInfAndSts", "group", _GROUP_ANSWER),
                    *skip("OrgnlPmtInfAndSts"),
                    many("TxInfAndSts", "answers", _ANSWER),
                ),
            ),
        ),
        *skip("ModDtls", "ClmNonRctDtls", "StmtDtls", "CrrctnTx", most=1),
        opt("RsltnRltdInf", "settled", _SETTLED),
        *skip("SplmtryData"),
    ),
)
