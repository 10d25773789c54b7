from __future__ import annotations

from settlement_engine.messages.errors import REASON_CHARACTERS_MAX, MessageError, quoted


def test_an_error_has_a_position_and_a_reason():
    fault = MessageError("Document/GrpHdr/MsgId", "is missing")
    assert (fault.place, fault.reason) == ("Document/GrpHdr/MsgId", "is missing")
    assert str(fault) == "Document/GrpHdr/MsgId: is missing"


def test_an_errors_reason_has_a_limited_length():
    assert len(MessageError("", "x" * 10_000).reason) == REASON_CHARACTERS_MAX


def test_foreign_text_is_quoted_short_and_without_control_characters():
    assert quoted("a\nb") == r"'a\nb'"
    assert len(quoted("x" * 1000)) < 90
