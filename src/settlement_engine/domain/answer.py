"""An answer: the response to a question, or a report that arrived unasked.

Promises: it carries the reported status and the sender's own code and text. What it means for a settlement is
decided in ``domain/decisions``. Must never: turn a missing response into a rejection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.returns import NOT_STATED, StatedAmount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from settlement_engine.domain.kept_messages import KeptMessage
    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.preconditions import Refusal
    from settlement_engine.domain.statement_evidence import EntryEvidence


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A response or report: an event of the state machine, with the sender's own code and text.

    ``attempt`` is the number of the payment that it is about (0 for screening). If ``seq`` is given, the
    answer is valid only while the settlement is at this sequence number. A missing response is no Answer.
    """

    settlement_id: UUID
    event: Event
    attempt: int = 0
    seq: int = 0
    code: str = ""
    text: str = ""
    rail_reference: str = ""
    confirmation: str = ""
    stated: StatedAmount = (
        NOT_STATED  # the amounts of the message; not stated means the whole amount
    )
    refusal: Refusal | None = (
        None  # of screening; on UNDELIVERED: why the payment was withdrawn before it left
    )
    report_id: int = (
        0  # the stored inbound report that it came from; 0 for a response to a question
    )
    is_held_back: bool = (
        False  # UNDELIVERED without an attempt to send: it says nothing about the rail
    )
    is_of_earlier_cover: bool = False  # a cover that was refused, and repaired, was paid after all
    promises_return: bool = False  # the answer to a recall: the money will come back by itself
    papers: Mapping[str, str] | None = (
        None  # recorded with the move: the evidence of what two people attested, or a cover's send intent
    )
    entry: EntryEvidence | None = None  # the entry of a bank's statement that says it
    message: KeptMessage | None = (
        None  # the response that said it: stored in the commit of the transition
    )
