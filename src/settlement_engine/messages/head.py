"""head.001 (ISO 20022): the business application header: sender, receiver, kind, possible duplicate."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.messages.forms import Element, Form, either, inside, one, opt, skip
from settlement_engine.messages.leaves import (
    ANY,
    BOOLEAN,
    DATE_TIME,
    MAX35,
    MAX350,
    MAX2048,
    UTC_TIME,
    choice,
)
from settlement_engine.messages.parties import AGENT, PARTY, Agent, Party


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The header of one message."""

    character_set: str | None = None
    sender: Party | None = None
    sender_institution: Agent | None = None
    receiver: Party | None = None
    receiver_institution: Agent | None = None
    message_id: str
    definition: str
    service: str | None = None
    market_practice_registry: str | None = None
    market_practice: str | None = None
    created_at: datetime
    processed_at: datetime | None = None
    copy: str | None = None
    is_possible_duplicate: bool | None = None
    priority: str | None = None


def _end(tag: str, field: str) -> Element:
    return either(
        tag, opt("OrgId", field, PARTY), opt("FIId", f"{field}_institution", AGENT), least=1
    )


HEAD = Form(
    Head,
    (
        opt("CharSet", "character_set", ANY),
        _end("Fr", "sender"),
        _end("To", "receiver"),
        one("BizMsgIdr", "message_id", MAX35),
        one("MsgDefIdr", "definition", MAX35),
        opt("BizSvc", "service", MAX35),
        inside(
            "MktPrctc",
            one("Regy", "market_practice_registry", MAX350),
            one("Id", "market_practice", MAX2048),
            since=2019,
        ),
        one("CreDt", "created_at", UTC_TIME, until=2018),
        one("CreDt", "created_at", DATE_TIME, since=2019),
        opt("BizPrcgDt", "processed_at", DATE_TIME, since=2019),
        opt("CpyDplct", "copy", choice("CODU", "COPY", "DUPL")),
        opt("PssblDplct", "is_possible_duplicate", BOOLEAN),
        opt("Prty", "priority", ANY),
        *skip("Sgntr", most=1),
        *skip("Rltd", most=1, until=2018),
        *skip("Rltd", since=2019),
    ),
)
HEAD_EDITIONS = {"01": 2013, "02": 2019, "03": 2021}
