"""camt.054 (ISO 20022): the account servicer's notification of bookings: evidence that money moved."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.messages.entries import ENTRY, CamtEntry
from settlement_engine.messages.forms import Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import (
    BOOLEAN,
    DATE_TIME,
    MAX35,
    MAX500,
    NUMBER,
    PAGE,
    choice,
)
from settlement_engine.messages.parties import (
    ACCOUNT,
    ACCOUNT_ELEMENTS,
    AGENT,
    PARTY,
    Agent,
    Party,
    PartyAccount,
)


class OwnedAccount(PartyAccount, frozen=True, kw_only=True):
    """An account, with its owner and its servicer."""

    owner: Party | None = None
    servicer: Agent | None = None


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """The bookings of one account."""

    id: str
    page: int | None = None
    is_last_page: bool | None = None
    sequence: str | None = None
    legal_sequence: str | None = None
    created_at: datetime | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    copy: str | None = None
    account: OwnedAccount
    related_account: PartyAccount | None = None
    entries: tuple[CamtEntry, ...] = ()
    text: str | None = None


class BookingNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    message_id: str
    created_at: datetime
    recipient: Party | None = None
    page: int | None = None
    is_last_page: bool | None = None
    text: str | None = None
    notifications: tuple[Notification, ...]


OWNED_ACCOUNT = Form(
    OwnedAccount,
    (*ACCOUNT_ELEMENTS, opt("Ownr", "owner", PARTY), opt("Svcr", "servicer", AGENT)),
)
_PAGES = (one("PgNb", "page", PAGE), one("LastPgInd", "is_last_page", BOOLEAN))
_NOTIFICATION = Form(
    Notification,
    (
        one("Id", "id", MAX35),
        inside("NtfctnPgntn", *_PAGES, since=2013),
        opt("ElctrncSeqNb", "sequence", NUMBER),
        *skip("RptgSeq", most=1, since=2013),
        opt("LglSeqNb", "legal_sequence", NUMBER),
        one("CreDtTm", "created_at", DATE_TIME, until=2018),
        opt("CreDtTm", "created_at", DATE_TIME, since=2019),
        inside("FrToDt", one("FrDtTm", "from_at", DATE_TIME), one("ToDtTm", "to_at", DATE_TIME)),
        opt("CpyDplctInd", "copy", choice("CODU", "COPY", "DUPL")),
        *skip("RptgSrc", most=1),
        one("Acct", "account", OWNED_ACCOUNT),
        opt("RltdAcct", "related_account", ACCOUNT),
        *skip("Intrst"),
        *skip("TxsSummry", most=1),
        many("Ntry", "entries", ENTRY),
        opt("AddtlNtfctnInf", "text", MAX500),
    ),
)
BOOKING_NOTICE = Form(
    BookingNotice,
    (
        inside(
            "GrpHdr",
            one("MsgId", "message_id", MAX35),
            one("CreDtTm", "created_at", DATE_TIME),
            opt("MsgRcpt", "recipient", PARTY),
            inside("MsgPgntn", *_PAGES),
            *skip("OrgnlBizQry", most=1, since=2013),
            opt("AddtlInf", "text", MAX500),
            least=1,
        ),
        many("Ntfctn", "notifications", _NOTIFICATION, least=1),
        *skip("SplmtryData", since=2013),
    ),
)
