"""An answer: what came back for a question, or what somebody said without being asked.

Promises: it carries what was said, in the words of whoever said it. What it means for a settlement is
chosen in ``domain/decisions``. It must never turn silence into a no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.returns import NOT_STATED, StatedAmount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from settlement_engine.domain.lifecycle import Event
    from settlement_engine.domain.preconditions import Refusal


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back for a question: an event of the state machine, with the words of the answerer.

    ``attempt`` names the payment it speaks of (0 for screening). ``seq``, if it is given, is the one state
    of the settlement in which it counts. ``code`` and ``text`` are the answerer's own. What is not
    answered is silence, and silence is never an Answer with a no.
    """

    settlement_id: UUID
    event: Event
    attempt: int = 0
    seq: int = 0
    code: str = ""
    text: str = ""
    rail_reference: str = ""
    confirmation: str = ""
    stated: StatedAmount = NOT_STATED  # the amounts of the message; not stated is the whole
    refusal: Refusal | None = None
    report_id: int = 0  # the stored inbound report that it is, 0 for the answer to a question
    is_held_back: bool = False  # undelivered, and not even tried: it says nothing of the rail
    papers: Mapping[str, str] | None = None  # what the word of two people stands on
