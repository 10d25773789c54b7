"""admi.002 (ISO 20022): a message was rejected before business processing. This is a definite rejection."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 -- a struct's field

import msgspec

from settlement_engine.messages.forms import Form, inside, one, opt
from settlement_engine.messages.leaves import DATE_TIME, MAX35, MAX350, MAX20000


class MessageReject(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    related_reference: str
    reason: str
    rejected_at: datetime | None = None
    error_location: str | None = None
    description: str | None = None
    additional_data: str | None = None


MESSAGE_REJECT = Form(
    MessageReject,
    (
        inside("RltdRef", one("Ref", "related_reference", MAX35), least=1),
        inside(
            "Rsn",
            one("RjctgPtyRsn", "reason", MAX35),
            opt("RjctnDtTm", "rejected_at", DATE_TIME),
            opt("ErrLctn", "error_location", MAX350),
            opt("RsnDesc", "description", MAX350),
            opt("AddtlData", "additional_data", MAX20000),
            least=1,
        ),
    ),
)
