"""camt.060 (ISO 20022): the request for a statement or report that was not received."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.messages.forms import Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import DATE, DATE_TIME, MAX35, TIME, choice
from settlement_engine.messages.parties import (
    ACCOUNT,
    AGENT,
    Agent,
    Party,
    PartyAccount,
    party_or_agent,
)


class ReportAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The requested report, its account and its period."""

    id: str | None = None
    message_name: str
    account: PartyAccount | None = None
    owner: Party | None = None
    owner_institution: Agent | None = None
    servicer: Agent | None = None
    from_date: date | None = None
    to_date: date | None = None
    from_time: str | None = None
    to_time: str | None = None
    query: str | None = None


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    message_id: str
    created_at: datetime
    sender: Party | None = None
    sender_institution: Agent | None = None
    reports: tuple[ReportAsked, ...]


_REPORT = Form(
    ReportAsked,
    (
        opt("Id", "id", MAX35),
        one("ReqdMsgNmId", "message_name", MAX35),
        opt("Acct", "account", ACCOUNT),
        party_or_agent("AcctOwnr", "owner", least=1),
        opt("AcctSvcr", "servicer", AGENT),
        inside(
            "RptgPrd",
            inside(
                "FrToDt",
                one("FrDt", "from_date", DATE),
                opt("ToDt", "to_date", DATE),
                least=1,
            ),
            inside("FrToTm", one("FrTm", "from_time", TIME), opt("ToTm", "to_time", TIME)),
            one("Tp", "query", choice("ALLL", "CHNG", "MODF")),
        ),
        *skip("RptgSeq", "ReqdTxTp", most=1),
        *skip("ReqdBalTp"),
    ),
)
REPORT_REQUEST = Form(
    ReportRequest,
    (
        inside(
            "GrpHdr",
            one("MsgId", "message_id", MAX35),
            one("CreDtTm", "created_at", DATE_TIME),
            party_or_agent("MsgSndr", "sender"),
            least=1,
        ),
        many("RptgReq", "reports", _REPORT, least=1),
        *skip("SplmtryData"),
    ),
)
