"""The watermark of the log: a pause in the wrong moment is no older state of the database."""

from __future__ import annotations

import msgspec
import pytest

from settlement_engine.errors import Unavailable
from settlement_engine.ports import Server
from settlement_engine.store.watch import ServerWatch

SERVER = Server(system_identifier="s", timeline=1, database_id=1, flushed=100)


def test_what_is_seen_while_an_answer_is_on_its_way_says_nothing_about_it() -> None:
    """Asked before a pause, answered at 110; a heartbeat that was answered at 120 is read first."""
    watch = ServerWatch()
    watch.accept(SERVER)
    seen_before = watch.flushed
    watch.saw(120)
    answer = msgspec.structs.replace(SERVER, flushed=110)
    assert watch.doubt(answer, seen_before) == ""
    watch.require(answer, seen_before)
    assert watch.flushed == 120


def test_less_of_the_log_than_was_seen_before_the_question_is_an_older_state() -> None:
    """Its answer cannot be older than the question."""
    watch = ServerWatch()
    watch.accept(SERVER)
    watch.saw(120)
    answer = msgspec.structs.replace(SERVER, flushed=110)
    assert watch.doubt(answer, watch.flushed) == "older_state"
    with pytest.raises(Unavailable):
        watch.require(answer, watch.flushed)
