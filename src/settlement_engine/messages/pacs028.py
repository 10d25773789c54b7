"""pacs.028 (ISO 20022): a payment status enquiry. A repeated enquiry has the same identifiers."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- a struct's field

import msgspec

from settlement_engine.messages.forms import Form, many, one, opt, skip
from settlement_engine.messages.leaves import DATE_TIME, MAX35, UETR
from settlement_engine.messages.pacs002 import NOTICE, Notice
from settlement_engine.messages.parties import AGENT, Agent
from settlement_engine.messages.references import (
    COUNTED_GROUP,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    OriginalGroup,
    OriginalTransaction,
)


class StatusQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The payment that the enquiry is about."""

    question_id: str | None = None
    group: OriginalGroup | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    accepted_at: datetime | None = None
    clearing_system_reference: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original: OriginalTransaction | None = None


class StatusRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    header: Notice
    groups: tuple[OriginalGroup, ...] = ()
    questions: tuple[StatusQuestion, ...] = ()


_QUESTION = Form(
    StatusQuestion,
    (
        opt("StsReqId", "question_id", MAX35),
        opt("OrgnlGrpInf", "group", ORIGINAL_GROUP),
        opt("OrgnlInstrId", "instruction_id", MAX35),
        opt("OrgnlEndToEndId", "end_to_end_id", MAX35),
        opt("OrgnlTxId", "transaction_id", MAX35),
        opt("OrgnlUETR", "uetr", UETR),
        opt("AccptncDtTm", "accepted_at", DATE_TIME),
        opt("ClrSysRef", "clearing_system_reference", MAX35),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
        opt("OrgnlTxRef", "original", ORIGINAL_TRANSACTION),
        *skip("SplmtryData"),
    ),
)
STATUS_REQUEST = Form(
    StatusRequest,
    (
        one("GrpHdr", "header", NOTICE),
        many("OrgnlGrpInf", "groups", COUNTED_GROUP),
        many("TxInf", "questions", _QUESTION),
        *skip("SplmtryData"),
    ),
)
